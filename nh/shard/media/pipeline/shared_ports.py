"""The fast reader of a port that RTP shares: with RTCP (RFC 5761), or with further media (RFC 9143).

Like those of `fast_readers`, but it has a way out for each medium. A packet of RTP goes it at once if its
medium is known; all others are handled stage by stage.
"""

from collections.abc import Callable
from typing import NamedTuple

from nh.calls.leg import Leg
from nh.calls.protocols.media_security import MediaSecurity
from nh.calls.rtp.meter import RtpMeter
from nh.rtp.packet import RTCP_FROM, RTCP_TO, RTP_HEADER_BYTES, RTP_VERSION
from nh.shard.media.pipeline.egress import Egress, Send, seals_first, sends_all
from nh.shard.media.pipeline.fast_readers import ReaderContext, SocketReader
from nh.shard.media.pipeline.srtp import open_packet, seal_packet
from nh.shard.media.sockets.media_socket import MediaSocket
from nh.srtp.refusal import Refusal, SrtpRefused


class _Way(NamedTuple):
    """Where the packets of one medium go."""

    meter: RtpMeter | None
    seals: MediaSecurity | None
    send: Send


def shared_port_factory(
    context: ReaderContext,
    *,
    note_keys: Callable[[Leg], None],
    refused: Callable[[Leg, memoryview, Refusal], None],
    process: Callable[[Leg, memoryview], None],
) -> Callable[[Leg], SocketReader]:
    """A function that makes the reader of a leg with others at its port.

    Args:
        context, note_keys, refused: see secured_factory().
        process: called with a packet, without SRTP, that is to go stage by stage.
    """
    buffer, traffic, poll, egress, note_errors, note_leg = context
    view = memoryview(buffer)

    def new_reader(leg: Leg) -> SocketReader:
        opens, bundle = leg.security, leg.bundle
        ways = {each: _way_of(each, egress) for each in leg.at_port}

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
            if (
                size < RTP_HEADER_BYTES
                or packet[0] >> 6 != RTP_VERSION
                or RTCP_FROM <= packet[1] <= RTCP_TO
                or leg.bundle is not bundle
            ):
                process(leg, packet)
                return
            member = leg if bundle is None else bundle.find(packet)
            if member is None or (bundle is not None and bundle.learned):
                process(leg, packet)
                return
            meter, seals, send = ways[member]
            member.packets += 1
            member.bytes += size
            member.last_seen = now = poll.now
            traffic.received_packets += 1
            traffic.received_bytes += size
            if meter is not None:
                meter.measure(packet, size, now)
            if seals is not None:
                try:
                    sender = seals.sender
                    packet = seal_packet(seals, packet) if sender is None else sender.protect(packet)
                except SrtpRefused as exc:
                    context.unsealed(member, send, packet, exc.reason, now)
                    return
                if sender is not None and sender.checkpoint_due:
                    note_keys(member)
            try:
                send(packet)
            except OSError as error:
                egress.send_failed(member, send, packet, error)
            if now >= member.note_due:
                note_leg(member, now)

        return forward

    return new_reader


def has_fast_ways(leg: Leg) -> bool:
    """Whether the reader may be used: no medium is silenced, or has packets that are not sent on."""
    return all(sends_all(each) for each in leg.at_port)


def _way_of(leg: Leg, egress: Egress) -> _Way:
    seals = seals_first(leg)
    return _Way(leg.find_meter(), seals, egress.sender(leg) if seals is None else egress.plain_sender(leg))
