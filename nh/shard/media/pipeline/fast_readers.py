"""Fast readers: the plans of almost every packet, in one function each.

Those of the plain plan are functions that all sockets of a shard share: what differs from one to the next is
in the socket (its leg and its output), so a call has no objects for them. Those that need more, such as keys,
are closures, one for each socket. What can be decided for a leg (does it have RTP statistics, and whose
keys?) is decided when its reader is chosen, not for each packet. So the functions repeat a few lines, and no
packet pays for a call that another plan needs.
"""

from collections.abc import Callable
from typing import NamedTuple

from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.rtcp_reports import note_reports
from nh.calls.rtp.meter import RtpMeter
from nh.shard.media.pipeline.egress import Egress, Send, seals_first
from nh.shard.media.pipeline.srtp import open_packet, seal_packet
from nh.shard.media.poll import MediaPoll, Reader
from nh.shard.media.sockets.addresses import SocketAddress, endpoint_of
from nh.shard.media.sockets.media_socket import MediaSocket
from nh.shard.media.totals import TrafficTotals
from nh.srtp.refusal import Refusal, SrtpRefused

SocketReader = Reader[MediaSocket]

NoteLeg = Callable[[Leg, float], None]
"""Called with a leg when a packet finds its `note_due` over, and the packet's monotonic seconds."""


class ReaderContext(NamedTuple):
    """What all fast readers of a shard have in common.

    Attributes:
        buffer: of all packets.
        traffic: counts them.
        poll: has the time.
        egress: counts drops, and sends.
        note_errors: called when there is no packet after all, or an ICMP error in its place.
        note_leg: see NoteLeg.
    """

    buffer: bytearray
    traffic: TrafficTotals
    poll: MediaPoll
    egress: Egress
    note_errors: Callable[[MediaSocket], None]
    note_leg: NoteLeg

    def unsealed(self, leg: Leg, send: Send, packet: memoryview, refusal: Refusal, now: float) -> None:
        """What becomes of a packet of a leg that cannot be sealed; the leg is noted as after any other."""
        self.egress.unsealed(leg, send, packet, refusal)
        if now >= leg.note_due:
            self.note_leg(leg, now)


def forwarding_reader(context: ReaderContext) -> SocketReader:
    """The reader of the plain plan for legs without RTP statistics."""
    buffer, traffic, poll, egress, note_errors, note_leg = context
    view, send_failed = memoryview(buffer), egress.send_failed

    def forward(media_socket: MediaSocket) -> None:
        try:
            size = media_socket.recv_into(buffer)
        except OSError:
            note_errors(media_socket)
            return
        leg, output = media_socket.leg, media_socket.output
        leg.packets += 1  # type: ignore[union-attr]  # the plan says that there is one
        leg.bytes += size  # type: ignore[union-attr]
        leg.last_seen = now = poll.now  # type: ignore[union-attr]
        traffic.received_packets += 1
        traffic.received_bytes += size
        try:
            output.send(view[:size])  # type: ignore[union-attr]
        except OSError as error:
            send_failed(leg, output.send, view[:size], error)  # type: ignore[arg-type, union-attr]
        if now >= leg.note_due:  # type: ignore[union-attr]
            note_leg(leg, now)  # type: ignore[arg-type]

    return forward


def measuring_reader(context: ReaderContext) -> SocketReader:
    """The same for legs of RTP that have a meter."""
    buffer, traffic, poll, egress, note_errors, note_leg = context
    view, send_failed = memoryview(buffer), egress.send_failed

    def forward_and_measure(media_socket: MediaSocket) -> None:
        try:
            size = media_socket.recv_into(buffer)
        except OSError:
            note_errors(media_socket)
            return
        leg, output = media_socket.leg, media_socket.output
        leg.packets += 1  # type: ignore[union-attr]  # the plan says that there is one
        leg.bytes += size  # type: ignore[union-attr]
        leg.last_seen = now = poll.now  # type: ignore[union-attr]
        traffic.received_packets += 1
        traffic.received_bytes += size
        try:
            output.send(view[:size])  # type: ignore[union-attr]
        except OSError as error:
            send_failed(leg, output.send, view[:size], error)  # type: ignore[arg-type, union-attr]
        if leg.meter.measure(buffer, size, now):  # type: ignore[union-attr]
            note_reports(leg, view[:size], now=now)  # type: ignore[arg-type]
        if now >= leg.note_due:  # type: ignore[union-attr]
            note_leg(leg, now)  # type: ignore[arg-type]

    return forward_and_measure


