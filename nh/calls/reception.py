"""Reception: what a leg has heard, and what the rules of latching learn from that.

Counters are plain attributes, because the relay adds to them for every packet. No I/O, no clock: `now` is an
argument.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from nh.calls.latching.claims import Claim
from nh.calls.latching.earlier import EARLIER_S, EarlierSender
from nh.calls.latching.latch import Latch
from nh.calls.latching.state import Continuity
from nh.calls.latching.terms import LegTerms
from nh.calls.media import Endpoint
from nh.calls.rare import Rare
from nh.calls.rtp.meter import RtpMeter
from nh.calls.rtp.payload_types import PayloadTypes
from nh.calls.rtp.stream import RtpStream

PAUSE_S: Final = 1.0
"""A shorter silence is a pause of speech: it counts from when it is asked for first."""

FRAGMENT_PACKETS: Final = 5
"""A stream that ends after no more packets of RTP than these was no talking phone: 0.1 s of speech."""


class Offload(Protocol):
    """The kernel flow that forwards for a leg."""

    @property
    def folded(self) -> tuple[int, int]:
        """Packets and bytes of the flow that are already in the leg's counters."""

    def collect(self) -> None:
        """Tell the leg what the flow has forwarded since the last call; see Reception.forwarded()."""

    def load_meter(self) -> None:
        """Bring the leg's RTP statistics up to date with what the flow measured."""

    def measure(self, packet: memoryview, size: int, now: float) -> None:
        """Measure a packet that reached the leg's socket in spite of the flow; see RtpMeter.measure."""


