"""A leg: one direction of one socket pair.

A leg receives on one relay socket what one end sends, and passes it on through the socket of its opposite
leg, to that leg's destination. Whom it admits is nh.calls.latching, and nh.calls.ice_reception with ICE; what
it has heard is nh.calls.reception; which stages its packets go through is nh.shard.media.pipeline.
"""

from collections.abc import Callable, Sequence

from nh.calls.blocking import NOTHING_BLOCKED, Blockable
from nh.calls.bundle import Demultiplexer
from nh.calls.drop import Drop
from nh.calls.ice_reception import IceReception
from nh.calls.latching.claims import Carried
from nh.calls.latching.source import SourcePolicy
from nh.calls.latching.terms import LegTerms
from nh.calls.media import Endpoint
from nh.calls.protocols.media_security import MediaSecurity
from nh.calls.protocols.packet_protocol import DtlsProtocol, PacketProtocol
from nh.calls.rare import Rare
from nh.calls.rtp.meter import RtpMeter
from nh.calls.rtp.payload_types import PayloadTypes
from nh.calls.rtp.quality import INTERVAL_PACKETS
from nh.calls.rtp.silence import Silencer
from nh.calls.rtp.stream import RtpStream
from nh.calls.sockets.relay_socket import RelaySocket

Transform = Callable[[memoryview], memoryview]
"""Rewrites a packet before it is measured and sent. It must not keep the argument: the buffer is reused."""

Tap = Callable[[memoryview], None]
"""Observes a packet after all transforms. It must not keep the argument: the buffer is reused."""


