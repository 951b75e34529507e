"""The two phones of a call in a worker: their sockets, what each sends and receives."""

import itertools
import random
import secrets
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tools.rtpload.ends import Endpoint, MediaEnd, VideoPorts
from tools.rtpload.messages import Configure, SideTally
from tools.rtpload.packet import RtcpWriter, RtpWriter
from tools.rtpload.streams.histogram import Histogram
from tools.rtpload.streams.reception import Reception
from tools.rtpload.streams.record import StreamRecord
from tools.rtpload.streams.stream import Account, Stream
from tools.rtpload.worker.browser import Browser
from tools.rtpload.worker.phone import open_pair
from tools.rtpload.worker.receivers import (
    STREAMS_PER_CALL,
    STREAMS_PER_MEDIUM,
    Receiver,
    Security,
    receivers_of,
    share_socket,
)
from tools.rtpload.worker.secured import Secured
from tools.rtpload.worker.senders import RtcpSender, RtpSender, Sender


class Gauges(NamedTuple):
    """Where a worker counts.

    Attributes:
        caller, callee: latencies of RTP, by the side that receives it.
        reports: latencies of RTCP.
        lateness: of the RTP that was sent.
        failures: sends that the kernel refused, by the reason.
    """

    caller: Histogram
    callee: Histogram
    reports: Histogram
    lateness: Histogram
    failures: Counter[str]


class _Sockets(NamedTuple):
    """Those of the caller for each medium, RTP and RTCP, and those of the callee."""

    caller: list[list[socket.socket]]
    callee: list[socket.socket]


