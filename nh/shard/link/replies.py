"""Replies: sends results of commands, with what the supervisor has to back up before it replies.

The results of commands that are executed in a row go in one record, with what all of them have changed: the
supervisor wakes up once for them.
"""

import logging
from collections.abc import Sequence

from nh.errors import NhError
from nh.ipc.backup_messages import BackupMessage
from nh.ipc.channel import MAX_MESSAGE_BYTES, Channel
from nh.ipc.link_codec import encode
from nh.ipc.link_messages import Executed
from nh.results import Failure, Queried, RelayResult
from nh.shard.recovery.checkpoint_link import LinkCheckpointSink, send_in_one_record

logger = logging.getLogger(__name__)


class Replies:
    """Sends the result of each Execute.

    Args:
        channel: the link to the supervisor.
        sink: has collected what commands changed, since its hold().
    """

    def __init__(self, channel: Channel, sink: LinkCheckpointSink) -> None:
        self._channel = channel
        self._sink = sink
        self._held: list[Executed] | None = None

    def hold(self) -> None:
        """Collect results and what changes, until flush()."""
        self._held = []
        self._sink.hold()

    def send(self, request_id: int, result: RelayResult) -> None:
        """Send the result of a command by its id."""
        executed = Executed(request_id, result)
        if self._held is None:  # it was made in steps
            self._send_alone(executed)
        else:
            self._held.append(executed)

    def flush(self) -> None:
        """Send what was collected since hold(), in one record if that has room for it."""
        results, self._held = self._held or [], None
        if not self._sink.flush(lambda backup, fds: _send_with(self._channel, results, backup, fds)):
            if len(results) > 1 and _send_with(self._channel, results):
                return
            for each in results:
                self._send_alone(each)

    def _send_alone(self, executed: Executed) -> None:
        record = encode(executed)
        if len(record) > MAX_MESSAGE_BYTES and isinstance(executed.result, Queried):
            # a delete has taken effect: it must not look as if it had failed
            record = encode(Executed(executed.id, executed.result.without_details()))
        if len(record) > MAX_MESSAGE_BYTES:
            failure = Failure("limit", f"the answer has {len(record)} bytes, more than {MAX_MESSAGE_BYTES}")
            record = encode(Executed(executed.id, failure))
        try:
            self._channel.send(record)
        except NhError as exc:
            logger.error(
                "a reply is dropped, because the supervisor does not read: %s; its client gets `timeout`", exc
            )


def _send_with(
    channel: Channel,
    results: Sequence[Executed],
    backup: tuple[BackupMessage, ...] = (),
    fds: Sequence[int] = (),
) -> bool:
    """Send results and what their commands changed in one record; returns whether that could be done."""
    if not results:
        return False
    first = Executed(results[0].id, results[0].result, backup)
    return send_in_one_record(channel, [first, *results[1:]], fds)
