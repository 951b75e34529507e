"""A shard's CheckpointSink behind the internal link: the supervisor keeps.

Where the link is full (the supervisor is stopped, or has no CPU), nothing waits and memory is bounded: of
each call only the latest word is remembered, of sockets that they are to be let go. It is caught up with when
the link has room. Sockets that were opened meanwhile are not held.
"""

import logging
import time
from collections.abc import Sequence
from typing import Final

from nh.calls.media import Endpoint
from nh.errors import ChannelFull
from nh.ipc.channel import Channel, batches
from nh.ipc.link_messages import (
    MAX_SNAPSHOT_BYTES,
    DropCall,
    ReleaseSockets,
    SaveCall,
    StoreSockets,
    encode,
    parts,
)
from nh.throttle import RateLimitedLogger

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
"""Least time between two lines about sockets that could not be handed over."""


class LinkCheckpointSink:
    """See CheckpointSink.

    Arguments:
        channel: to the supervisor.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._limited_log = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)
        self._closed = False
        # what could not be said; while there is anything, everything else queues up behind it
        self._calls: dict[bytes, bytes | None] = {}
        self._sockets: dict[Endpoint, None] = {}

    def store_sockets(self, endpoints: Sequence[Endpoint], fds: Sequence[int]) -> None:
        """See CheckpointSink."""
        if self._closed or self._behind:
            return
        try:
            for some, their_fds in zip(batches(endpoints), batches(fds), strict=True):
                self._channel.send(encode(StoreSockets(some)), their_fds)
        except ChannelFull as exc:
            self._limited_log.log(logging.WARNING, "the supervisor does not hold some sockets: %s", exc)

    def release_sockets(self, endpoints: Sequence[Endpoint]) -> None:
        """See CheckpointSink."""
        if self._closed:
            return
        behind = self._behind
        self._sockets.update(dict.fromkeys(endpoints))
        if not behind:
            self._say_let_go()

    def save_call(self, call_id: bytes, snapshot: bytes) -> None:
        """See CheckpointSink. A snapshot above MAX_SNAPSHOT_BYTES is left out, the one before stays."""
        if self._closed:
            return
        if len(snapshot) > MAX_SNAPSHOT_BYTES:
            logger.error(
                "call %r is kept as it was: its snapshot has %d bytes, more than %d",
                call_id,
                len(snapshot),
                MAX_SNAPSHOT_BYTES,
            )
        elif self._behind or not self._say(call_id, snapshot):
            self._calls[call_id] = snapshot

    def drop_call(self, call_id: bytes) -> None:
        """See CheckpointSink."""
        if self._closed:
            return
        if self._behind or not self._say(call_id, None):
            self._calls[call_id] = None

    def catch_up(self) -> None:
        """Say what could not be said, as far as the link takes it; to be called now and then."""
        if self._closed or self._channel.queued:
            return
        self._say_let_go()
        while self._calls and not self._sockets:
            call_id, snapshot = next(iter(self._calls.items()))
            if not self._say(call_id, snapshot):
                return
            del self._calls[call_id]

    def close(self) -> None:
        """Say nothing any more: what is kept stays as it is."""
        self._closed = True

    @property
    def _behind(self) -> bool:
        return bool(self._calls or self._sockets)

    def _say(self, call_id: bytes, snapshot: bytes | None) -> bool:
        try:
            if snapshot is None:
                self._channel.send(encode(DropCall(call_id)))
            else:
                for part, data, last in parts(snapshot):
                    self._channel.send(encode(SaveCall(call_id, data, part, last)))
        except ChannelFull:
            return False
        return True

    def _say_let_go(self) -> None:
        for some in batches(list(self._sockets)):
            try:
                self._channel.send(encode(ReleaseSockets(some)))
            except ChannelFull:
                return
            for endpoint in some:
                del self._sockets[endpoint]
