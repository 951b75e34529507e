"""The sending half of a stream: writes a packet when its time has come, and says when the next one is due.

`send` runs once a packet for thousands of streams: it allocates nothing that lasts and looks nothing up. A
sender has no clock: the worker tells it the time, nanoseconds of the monotonic clock.
"""

import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from nh.reasons import reason
from tools.rtpload.ends import Endpoint
from tools.rtpload.packet import RtcpWriter, RtpWriter
from tools.rtpload.streams.histogram import MAX_NS, SUB_BITS, Histogram
from tools.rtpload.streams.reception import Reception
from tools.rtpload.streams.stream import Stream
from tools.rtpload.worker.pacing import first_tick, phase_ns, report_delay_ns

Protect = Callable[[bytes], bytes]
"""Makes a packet of SRTP or SRTCP of one of RTP or RTCP, or the other way round."""


class Scheduled(Protocol):
    """Something that sends from time to time.

    Attributes:
        active: whether it is to send.
        scheduled: whether it is in the worker's schedule: one that falls silent stays there until it is due,
            and is not put there a second time if it sends again before.
    """

    active: bool
    scheduled: bool

    def first_due(self, now_ns: int) -> int:
        """When to send first, if it begins to speak now."""

    def send(self, now_ns: int, due_ns: int) -> int:
        """Send what was due at `due_ns`; returns when the next one is due."""


class Sender(Scheduled, Protocol):
    """What sends the packets of a stream to a target.

    Attributes:
        stream: their account.
        target: where they go.
    """

    stream: Stream
    target: Endpoint


class RtpSender:
    """Sends RTP on a clock of its own.

    Args:
        sock: of the phone.
        writer: of its packets.
        stream: the account.
        order: which stream of the run this is, for its phase.
        interval_ns: packet time.
        jitter_ns: each packet is sent up to so much after its time.
        rng: for the jitter.
        lateness: where its lateness is counted.
        failures: where the sends that the kernel refused are counted, by the reason.
        protect: makes SRTP of its packets; None: they are sent as they are.

    Attributes:
        stream, target: see Sender.
        active, scheduled: see Scheduled.
        writer: of its packets.
    """

    __slots__ = (
        "_failures",
        "_interval_ns",
        "_jitter_ns",
        "_lateness",
        "_phase_ns",
        "_protect",
        "_rng",
        "_sendto",
        "_tick_ns",
        "active",
        "scheduled",
        "stream",
        "target",
        "writer",
    )

    def __init__(
        self,
        sock: socket.socket,
        writer: RtpWriter,
        stream: Stream,
        *,
        order: int,
        interval_ns: int,
        jitter_ns: int,
        rng: random.Random,
        lateness: Histogram,
        failures: Counter[str],
        protect: Protect | None = None,
    ) -> None:
        self._sendto = sock.sendto
        self._protect = protect
        self.writer = writer
        self.stream = stream
        self._interval_ns = interval_ns
        self._jitter_ns = jitter_ns
        self._rng = rng
        self._lateness = lateness.counts
        self._phase_ns = phase_ns(order, interval_ns)
        self._tick_ns = 0
        self._failures = failures
        self.active = self.scheduled = False
        self.target = Endpoint("", 0)

    def first_due(self, now_ns: int) -> int:
        """See Scheduled."""
        self._tick_ns = first_tick(now_ns, self._phase_ns, self._interval_ns)
        return self._tick_ns

    def send(self, now_ns: int, due_ns: int) -> int:
        """See Scheduled."""
        stream = self.stream
        writer = self.writer
        protect = self._protect
        number = stream.sent
        writer.write(number, now_ns)
        try:
            self._sendto(protect(bytes(writer.buffer)) if protect else writer.buffer, self.target)
        except OSError as exc:
            self._failures[reason(exc)] += 1
        else:
            stream.sent = number + 1
            late_ns = min(now_ns - due_ns, MAX_NS)
            shift = late_ns.bit_length() - SUB_BITS
            self._lateness[late_ns if shift <= 0 else (shift << (SUB_BITS - 1)) + (late_ns >> shift)] += 1
        self._tick_ns += self._interval_ns
        if self._jitter_ns:
            return self._tick_ns + self._rng.randrange(self._jitter_ns)
        return self._tick_ns


class RtcpSender:
    """Sends RTCP at RFC 3550's random intervals.

    Args:
        sock: of the phone.
        writer: of its compounds.
        stream: the account.
        media: the phone's RTP, on which it reports.
        reception: of the RTP that comes to the phone, on which it reports, too.
        interval_ns: mean time between two compounds.
        rng: for the intervals.
        failures: where the sends that the kernel refused are counted, by the reason.
        protect: makes SRTCP of its compounds; None: they are sent as they are.

    Attributes:
        stream, target: see Sender.
        active, scheduled: see Scheduled.
        writer, reception: see above.
    """

    __slots__ = (
        "_failures",
        "_interval_ns",
        "_media",
        "_protect",
        "_rng",
        "_sendto",
        "active",
        "reception",
        "scheduled",
        "stream",
        "target",
        "writer",
    )

    def __init__(
        self,
        sock: socket.socket,
        writer: RtcpWriter,
        stream: Stream,
        *,
        media: RtpSender,
        reception: Reception,
        interval_ns: int,
        rng: random.Random,
        failures: Counter[str],
        protect: Protect | None = None,
    ) -> None:
        self._sendto = sock.sendto
        self._protect = protect
        self.writer = writer
        self.stream = stream
        self._media = media
        self.reception = reception
        self._interval_ns = interval_ns
        self._rng = rng
        self._failures = failures
        self.active = self.scheduled = False
        self.target = Endpoint("", 0)

    def first_due(self, now_ns: int) -> int:
        """See Scheduled. The first compound comes sooner than the others (RFC 3550 6.2)."""
        return now_ns + self._rng.randrange(self._interval_ns)

    def send(self, now_ns: int, due_ns: int) -> int:
        """See Scheduled."""
        protect = self._protect
        number = self.stream.sent
        packets = self._media.stream.sent
        self.writer.write(
            number,
            now_ns,
            unix_ns=time.time_ns(),
            media_packets=packets,
            media_bytes=packets * self._media.writer.payload_bytes,
            block=self.reception.block(now_ns),
        )
        try:
            buffer = self.writer.buffer
            self._sendto(protect(bytes(buffer)) if protect else buffer, self.target)
        except OSError as exc:
            self._failures[reason(exc)] += 1
        else:
            self.stream.sent = number + 1
        return due_ns + report_delay_ns(self._interval_ns, self._rng)
