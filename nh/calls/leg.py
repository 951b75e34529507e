"""A leg: one direction of one socket pair.

A leg receives on one relay socket what one end sends, and passes it on through the socket of its opposite
leg, to that leg's destination. Whom it admits is nh.calls.latching; which stages its packets go through is
nh.shard.media.pipeline. Its counters are plain attributes, because the relay adds to them for every packet.
"""

import enum
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from nh.calls.claims import Carried, Claim
from nh.calls.earlier import EARLIER_S, EarlierSender
from nh.calls.latch_state import Continuity
from nh.calls.latching import Latch
from nh.calls.media import Endpoint, Side
from nh.calls.rtp.meter import RtpMeter
from nh.calls.rtp.payload_types import PayloadTypes
from nh.calls.rtp.quality import INTERVAL_PACKETS
from nh.calls.rtp.stream import RtpStream
from nh.calls.source import SourcePolicy

FRAGMENT_PACKETS: Final = 5
"""A stream that ends after no more packets of RTP than these was no talking phone: 0.1 s of speech."""


class RelaySocket(Protocol):
    """One port of the relay, as the domain sees it: where it is and which legs receive there.

    Several legs share one socket where a request was forked: each answer has a session of its own, and all of
    them have the group of the request.
    """

    local: Endpoint
    legs: "tuple[Leg, ...]"


class Offload(Protocol):
    """The kernel flow that forwards for a leg."""

    last_seen: float
    """Monotonic seconds of the latest packet that the flow forwarded."""

    @property
    def folded(self) -> tuple[int, int]:
        """Packets and bytes of the flow that are already in the leg's counters."""

    def collect(self) -> None:
        """Add to the leg's counters what the flow forwarded since the last call."""

    def load_meter(self) -> None:
        """Bring the leg's RTP statistics up to date with what the flow measured."""

    def measure(self, packet: memoryview, size: int, now: float) -> None:
        """Measure a packet that reached the leg's socket in spite of the flow; see RtpMeter.measure."""


Transform = Callable[[memoryview], memoryview]
"""Rewrites a packet before it is measured and sent. It must not keep the argument: the buffer is reused."""

Tap = Callable[[memoryview], None]
"""Observes a packet after all transforms. It must not keep the argument: the buffer is reused."""


class Drop(enum.IntEnum):
    """Why a packet was not passed on, and whether a leg had admitted it, so that it is in the leg's counters.

    nh.stats.layout has a counter for each, `drop_` and its name.

    SOURCE_MISMATCH: its source does not belong to the leg, or it came from no known source and is not what
        the leg carries.
    NO_TARGET: the other end does not receive (hold), or its endpoint is not known yet.
    SEND_FAILED: the kernel refused to send it.
    NO_SESSION: no session is active at the socket.
    LOOPED: it passed too many ports of this relay.
    OVERFLOW: the receive buffer of the socket was full.
    DTMF_BLOCKED: it is a DTMF event (RFC 4733), and those of its end are blocked.
    """

    admitted: bool

    def __new__(cls, value: int, admitted: bool) -> "Drop":
        """A reason with its index."""
        reason = int.__new__(cls, value)
        reason._value_ = value
        reason.admitted = admitted
        return reason

    SOURCE_MISMATCH = 0, False
    NO_TARGET = 1, True
    SEND_FAILED = 2, True
    NO_SESSION = 3, False
    LOOPED = 4, True
    OVERFLOW = 5, False
    DTMF_BLOCKED = 6, True