def source_factory(
    context: ReaderContext, *, admit: Callable[[MediaSocket, int, Endpoint], None]
) -> Callable[[Leg, Send, RtpMeter, SocketAddress], SocketReader]:
    """A function that makes readers as measuring_reader() for sockets that are not connected to their source.

    Args:
        context: of all fast readers.
        admit: called with each packet in the buffer that has another source.
    """
    buffer, traffic, poll, egress, note_errors, note_leg = context
    view, send_failed = memoryview(buffer), egress.send_failed

    def new_reader(leg: Leg, send: Send, meter: RtpMeter, source: SocketAddress) -> SocketReader:
        measure = meter.measure

        def forward_and_measure(media_socket: MediaSocket) -> None:
            try:
                size, address = media_socket.recvfrom_into(buffer)
            except OSError:
                note_errors(media_socket)
                return
            if address != source:
                admit(media_socket, size, endpoint_of(address))
                return
            leg.packets += 1
            leg.bytes += size
            leg.last_seen = now = poll.now
            traffic.received_packets += 1
            traffic.received_bytes += size
            try:
                send(view[:size])
            except OSError as error:
                send_failed(leg, send, view[:size], error)
            if measure(buffer, size, now):
                note_reports(leg, view[:size], now=now)
            if now >= leg.note_due:
                note_leg(leg, now)

        return forward_and_measure

    return new_reader


def secured_factory(
    context: ReaderContext,
    *,
    note_keys: Callable[[Leg], None],
    refused: Callable[[Leg, memoryview, Refusal], None],
) -> Callable[[Leg, RtpMeter | None], SocketReader]:
    """The same for the plan SECURED, with what SRTP needs.

    Args:
        context: of all fast readers.
        note_keys: called if a successor has to know soon where the keys of a leg are.
        refused: called with a packet that no key opens: it may be STUN or DTLS.
    """
    buffer, traffic, poll, egress, note_errors, note_leg = context
    view = memoryview(buffer)

    def new_reader(leg: Leg, meter: RtpMeter | None) -> SocketReader:
        opens, seals = leg.security, seals_first(leg)
        send = egress.sender(leg) if seals is None else egress.plain_sender(leg)

        def forward(media_socket: MediaSocket) -> None:
            try:
                size = media_socket.recv_into(buffer)
            except OSError:
                note_errors(media_socket)
                return
            packet = view[:size]
            if opens is not None:
                try:
                    receiver = opens.receiver
                    packet = open_packet(opens, packet) if receiver is None else receiver.unprotect(packet)
                except SrtpRefused as exc:
                    refused(leg, packet, exc.reason)
                    return
                size = len(packet)
                if receiver is not None and receiver.checkpoint_due:
                    note_keys(leg)
            leg.packets += 1
            leg.bytes += size
            leg.last_seen = now = poll.now
            traffic.received_packets += 1
            traffic.received_bytes += size
            if meter is not None and meter.measure(packet, size, now):
                note_reports(leg, packet, now=now)
            if seals is not None:
                try:
                    sender = seals.sender
                    packet = seal_packet(seals, packet) if sender is None else sender.protect(packet)
                except SrtpRefused as exc:
                    context.unsealed(leg, send, packet, exc.reason, now)
                    return
                if sender is not None and sender.checkpoint_due:
                    note_keys(leg)
            try:
                send(packet)
            except OSError as error:
                egress.send_failed(leg, send, packet, error)
            if now >= leg.note_due:
                note_leg(leg, now)

        return forward

    return new_reader
