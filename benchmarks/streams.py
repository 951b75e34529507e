"""Paced RTP streams over a few phone sockets, and what became of each packet.

Any number of calls share the phones: a relay tells calls apart by its own ports, and a benchmark of 10,000
calls needs no 20,000 sockets of its own. Each packet carries when it was sent, its stream and its round; the
kernel notes when it arrived (SO_TIMESTAMPNS), so that the sender's own delay in reading is not the relay's.
Both are the wall clock: the kernel stamps with no other.
"""

import gc
import math
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tools.rtpload.worker.phone import SO_TIMESTAMPNS

PACKET_BYTES: Final = 172
"""12 bytes of RTP header and 20 ms of G.711."""

HEADER: Final = struct.Struct("!BBHIIQII")
"""RTP (RFC 3550 5.1), then: when it was sent (ns of the wall clock), stream, round."""

STAMP: Final = struct.Struct("@qq")
"""struct timespec."""

RTP_VERSION: Final = 0x80
SAMPLES_PER_PACKET: Final = 160
NS_PER_SAMPLE: Final = 125_000
"""Of G.711, 8000 Hz."""

PAIRS: Final = 2
"""Callers, and as many callees."""

RECEIVE_BUFFER_BYTES: Final = 4 << 20
ANCILLARY_BYTES: Final = socket.CMSG_SPACE(STAMP.size)
READ_AT_ONCE: Final = 64
"""Packets read from one phone before the others have their turn."""

DRAIN_S: Final = 0.5
"""How long the last packets of a round may take; what comes later is lost."""


class Stream(NamedTuple):
    """One direction of a call: `source` sends to `target`, and the relay passes it on to `sink`."""

    source: socket.socket
    target: tuple[str, int]
    sink: socket.socket


class Played(NamedTuple):
    """What became of a round.

    Args:
        sent, arrived: packets. What arrived at another phone than its stream's did not arrive.
        latencies_us: of those that arrived, in ascending order.
        late: packets that were sent more than a millisecond late: the sender could not keep up.
        waited_s: how long the sender had nothing to do.
        wall_s: length of the round.
    """

    sent: int
    arrived: int
    latencies_us: list[float]
    late: int
    waited_s: float
    wall_s: float

    def percentile_us(self, percent: float) -> float:
        """Latency that `percent` of the packets do not exceed; 0 if none arrived."""
        if not self.latencies_us:
            return 0.0
        last = len(self.latencies_us) - 1
        return self.latencies_us[min(last, int(len(self.latencies_us) * percent / 100))]


class Phones:
    """The ends of all calls.

    Call n has those of n modulo PAIRS.
    """

    def __init__(self) -> None:
        self._pairs = [(_open_phone(), _open_phone()) for _ in range(PAIRS)]
        self._turns: dict[tuple[str, int], int] = {}
        self._epoll = select.epoll()
        self._by_fd = {sock.fileno(): sock for pair in self._pairs for sock in pair}
        for fd in self._by_fd:
            self._epoll.register(fd, select.EPOLLIN)

    def of_call(self, number: int) -> tuple[socket.socket, socket.socket]:
        """Caller and callee."""
        return self._pairs[number % len(self._pairs)]

    def close(self) -> None:
        """Close all sockets."""
        self._epoll.close()
        for sock in self._by_fd.values():
            sock.close()

    def play(
        self, streams: Sequence[Stream], *, number: int, packets_per_s: float, duration_s: float
    ) -> Played:
        """Send round-robin over all streams, evenly spaced, as streams with clocks of their own are.

        The sender spins while nothing is due, for sleeping would send in bursts, and reads meanwhile. Each
        stream goes on where it was in the round before: a phone that begins anew costs a relay that measures
        RTP more than a packet does. All streams have as many packets.

        Args:
            streams: at least one.
            number: of the round; packets of other rounds that arrive now are not counted.
            packets_per_s: of all streams together.
            duration_s: how long at least.
        """
        arrivals = Arrivals(self._by_fd, self._epoll, streams, number)
        first = self._turns.get(streams[0].target, 0)
        turns = range(first, first + math.ceil(round(packets_per_s * duration_s) / len(streams)))
        self._turns[streams[0].target] = turns.stop
        gc.collect()
        gc.disable()
        try:
            return _play(streams, arrivals, number, turns, 1e9 / packets_per_s)
        finally:
            gc.enable()

    def endpoints(self, number: int) -> tuple[tuple[str, int], tuple[str, int]]:
        """Where caller and callee of a call receive."""
        caller, callee = self.of_call(number)
        return caller.getsockname(), callee.getsockname()


class Arrivals:
    """Reads the phones, step by step.

    Attributes:
        reading: the iterator whose steps do it; see Phones.play().
        latencies_ns: of the packets that came.
    """

    def __init__(
        self, by_fd: dict[int, socket.socket], epoll: select.epoll, streams: Sequence[Stream], number: int
    ) -> None:
        self.latencies_ns: list[int] = []
        self.reading = self._read(by_fd, epoll, streams, number)

    def _read(
        self, by_fd: dict[int, socket.socket], epoll: select.epoll, streams: Sequence[Stream], number: int
    ) -> Iterator[bool]:
        """Each step reads one packet, or looks where there are any; whether there was something."""
        sinks = [stream.sink.fileno() for stream in streams]
        note = self.latencies_ns.append
        while True:
            ready = epoll.poll(0)
            for fd, _ in ready:
                receive = by_fd[fd].recvmsg
                for _ in range(READ_AT_ONCE):
                    try:
                        packet, ancillary, _, _ = receive(PACKET_BYTES, ANCILLARY_BYTES)
                    except BlockingIOError:
                        break
                    _, _, _, _, _, sent_ns, stream, of_round = HEADER.unpack_from(packet)
                    if of_round == number and sinks[stream] == fd:
                        seconds, ns = STAMP.unpack(ancillary[0][2])
                        note(seconds * 1_000_000_000 + ns - sent_ns)
                    yield True
            yield bool(ready)


def _play(
    streams: Sequence[Stream], arrivals: Arrivals, number: int, turns: range, interval_ns: float
) -> Played:
    clock, read = time.time_ns, arrivals.reading.__next__
    ways = [(stream.source.sendto, stream.target) for stream in streams]
    packet = bytearray(PACKET_BYTES)
    total, first = len(turns) * len(ways), turns.start
    late = waited_ns = 0
    while read():
        pass  # what was left over from before
    start_ns = now = clock()
    for sent in range(total):
        due_ns = start_ns + int(sent * interval_ns)
        while now < due_ns:
            worked = read()
            before, now = now, clock()
            if not worked:
                waited_ns += now - before
        if now - due_ns > 1_000_000:
            late += 1
        turn, stream = divmod(sent, len(ways))
        sequence, timestamp = first + turn & 0xFFFF, now // NS_PER_SAMPLE & 0xFFFFFFFF
        HEADER.pack_into(packet, 0, RTP_VERSION, 0, sequence, timestamp, stream, now, stream, number)
        send, target = ways[stream]
        send(packet, target)
        now = clock()
    deadline_ns = now + int(DRAIN_S * 1e9)
    while len(arrivals.latencies_ns) < total and now < deadline_ns:
        worked = read()
        before, now = now, clock()
        if not worked:
            waited_ns += now - before
    latencies_us = sorted(latency / 1000 for latency in arrivals.latencies_ns)
    wall_s = (now - start_ns) / 1e9
    return Played(total, len(latencies_us), latencies_us, late, waited_ns / 1e9, wall_s)


def _open_phone() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.bind(("127.0.0.1", 0))
    return sock
