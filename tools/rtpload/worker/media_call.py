"""The two phones of a call in a worker: their sockets, what each sends and receives."""

import random
import secrets
import socket
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tools.rtpload.ends import Endpoint, MediaEnd
from tools.rtpload.messages import Configure, SideTally
from tools.rtpload.packet import RtcpWriter, RtpWriter
from tools.rtpload.streams.histogram import Histogram
from tools.rtpload.streams.reception import Reception
from tools.rtpload.streams.record import StreamRecord
from tools.rtpload.streams.stream import Account, Stream
from tools.rtpload.worker.browser import Browser
from tools.rtpload.worker.phone import open_pair
from tools.rtpload.worker.receivers import STREAMS_PER_CALL, Receiver, Security, receivers_of
from tools.rtpload.worker.secured import Secured
from tools.rtpload.worker.senders import RtcpSender, RtpSender, Sender


class Gauges(NamedTuple):
    """Where a worker counts times: latencies of RTP by the side that receives it, those of RTCP, lateness."""

    caller: Histogram
    callee: Histogram
    reports: Histogram
    lateness: Histogram


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
        from_caller = self._media_sender(caller_socks[0], 0, gauges.callee)
        from_callee = self._media_sender(callee_socks[0], 1, gauges.caller, self._secured)
        self._callers: list[RtpSender | RtcpSender] = [
            from_caller,
            *self._report_senders(caller_socks[1:], 0, from_caller, from_callee),
        ]
        self._callees: list[RtpSender | RtcpSender] = [
            from_callee,
            *self._report_senders(callee_socks[1:], 1, from_callee, from_caller, self._secured),
        ]
        self.receivers = [
            *receivers_of(caller_socks, self._callees, self._callers, tally=caller, common=common),
            *receivers_of(
                callee_socks, self._callers, self._callees, tally=callee, common=common, secured=self._secured
            ),
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

    def _media_sender(
        self, sock: socket.socket, side: int, latencies: Histogram, secured: Security | None = None
    ) -> RtpSender:
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
        return RtpSender(
            sock,
            writer,
            Stream(number, latencies),
            order=self.number * 2 + side,
            interval_ns=common.packet_ns,
            jitter_ns=common.jitter_ns,
            rng=self._rng,
            lateness=self._gauges.lateness,
            protect=secured.protector(rtcp=False) if secured else None,
        )

    def _report_senders(
        self,
        socks: Sequence[socket.socket],
        side: int,
        sends: RtpSender,
        hears: RtpSender,
        secured: Security | None = None,
    ) -> list[RtcpSender]:
        """What sends the reports of a side; without a socket there is none."""
        common = self._common
        number = self.number * STREAMS_PER_CALL + 2 * side + 1
        sends_media = not (self._one_way and side == 1)
        return [
            RtcpSender(
                sock,
                RtcpWriter(common.run, number, sends.writer, sends_media=sends_media),
                Stream(number, self._gauges.reports),
                media=sends,
                reception=Reception(hears.stream, hears.writer, common.packet_ns),
                interval_ns=common.rtcp_interval_ns,
                rng=self._rng,
                protect=secured.protector(rtcp=True) if secured else None,
            )
            for sock in socks
        ]


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


def new_tally() -> SideTally:
    """The account of a side that has received nothing yet."""
    return SideTally(media=Account(), reports=Account(), jitter={})
