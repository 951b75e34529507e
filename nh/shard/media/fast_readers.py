"""Fast readers: one closure for each socket of one latched leg, for the plans of almost every packet.

A closure finds everything in its cells, without a look-up. The readers of a factory share the cells of what
all sockets of a shard have in common. What can be decided for a leg (does it have RTP statistics, and whose
keys?) is decided when its reader is made, not for each packet. So the closures repeat a few lines, and no
packet pays for a call that another plan needs.
"""

from collections.abc import Callable

from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.rtcp_reports import note_reports
from nh.calls.rtp.meter import RtpMeter
from nh.shard.media.addresses import SocketAddress, endpoint_of
from nh.shard.media.egress import Egress, Send, seals_first
from nh.shard.media.poll import MediaPoll, Reader
from nh.shard.media.sockets import MediaSocket, socket_of
from nh.shard.media.srtp import open_packet, seal_packet
from nh.shard.media.totals import TrafficTotals
from nh.srtp.refusal import Refusal, SrtpRefused

Receive = Callable[[bytearray], int]
"""Reads one packet into a buffer; returns its bytes. Raises OSError if none waits, or for an ICMP error."""

ReceiveFrom = Callable[[bytearray], tuple[int, SocketAddress]]
"""The same, with the address that the packet came from."""

SendFailed = Callable[[Leg, Send, memoryview, OSError], None]
NoteErrors = Callable[[MediaSocket], None]

NoteLeg = Callable[[Leg, float], None]
"""Called with a leg when a packet finds its `note_due` over, and the packet's monotonic seconds."""


def forwarding_factory(
    buffer: bytearray,
    traffic: TrafficTotals,
    poll: MediaPoll,
    send_failed: SendFailed,
    *,
    note_errors: NoteErrors,
    note_leg: NoteLeg,
) -> Callable[[Leg, Receive, Send], Reader]:
    """A function that makes the readers of the plain plan for legs without RTP statistics.

    Args:
        buffer: of all packets.
        traffic: counts them.
        poll: has the time.
        send_failed: called for a packet that the kernel refused.
        note_errors: called when there is no packet after all, or an ICMP error in its place.
        note_leg: see NoteLeg.
    """
    view = memoryview(buffer)

    def new_reader(leg: Leg, receive: Receive, send: Send) -> Reader:
        def forward() -> None:
            try:
                size = receive(buffer)
            except OSError:
                note_errors(socket_of(leg))
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
            if now >= leg.note_due:
                note_leg(leg, now)

        return forward

    return new_reader


def measuring_factory(
    buffer: bytearray,
    traffic: TrafficTotals,
    poll: MediaPoll,
    send_failed: SendFailed,
    *,
    note_errors: NoteErrors,
    note_leg: NoteLeg,
) -> Callable[[Leg, Receive, Send, RtpMeter], Reader]:
    """The same for legs of RTP, with their meter; see forwarding_factory()."""
    view = memoryview(buffer)

    def new_reader(leg: Leg, receive: Receive, send: Send, meter: RtpMeter) -> Reader:
        measure = meter.measure

        def forward_and_measure() -> None:
            try:
                size = receive(buffer)
            except OSError:
                note_errors(socket_of(leg))
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


def source_factory(
    buffer: bytearray,
    traffic: TrafficTotals,
    poll: MediaPoll,
    send_failed: SendFailed,
    *,
    note_errors: NoteErrors,
    note_leg: NoteLeg,
    admit: Callable[[MediaSocket, int, Endpoint], None],
) -> Callable[[MediaSocket, ReceiveFrom, Send, RtpMeter, SocketAddress], Reader]:
    """The same as measuring_factory() for a socket that is not connected to the source of its leg.

    Args:
        admit: called with each packet in the buffer that has another source.
    """
    view = memoryview(buffer)

    def new_reader(
        media_socket: MediaSocket, receive: ReceiveFrom, send: Send, meter: RtpMeter, source: SocketAddress
    ) -> Reader:
        (leg,) = media_socket.legs
        measure = meter.measure

        def forward_and_measure() -> None:
            try:
                size, address = receive(buffer)
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
    buffer: bytearray,
    traffic: TrafficTotals,
    poll: MediaPoll,
    egress: Egress,
    *,
    note_errors: NoteErrors,
    note_leg: NoteLeg,
    note_keys: Callable[[Leg], None],
    refused: Callable[[Leg, memoryview, Refusal], None],
) -> Callable[[Leg, Receive, RtpMeter | None], Reader]:
    """The same for the plan SECURED, with what SRTP needs; see forwarding_factory().

    Args:
        egress: counts drops, and sends.
        refused: called with a packet that no key opens: it may be STUN or DTLS.
        note_keys: called if a successor has to know soon where the keys of a leg are.
    """
    view = memoryview(buffer)

    def new_reader(leg: Leg, receive: Receive, meter: RtpMeter | None) -> Reader:
        opens, seals = leg.security, seals_first(leg)
        send = egress.sender(leg) if seals is None else egress.plain_sender(leg)

        def forward() -> None:
            try:
                size = receive(buffer)
            except OSError:
                note_errors(socket_of(leg))
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
                    egress.unsealed(leg, send, packet, exc.reason)
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
