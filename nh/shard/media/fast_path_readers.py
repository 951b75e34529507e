"""The readers of connected sockets: the path that almost every packet takes in user space."""

from collections.abc import Callable

from nh.calls.leg import Leg
from nh.shard.media.poll import MediaPoll, Reader
from nh.shard.media.totals import TrafficTotals

Send = Callable[[memoryview], object]
"""Sends a packet on; raises OSError if the kernel refuses."""


def forwarder_factory(
    buffer: bytearray,
    traffic: TrafficTotals,
    poll: MediaPoll,
    send_failed: Callable[[Leg, Send, memoryview, OSError], None],
) -> Callable[[Leg, Callable[[bytearray], int], Send], Reader]:
    """Makes the readers of connected sockets: the path that almost every packet takes.

    A closure finds everything in its cells, without a look-up; those of buffer, view, traffic, poll and
    send_failed are one for all readers. There are two that differ in one line only, because what can be
    decided for a leg is not decided for each packet: RTP is measured, what else there is is not.
    """
    view = memoryview(buffer)

    def new_forwarder(leg: Leg, receive: Callable[[bytearray], int], send: Send) -> Reader:
        def forward() -> None:
            try:
                size = receive(buffer)
            except OSError:
                # nothing there after all, or the ICMP error that an earlier packet to this source met
                return
            leg.packets += 1
            leg.bytes += size
            traffic.received_packets += 1
            traffic.received_bytes += size
            try:
                send(view[:size])
            except OSError as exc:
                send_failed(leg, send, view[:size], exc)

        return forward

    def new_measuring(leg: Leg, receive: Callable[[bytearray], int], send: Send) -> Reader:
        meter = leg.find_meter()
        if meter is None:
            return new_forwarder(leg, receive, send)
        measure = meter.measure

        def forward_and_measure() -> None:
            try:
                size = receive(buffer)
            except OSError:
                return
            leg.packets += 1
            leg.bytes += size
            traffic.received_packets += 1
            traffic.received_bytes += size
            try:
                send(view[:size])
            except OSError as exc:
                send_failed(leg, send, view[:size], exc)
            measure(buffer, size, poll.now)

        return forward_and_measure

    return new_measuring