class Leg(IceReception, Blockable):
    """One direction of one component of one medium.

    Args:
        socket: the relay's socket that receives.
        announced: where the end that sends here said that it receives, None if it said nothing usable.
        terms: who may send, what claims the leg, and whether that end wants to receive.
        window_ends: monotonic seconds until which a better source takes over (HEURISTIC).
        signalled_from: IP address that the signalling came from, "" if unknown.
        payload_types: see Reception.

    Attributes:
        other: the leg of the opposite direction.
        blocks: see Blockable, blocked_events and silencer.
        rtcp: the leg that RTCP on this port counts for, where this end multiplexes RTCP and the other end
            does not (RFC 5761); None otherwise. What is sent to the RTCP component of this end goes to its
            RTP port: see `muxed_on` of that leg.
        bundle: tells the media apart that come to this port (RFC 9143), of which this leg's is the tagged
            one; None: only this leg's does.
        bundled_on: the leg of the tagged medium, where this end sends this medium, too, and is sent it from;
            None: this leg has its own port.
        ice: the ICE of the end with the relay; None: it has none.
        security: of what the end sends here and is sent; None: none that ends at the relay. A leg that has
            any, or whose egress has, stays in user space.
        transforms, taps: stages between admission and egress, in order; a leg that has any stays in user
            space.
        drops: packets by Drop, None: no drop yet.
        offender: the latest source that was refused; None: no packet was.
        unreachable: how many messages of ICMP said that packets sent to this end do not arrive.
        unreachable_at: monotonic seconds of the latest one; None: there was none.
        not_offloaded: why there is no flow ("": not tried).
        muxed_reports: packets of RTCP that have been read at this port of RTP.
        kernel_folded: of a restored leg: packets and bytes of the flow at its socket that are already in the
            counters, None if there was no flow. The leg that adopts the flow continues from there.
    """

    __slots__ = (
        "blocks",
        "bundle",
        "bundled_on",
        "not_offloaded",
        "other",
        "rtcp",
        "security",
    )

    transforms = Rare[tuple[Transform, ...]](())
    taps = Rare[tuple[Tap, ...]](())
    drops = Rare[list[int] | None](None)
    offender = Rare[Endpoint | None](None)
    unreachable = Rare(0)
    unreachable_at = Rare[float | None](None)
    muxed_reports = Rare(0)
    kernel_folded = Rare[tuple[int, int] | None](None)

    other: "Leg"
    rtp: "Leg | None"

    def __init__(
        self,
        *,
        socket: RelaySocket,
        announced: Endpoint | None,
        terms: LegTerms,
        window_ends: float,
        signalled_from: str,
        payload_types: PayloadTypes | None,
    ) -> None:
        super().__init__(
            announced=announced,
            terms=terms,
            signalled_from=signalled_from,
            window_ends=window_ends,
            payload_types=payload_types,
        )
        self.socket = socket
        self.ice = None
        self.blocks = NOTHING_BLOCKED
        self.rtcp: Leg | None = None
        self.bundle: Demultiplexer[Leg] | None = None
        self.bundled_on: Leg | None = None
        self.security: MediaSecurity | None = None
        self.not_offloaded = ""

    # --- what its end says beside the media ------------------------------------------------------------

    @property
    def dtls(self) -> DtlsProtocol | None:
        """The relay's DTLS with the end that sends here, None without."""
        return None if self.security is None else self.security.dtls

    @property
    def protocols(self) -> list[PacketProtocol]:
        """The protocols that the end speaks with the relay beside the media."""
        return [each for each in (self.ice, self.dtls) if each is not None]

    @property
    def at_port(self) -> "Sequence[Leg]":
        """See Reception."""
        return (self,) if self.bundle is None else self.bundle.members

    @property
    def muxed_on(self) -> "Leg | None":
        """Of RTCP: the leg of RTP on whose port it comes; None: it has a port of its own."""
        rtp = self.rtp
        return rtp if rtp is not None and rtp.rtcp is self else None

    @property
    def is_muxed(self) -> bool:
        """Whether it is for RTCP of an end that sends that to the port of RTP (RFC 5761)."""
        if self.rtp is None:
            return False
        return self.muxed_on is not None or (
            self.announced is not None and self.announced == self.rtp.announced
        )

    # --- where packets go -----------------------------------------------------------------------------

    @property
    def egress(self) -> "Leg":
        """The leg of the end that is sent what arrives here; `egress.destination` is where."""
        leg = self.other
        rtp = leg.rtp
        if rtp is not None and rtp.rtcp is leg:  # `muxed_on`, without the call
            leg = rtp
        return leg.bundled_on or leg

    @property
    def transport(self) -> "Leg":
        """The leg at whose port this arrives, which has the source: RTP's where RTCP comes there, in a bundle
        the tagged medium's."""
        leg = self.muxed_on or self
        return leg.bundled_on or leg

    @property
    def destination(self) -> Endpoint | None:
        """Where the end that sends here is sent to: its source once it is known, else as announced."""
        if not self.terms.receives:
            return None
        if self.guarded:  # nothing is sent to where no check came from (RFC 7675 5)
            return self.source
        if self.terms.policy is SourcePolicy.ASYMMETRIC:
            return self.announced
        return self.source or self.announced

    @property
    def blocked_events(self) -> frozenset[int]:
        """The payload types of the packets that are not passed on, because they are DTMF events."""
        if not self.dtmf_blocked or self.payload_types is None:
            return frozenset()
        return self.payload_types.events

    @property
    def silencer(self) -> Silencer | None:
        """What silences the packets that are passed on, None if nothing does."""
        if not self.silenced or self.payload_types is None:
            return None
        encrypted = Carried.PADDED not in self.terms.carried and self.security is None
        return Silencer(self.payload_types, encrypted=encrypted)

    def receives_at(self, socket: RelaySocket) -> bool:
        """Whether it receives at one of its sockets; without checks, an end sends to the default one."""
        return self.bundled_on is None and (socket is self.socket or self.guarded)

    # --- changes --------------------------------------------------------------------------------------

    def renew(
        self,
        *,
        announced: Endpoint | None,
        terms: LegTerms,
        signalled_from: str,
        window_ends: float,
        ice_ufrag: str = "",
    ) -> None:
        """Apply new signalling of the end that sends here: learn its source again.

        An end on hold is still where it was. With ICE, it stays where its checks have shown it until others
        do.
        """
        self.learn_again(
            announced=announced if terms.receives else self.announced,
            terms=terms,
            signalled_from=signalled_from,
            window_ends=window_ends,
            ice_ufrag=ice_ufrag,
        )
        self.follow_ice()

    def inherit(self, before: "Leg") -> None:
        """Go on from what another leg knows of the same end's source; this leg's session replaces that one's.

        To this leg, the signalling that made it is new signalling of that end.
        """
        announced, ice_ufrag = self.announced, self.ice_ufrag
        signalled_from, window_ends = self.signalled_from, self.window_ends
        self.announced, self.ice_ufrag = before.announced, before.ice_ufrag
        self.signalled_from, self.met_at = before.signalled_from, before.met_at
        self.direct = before.direct
        self.window_ends = before.window_ends
        self.source, self.rank, self.state = before.source, before.rank, before.state
        self.inherited = True
        if self.ice is not None and before.ice is not None and before.sockets == self.sockets:
            self.ice = before.ice.renewed(self.ice.agent)
        latest = before.latest_known_stream
        if latest is not None:
            self.superseded_stream = RtpStream.from_state(latest.to_state(), shift_s=0.0)
        self.renew(
            announced=announced,
            terms=self.terms,
            signalled_from=signalled_from,
            window_ends=window_ends,
            ice_ufrag=ice_ufrag,
        )

    def take_transport(self, before: "Leg") -> None:
        """Be the tagged medium's leg in the place of another leg of the bundle: the end is where it was."""
        self.source, self.rank, self.state = before.source, before.rank, before.state
        self.ice = before.ice
        if before.socket in self.candidates:
            self.socket = before.socket

    def leave_bundle(self) -> None:
        """Share no port with other media any more; those that came to this one's have their own again."""
        if self.bundled_on is not None and self.bundled_on.bundle is not None:
            self.bundled_on.bundle.discard(self)
        for member in self.bundle.members if self.bundle is not None else ():
            if member.bundled_on is self:
                member.bundled_on = None
        self.bundle = self.bundled_on = None

    # --- what is counted ------------------------------------------------------------------------------

    @property
    def untouched(self) -> bool:
        """Whether no packet has ever come here, so there is nothing to count."""
        if self.packets or self.meter is not None or self.offload is not None:
            return False
        # what else is rare says nothing of packets: that the leg was replaced, or where its end was before
        return self.rare is None or (self.drops is None and self.kernel_folded is None)

    def count_drop(self, reason: Drop, packets: int = 1) -> None:
        """Count packets that were not passed on."""
        drops = self.drops
        if drops is None:
            drops = self.drops = [0] * len(Drop)
        drops[reason] += packets

    def count_refused(self, source: Endpoint) -> None:
        """Count one packet whose source does not belong to the leg."""
        self.count_drop(Drop.SOURCE_MISMATCH)
        self.offender = source

    def note_unreachable(self, *, now: float) -> None:
        """Note a message of ICMP: a packet that was sent to this end did not arrive (monotonic seconds)."""
        self.unreachable += 1
        self.unreachable_at = now

    def note(self, *, now: float) -> None:
        """Take account of what the kernel has counted, and sample the quality if that is due (monotonic
        seconds)."""
        self.collect()
        if self.meter is not None and self.packets >= self.meter.next_sample:
            self._sample(self.meter, now=now)

    def _sample(self, meter: RtpMeter, *, now: float) -> None:
        if self.offload is not None:
            self.offload.load_meter()
        if self.payload_types is not None:
            meter.sample(self.payload_types.encodings, self.other.meter, now)
        meter.next_sample = self.packets + INTERVAL_PACKETS