class Leg(Latch):
    """One direction of one component of one medium.

    Args:
        side: the end that sends here.
        socket: the relay's socket that receives it.
        announced: where that end said that it receives, None if it said nothing usable.
        receives: whether that end wants to receive (not on hold).
        policy: who may send.
        window_ends: monotonic seconds until which a better source takes over (HEURISTIC).
        signalled_from: IP address that the signalling came from, "" if unknown.
        payload_types: what the payload types of this direction mean; None for RTCP on a port of its own, and
            for media other than RTP.
        relatch_s, carried: see Latch.

    Attributes:
        other: the leg of the opposite direction.
        blocked: True: nothing that arrives is passed on.
        dtmf_blocked: True: no DTMF event that arrives is passed on; see blocked_events.
        rtcp: the leg that RTCP on this port counts for, where this end multiplexes RTCP and the other end
            does not (RFC 5761); None otherwise. `muxed_on` of that leg is this one: what is sent to the RTCP
            component of this end goes to its RTP port.
        earlier: who sent to the socket's port in the call before; None: no one is remembered.
        inherited: the source is that of the session that this one's replaces, as far as no packet has come.
        superseded_stream: the RTP stream of the same end in the session that this one's replaces, as it was
            then; None: there was none.
        rtp: of an RTCP leg: the leg of the same end's RTP; None otherwise.
        transforms, taps: stages between admission and egress, in order; a leg that has any stays in user
            space.
        meter: statistics of RTP streams; None before the first packet, and without `payload_types`.
        packets, bytes: received and admitted, by the socket and in the kernel.
        drops: packets by Drop, None: no drop yet.
        offender: the latest source that was refused; None: no packet was.
        last_seen: monotonic seconds of the latest packet, as exact as note() is called often; None: no
            packet.
        noted_packets: `packets` at the last note().
        heard_packets, heard_at: `packets` when silence_s() last found a new one, and the monotonic seconds.
        offload: kernel flow that forwards for this leg, or None.
        offloaded: packets that kernel flows have forwarded.
        not_offloaded: why there is no flow ("": not tried).
        kernel_folded: of a restored leg: packets and bytes of the flow at its socket that are already in the
            counters, None if there was no flow. The leg that adopts the flow continues from there.
    """

    __slots__ = (
        "blocked",
        "bytes",
        "drops",
        "dtmf_blocked",
        "earlier",
        "heard_at",
        "heard_packets",
        "inherited",
        "kernel_folded",
        "last_seen",
        "meter",
        "muxed_on",
        "not_offloaded",
        "noted_packets",
        "offender",
        "offload",
        "offloaded",
        "other",
        "packets",
        "payload_types",
        "receives",
        "rtcp",
        "rtp",
        "side",
        "socket",
        "superseded_stream",
        "taps",
        "transforms",
    )

    other: "Leg"

    def __init__(
        self,
        *,
        side: Side,
        socket: RelaySocket,
        announced: Endpoint | None,
        receives: bool,
        policy: SourcePolicy,
        window_ends: float,
        signalled_from: str = "",
        payload_types: PayloadTypes | None = None,
        relatch_s: float = 0.0,
        carried: Carried = Carried.OTHER,
    ) -> None:
        super().__init__(
            announced=announced,
            policy=policy,
            signalled_from=signalled_from,
            window_ends=window_ends,
            relatch_s=relatch_s,
            carried=carried,
        )
        self.side = side
        self.socket = socket
        self.receives = receives
        self.payload_types = payload_types
        self.meter: RtpMeter | None = None
        self.blocked = False
        self.dtmf_blocked = False
        self.rtcp: Leg | None = None
        self.muxed_on: Leg | None = None
        self.rtp: Leg | None = None
        self.earlier: EarlierSender | None = None
        self.inherited = False
        self.superseded_stream: RtpStream | None = None
        self.transforms: tuple[Transform, ...] = ()
        self.taps: tuple[Tap, ...] = ()
        self.packets = 0
        self.bytes = 0
        self.drops: list[int] | None = None
        self.offender: Endpoint | None = None
        self.last_seen: float | None = None
        self.noted_packets = 0
        self.heard_packets = -1
        self.heard_at = 0.0
        self.offload: Offload | None = None
        self.offloaded = 0
        self.not_offloaded = ""
        self.kernel_folded: tuple[int, int] | None = None

    # --- where packets go -----------------------------------------------------------------------------

    @property
    def egress(self) -> "Leg":
        """The leg of the end that is sent what arrives here; `egress.destination` is where."""
        return self.other.muxed_on or self.other

    @property
    def destination(self) -> Endpoint | None:
        """Where the end that sends here is sent to: its source once it is known, else as announced."""
        if not self.receives:
            return None
        if self.policy is SourcePolicy.ASYMMETRIC:
            return self.announced
        return self.source or self.announced

    @property
    def blocked_events(self) -> frozenset[int]:
        """The payload types of the packets that are not passed on, because they are DTMF events."""
        if not self.dtmf_blocked or self.payload_types is None:
            return frozenset()
        return self.payload_types.events

    # --- changes --------------------------------------------------------------------------------------

    def renew(
        self,
        *,
        announced: Endpoint | None,
        receives: bool,
        policy: SourcePolicy,
        signalled_from: str,
        window_ends: float,
    ) -> None:
        """Apply new signalling of the end that sends here: learn its source again.

        An end on hold is still where it was.
        """
        self.receives = receives
        self.learn_again(
            announced=announced if receives else self.announced,
            policy=policy,
            signalled_from=signalled_from,
            window_ends=window_ends,
        )

    def inherit(self, before: "Leg") -> None:
        """Go on from what another leg knows of the same end's source; this leg's session replaces that one's.

        To this leg, the signalling that made it is new signalling of that end.
        """
        announced, policy = self.announced, self.policy
        signalled_from, window_ends = self.signalled_from, self.window_ends
        for name in ("announced", "policy", "signalled_from", "met_at", "window_ends"):
            setattr(self, name, getattr(before, name))
        self.source, self.rank, self.state = before.source, before.rank, before.state
        self.inherited = True
        latest = before._latest_stream
        if latest is not None:
            self.superseded_stream = RtpStream.from_state(latest.to_state(), shift_s=0.0)
        self.renew(
            announced=announced,
            receives=self.receives,
            policy=policy,
            signalled_from=signalled_from,
            window_ends=window_ends,
        )

    def set_payload_types(self, payload_types: PayloadTypes | None) -> None:
        """Apply newly negotiated payload types; the statistics so far stay."""
        self.payload_types = payload_types
        if self.meter is not None and payload_types is not None:
            self.meter.set_clocks(payload_types.clocks)

    # --- what the rules of latching ask -----------------------------------------------------------------

    def compare(self, claim: Claim, *, now: float) -> Continuity:
        """See Latch. RTCP goes on if its sender is that of the RTP of the same end."""
        if claim.ssrc is None:
            return Continuity.OTHER
        if claim.sequence is None:
            known = any(stream.ssrc == claim.ssrc for stream in (self.rtp or self)._known_streams)
            return Continuity.NEXT if known else Continuity.OTHER
        stream = self._latest_stream
        if stream is None or claim.timestamp is None or stream.ssrc != claim.ssrc:
            return Continuity.OTHER
        tick_s = self.meter.tick_s if self.meter is not None else 0.0
        if stream.goes_on(claim.sequence, claim.timestamp, now, tick_s):
            return Continuity.NEXT
        return Continuity.LATE if stream.is_late(claim.sequence) else Continuity.OTHER

    def streamless(self) -> bool:
        """See Latch."""
        return self.payload_types is not None and not self._known_streams

    def fragmentary(self) -> bool:
        """See Latch."""
        stream = self._latest_stream
        return self.payload_types is not None and stream is not None and stream.packets <= FRAGMENT_PACKETS

    def unheard(self) -> bool:
        """See Latch."""
        self.collect()
        return self.inherited and not self.packets

    @property
    def _known_streams(self) -> Sequence[RtpStream]:
        """The RTP streams of the end, here or, before the first, in the session before."""
        return self.streams or (() if self.superseded_stream is None else (self.superseded_stream,))

    @property
    def _latest_stream(self) -> RtpStream | None:
        """The RTP stream of the end that came last, here or, before the first, in the session before."""
        return self.meter.latest if self.streams and self.meter is not None else self.superseded_stream

    def remembers(self, source: Endpoint, claim: Claim | None, *, now: float) -> bool:
        """See Latch. It is remembered for as long as it sends."""
        earlier = self.earlier
        if earlier is None or claim is None or not earlier.sent(source, claim, now=now):
            return False
        self.earlier = earlier._replace(until=now + EARLIER_S)
        return True

    def silence_s(self, *, now: float) -> float:
        """See Latch."""
        self.collect()
        if self.packets != self.heard_packets:
            self.heard_packets, self.heard_at = self.packets, now
            if self.packets == self.noted_packets and self.last_seen is not None:
                self.heard_at = self.last_seen
        return now - self.heard_at

    # --- what is counted ------------------------------------------------------------------------------

    @property
    def streams(self) -> Sequence[RtpStream]:
        """The latest few RTP streams that arrived here, up to date."""
        if self.offload is not None:
            self.offload.load_meter()
        return self.meter.streams if self.meter is not None else ()

    def find_meter(self) -> RtpMeter | None:
        """The meter of this leg, created at the first call; None if the leg carries no RTP."""
        if self.payload_types is None:
            return None
        if self.meter is None:
            self.meter = RtpMeter(self.payload_types.clocks)
        return self.meter

    def count_drop(self, reason: Drop) -> None:
        """Count one packet that was not passed on."""
        if self.drops is None:
            self.drops = [0] * len(Drop)
        self.drops[reason] += 1

    def count_refused(self, source: Endpoint) -> None:
        """Count one packet whose source does not belong to the leg."""
        self.count_drop(Drop.SOURCE_MISMATCH)
        self.offender = source

    def note(self, *, now: float) -> bool:
        """Note whether packets came since the last call (monotonic seconds), and set `last_seen`.

        No clock is read for a packet in user space: `last_seen` is the time of the note() that found it. The
        kernel knows the time of each packet.

        Returns:
            Whether packets came.
        """
        in_user_space = self.packets
        self.collect()
        if self.packets == self.noted_packets:
            return False
        if self.meter is not None and self.packets >= self.meter.next_sample:
            self._sample(self.meter, now=now)
        only_offloaded = in_user_space == self.noted_packets
        self.noted_packets = self.packets
        self.last_seen = self.offload.last_seen if self.offload and only_offloaded else now
        return True

    def collect(self) -> None:
        """Add to the counters what the kernel flow forwarded."""
        if self.offload is not None:
            self.offload.collect()

    def _sample(self, meter: RtpMeter, *, now: float) -> None:
        if self.offload is not None:
            self.offload.load_meter()
        if self.payload_types is not None:
            meter.sample(self.payload_types.encodings, self.other.meter, now)
        meter.next_sample = self.packets + INTERVAL_PACKETS
