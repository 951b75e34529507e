"""The receiving half of streams: what shall arrive at a socket of a phone, and what else arrives there.

A phone expects known streams at a socket, those of the other phone; every other packet there is misrouted.
"""

import socket
from collections.abc import Mapping, Sequence
from typing import Final

from tools.rtpload.messages import Configure, SideTally
from tools.rtpload.packet import IDENTITY, RTP_HEADER_BYTES, find_identity, rtcp_sizes
from tools.rtpload.streams.histogram import Histogram
from tools.rtpload.streams.reception import Reception
from tools.rtpload.streams.record import Recorder, StreamRecord
from tools.rtpload.streams.stream import Account, Stream
from tools.rtpload.worker.browser import RTCP_TYPES, Browser
from tools.rtpload.worker.phone import dropped
from tools.rtpload.worker.secured import Secured
from tools.rtpload.worker.senders import Protect, RtcpSender, RtpSender

STREAMS_PER_MEDIUM: Final = 4
"""RTP and RTCP of both phones, those of the caller first."""

STREAMS_PER_CALL: Final = 2 * STREAMS_PER_MEDIUM

Security = Secured | Browser

_PAYLOAD_TYPE: Final = 0x7F


class Receiver:
    """A socket of a phone, and the stream that shall arrive there.

    Args:
        sock: the socket.
        stream: the other phone's.
        identity_at: where the identity lies in its packets, by their size.
        tally: of the receiving side.
        reception: what takes the times of its sender reports; None: it is RTP.
        recorder: notes each packet, if that is wanted.
        open_packet: makes RTP or RTCP of what comes, b"" of what is neither, or raises ValueError; None: it
            comes as it is.

    Attributes:
        receive: recvmsg_into() of the socket.
        of_payload_type, of_sender: the receivers of the RTP and of the RTCP that arrive at the same socket,
            by payload type and by the SSRC of the RTCP's sender; empty where nothing else arrives there.
    """

    __slots__ = (
        "identity_at",
        "of_payload_type",
        "of_sender",
        "open_packet",
        "receive",
        "reception",
        "recorder",
        "sock",
        "stream",
        "tally",
    )

    def __init__(
        self,
        sock: socket.socket,
        stream: Stream,
        *,
        identity_at: Mapping[int, int],
        tally: SideTally,
        reception: Reception | None,
        recorder: Recorder | None = None,
        open_packet: Protect | None = None,
    ) -> None:
        self.sock = sock
        self.receive = sock.recvmsg_into
        self.stream = stream
        self.identity_at = identity_at
        self.tally = tally
        self.reception = reception
        self.recorder = recorder
        self.open_packet = open_packet
        self.of_payload_type: Mapping[int, Receiver] = {}
        self.of_sender: Mapping[int, Receiver] = {}

    def of_packet(self, packet: memoryview) -> "Receiver":
        """That of a packet of RTP or RTCP at this socket."""
        if packet[1] in RTCP_TYPES:
            return self.of_sender.get(int.from_bytes(packet[4:8], "big"), self)
        return self.of_payload_type.get(packet[1] & _PAYLOAD_TYPE, self)

    def classify(self, packet: memoryview, run: int) -> None:
        """Account for a packet that is not one of the stream as it was sent."""
        identity = find_identity(packet)
        if identity is None or identity.run != run:
            self.tally.foreign += 1
        elif identity.stream == self.stream.number:
            self.stream.damaged += 1
        else:
            self.tally.misrouted += 1

    def close(self) -> StreamRecord | None:
        """Close the socket, and take the stream's figures into the side's account; its record, if any."""
        dropped_here = dropped(self.sock)
        self.sock.close()
        self._count(self.stream.close(dropped_here))
        if self.recorder is None:
            return None
        call, stream = divmod(self.stream.number, STREAMS_PER_CALL)
        medium, stream = divmod(stream, STREAMS_PER_MEDIUM)
        sender = "caller" if stream < STREAMS_PER_MEDIUM // 2 else "callee"
        return self.recorder.close(
            call=call, medium=medium, sender=sender, sent=self.stream.sent, dropped_here=dropped_here
        )

    def _count(self, account: Account) -> None:
        if self.reception is not None:
            self.tally.reports.add(account)
            return
        self.tally.media.add(account)
        if account.received > 1:
            jitter = Histogram()
            jitter.record(round(self.stream.jitter_ns))
            for bucket, count in jitter.filled().items():
                self.tally.jitter[bucket] = self.tally.jitter.get(bucket, 0) + count


def receivers_of(
    socks: list[socket.socket],
    expected: list[RtpSender | RtcpSender],
    own: list[RtpSender | RtcpSender],
    *,
    tally: SideTally,
    common: Configure,
    secured: Security | None = None,
) -> list[Receiver]:
    """What receives at the sockets of a side.

    Args:
        socks: RTP, and RTCP if there is any.
        expected: what the other side sends to each.
        own: what this side sends from each.
        tally, common, secured: of this side.
    """
    return [
        Receiver(
            sock,
            sender.stream,
            identity_at=_identity_at(sender),
            tally=tally,
            reception=mine.reception if isinstance(mine, RtcpSender) else None,
            recorder=_recorder(sender, common) if common.list_streams else None,
            open_packet=secured.opener(rtcp=isinstance(sender, RtcpSender)) if secured else None,
        )
        for sock, sender, mine in zip(socks, expected, own, strict=True)
    ]


def share_socket(receivers: Sequence[Receiver], expected: Sequence[RtpSender | RtcpSender]) -> None:
    """Let the receivers of one socket tell what is theirs.

    Args:
        receivers: all of them.
        expected: what each receives.
    """
    pairs = list(zip(receivers, expected, strict=True))
    of_payload_type = {
        sender.writer.payload_type: receiver for receiver, sender in pairs if isinstance(sender, RtpSender)
    }
    of_sender = {sender.writer.ssrc: receiver for receiver, sender in pairs if isinstance(sender, RtcpSender)}
    for receiver in receivers:
        receiver.of_payload_type, receiver.of_sender = of_payload_type, of_sender


def _identity_at(sender: RtpSender | RtcpSender) -> dict[int, int]:
    """Where the identity lies in the packets of a sender, by their size."""
    if isinstance(sender, RtpSender):
        return {len(sender.writer.buffer): RTP_HEADER_BYTES}
    sizes = rtcp_sizes(sends_media=sender.writer.sends_media)
    return {size: size - IDENTITY.size for size in sizes}


def _recorder(sender: RtpSender | RtcpSender, common: Configure) -> Recorder:
    return Recorder(common.packet_ns if isinstance(sender, RtpSender) else 0)
