"""A kernel flow: the entry of one direction in the flow table, and the leg that its packets count for.

It implements nh.calls.reception.Offload. While the flow exists, the kernel keeps the leg's RTP statistics.
The leg's meter is brought up to date when its figures are read, and for the few packets that the kernel
leaves to the socket.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.rtp.joined_streams import MeasuredStreams, join_streams
from nh.calls.rtp.meter import RtpMeter
from nh.calls.rtp.stream_state import StreamFields
from nh.errors import KernelPathUnavailable
from nh.fastpath import layout
from nh.fastpath.flows import FlowTable

logger = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 4
"""Most attempts to change the streams while the kernel counts nothing. One takes some 20 µs, and longer where
the system interrupts it."""

_NS: Final = 1_000_000_000


class KernelFlow:
    """The flow that forwards in the place of one media socket.

    Args:
        table: the shard's flows.
        local: the socket's address and port.
        leg: the leg that receives there.
        entry: what the kernel does with the packets; its counter index belongs to this flow.
        stale: True: the shard process before made the entry, and it is in the table already.

    Attributes:
        leg, entry: see above.
        gone: whether the entry has been removed from the table.

    Raises:
        KernelPathUnavailable: the kernel refused the entry; nothing has changed.
    """

    __slots__ = (
        "_bytes",
        "_left_with",
        "_local",
        "_meter",
        "_packets",
        "_table",
        "entry",
        "gone",
        "leg",
    )

    def __init__(
        self, table: FlowTable, local: Endpoint, leg: Leg, entry: layout.FlowEntry, *, stale: bool = False
    ) -> None:
        self._table = table
        self._local = local
        self._meter = leg.find_meter()
        self._packets = 0
        self._bytes = 0
        self._left_with: Sequence[StreamFields] | None = None  # the meter's streams when the flow ended
        self.leg = leg
        self.gone = False
        self.entry = entry
        if stale:
            self._continue_from(leg.kernel_folded or (0, 0))
        else:
            if self._meter is not None:
                self._store(self._meter)
            self.entry = self._complete(entry)
            table.add(local, self.entry)
        leg.offload = self
        self._look_again()

    @property
    def folded(self) -> tuple[int, int]:
        """See Offload."""
        return self._packets, self._bytes

    def fits(self, leg: Leg) -> bool:
        """Whether it can go on for a leg: its own, as long as that stays RTP, or stays something else."""
        return leg is self.leg and (leg.payload_types is None) is (self._meter is None)

    def change(self, entry: layout.FlowEntry) -> None:
        """Replace the entry, except its counter index.

        Raises:
            KernelTableFull: another process had removed it, and there is no room for it any more.
            KernelPathUnavailable: the kernel refused; the entry is as before.
        """
        entry = self._complete(entry)
        if entry != self.entry or self._table.is_doubtful(self._local):
            self._table.replace(self._local, entry)
            self.entry = entry

    def end(self) -> None:
        """Leave the packets to the socket.

        Call clear() once more later: packets may be on their way. If the kernel refuses to remove the entry,
        it goes on forwarding until clear() succeeds.
        """
        self.leg.offload = None
        if self._meter is not None:
            self._left_with = self._meter.to_fields()
        self.clear()

    def clear(self) -> bool:
        """Remove the entry if it is still there, and collect its counters.

        Returns:
            Whether the entry is gone.
        """
        if not self.gone:
            try:
                self._table.remove(self._local)
            except KernelPathUnavailable as refusal:
                logger.debug("the flow at %s is not removed yet: %s", self._local, refusal)
            else:
                self.gone = True
        self.collect()
        if self._meter is not None and self._meter.to_fields() == self._left_with:
            # the socket measured nothing meanwhile, so what the flow measured since is all there is
            self.load_meter()
            self._left_with = self._meter.to_fields()
        return self.gone

    def collect(self) -> None:
        """See Offload."""
        packets, size, last_seen_ns = self._table.counters.totals_of(self.entry.counter_index)
        if packets == self._packets:
            return
        leg = self.leg
        leg.forwarded(packets - self._packets, size - self._bytes, last_seen=last_seen_ns / _NS)
        self._packets, self._bytes = packets, size
        if self._meter is not None and leg.offload is self:
            self._follow(self._meter, self._table.counters.latest_payload_type(self.entry.counter_index))

    def look(self, *, now: float) -> None:
        """Take a sample of the quality if one is due, and follow the payload type (monotonic seconds).

        CounterRange.find_due() says when: it is no more often than the leg has a sample to take. A flow that
        has ended is not looked at: what it forwards still is counted.
        """
        if self.leg.offload is self:
            self.leg.note(now=now)
            self._look_again()

    def _look_again(self) -> None:
        meter = self._meter
        if meter is not None:
            packets = self.leg.packets - self._packets  # of other flows, and in user space
            due = max(meter.next_sample - packets, self._packets + 1)
            self._table.counters.look_at(self.entry.counter_index, due, self)

    def load_meter(self) -> None:
        """See Offload."""
        if self._meter is not None:
            counters = self._table.counters.read(self.entry.counter_index)
            self._meter.take_fields(counters.next_stream, counters.streams)

    def measure(self, packet: memoryview, size: int, now: float) -> None:
        """See Offload."""
        meter = self._meter
        if meter is not None:
            self._amend(meter, lambda: meter.measure(packet, size, now))

    def join(self, begin: MeasuredStreams, earlier: MeasuredStreams) -> None:
        """Add what another flow measured, which still forwarded the earlier packets when this one had begun.

        Args:
            begin: the streams that both began with.
            earlier: those of the other one when it ended.
        """
        meter = self._meter
        if meter is None:
            return

        def change() -> None:
            meter.take_fields(*join_streams(begin, earlier, MeasuredStreams.of(meter)))

        self._amend(meter, change)

    def _continue_from(self, folded: tuple[int, int]) -> None:
        """Count on from `folded`, which the leg's counters had when the process before saved them."""
        packets, _, _ = self._table.counters.totals_of(self.entry.counter_index)
        if folded[0] <= packets:  # otherwise they belong to an earlier flow of the socket
            self._packets, self._bytes = folded
        if self._meter is not None and self.entry.clock_hz:
            self._meter.choose_payload_type(self.entry.payload_type)

    def _follow(self, meter: RtpMeter, payload_type: int | None) -> None:
        """Have the kernel measure the jitter of the latest payload type, if that has a clock."""
        entry = self.entry
        if (
            self._table.held
            or payload_type is None
            or not meter.has_clock(payload_type)
            or (payload_type == entry.payload_type and entry.clock_hz)
        ):
            return
        self._amend(meter, lambda: meter.choose_payload_type(payload_type))
        try:
            self.change(entry)
        except KernelPathUnavailable as refusal:  # no jitter until a later collect() succeeds
            logger.debug("the flow at %s keeps its payload type: %s", self._local, refusal)

    def _amend(self, meter: RtpMeter, change: Callable[[], object]) -> None:
        """Change the meter from the kernel's latest streams on, and let the kernel go on from there.

        If the kernel counts a packet meanwhile, the change is made again to its streams of then, so that none
        is overwritten. If packets come faster than that, the streams of the last attempt miss some.

        Args:
            meter: of the leg.
            change: may be called several times, each time with the meter as the kernel has it.
        """
        counters, index, clock = self._table.counters, self.entry.counter_index, meter.clock
        for _ in range(MAX_ATTEMPTS):
            before = counters.copy(index)
            measured = layout.unpack_counters(before)
            meter.clock = clock
            meter.take_fields(measured.next_stream, measured.streams)
            change()
            if counters.replace_streams(index, before, _streams_of(meter)):
                return
        self._store(meter)

    def _store(self, meter: RtpMeter) -> None:
        self._table.counters.write_streams(self.entry.counter_index, _streams_of(meter))

    def _complete(self, entry: layout.FlowEntry) -> layout.FlowEntry:
        """An entry with this flow's counter index, and what its meter measures."""
        index, meter = self.entry.counter_index, self._meter
        if meter is None:
            return entry._replace(counter_index=index)
        return entry._replace(
            counter_index=index, rtp=True, payload_type=meter.clock.payload_type, clock_hz=meter.clock.hz
        )


def _streams_of(meter: RtpMeter) -> layout.FlowCounters:
    return layout.FlowCounters(next_stream=meter.next_stream, streams=meter.to_fields())
