"""A leg: one direction of one socket pair, and who may send on it.

A leg receives on one relay socket what one end sends, and passes it on through the socket of its
opposite leg, to that leg's destination. Its counters are plain attributes, because the relay adds to
them for every packet. The rules of sources are here; nh.shard.media.forwarding carries them out.
"""

import enum
from collections.abc import Sequence
from typing import Protocol

from nh.calls.media import Endpoint, Side
from nh.calls.rtp.meter import RtpMeter
from nh.calls.rtp.payload_types import PayloadTypes
from nh.calls.rtp.stream import RtpStream
from nh.calls.source import Rank, SourcePolicy, rank


class RelaySocket(Protocol):
    """One port of the relay, as the domain sees it: where it is and which legs receive there.

    Several legs share one where a request was forked: each answer has a session of its own, and all of
    them have the group of the request.
    """

    local: Endpoint
    legs: "tuple[Leg, ...]"


class Offload(Protocol):
    """What relays a leg's packets in its socket's stead: the path in the kernel."""

    last_seen: float
    """Monotonic seconds of the last packet that went that way."""

    @property
    def folded(self) -> tuple[int, int]:
        """Packets and bytes of this offload that are in the leg's counters already."""

    def collect(self) -> None:
        """Add to the leg's counters what went that way since the last time."""

    def load_meter(self) -> None:
        """Bring the leg's statistics of RTP streams up to date."""

    def measure(self, packet: memoryview, size: int, now: float) -> None:
        """Measure a packet that passed the leg's socket all the same; see RtpMeter.measure."""


class Drop(enum.IntEnum):
    """Why a packet was not passed on.

    SOURCE_MISMATCH: its source does not belong to the leg.
    NO_TARGET: the other end does not receive (hold), or nobody knows yet where it is.
    SEND_FAILED: the kernel refused to send it.
    NO_SESSION: it came to sockets without an active session.
    LOOPED: it has been through ports of this relay too often.
    """

    SOURCE_MISMATCH = 0
    NO_TARGET = 1
    SEND_FAILED = 2
    NO_SESSION = 3
    LOOPED = 4


class SourceState(enum.Enum):
    """Whether a leg has latched onto a source (RFC 7362).

    LATCHING: no source yet, or a better one may take over.
    LATCHED: the source is fixed.
    RELATCHING: the source was fixed and fell silent; another port of the same IP may take over.
    """

    LATCHING = "latching"
    LATCHED = "latched"
    RELATCHING = "relatching"


_NEVER_LATCHING = (SourcePolicy.HANDOVER, SourcePolicy.ASYMMETRIC)


