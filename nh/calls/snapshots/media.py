"""Snapshots of media and socket groups."""

import functools
from collections.abc import Sequence
from typing import Annotated, Self

import msgspec

from nh.calls.media import MAX_MEDIA, MAX_RANGE, Endpoint, Media, Side
from nh.calls.resources import CallResources
from nh.calls.rtp.payload_types import MAX_CLOCK_HZ, MAX_FORMATS, PayloadFormat
from nh.calls.snapshots.values import Address, Index, Port, Time, TimeShift, require, require_index
from nh.calls.sockets.candidates import MAX_FURTHER
from nh.calls.sockets.group import SocketGroup
from nh.calls.sockets.ports import PortInUse
from nh.errors import PortsExhausted, ProtocolError, SnapshotUnreadable
from nh.ice.credentials import MAX_CHARACTERS
from nh.ip_address import canonical_host, is_address, is_unicast

ClockHz = Annotated[int, msgspec.Meta(ge=1, le=MAX_CLOCK_HZ)]
PayloadType = Annotated[int, msgspec.Meta(ge=0, le=127)]
Format = tuple[PayloadType, str, ClockHz]
_Handshake = Annotated[str, msgspec.Meta(max_length=16)]
_MAX_HANDSHAKES = 16  # more than this nh knows: another may know more


@functools.lru_cache(maxsize=256)  # thousands of calls have the same few
def _take_formats(formats: tuple[PayloadFormat, ...]) -> list[Format]:
    return [(each.payload_type, each.encoding, each.clock_hz) for each in formats]


class MediaSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A nh.calls.media.Media."""

    address: Annotated[str, msgspec.Meta(max_length=254)]
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    range: Annotated[int, msgspec.Meta(ge=1, le=MAX_RANGE)]
    proto: str = ""
    kind: str = ""
    rtcp: tuple[Address, Port] | None = None
    signalled_from: Address = ""
    paused: bool = False
    formats: Annotated[list[Format], msgspec.Meta(max_length=MAX_FORMATS)] = []
    handshakes: Annotated[tuple[_Handshake, ...], msgspec.Meta(max_length=_MAX_HANDSHAKES)] = ()
    mute: bool = False
    payload_types: Annotated[tuple[PayloadType, ...], msgspec.Meta(max_length=MAX_FORMATS)] = ()
    ice_ufrag: Annotated[str, msgspec.Meta(max_length=MAX_CHARACTERS)] = ""

    @classmethod
    def take(cls, media: Media) -> Self:
        """The snapshot of `media`."""
        rtcp = media.rtcp
        return cls(
            media.address,
            media.port,
            media.range,
            media.proto,
            media.kind,
            None if rtcp is None else (rtcp.address, rtcp.port),
            media.signalled_from,
            media.paused,
            _take_formats(media.formats),
            media.handshakes,
            media.mute,
            media.payload_types,
            media.ice_ufrag,
        )

    def check(self) -> None:
        """Check the addresses: a host name as RTCP address would be looked up in the DNS with each packet.

        Raises:
            SnapshotUnreadable: one is no address.
        """
        try:
            canonical_host(self.address, where="snapshot")
        except ProtocolError as exc:
            raise SnapshotUnreadable(str(exc)) from exc
        if self.rtcp is not None:
            require(is_address(self.rtcp[0]), f"the RTCP address {self.rtcp[0]!r} is not an IP address")

    def rebuild(self) -> Media:
        """The medium as it was."""
        rtcp = self.rtcp
        return Media(
            self.address,
            self.port,
            self.range,
            self.proto,
            self.kind,
            None if rtcp is None else Endpoint(*rtcp),
            self.signalled_from,
            self.paused,
            tuple(PayloadFormat(*each) for each in self.formats),
            self.handshakes,
            self.mute,
            self.payload_types,
            self.ice_ufrag,
        )


class GroupSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A socket group.

    Attributes:
        bases: the first port of each medium.
        announced: for each medium, whether its port was announced; the port of an inactive medium is not.
        shares: index of an earlier group that has the same sockets; None: they are its own.
        further: address and first port of each further candidate of its only medium.
        advertised: see SocketGroup; "": it is `address`.
    """

    id: bytes
    side: Side
    address: Address
    created: Time
    idle_since: Time | None
    dscp: Annotated[int, msgspec.Meta(ge=0, le=63)] | None
    media: Annotated[list[MediaSnapshot], msgspec.Meta(max_length=MAX_MEDIA)]
    bases: list[Port]
    announced: list[bool]
    shares: Index | None = None
    further: Annotated[list[tuple[Address, Port]], msgspec.Meta(max_length=MAX_FURTHER)] = []
    advertised: Address = ""

    @classmethod
    def take(cls, group: SocketGroup, shares: int | None = None) -> Self:
        """The snapshot of `group`."""
        media = group.media
        dscp: int | None = None
        announced = [True] * len(media)
        further: list[tuple[Address, Port]] = []
        if group.rare is not None:
            dscp, unannounced = group.dscp, group.unannounced
            announced = [not unannounced >> index & 1 for index in range(len(media))]
            further = [(each.address, each.base) for each in group.further]
        address, advertised = group.address, group.advertised
        return cls(
            group.id,
            group.side,
            address,
            group.created,
            group.idle_since,
            dscp,
            [MediaSnapshot.take(each) for each in media],
            group.bases,
            announced,
            shares,
            further,
            "" if advertised == address else advertised,
        )

    def check(self, earlier: "Sequence[GroupSnapshot]" = ()) -> None:
        """Check addresses and ports.

        Args:
            earlier: the groups before this one.

        Raises:
            SnapshotUnreadable: they cannot be those of sockets, or of the group whose sockets it has.
        """
        require(is_unicast(self.address), f"the group address {self.address!r} is not a unicast IP address")
        require(
            len(self.media) == len(self.bases) == len(self.announced),
            "a group's media and ports differ in number",
        )
        for media, base in zip(self.media, self.bases, strict=True):
            media.check()
            _require_run(base, media)
        require(not self.further or len(self.media) == 1, "further candidates of several media")
        for address, base in self.further:
            require(is_unicast(address), f"the candidate {address!r} is not a unicast IP address")
            _require_run(base, self.media[0])
        if self.shares is not None:
            require_index(self.shares, earlier, "earlier group")
            same = self._places == earlier[self.shares]._places
            require(same, "two groups share sockets and differ in them")

    @property
    def _places(self) -> tuple[str, list[Port], list[int], list[tuple[Address, Port]]]:
        """Where its sockets are."""
        return self.address, self.bases, [media.range for media in self.media], self.further

    def rebuild(
        self, resources: CallResources, times: TimeShift, earlier: Sequence[SocketGroup] = ()
    ) -> SocketGroup:
        """The group with its sockets on the ports that it had.

        Args:
            resources: of the call.
            times: for its times.
            earlier: the groups before it.

        Raises:
            PortsExhausted, AddressUnavailable: its sockets cannot be had; then none is open.
        """
        if self.shares is not None:
            group = earlier[self.shares].share()
            group.id, group.created = self.id, times.past(self.created)
            group.set_media([media.rebuild() for media in self.media], self.announced)
        else:
            group = self._adopt(resources, times)
        group.idle_since = times.maybe_past(self.idle_since)
        if self.advertised:
            group.advertise(self.advertised)
        return group

    def _adopt(self, resources: CallResources, times: TimeShift) -> SocketGroup:
        try:
            return resources.adopt_group(
                group_id=self.id,
                side=self.side,
                address=self.address,
                media=[media.rebuild() for media in self.media],
                bases=self.bases,
                announced=self.announced,
                dscp=self.dscp,
                created=times.past(self.created),
                further=self.further,
            )
        except PortInUse as exc:
            raise PortsExhausted(f"ports of the call on {self.address} are in use: {exc}") from exc

    @property
    def ports(self) -> int:
        """Number of its sockets."""
        return sum(media.range for media in self.media)


def _require_run(base: int, media: MediaSnapshot) -> None:
    """Check the first port of a medium.

    Raises:
        SnapshotUnreadable: its ports cannot be there.
    """
    require(base % 2 == 0 and base + media.range <= 65536, f"no medium can have its ports at {base}")
