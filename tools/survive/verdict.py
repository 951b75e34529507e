"""What faults cost beyond what they may: one line for each stream and trouble, with packets and times.

Pure: knows records of streams and times of faults, neither processes nor clocks.
"""

from collections.abc import Iterable, Iterator, Sequence

from tools.rtpload.streams.record import Gap, Hole, StreamRecord
from tools.survive.faults import FaultKind, Injected
from tools.survive.limits import KILLS, QUIET_GAP_S, Promise, promise

AFTERMATH_NS = 500_000_000
"""A fault is to blame for gaps that begin until so long after the relay was whole again."""

PACKET_NS = 20_000_000
"""The packet time of the load."""


class Verdict:
    """Judges streams.

    Args:
        faults: what was done.
        kernel: whether the media went through the kernel.
        hang_s: nh's setting.
        patience_s: how much longer gaps and starts may be than promised, as the host is busy, and how long a
            packet may have waited there when a fault took it along.
    """

    def __init__(
        self, faults: Sequence[Injected], *, kernel: bool, hang_s: float, patience_s: float = 0.0
    ) -> None:
        self._faults = [(fault, promise(fault.kind, kernel=kernel, hang_s=hang_s)) for fault in faults]
        self._patience_s = patience_s
        self._patience_ns = round(patience_s * 1e9)
        self._quiet_s = QUIET_GAP_S[kernel]
        self._kernel = kernel
        self._in_hand = sum(KILLS.get(fault.kind, 0) for fault in faults)

    def findings(self, records: Iterable[StreamRecord]) -> Iterator[str]:
        """What was not promised, a line each."""
        for record in records:
            lost = [hole for hole in record.holes if not self._may_be_lost(record, hole)]
            packets = sum(hole.packets for hole in lost)
            if packets > record.dropped_here and not self._was_in_hand(record, lost):
                numbers = ", ".join(map(self._describe, lost))
                yield f"{record}: {packets} of {record.sent} packets lost: {numbers}"
            if record.doubled:
                numbers = ", ".join(map(str, record.doubled))
                yield f"{record}: {len(record.doubled)} packets came twice: {numbers}"
            for gap in record.gaps:
                if (allowed_s := self._longest_gap(gap)) is not None and gap.length_ns > allowed_s * 1e9:
                    yield (
                        f"{record}: nothing came for {gap.length_ns / 1e6:.0f} ms{self._when(gap.began_ns)},"
                        f" {allowed_s * 1e3:.0f} ms are allowed"
                    )

    def _may_be_lost(self, record: StreamRecord, hole: Hole) -> bool:
        """Whether nothing of nh was there when it was sent; when RTCP was sent is random and not known.

        Nor is it known when a stream was sent of which nothing came: it may have begun and ended meanwhile.
        """
        if record.media and not hole.sent_ns and hole.packets == record.sent:
            away_ns = (
                self._back_ns(fault, told) - fault.began_ns
                for fault, told in self._faults
                if told.back_s is not None
            )
            return hole.packets * PACKET_NS <= max(away_ns, default=0)
        return any(
            not record.media
            or (self._began_in_time(fault, hole) and hole.sent_ns <= self._back_ns(fault, told))
            for fault, told in self._faults
            if told.back_s is not None
        )

    def _began_in_time(self, fault: Injected, hole: Hole) -> bool:
        """Whether the first packet of a hole was sent after a fault, or waited at a busy host when it came.

        What waited is lost together with what follows: a packet that was lost earlier has a hole of its own.
        """
        earlier_ns = fault.began_ns - AFTERMATH_NS // 10
        if hole.sent_ns + hole.packets * PACKET_NS > fault.began_ns:
            earlier_ns -= self._patience_ns
        return hole.sent_ns >= earlier_ns

    def _was_in_hand(self, record: StreamRecord, lost: Sequence[Hole]) -> bool:
        """Whether it is the one packet that a shard had read and not sent yet when it was killed.

        A shard has RTCP in hand whatever the path: the kernel forwards RTP only.
        """
        if self._kernel and record.media:
            return False
        if self._in_hand and sum(hole.packets for hole in lost) == 1:
            self._in_hand -= 1
            return True
        return False

    def _longest_gap(self, gap: Gap) -> float | None:
        """Seconds that this gap may last; None: as long as it lasts, media were back in time."""
        allowed_s = self._quiet_s
        for fault, told in self._faults:
            ends_ns = gap.began_ns + gap.length_ns
            if ends_ns < fault.began_ns or gap.began_ns > fault.over_ns + AFTERMATH_NS:
                continue
            if told.gap_s is not None:
                allowed_s = max(allowed_s, told.gap_s)
            elif ends_ns <= self._back_ns(fault, told):
                return None
        return allowed_s + self._patience_s

    def _back_ns(self, fault: Injected, told: Promise) -> float:
        """When media must be back after a new start."""
        return fault.started_ns + ((told.back_s or 0.0) + self._patience_s) * 1e9

    def _describe(self, hole: Hole) -> str:
        numbers = f"{hole.first}" if hole.first == hole.last else f"{hole.first} to {hole.last}"
        return numbers + (self._when(hole.sent_ns) if hole.sent_ns else " (nothing ever came)")

    def _when(self, at_ns: int) -> str:
        before = [fault for fault, _ in self._faults if fault.kind is not FaultKind.NONE]
        before = [fault for fault in before if fault.began_ns - AFTERMATH_NS <= at_ns]
        if not before:
            return ""
        return f" ({(at_ns - before[-1].began_ns) / 1e6:+.0f} ms from {before[-1].kind})"


def longest_gaps_ms(records: Iterable[StreamRecord]) -> list[float]:
    """The longest gap of each RTP stream, ms, longest first."""
    return sorted((record.longest.length_ns / 1e6 for record in records if record.longest), reverse=True)
