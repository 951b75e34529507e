"""Moves: flows of the run before, in maps of another form, go on in those of this run.

The flow of a socket begins here before it ends there, so that no packet waits at the socket until the shard
serves: the kernel would count those that follow meanwhile, and have gone on too far for old ones. Each packet
is counted by the program that meets it first, and the other one does not see it. What the old maps have
counted comes before what the new ones have.
"""

from collections.abc import Callable
from typing import Final

from nh.calls.leg import Leg
from nh.calls.rtp.joined_streams import MeasuredStreams
from nh.errors import KernelPathUnavailable
from nh.fastpath import layout
from nh.fastpath.moving_flows import MovingFlows
from nh.shard.media.kernel.flow import KernelFlow
from nh.shard.media.sockets.media_socket import MediaSocket

_NS: Final = 1_000_000_000

Count = Callable[[int, int], None]
"""Called with packets and bytes that old flows have forwarded, and the restored legs did not have."""


class Moves:
    """The flows of the run before, from the restore of their calls until all are relayed. Close it.

    Args:
        flows: the flows; they belong to this object.
        count: see Count.
        refused: called with what the kernel has refused.
    """

    def __init__(self, flows: MovingFlows, count: Count, refused: Callable[[str], None]) -> None:
        self._flows = flows
        self._count = count
        self._on_refusal = refused
        self._not_ended: dict[MediaSocket, MeasuredStreams | None] = {}

    def begin(self, media_socket: MediaSocket) -> MeasuredStreams | None:
        """The new flow of a socket may begin, while the old one goes on.

        Returns:
            The streams that it begins with, for end(); None: they are not measured.
        """
        if media_socket in self._not_ended:  # the new one has begun already
            return self._not_ended.pop(media_socket)
        meter = media_socket.legs[0].find_meter() if media_socket.legs else None
        return None if meter is None else MeasuredStreams.of(meter)

    def end(self, media_socket: MediaSocket, begin: MeasuredStreams | None, flow: KernelFlow | None) -> None:
        """End the old flow of a socket, and count what it has forwarded since its call was saved.

        If the kernel refuses, the old flow goes on until the next update of the socket.

        Args:
            media_socket: the socket.
            begin: what begin() returned.
            flow: the new flow; None: the packets come to the socket from now on.
        """
        if len(media_socket.legs) != 1:
            return
        try:
            earlier = self._flows.take(media_socket.local)
        except KernelPathUnavailable as refusal:
            self._on_refusal(f"flows of the run before go on, and nh tries again to end them: {refusal}")
            self._not_ended[media_socket] = begin
            return
        if earlier is None or not self._count_packets(media_socket.legs[0], earlier) or begin is None:
            return
        measured = MeasuredStreams(earlier.next_stream, earlier.streams)
        if flow is not None:
            flow.join(begin, measured)
        elif (meter := media_socket.legs[0].find_meter()) is not None:
            meter.take_fields(*measured)

    def close(self) -> None:
        """Leave the old maps; call once."""
        self._flows.close()

    def _count_packets(self, leg: Leg, counters: layout.FlowCounters) -> int:
        """Count what the old flow has forwarded and the leg does not have yet; returns how many packets."""
        packets, size = leg.kernel_folded or (0, 0)
        if packets > counters.packets:  # they belong to an earlier flow of the socket
            packets = size = 0
        since = counters.packets - packets, counters.payload_bytes - size
        leg.kernel_folded = None
        if since[0]:
            leg.forwarded(*since, last_seen=counters.last_seen_ns / _NS)
            self._count(*since)
        return since[0]