class MediaCall:
    """Both phones of a call.

    Args:
        number: of the call.
        one_way: the callee sends no RTP.
        common: what all calls have in common.
        rng: for the times of sending.
        gauges: see Gauges.
        caller, callee: what the two sides received.

    Attributes:
        number: of the call.
        caller, callee: where the media of the two ends are taken.
        receivers: what receives at its sockets, the caller's first.
        records: what became of each stream, behind close(), if that is recorded.

    Raises:
        NoPorts: there are no sockets for it.
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
        socks = _open_sockets(common)
        self._secured = _security(common, socks.callee[0], rng)
        self.caller = _end_of(socks.caller)
        self.callee = _end_of_callee(socks.callee, self._secured, video=len(common.media) > 1)
        self._callers: list[list[RtpSender | RtcpSender]] = []
        self._callees: list[list[RtpSender | RtcpSender]] = []
        self.receivers: list[Receiver] = []
        of_callee: list[Receiver] = []
        for medium, of_caller in enumerate(socks.caller):
            self._add_senders(medium, of_caller, socks.callee)
            senders = self._callers[-1], self._callees[-1]
            self.receivers += receivers_of(of_caller, senders[1], senders[0], tally=caller, common=common)
            of_callee += receivers_of(
                socks.callee, senders[0], senders[1], tally=callee, common=common, secured=self._secured
            )
        if isinstance(self._secured, Browser):
            ssrcs = tuple([senders[0].writer.ssrc for senders in self._callees])
            self.callee = self.callee._replace(browser=self._secured.parameters._replace(ssrcs=ssrcs))
            share_socket(of_callee, [*itertools.chain(*self._callers)])
        self.receivers += of_callee
        self.records: list[StreamRecord] = []

    def senders(self) -> Iterator[Sender]:
        """What sends."""
        yield from itertools.chain(*self._callers, *self._callees)

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
        for media, target in ((self._callers, caller), (self._callees, callee)):
            for senders, ports in zip(media, target.ports, strict=True):
                # without RTCP there is one sender
                for sender, endpoint in zip(senders, ports, strict=False):
                    sender.target = endpoint
                    sender.active = True
        if self._one_way:
            for senders in self._callees:
                senders[0].active = False
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

    def close(self) -> None:
        """Close the sockets and take the figures into the account.

        `records` has what was recorded of its streams from then on.
        """
        self.records = [record for receiver in self.receivers if (record := receiver.close()) is not None]

    def _add_senders(
        self, medium: int, of_caller: list[socket.socket], of_callee: list[socket.socket]
    ) -> None:
        """Both phones send one more medium, from these sockets."""
        number = self.number * STREAMS_PER_CALL + medium * STREAMS_PER_MEDIUM
        gauges, secured = self._gauges, self._secured
        caller = self._media_sender(of_caller[0], number, gauges.callee)
        callee = self._media_sender(of_callee[0], number + 2, gauges.caller, secured)
        self._callers.append([caller, *self._report_senders(of_caller[1:], number + 1, caller, callee)])
        self._callees.append(
            [callee, *self._report_senders(of_callee[1:], number + 3, callee, caller, secured)]
        )

    def _media_sender(
        self, sock: socket.socket, number: int, latencies: Histogram, secured: Security | None = None
    ) -> RtpSender:
        common = self._common
        look = common.media[number % STREAMS_PER_CALL // STREAMS_PER_MEDIUM]
        writer = RtpWriter(
            common.run,
            number,
            ssrc=secrets.randbits(32),
            first_sequence=secrets.randbits(16),
            first_timestamp=secrets.randbits(32),
            payload_type=look.payload_type,
            payload_bytes=look.payload_bytes,
            timestamp_step=look.timestamp_step,
        )
        return RtpSender(
            sock,
            writer,
            Stream(number, latencies),
            order=number // 2,
            interval_ns=common.packet_ns,
            jitter_ns=common.jitter_ns,
            rng=self._rng,
            lateness=self._gauges.lateness,
            failures=self._gauges.failures,
            protect=secured.protector(rtcp=False) if secured else None,
        )

    def _report_senders(
        self,
        socks: Sequence[socket.socket],
        number: int,
        sends: RtpSender,
        hears: RtpSender,
        secured: Security | None = None,
    ) -> list[RtcpSender]:
        """What sends the reports of a phone on a medium; without a socket there is none."""
        common = self._common
        is_callee = number % STREAMS_PER_MEDIUM >= STREAMS_PER_MEDIUM // 2
        sends_media = not (self._one_way and is_callee)
        return [
            RtcpSender(
                sock,
                RtcpWriter(common.run, number, sends.writer, sends_media=sends_media),
                Stream(number, self._gauges.reports),
                media=sends,
                reception=Reception(hears.stream, hears.writer, common.packet_ns),
                interval_ns=common.rtcp_interval_ns,
                rng=self._rng,
                failures=self._gauges.failures,
                protect=secured.protector(rtcp=True) if secured else None,
            )
            for sock in socks
        ]


def _security(common: Configure, sock: socket.socket, rng: random.Random) -> Security | None:
    """What the callee of a call has for its SRTP, if it has any."""
    if common.webrtc:
        return Browser(common.srtp, sock, rng)
    return Secured(common.srtp) if common.srtp else None


def _open_sockets(common: Configure) -> _Sockets:
    """The sockets of both phones. Raises NoPorts."""
    opened: list[list[socket.socket]] = []
    try:
        for _ in common.media:
            opened.append(open_pair(common.address, rtcp=common.rtcp))
        of_callee = open_pair(common.address, rtcp=common.rtcp and not common.webrtc)
    except BaseException:
        for sock in itertools.chain(*opened):
            sock.close()
        raise
    if common.webrtc and common.rtcp:
        of_callee.append(of_callee[0])
    return _Sockets(opened, of_callee)


def _end_of(media: list[list[socket.socket]]) -> MediaEnd:
    """The end of a caller: its sockets for each medium."""
    ports = [_ports_of(socks[0]) for socks in media]
    return MediaEnd(*ports[0], video=VideoPorts(*ports[1]) if len(ports) > 1 else None)


def _end_of_callee(socks: list[socket.socket], secured: Security | None, *, video: bool) -> MediaEnd:
    """The end of a callee; a browser has all its media at one port."""
    rtp, rtcp = _ports_of(socks[0])
    if isinstance(secured, Browser):
        return MediaEnd(rtp, rtp, browser=secured.parameters, video=VideoPorts(rtp, rtp) if video else None)
    return MediaEnd(rtp, rtcp, secured.key if secured else "")


def _ports_of(sock: socket.socket) -> tuple[Endpoint, Endpoint]:
    address, port = sock.getsockname()[:2]
    return Endpoint(address, port), Endpoint(address, port + 1)


def new_tally() -> SideTally:
    """The account of a side that has received nothing yet."""
    return SideTally(media=Account(), reports=Account(), jitter={})
