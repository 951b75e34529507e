"""Backs media sockets up at the supervisor: duplicates, with which a successor of this process goes on.

Sockets that a command opens are backed up with its result. Those that a restore bound anew follow some at a
time when the shard serves, so that thousands of them delay no media. The supervisor has the others already:
a restore got them from it.
"""

import itertools
from collections.abc import Sequence
from typing import Final

from nh.calls.events import CallObserver
from nh.calls.leg import RelaySocket
from nh.calls.media import Endpoint
from nh.ipc.channel import MAX_FDS
from nh.loop import Loop
from nh.shard.media.sockets import MediaSocket
from nh.shard.recovery.checkpoint_sink import CheckpointSink

TURN_S: Final = 0.01
"""Time between two parts of what a restore bound anew."""


class SocketBackup(CallObserver):
    """Tells a sink which sockets there are.

    Args:
        sink: see CheckpointSink.
    """

    def __init__(self, sink: CheckpointSink) -> None:
        self._sink = sink
        self._loop: Loop | None = None
        self._left: dict[Endpoint, int] = {}  # bound anew by a restore, and yet to be backed up

    def attach(self, loop: Loop) -> None:
        """The shard serves from now on: back up what it has bound anew."""
        self._loop = loop
        if self._left:
            loop.call_later(0, self._store_some)

    def sockets_opened(self, _call_id: bytes, sockets: Sequence[RelaySocket]) -> None:
        """See CallObserver. The sockets are in the next snapshot of their call."""
        ours = [each for each in sockets if isinstance(each, MediaSocket) and not each.adopted]
        if self._loop is None:
            self._left.update((each.local, each.fd) for each in ours)
        elif ours:
            self._sink.store_sockets([each.local for each in ours], [each.fd for each in ours])

    def sockets_closing(self, sockets: Sequence[RelaySocket]) -> None:
        """See CallObserver."""
        for each in sockets:
            self._left.pop(each.local, None)
        self._sink.release_sockets([each.local for each in sockets])

    def _store_some(self) -> None:
        if not self._sink.has_backlog:  # otherwise each would need another descriptor while it waits
            some = dict(itertools.islice(self._left.items(), MAX_FDS))
            self._sink.store_sockets(list(some), list(some.values()))
            for local in some:
                del self._left[local]
        if self._left and self._loop is not None:
            self._loop.call_later(TURN_S, self._store_some)
