"""A socket group: the relay's sockets for the media of one SDP (Net::SIP::NATHelper::SocketGroup).

It knows its media and its sockets, and when it was last of use; it does not know what is sent through it.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nh.calls.leg import RelaySocket
from nh.calls.media import Media, RelayMedia, Side, interned
from nh.calls.ports import PortSpace

OpenSockets = Callable[[str, int, int], list[RelaySocket]]
"""(address, base port, count) → that many sockets, or PortInUse, AddressUnavailable, PortsExhausted."""

CloseSockets = Callable[[list[RelaySocket]], None]


class Component(NamedTuple):
    """One socket of a group: which medium it belongs to and which of its consecutive ports it is."""

    medium: int
    component: int
    socket: RelaySocket


class SocketGroup:
    """All sockets for one SDP. Build it with open(), end it with close().

    Arguments:
        id: idfrom or idto of the end whose SDP this was.
        side: whether that was the request's or the response's.
        media: what the SDP announced.
        relay_media: what the proxy shall announce instead.
        sockets: all of them, in the order of media and ports.
        created: monotonic seconds.
        dscp: what its sockets were asked to send with, None: as set.
    """

    __slots__ = (
        "address",
        "created",
        "dscp",
        "id",
        "idle_since",
        "media",
        "relay_media",
        "side",
        "sockets",
        "users",
    )

    def __init__(
        self,
        *,
        id: bytes,  # Net::SIP's word
        side: Side,
        address: str,
        media: Sequence[Media],
        runs: Sequence[tuple[int, list[RelaySocket]]],
        created: float,
        dscp: int | None = None,
    ) -> None:
        self.id = id
        self.side = side
        self.address = address
        self.media = tuple(media)
        self.created = created
        self.dscp = dscp
        self.users = 0
        self.idle_since: float | None = None
        self.relay_media = tuple(
            # an inactive medium answers port 0, though its sockets exist: its end may still send
            RelayMedia(address, base if medium.active else 0, medium.range)
            for medium, (base, _) in zip(media, runs, strict=True)
        )
        self.sockets = tuple(socket for _, sockets in runs for socket in sockets)

    @classmethod
    def open(
        cls,
        *,
        id: bytes,
        side: Side,
        address: str,
        media: Sequence[Media],
        ports: PortSpace,
        open_sockets: OpenSockets,
        close_sockets: CloseSockets,
        now: float,
        dscp: int | None = None,
    ) -> "SocketGroup":
        """A group with all its sockets: if one cannot be had, none is kept.

        Raises PortsExhausted or AddressUnavailable.
        """
        runs: list[tuple[int, list[RelaySocket]]] = []
        try:
            for medium in media:
                runs.append(ports.open_run(address, medium.range, open_sockets))
        except BaseException:
            for base, sockets in runs:
                close_sockets(sockets)
                ports.release(address, base, len(sockets))
            raise
        return cls(id=id, side=side, address=address, media=media, runs=runs, created=now, dscp=dscp)

    @classmethod
    def adopt(
        cls,
        *,
        id: bytes,
        side: Side,
        address: str,
        media: Sequence[Media],
        bases: Sequence[int],
        announced: Sequence[bool],
        ports: PortSpace,
        adopt_sockets: OpenSockets,
        close_sockets: CloseSockets,
        created: float,
        dscp: int | None,
    ) -> "SocketGroup":
        """The same on ports that are given, one base a medium: of a group that is restored.

        `announced`: for each medium, whether its port was announced: not that of an inactive one.

        Raises PortInUse, PortsExhausted or AddressUnavailable; then no socket is kept.
        """
        runs: list[tuple[int, list[RelaySocket]]] = []
        try:
            for medium, base in zip(media, bases, strict=True):
                ports.reserve(address, base, medium.range)
                try:
                    runs.append((base, adopt_sockets(address, base, medium.range)))
                except BaseException:
                    ports.release(address, base, medium.range)
                    raise
        except BaseException:
            for base, sockets in runs:
                close_sockets(sockets)
                ports.release(address, base, len(sockets))
            raise
        group = cls(id=id, side=side, address=address, media=media, runs=runs, created=created, dscp=dscp)
        group.relay_media = tuple(
            RelayMedia(address, base if was_announced else 0, medium.range)
            for medium, base, was_announced in zip(media, bases, announced, strict=True)
        )
        return group

    @property
    def components(self) -> tuple[Component, ...]:
        """The sockets by medium and port."""
        places = ((index, port) for index, medium in enumerate(self.media) for port in range(medium.range))
        return tuple(Component(*place, socket) for place, socket in zip(places, self.sockets, strict=True))

    def renew(self, media: Sequence[Media]) -> None:
        """The end announced its media anew; they need the same sockets as before."""
        self.media = tuple(interned(medium) for medium in media)

    def attach(self) -> None:
        """One more session uses the group."""
        self.users += 1
        self.idle_since = None

    def detach(self, *, since: float) -> None:
        """One session fewer uses it; `since` (monotonic seconds) is when it was last of use."""
        self.users -= 1
        if not self.users:
            self.idle_since = since

    def expires_at(self, *, unused_s: float, replaced_s: float) -> float:
        """Monotonic seconds from when on nothing needs it: unused for `unused_s`, left for `replaced_s`."""
        if self.users:
            return math.inf
        return self.created + unused_s if self.idle_since is None else self.idle_since + replaced_s

    def close(self, *, ports: PortSpace, close_sockets: CloseSockets) -> None:
        """Close all sockets and give the ports back."""
        close_sockets(list(self.sockets))
        runs: dict[int, list[RelaySocket]] = {}
        for component in self.components:
            runs.setdefault(component.medium, []).append(component.socket)
        for sockets in runs.values():
            ports.release(self.address, sockets[0].local.port, len(sockets))
