"""The two phones of a call in a worker: their sockets, what each sends and receives.

A phone expects one known stream on a socket, that of the other phone; every other packet there is misrouted.
"""

import random
import secrets
import socket
from collections.abc import Iterator
from typing import NamedTuple

from tools.rtpload.ends import Endpoint, MediaEnd
from tools.rtpload.messages import Configure, SideTally
from tools.rtpload.packet import RTP_HEADER_BYTES, RtcpWriter, RtpWriter, find_identity
from tools.rtpload.streams.histogram import Histogram
from tools.rtpload.streams.record import Recorder, StreamRecord
from tools.rtpload.streams.stream import Account, Stream
from tools.rtpload.worker.browser import RTCP_TYPES, Browser
from tools.rtpload.worker.phone import dropped, open_pair
from tools.rtpload.worker.secured import Secured
from tools.rtpload.worker.senders import Protect, RtcpSender, RtpSender, Sender

STREAMS_PER_CALL = 4

Security = Secured | Browser


class Gauges(NamedTuple):
    """Where a worker counts times: latencies of RTP by the side that receives it, those of RTCP, lateness."""

    caller: Histogram
    callee: Histogram
    reports: Histogram
    lateness: Histogram


class Receiver:
    """A socket of a phone, and the stream that shall arrive there.

    Args:
        sock: the socket.
        stream: the other phone's.
        packet_bytes: how large its packets are.
        identity_offset: where their identity lies.
        tally: of the receiving side.
        media: whether it is RTP.
        recorder: notes each packet, if that is wanted.
        open_packet: makes RTP or RTCP of what comes, b"" of what is neither, or raises ValueError; None: it
            comes as it is.

    Attributes:
        reports: of the RTCP that arrives at the same socket, if it does.
    """

    __slots__ = (
        "identity_offset",
        "media",
        "open_packet",
        "packet_bytes",
        "receive",
        "recorder",
        "reports",
        "sock",
        "stream",
        "tally",
    )

    def __init__(
        self,
        sock: socket.socket,
        stream: Stream,
        *,
        packet_bytes: int,
        identity_offset: int,
        tally: SideTally,
        media: bool,
        recorder: Recorder | None = None,
        open_packet: Protect | None = None,
    ) -> None:
        self.sock = sock
        self.receive = sock.recvmsg_into
        self.stream = stream
        self.packet_bytes = packet_bytes
        self.identity_offset = identity_offset
        self.tally = tally
        self.media = media
        self.recorder = recorder
        self.open_packet = open_packet
        self.reports: Receiver | None = None

    def of_kind(self, packet: memoryview) -> "Receiver":
        """That of a packet of RTP or RTCP at this socket."""
        if self.reports is not None and packet[1] in RTCP_TYPES:
            return self.reports
        return self

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
        sender = "caller" if stream < STREAMS_PER_CALL // 2 else "callee"
        return self.recorder.close(call=call, sender=sender, sent=self.stream.sent, dropped_here=dropped_here)

    def _count(self, account: Account) -> None:
        if not self.media:
            self.tally.reports.add(account)
            return
        self.tally.media.add(account)
        if account.received > 1:
            jitter = Histogram()
            jitter.record(round(self.stream.jitter_ns))
            for bucket, count in jitter.filled().items():
                self.tally.jitter[bucket] = self.tally.jitter.get(bucket, 0) + count


