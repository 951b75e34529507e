"""Buffers of media sockets: room for a burst of video, and what was lost for lack of room.

A key frame is a few hundred packets at the speed of the wire, more than a socket holds by default (about 90).
What a socket loses is read from the kernel in a round over all, if the host has lost packets
(nh.shard.media.sockets.udp_errors), and when its session is shown or ends. So no packet costs more for it.
"""

import contextlib
import functools
import socket
from collections.abc import Iterable
from typing import Final, NamedTuple

from nh.calls.drop import Drop
from nh.calls.leg import Leg
from nh.calls.session import Session
from nh.shard.media.sockets.media_socket import NOT_ENLARGED, MediaSocket, sockets_of
from nh.shard.media.totals import TrafficTotals


class Room(NamedTuple):
    """How large the buffers of a socket for RTP may be, in each direction.

    Args:
        most_bytes: what it gets of a budget that is full. A packet may occupy 4.5 KiB.
        share: it gets at most one part in so many of what is left of the budget; later calls get some, too.
        reserve: the part of the budget that is kept for others.
    """

    most_bytes: int
    share: int
    reserve: float


VIDEO: Final = Room(4 * 1024 * 1024, 16, 0.0)
OTHER: Final = Room(1024 * 1024, 128, 0.5)
"""Sound, and media whose kind is unknown."""

BUDGET_BYTES: Final = 256 * 1024 * 1024
"""Most that all receive buffers of a shard may be larger than the default."""

STEP_BYTES: Final = 4096
"""What a socket gets is a multiple of this: less holds no packet, and so sockets share a few numbers."""

SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33

_RTP: Final = 0


class MediaBuffers:
    """Buffers of the media sockets of one shard.

    Args:
        traffic: counts what is lost.
        budget_bytes: see BUDGET_BYTES.

    Attributes:
        left_bytes: what is left of the budget.
    """

    def __init__(self, traffic: TrafficTotals, *, budget_bytes: int = BUDGET_BYTES) -> None:
        self._traffic = traffic
        self.left_bytes = budget_bytes
        self._budget_bytes = budget_bytes

    def fit(self, session: Session) -> None:
        """Give the sockets of a session the room that its media need."""
        group = session.group_from
        for index, place in enumerate(group.components):
            if place.component == _RTP:
                room = VIDEO if group.media[place.medium].kind == "video" else OTHER
                for media_socket in sockets_of(session.legs[2 * index : 2 * index + 2]):
                    self.enlarge(media_socket, room)

    def release(self, media_sockets: Iterable[MediaSocket]) -> None:
        """Return what sockets that are closed had of the budget."""
        for media_socket in media_sockets:
            self.left_bytes += sum(media_socket.enlarged)
            media_socket.enlarged = NOT_ENLARGED

    def count_lost(self, session: Session) -> None:
        """Count what the sockets of a session have lost since the last call."""
        for leg in session.legs:
            for media_socket in sockets_of([leg]):
                self._count_lost(leg, media_socket)

    def _count_lost(self, leg: Leg, media_socket: MediaSocket) -> None:
        if media_socket.legs:
            leg = media_socket.legs[-1]  # of those that share the socket, the newest session's counts
        lost, before = media_socket.lost_packets(), media_socket.lost
        if lost == before:
            return
        if before < 0:
            # adopted: the process before counted for the leg what the snapshot of the leg has
            before = min(lost, leg.drops[Drop.OVERFLOW] if leg.drops is not None else 0)
        if lost > before:  # 0 would make the leg of each adopted socket one that has lost something
            leg.count_drop(Drop.OVERFLOW, lost - before)
            self._traffic.drop(Drop.OVERFLOW, 0, lost - before)
        media_socket.lost = lost

    def enlarge(self, media_socket: MediaSocket, room: Room) -> None:
        """Give one socket that room, or what the budget has left for it."""
        more = self._enlarge(media_socket, room, room.most_bytes)
        own, beside = media_socket.enlarged
        media_socket.enlarged = _same(own + more, beside)

    def fit_beside(self, media_socket: MediaSocket) -> None:
        """Give a new socket beside another one the room that this one has, as far as the budget goes.

        What a phone sends from where its NAT has moved it comes there first.
        """
        assert media_socket.beside is not None
        own, before = media_socket.enlarged
        self.left_bytes += before
        most = media_socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        media_socket.enlarged = _same(own, self._enlarge(media_socket.beside, OTHER, most))

    def _enlarge(self, sock: socket.SocketType, room: Room, most_bytes: int) -> int:
        """Enlarge the buffers of a socket to at most `most_bytes`; returns what that took of the budget."""
        before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        free_bytes = max(0, self.left_bytes - int(room.reserve * self._budget_bytes))
        wanted = min(most_bytes, before + free_bytes // room.share // STEP_BYTES * STEP_BYTES)
        if wanted <= before:
            return 0
        _set(sock, SO_SNDBUFFORCE, socket.SO_SNDBUF, wanted)
        taken = max(0, _set(sock, SO_RCVBUFFORCE, socket.SO_RCVBUF, wanted) - before)
        self.left_bytes -= taken
        return taken


@functools.lru_cache(maxsize=256)
def _same(own_bytes: int, beside_bytes: int) -> tuple[int, int]:
    """Both numbers, the same object for equal arguments: thousands of sockets have the same few."""
    return own_bytes, beside_bytes


def _set(sock: socket.SocketType, force: int, option: int, size_bytes: int) -> int:
    """Set a buffer's size: beyond the host's limit (net.core.rmem_max) with CAP_NET_ADMIN, else up to it.

    Returns:
        Its size now.
    """
    half = size_bytes // 2  # the kernel doubles it, for its own structures
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, half)
    except OSError:  # EPERM
        if sock.getsockopt(socket.SOL_SOCKET, option) < size_bytes:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, option, half)
        return sock.getsockopt(socket.SOL_SOCKET, option)
    return 2 * half
