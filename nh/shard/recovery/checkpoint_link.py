"""Checkpoints over the internal link: a CheckpointSink that sends them to the supervisor.

What a command changes goes out with its result, in one record: between hold() and flush() the changes are
collected. So do the calls of a turn of checkpoints, in a record of their own. All else is sent at once.

While the link is full (the supervisor is stopped, or has no CPU), the shard waits for nothing, and the
backlog is bounded: the latest state of each call, and the sockets to release. It is sent when the link has
room again. The supervisor does not get sockets that were opened meanwhile.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from nh.calls.media import Endpoint
from nh.errors import ChannelFull
from nh.ipc.backup_messages import (
    MAX_SNAPSHOT_BYTES,
    BackupMessage,
    DropCall,
    ReleaseSockets,
    SaveCall,
    StoreSockets,
    parts,
)
from nh.ipc.channel import MAX_MESSAGE_BYTES, Channel
from nh.ipc.fd_passing import MAX_FDS, batches
from nh.ipc.link_codec import encode, encode_together
from nh.ipc.link_messages import Executed
from nh.logs.lines import about
from nh.logs.throttle import RateLimitedLogger
from nh.printable import short_id
from nh.shard.recovery.unconfirmed import Unconfirmed, UnconfirmedRecords

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
"""Least time between two log lines about sockets that the supervisor did not get."""


def send_in_one_record(
    channel: Channel, messages: Sequence[Executed | BackupMessage], fds: Sequence[int]
) -> bool:
    """Send one message or more, and descriptors, in one record; returns whether that could be done."""
    if len(fds) > MAX_FDS:
        return False
    record = encode(messages[0]) if len(messages) == 1 else encode_together(messages)
    if len(record) > MAX_MESSAGE_BYTES:
        return False
    try:
        channel.send(record, fds)
    except ChannelFull:
        return False
    return True


class _Held:
    """The changes of one command: the last word on each call and socket.

    Attributes:
        closed: sockets that the supervisor has.
        opened: descriptors of sockets that are open still.
        calls: calls with their snapshots (None: drop the call).
        records: of calls that have ended, which are to be dropped, too.
    """

    __slots__ = ("calls", "closed", "opened", "records")

    def __init__(self) -> None:
        self.closed: dict[Endpoint, None] = {}
        self.opened: dict[Endpoint, int] = {}
        self.calls: dict[bytes, bytes | None] = {}
        self.records: list[Unconfirmed] = []

    def __bool__(self) -> bool:
        return bool(self.calls or self.opened or self.closed or self.records)

    def close(self, endpoints: Sequence[Endpoint]) -> None:
        """Sockets are about to be closed: their descriptors must not be sent."""
        for endpoint in endpoints:
            if self.opened.pop(endpoint, None) is None:
                self.closed[endpoint] = None

    def messages(self) -> tuple[BackupMessage, ...]:
        """In the order in which they are carried out: a port may have been closed and opened again."""
        found: list[BackupMessage] = []
        if self.closed:
            found.append(ReleaseSockets(tuple(self.closed)))
        if self.opened:
            found.append(StoreSockets(tuple(self.opened)))
        found += [DropCall(each.call_id, each.record, each.number) for each in self.records]
        for call_id, snapshot in self.calls.items():
            if snapshot is None:
                found.append(DropCall(call_id))
            else:
                found += [SaveCall(call_id, data, part, last) for part, data, last in parts(snapshot)]
        return tuple(found)


class LinkCheckpointSink:
    """Sends checkpoints to the supervisor.

    Args:
        channel: the link to the supervisor.

    Attributes:
        records: the records of calls that the supervisor has not confirmed.
        together: whether the supervisor takes several messages in one record.
    """

    def __init__(self, channel: Channel) -> None:
        self.together = False
        self._channel = channel
        self._rate_limited = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)
        self._closed = False
        # the backlog: calls with their snapshots (None: drop the call), and sockets to release
        self._unsent_calls: dict[bytes, bytes | None] = {}
        self._unreleased: dict[Endpoint, None] = {}
        self._held: _Held | None = None
        self.records = UnconfirmedRecords()
        self._sent_record = 0
        self._has_unsent_records = False

    def hold(self) -> None:
        """Collect what comes, until flush()."""
        if not self._closed and not self._has_backlog:
            self._held = _Held()

    def flush(self, send: Callable[[tuple[BackupMessage, ...], Sequence[int]], bool]) -> bool:
        """Let go what was collected since hold().

        Args:
            send: sends the messages, and the descriptors of their StoreSockets, in one record of its own;
                returns False if it cannot. It is not called if nothing was collected.

        Returns:
            Whether `send` has sent them. If not, they are sent one by one.
        """
        held, self._held = self._held, None
        if held is None or not held:
            return False
        fds = list(held.opened.values())
        if send(held.messages(), fds):
            if held.records:
                self._sent_record = held.records[-1].number
            return True
        self.release_sockets(list(held.closed))
        self.store_sockets(list(held.opened), fds)
        self._has_unsent_records = not self._send_records()
        for call_id, snapshot in held.calls.items():
            if snapshot is None:
                self.drop_call(call_id)
            else:
                self.save_call(call_id, snapshot)
        return False

    @contextlib.contextmanager
    def in_one_record(self) -> Iterator[None]:
        """See CheckpointSink."""
        if not self.together:
            yield
            return
        self.hold()
        try:
            yield
        finally:
            self.flush(lambda messages, fds: send_in_one_record(self._channel, messages, fds))

    def store_sockets(self, endpoints: Sequence[Endpoint], fds: Sequence[int]) -> None:
        """See CheckpointSink."""
        if self._held is not None:
            self._held.opened.update(zip(endpoints, fds, strict=True))
            return
        if self._closed or self._has_backlog:
            return
        try:
            for some, their_fds in zip(batches(endpoints), batches(fds), strict=True):
                self._channel.send(encode(StoreSockets(some)), their_fds)
        except ChannelFull as exc:
            self._rate_limited.log(
                logging.WARNING,
                "the supervisor does not hold new sockets: %s; if this shard dies, they are bound anew",
                exc,
            )

    def release_sockets(self, endpoints: Sequence[Endpoint]) -> None:
        """See CheckpointSink."""
        if self._held is not None:
            self._held.close(endpoints)
            return
        if self._closed:
            return
        has_backlog = self._has_backlog
        self._unreleased.update(dict.fromkeys(endpoints))
        if not has_backlog:
            self._send_releases()

    def save_call(self, call_id: bytes, snapshot: bytes) -> None:
        """See CheckpointSink. A snapshot above MAX_SNAPSHOT_BYTES is left out, the one before stays."""
        if self._closed:
            return
        if len(snapshot) > MAX_SNAPSHOT_BYTES:
            logger.error(
                "call '%s': its snapshot of %d bytes is not saved, the limit is %d; if this shard dies, the"
                " call goes on from the snapshot before",
                short_id(call_id),
                len(snapshot),
                MAX_SNAPSHOT_BYTES,
                extra=about(call_id),
            )
        elif self._held is not None:
            self._held.calls[call_id] = snapshot
        elif self._has_backlog or not self._send_call(call_id, snapshot):
            self._unsent_calls[call_id] = snapshot

    def drop_call(self, call_id: bytes, record: bytes = b"") -> None:
        """See CheckpointSink."""
        if self._closed:
            return
        added = self._add_record(call_id, record) if record else None
        if self._held is not None:
            if added is None:
                self._held.calls[call_id] = None
            else:
                self._held.calls.pop(call_id, None)
                self._held.records.append(added)
        elif added is not None:
            self._unsent_calls.pop(call_id, None)
            self._has_unsent_records = self._has_backlog or not self._send_records()
        elif self._has_backlog or not self._send_call(call_id, None):
            self._unsent_calls[call_id] = None

    def catch_up(self) -> None:
        """Send the backlog, as far as the link takes it; to be called from time to time."""
        if self._closed or self._channel.queued:
            return
        self._send_releases()
        self._has_unsent_records = self._has_unsent_records and not self._send_records()
        while self._unsent_calls and not self._unreleased and not self._has_unsent_records:
            call_id, snapshot = next(iter(self._unsent_calls.items()))
            if not self._send_call(call_id, snapshot):
                return
            del self._unsent_calls[call_id]

    def close(self) -> None:
        """Send nothing any more: the supervisor's checkpoints stay as they are."""
        self._closed = True

    def _add_record(self, call_id: bytes, record: bytes) -> Unconfirmed:
        lost = self.records.lost
        added = self.records.add(call_id, record)
        if self.records.lost > lost:
            self._rate_limited.log(
                logging.ERROR,
                "%d records of calls are lost, because no supervisor has taken them",
                self.records.lost,
            )
        return added

    @property
    def has_backlog(self) -> bool:
        """Whether anything waits until the link has room."""
        return self._has_backlog or self._channel.queued > 0

    @property
    def _has_backlog(self) -> bool:
        return bool(self._unsent_calls or self._unreleased or self._has_unsent_records)

    def _send_records(self) -> bool:
        """Send the records that were not sent yet; returns whether the link took all."""
        for number, call_id, record in self.records.after(self._sent_record):
            try:
                self._channel.send(encode(DropCall(call_id, record, number)))
            except ChannelFull:
                return False
            self._sent_record = number
        return True

    def _send_call(self, call_id: bytes, snapshot: bytes | None) -> bool:
        try:
            if snapshot is None:
                self._channel.send(encode(DropCall(call_id)))
            else:
                for part, data, last in parts(snapshot):
                    self._channel.send(encode(SaveCall(call_id, data, part, last)))
        except ChannelFull:
            return False
        return True

    def _send_releases(self) -> None:
        for some in batches(list(self._unreleased)):
            try:
                self._channel.send(encode(ReleaseSockets(some)))
            except ChannelFull:
                return
            for endpoint in some:
                del self._unreleased[endpoint]
