"""A socket group: the relay's sockets for the media of one SDP (Net::SIP::NATHelper::SocketGroup).

It knows its media, its sockets, and when it was last in use. It does not know what is sent through it.
"""

import copy
import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from nh.calls.media import Media, RelayMedia, Side, interned
from nh.calls.one_or_many import OneOrMany
from nh.calls.protocols.media_security import MediaSecurity
from nh.calls.rare import Rare
from nh.calls.sockets.relay_socket import RelaySocket
from nh.calls.sockets.runs import SocketRun, SocketRuns
from nh.ice.agent import IceAgent


class Component(NamedTuple):
    """What one socket of a group is for.

    Attributes:
        medium: index of its medium.
        component: which of the medium's consecutive ports it has, from 0.
    """

    medium: int
    component: int


@functools.lru_cache(maxsize=256)  # most groups are alike, so they share one tuple
def _components(ranges: tuple[int, ...]) -> tuple[Component, ...]:
    return tuple(Component(index, port) for index, range_ in enumerate(ranges) for port in range(range_))


@functools.lru_cache(maxsize=256)  # thousands of groups have the same few
def _addresses(bound: str, advertised: str) -> tuple[str, str]:
    return bound, advertised


class _Sharing:
    """How many groups have the same sockets."""

    __slots__ = ("groups",)

    def __init__(self) -> None:
        self.groups = 1