class MediaCall:
    """Both phones of a call.

    Args:
        number: of the call.
        one_way: the callee sends no RTP.
        common: what all calls have in common.
        rng: for the times of sending.
        gauges: see Gauges.
        caller, callee: what the two sides received.

    Raises NoPorts.
    """

    def __init__(
        self,
        number: int,
        *,
        one_way: bool,
        common: Configure,
        rng: random.Random,
        gauges: Gauges,
        caller: SideTally,
        callee: SideTally,
    ) -> None:
        self.number = number
        self._one_way = one_way
        self._common = common
        self._rng = rng
        self._gauges = gauges
        caller_socks = open_pair(common.address, rtcp=common.rtcp)
        try:
            callee_socks = open_pair(common.address, rtcp=common.rtcp and not common.webrtc)
        except BaseException:
            for sock in caller_socks:
                sock.close()
            raise
        self._secured = _security(common, callee_socks[0], rng)
        if common.webrtc and common.rtcp:
            callee_socks.append(callee_socks[0])
        self.caller, self.callee = _end_of(caller_socks), _end_of(callee_socks, self._secured)
        self._callers = self._senders(caller_socks, 0, gauges.callee)
        self._callees = self._senders(callee_socks, 1, gauges.caller, self._secured)
        self.receivers = [
            *_receivers(caller_socks, self._callees, caller, common),
            *_receivers(callee_socks, self._callers, callee, common, self._secured),
        ]
        self.records: list[StreamRecord] = []

    def senders(self) -> Iterator[Sender]:
        """What sends."""
        yield from self._callers
        yield from self._callees

    @property
    def browser(self) -> Browser | None:
        """The callee, if it is one."""
        return self._secured if isinstance(self._secured, Browser) else None

    def sockets(self) -> dict[int, Receiver]:
        """What receives at each socket, by descriptor."""
        return {receiver.sock.fileno(): receiver for receiver in reversed(self.receivers)}

    def start_sending(self, caller: MediaEnd, callee: MediaEnd) -> list[Sender]:
        """Send to these ports of the relay. Returns what has to be scheduled for that."""
        if isinstance(self._secured, Secured):
            self._secured.learn(callee.key)
        for senders, target in ((self._callers, caller), (self._callees, callee)):
            # without RTCP there is one sender
            for sender, endpoint in zip(senders, (target.rtp, target.rtcp), strict=False):
                sender.target = endpoint
                sender.active = True
        if self._one_way:
            self._callees[0].active = False
        return [sender for sender in self.senders() if sender.active and not sender.scheduled]

    def stop_sending(self) -> None:
        """Send nothing more."""
        for sender in self.senders():
            sender.active = False

    @property
    def complete(self) -> bool:
        """Whether everything that was sent is in."""
        return all(sender.stream.complete for sender in self.senders())

    def begin_move(self) -> None:
        """A re-INVITE begins."""
        for sender in self.senders():
            sender.stream.begin_move()

    def end_move(self) -> None:
        """A re-INVITE is done."""
        for sender in self.senders():
            sender.stream.end_move()

    def close(self) -> int:
        """Close the sockets and take the figures into the account; returns how many sends failed.

        `records` has what was recorded of its streams from then on.
        """
        self.records = [record for receiver in self.receivers if (record := receiver.close()) is not None]
        return sum(sender.failures for sender in (*self._callers, *self._callees))

    def _senders(
        self, socks: list[socket.socket], side: int, latencies: Histogram, secured: Security | None = None
    ) -> list[RtpSender | RtcpSender]:
        common = self._common
        number = self.number * STREAMS_PER_CALL + 2 * side
        writer = RtpWriter(
            common.run,
            number,
            ssrc=secrets.randbits(32),
            first_sequence=secrets.randbits(16),
            first_timestamp=secrets.randbits(32),
            payload_type=common.payload_type,
            payload_bytes=common.payload_bytes,
            timestamp_step=common.timestamp_step,
        )
        media = RtpSender(
            socks[0],
            writer,
            Stream(number, latencies),
            order=self.number * 2 + side,
            interval_ns=common.packet_ns,
            jitter_ns=common.jitter_ns,
            rng=self._rng,
            lateness=self._gauges.lateness,
            protect=secured.protector(rtcp=False) if secured else None,
        )
        if len(socks) == 1:
            return [media]
        sends_media = not (self._one_way and side == 1)
        reports = RtcpSender(
            socks[1],
            RtcpWriter(common.run, number + 1, writer, sends_media=sends_media),
            Stream(number + 1, self._gauges.reports),
            media=media,
            interval_ns=common.rtcp_interval_ns,
            rng=self._rng,
            protect=secured.protector(rtcp=True) if secured else None,
        )
        return [media, reports]


def _security(common: Configure, sock: socket.socket, rng: random.Random) -> Security | None:
    """What the callee of a call has for its SRTP, if it has any."""
    if common.webrtc:
        return Browser(common.srtp, sock, rng)
    return Secured(common.srtp) if common.srtp else None


def _end_of(socks: list[socket.socket], secured: Security | None = None) -> MediaEnd:
    address, port = socks[0].getsockname()[:2]
    rtp = Endpoint(address, port)
    if isinstance(secured, Browser):
        return MediaEnd(rtp, rtp, browser=secured.parameters)
    return MediaEnd(rtp, Endpoint(address, port + 1), secured.key if secured else "")


def _receivers(
    socks: list[socket.socket],
    expected: list[RtpSender | RtcpSender],
    tally: SideTally,
    common: Configure,
    secured: Security | None = None,
) -> list[Receiver]:
    receivers = [
        Receiver(
            sock,
            sender.stream,
            packet_bytes=len(sender.writer.buffer),
            identity_offset=RTP_HEADER_BYTES
            if isinstance(sender, RtpSender)
            else sender.writer.identity_offset,
            tally=tally,
            media=isinstance(sender, RtpSender),
            recorder=_recorder(sender, common) if common.list_streams else None,
            open_packet=secured.opener(rtcp=isinstance(sender, RtcpSender)) if secured else None,
        )
        for sock, sender in zip(socks, expected, strict=True)
    ]
    if isinstance(secured, Browser) and len(receivers) > 1:
        receivers[0].reports = receivers[1]
    return receivers


def _recorder(sender: RtpSender | RtcpSender, common: Configure) -> Recorder:
    return Recorder(common.packet_ns if isinstance(sender, RtpSender) else 0)


def new_tally() -> SideTally:
    """The account of a side that has received nothing yet."""
    return SideTally(media=Account(), reports=Account(), jitter={})
