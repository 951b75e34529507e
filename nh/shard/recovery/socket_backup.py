"""Backs media sockets up at the supervisor: duplicates, with which a successor of this process goes on.

Sockets that a command opens are backed up with its result. Those that a restore binds anew are backed up
MAX_FDS at a time while it goes on, which takes a hundredth of the time of binding them: so the supervisor has
them when the shard serves, and a shard that dies then loses no packet. The supervisor has the others already:
a restore got them from it.
"""

import itertools
from collections.abc import Sequence
from typing import Final

from nh.calls.events import CallObserver
from nh.calls.media import Endpoint
from nh.calls.sockets.relay_socket import RelaySocket
from nh.ipc.fd_passing import MAX_FDS
from nh.loop import Loop
from nh.shard.media.sockets.media_socket import MediaSocket
from nh.shard.recovery.checkpoint_sink import CheckpointSink

TURN_S: Final = 0.01
"""How often the rest is tried again, for which the link had no room."""


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
        """The shard serves from now on: what it has bound anew is backed up before it relays a packet."""
        self._loop = loop
        self._store_left()

    def sockets_opened(self, _call_id: bytes, sockets: Sequence[RelaySocket]) -> None:
        """See CallObserver. The sockets are in the next snapshot of their call."""
        ours = [
            each
            for each in sockets
            if isinstance(each, MediaSocket) and (each.rare is None or not each.adopted)
        ]
        if self._loop is None:
            self._left.update((each.local, each.fileno()) for each in ours)
            if len(self._left) >= MAX_FDS:
                self._store_some()
        elif ours:
            self._sink.store_sockets([each.local for each in ours], [each.fileno() for each in ours])

    def sockets_closing(self, sockets: Sequence[RelaySocket]) -> None:
        """See CallObserver."""
        locals_ = [each.local for each in sockets]
        for local in locals_ if self._left else ():
            self._left.pop(local, None)
        self._sink.release_sockets(locals_)

    def _store_left(self) -> None:
        while self._left and self._store_some():
            pass
        if self._left and self._loop is not None:
            self._loop.call_later(TURN_S, self._store_left)

    def _store_some(self) -> bool:
        """Returns whether the link has room; otherwise each would need another descriptor while it waits."""
        if self._sink.has_backlog:
            return False
        some = dict(itertools.islice(self._left.items(), MAX_FDS))
        for local in some:  # first: sockets that meet a bug must not keep the others from being stored
            del self._left[local]
        self._sink.store_sockets(list(some), list(some.values()))
        return True