class Reception(Latch):
    """A latch that counts what it admits, and knows the RTP streams of its end.

    Args:
        announced, terms, signalled_from, window_ends: see Latch.
        payload_types: what the payload types of this direction mean; None for RTCP on a port of its own, and
            for media other than RTP.

    Attributes:
        meter: statistics of RTP streams; None before the first packet, and without `payload_types`.
        packets, bytes: received and admitted, by the socket and in the kernel.
        last_seen: monotonic seconds of the latest packet; None: no packet.
        note_due: monotonic seconds from which on the next packet in user space has the media plane note the
            leg (nh.shard.media.leg_notes).
        place: where its counters outlive the process (nh.shard.media.leg_memory); 0: nowhere.
        offloaded: packets that kernel flows have forwarded.
        heard_packets, heard_at: the packets at its port when silence_s() last found a new one, and the
            monotonic seconds.
        offload: kernel flow that forwards for this leg, or None.
        earlier: who sent to the socket's port in the calls before, as far as they are remembered; the latest
            first.
        inherited: the source is that of the session that this one's replaces, as far as no packet has come.
        superseded_stream: the RTP stream of the same end in the session that this one's replaces, as it was
            then; None: there was none.
        left_streams: the SSRC and the packets of each stream of the source before; one that has had more
            packets since is the present source's, too.
        rtp: of RTCP: that of the same end's RTP; None otherwise.
    """

    __slots__ = (
        "bytes",
        "last_seen",
        "meter",
        "note_due",
        "offload",
        "offloaded",
        "packets",
        "payload_types",
        "place",
        "rtp",
    )

    heard_packets = Rare(-1)
    heard_at = Rare(0.0)
    earlier = Rare[tuple[EarlierSender, ...]](())
    inherited = Rare(False)
    superseded_stream = Rare[RtpStream | None](None)
    left_streams = Rare[tuple[tuple[int, int], ...]](())

    def __init__(
        self,
        *,
        announced: Endpoint | None,
        terms: LegTerms,
        window_ends: float,
        signalled_from: str,
        payload_types: PayloadTypes | None,
    ) -> None:
        super().__init__(
            announced=announced, terms=terms, signalled_from=signalled_from, window_ends=window_ends
        )
        self.payload_types = payload_types
        self.meter: RtpMeter | None = None
        self.packets = 0
        self.bytes = 0
        self.last_seen: float | None = None
        self.note_due = 0.0
        self.place = 0
        self.offloaded = 0
        self.offload: Offload | None = None
        self.rtp: Reception | None = None

    # --- RTP streams ----------------------------------------------------------------------------------

    @property
    def streams(self) -> Sequence[RtpStream]:
        """The latest few RTP streams that arrived here, up to date."""
        if self.offload is not None:
            self.offload.load_meter()
        return self.meter.streams if self.meter is not None else ()

    @property
    def latest_stream(self) -> RtpStream | None:
        """The RTP stream whose packets arrived here last, up to date; None before the first."""
        return self.meter.latest if self.streams and self.meter is not None else None

    def find_meter(self) -> RtpMeter | None:
        """The meter of this leg, created at the first call; None if the leg carries no RTP."""
        if self.payload_types is None:
            return None
        if self.meter is None:
            self.meter = RtpMeter(self.payload_types.clocks)
        return self.meter

    def set_payload_types(self, payload_types: PayloadTypes | None) -> None:
        """Apply newly negotiated payload types; the statistics so far stay."""
        self.payload_types = payload_types
        if self.meter is not None and payload_types is not None:
            self.meter.set_clocks(payload_types.clocks)

    def collect(self) -> None:
        """Add to the counters what the kernel flow forwarded."""
        if self.offload is not None:
            self.offload.collect()

    def forwarded(self, packets: int, size: int, *, last_seen: float) -> None:
        """Count what a kernel flow has forwarded: so many packets and bytes, the latest at `last_seen`
        (monotonic seconds)."""
        self.packets += packets
        self.offloaded += packets
        self.bytes += size
        self.last_seen = last_seen if self.last_seen is None else max(self.last_seen, last_seen)

    # --- what the rules of latching ask -----------------------------------------------------------------

    def compare(self, claim: Claim, *, now: float) -> Continuity:
        """See Latch. RTCP goes on if its sender is that of the RTP of the same end."""
        for each in (self.rtp or self).at_port:
            stream = None if claim.ssrc is None else each._stream_of_source(claim.ssrc)
            if stream is not None:
                return each._compare_with(stream, claim, now)
        return Continuity.OTHER

    def _compare_with(self, stream: RtpStream, claim: Claim, now: float) -> Continuity:
        if claim.sequence is None:
            return Continuity.NEXT
        if claim.timestamp is None:
            return Continuity.OTHER
        tick_s = self.meter.clock.tick_s if self.meter is not None else 0.0
        if stream.goes_on(claim.sequence, claim.timestamp, now, tick_s):
            return Continuity.NEXT
        return Continuity.LATE if stream.is_late(claim.sequence) else Continuity.OTHER

    def _stream_of_source(self, ssrc: int) -> RtpStream | None:
        """The stream with an SSRC; None: the source sends none, as far as is known.

        An earlier source may be a device that this one has replaced, and that sends on.
        """
        for stream in self._known_streams:
            if stream.ssrc == ssrc:
                return None if (ssrc, stream.packets) in self.left_streams else stream
        return None

    def leave_streams(self, claim: Claim | None) -> None:
        """See Latch. Packets without a sequence number tell nothing of streams."""
        if claim is None or claim.sequence is None:
            return
        for each in self.at_port:
            left = [(known.ssrc, known.packets) for known in each._known_streams if known.ssrc != claim.ssrc]
            each.left_streams = tuple(left)

    def streamless(self) -> bool:
        """See Latch."""
        return self.payload_types is not None and not any(each._known_streams for each in self.at_port)

    def fragmentary(self) -> bool:
        """See Latch."""
        latest = [stream for each in self.at_port if (stream := each.latest_known_stream) is not None]
        if self.payload_types is None or not latest:
            return False
        return all(stream.packets <= FRAGMENT_PACKETS for stream in latest)

    def unheard(self) -> bool:
        """See Latch."""
        if not self.inherited:  # of most legs; collect() may ask the kernel
            return False
        self.collect()
        return not any(each.packets for each in self.at_port)

    @property
    def at_port(self) -> "Sequence[Reception]":
        """The legs whose media come from this one's source: its own, and those that are bundled on it."""
        return (self,)

    @property
    def known_ssrcs(self) -> list[int]:
        """The SSRCs that the end sends with."""
        return [stream.ssrc for stream in self._known_streams]

    @property
    def _known_streams(self) -> Sequence[RtpStream]:
        """The RTP streams of the end, here or, before the first, in the session before."""
        return self.streams or (() if self.superseded_stream is None else (self.superseded_stream,))

    @property
    def latest_known_stream(self) -> RtpStream | None:
        """The RTP stream of the end that came last, here or, before the first, in the session before."""
        latest = self.latest_stream
        return self.superseded_stream if latest is None else latest

    def remembers(self, source: Endpoint, claim: Claim | None, *, now: float) -> bool:
        """See Latch. It is remembered for as long as it sends."""
        if claim is None:
            return False
        for sender in self.earlier:
            if sender.sent(source, claim, now=now):
                renewed = sender._replace(until=now + EARLIER_S)
                self.earlier = (renewed, *[each for each in self.earlier if each is not sender])
                return True
        return False

    def silence_s(self, *, now: float) -> float:
        """See Latch."""
        self.collect()
        packets = sum([each.packets for each in self.at_port])
        if packets != self.heard_packets:
            self.heard_packets = packets
            seen = max([each.last_seen for each in self.at_port if each.last_seen is not None], default=None)
            self.heard_at = now if seen is None or now - seen < PAUSE_S else seen
        return now - self.heard_at
