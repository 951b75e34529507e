"""One direction that the kernel relays: what it was told, which leg it counts for, and what it has counted.

It implements nh.calls.leg.Offload. The statistics of RTP streams are the kernel's while it relays: the leg's
meter is brought up to date when somebody asks, and for the few packets that the kernel leaves to the socket.
"""

import dataclasses
import logging
from typing import Final

from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.rtp.meter import RtpMeter
from nh.errors import KernelPathUnavailable
from nh.fastpath import layout
from nh.fastpath.flows import FlowTable

logger = logging.getLogger(__name__)

_NS: Final = 1_000_000_000


class Flow:
    """What the kernel relays in the stead of one media socket.

    Arguments:
        table: where it is told and read.
        local: the socket's address and port.
        leg: whose packets they are.
        told: what the kernel does with them; its counter index is this flow's own.
        left: whether it is there already: a predecessor told the kernel so.

    `gone` tells whether the kernel has let go of it. Raises KernelPathUnavailable if the kernel does not take
    it; then nothing has changed.
    """

    __slots__ = ("_bytes", "_local", "_meter", "_packets", "_table", "gone", "last_seen", "leg", "told")

    def __init__(
        self, table: FlowTable, local: Endpoint, leg: Leg, told: layout.FlowEntry, *, left: bool = False
    ) -> None:
        self._table = table
        self._local = local
        self._meter = leg.find_meter()
        self._packets = 0
        self._bytes = 0
        self.leg = leg
        self.gone = False
        self.last_seen = 0.0
        self.told = told
        if left:
            self._go_on(leg.kernel_folded or (0, 0))
        else:
            if self._meter is not None:
                self._store(self._meter)
            self.told = self._with_clock(told)
            table.add(local, self.told)
        leg.offload = self

    @property
    def folded(self) -> tuple[int, int]:
        """See Offload."""
        return self._packets, self._bytes

    def change(self, told: layout.FlowEntry) -> None:
        """Relay in another way. Raises KernelPathUnavailable if the kernel does not take it."""
        told = self._with_clock(dataclasses.replace(told, counter_index=self.told.counter_index))
        if told != self.told:
            self._table.replace(self._local, told)
            self.told = told

    def end(self) -> None:
        """Leave the packets to the socket; clear() once more when none can be on its way any more.

        Where the kernel refuses even that, it goes on relaying as it was told, until clear() succeeds.
        """
        self.leg.offload = None
        self.clear()
        self.load_meter()

    def clear(self) -> bool:
        """Have the kernel let go of it, if it has not yet, and collect; returns whether it has."""
        if not self.gone:
            try:
                self._table.remove(self._local)
            except KernelPathUnavailable as refusal:
                logger.debug("%s: %s", self._local, refusal)
            else:
                self.gone = True
        self.collect()
        return self.gone

    def collect(self) -> None:
        """See Offload."""
        packets, size, last_seen_ns = self._table.totals_of(self.told.counter_index)
        if packets == self._packets:
            return
        leg = self.leg
        leg.packets += packets - self._packets
        leg.offloaded += packets - self._packets
        leg.bytes += size - self._bytes
        self._packets, self._bytes = packets, size
        self.last_seen = last_seen_ns / _NS
        if self._meter is not None and leg.offload is self:
            self._follow(self._meter, self._table.latest_payload_type(self.told.counter_index))

    def load_meter(self) -> None:
        """See Offload."""
        if self._meter is not None:
            counters = self._table.counters(self.told.counter_index)
            self._meter.take_fields(counters.next_stream, counters.streams)

    def measure(self, packet: memoryview, size: int, now: float) -> None:
        """See Offload. A packet that the kernel counts at this very moment may be missing afterwards."""
        if self._meter is not None:
            self.load_meter()
            self._meter.measure(packet, size, now)
            self._store(self._meter)

    def _go_on(self, folded: tuple[int, int]) -> None:
        """Count from where the predecessor's counters of the leg were taken."""
        packets, _, _ = self._table.totals_of(self.told.counter_index)
        if folded[0] <= packets:  # else they are of another flow that was there before
            self._packets, self._bytes = folded
        if self._meter is not None and self.told.clock_hz:
            self._meter.choose_payload_type(self.told.payload_type)

    def _follow(self, meter: RtpMeter, payload_type: int | None) -> None:
        """Let jitter be measured of what is sent now, if that is another payload type than before."""
        told = self.told
        if payload_type is None or (payload_type == told.payload_type and told.clock_hz):
            return
        self.load_meter()
        meter.choose_payload_type(payload_type)
        wanted = self._with_clock(told)
        if wanted == told:
            return
        self._store(meter)
        try:
            self.change(wanted)
        except KernelPathUnavailable as refusal:  # there is no jitter until it agrees: this comes again
            logger.debug("%s: %s", self._local, refusal)

    def _store(self, meter: RtpMeter) -> None:
        counters = layout.FlowCounters(next_stream=meter.next_stream, streams=meter.to_fields())
        self._table.write_streams(self.told.counter_index, counters)

    def _with_clock(self, told: layout.FlowEntry) -> layout.FlowEntry:
        meter = self._meter
        if meter is None:
            return told
        return dataclasses.replace(told, rtp=True, payload_type=meter.payload_type, clock_hz=meter.clock_hz)