class Leg:
    """One direction of one component of one medium.

    Arguments:
        side: the end that sends here.
        socket: where the relay receives it.
        announced: where that end said it receives, None if it said nothing usable.
        receives: whether that end wants to receive (not on hold).
        policy: who may send.
        window_ends: monotonic seconds until which a better source takes over (HEURISTIC).
        signalled_from: the IP address that its signalling came from, "" if that is not known.
        payload_types: what those mean that are sent here; None if it is no RTP, or RTP's RTCP.

    `meter` has the statistics of RTP streams, None before the first packet and for what is no RTP.
    `blocked` keeps what that end sends from being passed on. Where one end sends RTCP on its RTP port and the
    other does not (RFC 5761), `rtcp` is the leg that the former's RTCP counts for, and that leg's `muxed_on`
    is this one: what goes to that end goes there. `offload` relays the leg's packets while that is possible,
    and has relayed `offloaded` of them; `not_offloaded` says why it does not, "" if nobody tried. A leg
    that was restored has in `kernel_folded` how many packets and bytes of the kernel's flow at its socket are
    counted already, None if there was no flow: whoever adopts the flow goes on from there.
    """

    __slots__ = (
        "announced",
        "blocked",
        "bytes",
        "drops",
        "kernel_folded",
        "last_seen",
        "meter",
        "muxed_on",
        "not_offloaded",
        "noted_packets",
        "offload",
        "offloaded",
        "other",
        "packets",
        "payload_types",
        "policy",
        "rank",
        "receives",
        "rtcp",
        "side",
        "signalled_from",
        "socket",
        "source",
        "state",
        "window_ends",
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
    ) -> None:
        self.side = side
        self.socket = socket
        self.announced = announced
        self.receives = receives
        self.policy = policy
        self.window_ends = window_ends
        self.signalled_from = signalled_from
        self.payload_types = payload_types
        self.meter: RtpMeter | None = None
        self.blocked = False
        self.rtcp: Leg | None = None
        self.muxed_on: Leg | None = None
        self.source: Endpoint | None = None
        self.rank: Rank | None = None
        self.state = SourceState.LATCHING
        self.packets = 0
        self.bytes = 0
        self.drops: list[int] | None = None
        self.last_seen: float | None = None
        self.noted_packets = 0
        self.offload: Offload | None = None
        self.offloaded = 0
        self.not_offloaded = ""
        self.kernel_folded: tuple[int, int] | None = None

    @property
    def latched(self) -> bool:
        """Whether the leg has latched onto its source."""
        return self.state is SourceState.LATCHED

    @property
    def onward(self) -> "Leg":
        """The leg of the end that gets what arrives here: its destination is where that goes."""
        return self.other.muxed_on or self.other

    @property
    def destination(self) -> Endpoint | None:
        """Where packets for the end that sends here go: its source once it is known, else as announced."""
        if not self.receives:
            return None
        if self.policy is SourcePolicy.ASYMMETRIC:
            return self.announced
        return self.source or self.announced

    def fits(self, source: Endpoint) -> Rank | None:
        """How well `source` would do for this leg under its policy; None if it would not do at all."""
        how = rank(source, self.announced, self.signalled_from)
        if self.policy is SourcePolicy.STRICT and how is not Rank.EXACT:
            return None
        if self.policy is SourcePolicy.ANNOUNCED and how < Rank.SAME_IP:
            return None
        return how

    def admit(self, source: Endpoint, *, now: float) -> bool:
        """Whether a packet from `source` belongs to this leg; the leg learns from it.

        Arguments:
            source: where the packet came from.
            now: monotonic seconds.
        """
        if self.policy in _NEVER_LATCHING:
            self.source = source
            return True
        if source == self.source and self.rank is not None:
            if self.state is SourceState.RELATCHING or now >= self.window_ends:
                self.state = SourceState.LATCHED
            return True
        if self.state is SourceState.LATCHED:
            return False
        if self.state is SourceState.RELATCHING:
            return self._rebind(source)
        return self._take_over(source, now=now)

    def renew(
        self,
        *,
        announced: Endpoint | None,
        receives: bool,
        policy: SourcePolicy,
        signalled_from: str,
        window_ends: float,
    ) -> None:
        """New signalling: learn again, as if nothing had come yet.

        Until something comes, packets go where they went, unless that end announced another place.
        """
        if announced != self.announced:
            self.source = None
        self.announced = announced
        self.receives = receives
        self.policy = policy
        self.signalled_from = signalled_from
        self.window_ends = window_ends
        self.rank = None
        self.state = SourceState.LATCHING

    def set_payload_types(self, payload_types: PayloadTypes | None) -> None:
        """What payload types mean was agreed anew. What was measured stays."""
        self.payload_types = payload_types
        if self.meter is not None and payload_types is not None:
            self.meter.set_clocks(payload_types.clocks)

    @property
    def streams(self) -> Sequence[RtpStream]:
        """The RTP streams that arrive here, the latest few, as they are now."""
        if self.offload is not None:
            self.offload.load_meter()
        return self.meter.streams if self.meter is not None else ()

    def find_meter(self) -> RtpMeter | None:
        """The meter for what arrives here, made when first asked for; None if it is no RTP."""
        if self.payload_types is None:
            return None
        if self.meter is None:
            self.meter = RtpMeter(self.payload_types.clocks)
        return self.meter

    def close_window(self, *, now: float) -> bool:
        """Latch onto the source if the window is over; returns whether that just happened."""
        if self.policy in _NEVER_LATCHING:
            return False
        # without a rank the source is one of before the last signalling: who sends now is yet to be seen
        if self.state is SourceState.LATCHING and self.rank is not None and now >= self.window_ends:
            self.state = SourceState.LATCHED
            return True
        return False

    def relatch_after(self, silence_s: float, *, now: float) -> bool:
        """Let another port of the same IP take over if the source fell silent; returns whether it just did.

        Arguments:
            silence_s: seconds without a packet, above 0.
            now: monotonic seconds.
        """
        if not self.latched or self.last_seen is None or now - self.last_seen < silence_s:
            return False
        self.state = SourceState.RELATCHING
        return True

    def give_up(self, source: Endpoint) -> bool:
        """Leave `source` to a leg of the same socket that it fits better; returns whether it was ours."""
        if self.source != source:
            return False
        self.source = self.rank = None
        self.state = SourceState.LATCHING
        return True

    def count_drop(self, reason: Drop) -> None:
        """One more packet that was not passed on."""
        if self.drops is None:
            self.drops = [0] * len(Drop)
        self.drops[reason] += 1

    def note(self, *, now: float) -> bool:
        """Note whether packets came since the last time, which then is when it was last seen.

        `last_seen` is as exact as this is called often: no clock is read for a packet. The kernel knows
        the time of each.
        """
        passed_by = self.packets
        self.collect()
        if self.packets == self.noted_packets:
            return False
        only_offloaded = passed_by == self.noted_packets
        self.noted_packets = self.packets
        self.last_seen = self.offload.last_seen if self.offload and only_offloaded else now
        return True

    def collect(self) -> None:
        """Bring the counters up to date with what did not pass the socket."""
        if self.offload is not None:
            self.offload.collect()

    def _take_over(self, source: Endpoint, *, now: float) -> bool:
        if self.rank is not None and now >= self.window_ends:
            self.state = SourceState.LATCHED
            return False
        how = self.fits(source)
        if how is None or (self.rank is not None and how <= self.rank):
            return False
        # the very same endpoint need not be kept twice
        self.source, self.rank = self.announced if how is Rank.EXACT else source, how
        if how is Rank.EXACT or self.policy is not SourcePolicy.HEURISTIC or now >= self.window_ends:
            self.state = SourceState.LATCHED
        return True

    def _rebind(self, source: Endpoint) -> bool:
        # the NAT of a phone chose another port, as NATs do after a silence; its address stays
        if self.source is None or source.address != self.source.address:
            return False
        how = self.fits(source)
        if how is None:
            return False
        self.source, self.rank = source, how
        self.state = SourceState.LATCHED
        return True