class SocketGroup:
    """All sockets for one SDP. open() or adopt() creates it, close() ends it.

    After share() several groups have the same sockets, each for what its SDP announced.

    Attributes:
        id: idfrom or idto of the end whose SDP this was.
        side: FROM for the request's SDP, TO for the response's.
        media: the media that the SDP announced.
        medium: its only one, of a group that has one, as all of ng have.
        unannounced: the media whose ports the proxy does not announce, one bit for each.
        sockets: all of them, in the order of media and ports.
        components: what each of `sockets` is for, in the same order.
        further: the sockets of its only medium at further addresses, of which ICE lets the end choose; ()
            without.
        created: monotonic seconds.
        dscp: DiffServ code point that was asked for, None: that of the settings.
        security: of all its media, None: the relay passes on what comes, as it is.
        ice: the relay's agent towards the end; None: the relay has no ICE with it.
        users: sessions that use the group.
        idle_since: monotonic seconds at which the last session left it; None: a session uses it, or none ever
            did.
    """

    __slots__ = (
        "_addresses",
        "components",
        "created",
        "ice",
        "id",
        "idle_since",
        "medium",
        "rare",
        "security",
        "side",
        "sockets",
        "users",
    )

    media = OneOrMany[Media]("medium")
    medium: Media

    dscp = Rare[int | None](None)
    further = Rare[tuple[SocketRun, ...]](())
    unannounced = Rare(0)
    _sharing = Rare[_Sharing | None](None)

    def __init__(
        self,
        *,
        id: bytes,  # Net::SIP's word
        side: Side,
        address: str,
        media: Sequence[Media],
        runs: Sequence[SocketRun],
        created: float,
        dscp: int | None = None,
    ) -> None:
        self.rare: dict[str, Any] | None = None
        self.id = id
        self.side = side
        self._addresses = _addresses(address, address)
        self.media = tuple(media)
        self.created = created
        if dscp is not None:
            self.dscp = dscp
        self.security: MediaSecurity | None = None
        self.ice: IceAgent | None = None
        self.users = 0
        self.idle_since: float | None = None
        # an inactive medium's is not, although its sockets exist: its end may still send
        inactive = [not medium.active for medium in media]
        if True in inactive:
            self.unannounced = _bits(inactive)
        self.sockets = tuple([socket for run in runs for socket in run.sockets])
        self.components = _components(tuple([medium.range for medium in media]))

    @classmethod
    def open(
        cls, *, id: bytes, side: Side, address: str, media: Sequence[Media], runs: SocketRuns, now: float
    ) -> "SocketGroup":
        """Open a group with all its sockets, or none.

        Args:
            id, side, address, media: see SocketGroup.
            runs: opens the sockets.
            now: monotonic seconds.

        Raises:
            PortsExhausted: no ports, descriptors or memory are left.
            AddressUnavailable: the address cannot be bound.
        """
        opened = runs.take_all(runs.open(address, medium.range) for medium in media)
        return cls(id=id, side=side, address=address, media=media, runs=opened, created=now, dscp=runs.dscp)

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
        runs: SocketRuns,
        created: float,
    ) -> "SocketGroup":
        """Restore a group on the ports that it had.

        Args:
            id, side, address, media, created: see SocketGroup.
            bases: the lowest port of each medium.
            announced: for each medium, whether its port was announced; that of an inactive medium was not.
            runs: adopts the sockets.

        Raises:
            PortInUse, PortsExhausted, AddressUnavailable: no socket is kept.
        """
        adopted = runs.take_all(
            runs.adopt(address, base, medium.range) for medium, base in zip(media, bases, strict=True)
        )
        group = cls(
            id=id,
            side=side,
            address=address,
            media=media,
            runs=adopted,
            created=created,
            dscp=runs.dscp,
        )
        group.set_media(media, announced)
        return group

    def renew(self, media: Sequence[Media]) -> None:
        """Replace the media by newly announced ones, interned, which need the same sockets."""
        self.media = tuple(media)

    def move_to(self, tagged: "SocketGroup") -> None:
        """Let its end be where that of another group is: their media share a transport of the end."""
        self.security, self.ice = tagged.security, tagged.ice
        (own,), (there,) = self.media, tagged.media
        if own.active and there.active:
            moved: Media = msgspec.structs.replace(
                own, address=there.address, port=there.port, rtcp=there.rtcp
            )
            self.renew([moved])

    def set_media(self, media: Sequence[Media], announced: Sequence[bool]) -> None:
        """Restore its media, and for each of them, whether its port was announced."""
        self.renew([interned(medium) for medium in media])
        self.unannounced = _bits([not was_announced for was_announced in announced])

    @property
    def address(self) -> str:
        """Local IP address of `sockets`."""
        return self._addresses[0]

    @property
    def advertised(self) -> str:
        """What the other end's SDP has for it: `address`, that of a NAT before this host, or what the client
        asked for."""
        return self._addresses[1]

    @property
    def is_checked(self) -> bool:
        """Whether checks of ICE with the relay say where its end is; a lite end sends none."""
        return self.ice is not None and not self.ice.remote_lite

    @property
    def bases(self) -> list[int]:
        """The lowest port of each medium."""
        only: object = self.medium
        if not isinstance(only, tuple):  # as of all groups of ng
            return [self.sockets[0].port]
        return [
            socket.port
            for socket, place in zip(self.sockets, self.components, strict=True)
            if place.component == 0
        ]

    @property
    def relay_media(self) -> tuple[RelayMedia, ...]:
        """The media that the proxy announces instead; port 0 for those that it does not announce."""
        address = self.advertised
        return tuple(
            [
                RelayMedia(address, 0 if self.unannounced >> index & 1 else base, medium.range)
                for index, (base, medium) in enumerate(zip(self.bases, self.media, strict=True))
            ]
        )

    @property
    def all_sockets(self) -> tuple[RelaySocket, ...]:
        """Those of all its addresses."""
        if self.rare is None or not self.further:
            return self.sockets
        return (*self.sockets, *[socket for run in self.further for socket in run.sockets])

    def candidates_of(self, index: int) -> tuple[RelaySocket, ...]:
        """The sockets beside which `sockets[index]` is the default candidate, and that; () if it is alone."""
        if self.rare is None or not self.further:
            return ()
        return (self.sockets[index], *[each.sockets[index] for each in self.further])

    @property
    def announced(self) -> bool:
        """Whether the proxy announces any of its ports."""
        return self.unannounced != (1 << len(self.media)) - 1

    def announce(self) -> None:
        """Note that the proxy announces all its ports, those of inactive media too (ng)."""
        if self.rare is not None:
            self.unannounced = 0

    def advertise(self, address: str) -> None:
        """Note the address that the other end's SDP has for it."""
        if address != self.advertised:
            self._addresses = _addresses(self.address, address)

    def attach(self) -> None:
        """Count one more session that uses the group."""
        self.users += 1
        self.idle_since = None

    def detach(self, *, since: float) -> None:
        """Count one session fewer, which was last in use at `since` (monotonic seconds)."""
        self.users -= 1
        if not self.users:
            self.idle_since = since

    def expires_at(self, *, unused_s: float, replaced_s: float) -> float:
        """Monotonic seconds at which the group expires; infinite while a session uses it.

        Args:
            unused_s: lifetime of a group that never had a session.
            replaced_s: lifetime after the last session left.
        """
        if self.users:
            return math.inf
        return self.created + unused_s if self.idle_since is None else self.idle_since + replaced_s

    def share(self) -> "SocketGroup":
        """A group with the same sockets and media, which no session uses yet."""
        self._sharing = sharing = self._sharing or _Sharing()
        sharing.groups += 1
        shared = copy.copy(self)
        shared.rare = copy.copy(self.rare)
        shared.users = 0
        shared.idle_since = None
        return shared

    def share_with(self, medium: Media) -> "SocketGroup":
        """A group with the same sockets for another medium of the same SDP, which shares the transport."""
        shared = self.share()
        shared.security = None
        shared.set_media([medium], [medium.active])
        return shared

    @property
    def is_last(self) -> bool:
        """Whether no other group has its sockets."""
        sharing = None if self.rare is None else self._sharing
        return sharing is None or sharing.groups == 1

    def close(self, runs: SocketRuns) -> None:
        """Close all sockets and release the ports, if no other group has them."""
        if self.rare is None:  # as of nearly all groups
            runs.close(self._own_runs)
            return
        sharing = self._sharing
        if sharing is not None and sharing.groups > 1:
            sharing.groups -= 1
            return
        runs.close([*self._own_runs, *self.further])

    @property
    def _own_runs(self) -> list[SocketRun]:
        """The sockets of each medium."""
        only: object = self.medium
        if not isinstance(only, tuple):  # as of all groups of ng
            return [SocketRun(self.address, self.sockets[0].port, self.sockets)]
        found: list[SocketRun] = []
        first = 0
        for base, medium in zip(self.bases, self.media, strict=True):
            found.append(SocketRun(self.address, base, self.sockets[first : first + medium.range]))
            first += medium.range
        return found


def _bits(flags: Iterable[bool]) -> int:
    return sum(1 << index for index, flag in enumerate(flags) if flag)
