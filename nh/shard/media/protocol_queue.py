"""Packets of ICE or DTLS that wait for their turn, with a share for each socket.

A flood at one port must not starve the ends at others. So sockets take turns, packet by packet, and
what waits at one socket is at most a part of the room that is left: the more sockets are flooded, the less
each of them gets. A socket where nothing waits has room of its own, but not for packets longer than
LONG_BYTES.
"""

from collections import deque
from collections.abc import Hashable
from typing import Final, Generic, NamedTuple, TypeVar

from nh.calls.media import Endpoint

MAX_WAITING: Final = 1024
"""Packets that wait, without those of MIN_AT_SOCKET; each has 1.5 KiB or so, but for a few long ones."""

LONG_BYTES: Final = 2048
"""No path of media carries a longer packet whole, and fragments are of up to 64 KiB."""

MAX_BEFORE_LONG: Final = 32
"""A longer packet than LONG_BYTES waits behind fewer packets than these: so at most as many wait."""

MIN_AT_SOCKET: Final = 2
"""What may wait at a socket in any case: browsers send a ClientHello in two datagrams. There is as much room
for these as for all others."""

SHARE: Final = 8
"""What waits at one socket is at most this part of the room that is left."""

SocketT = TypeVar("SocketT", bound=Hashable)


class Step(NamedTuple, Generic[SocketT]):
    """A packet that waits.

    Attributes:
        media_socket: where it came.
        packet: its bytes.
        source: where it came from.
    """

    media_socket: SocketT
    packet: bytes
    source: Endpoint


class ProtocolQueue(Generic[SocketT]):
    """See above."""

    def __init__(self) -> None:
        self._waiting = 0
        self._by_socket: dict[SocketT, deque[Step[SocketT]]] = {}  # the next one first

    def __len__(self) -> int:
        return self._waiting

    def add(self, step: Step[SocketT]) -> bool:
        """Let a packet wait; returns False if its socket has as many as it may, or a long one finds others
        there: the packet is lost."""
        steps = self._by_socket.get(step.media_socket)
        before = 0 if steps is None else len(steps)
        if len(step.packet) > LONG_BYTES and (before or self._waiting >= MAX_BEFORE_LONG):
            return False
        in_share = before < (MAX_WAITING - self._waiting) // SHARE
        if not in_share and not (before < MIN_AT_SOCKET and self._waiting < 2 * MAX_WAITING):
            return False
        if steps is None:
            steps = self._by_socket[step.media_socket] = deque()
        steps.append(step)
        self._waiting += 1
        return True

    def take(self) -> Step[SocketT]:
        """The oldest packet of the socket whose turn it is; one waits."""
        media_socket, steps = next(iter(self._by_socket.items()))
        del self._by_socket[media_socket]
        step = steps.popleft()
        self._waiting -= 1
        if steps:
            self._by_socket[media_socket] = steps
        return step
