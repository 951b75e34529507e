"""Paced UDP streams through a relay, and the CPU time that its process spends on them."""

import socket
import time
from pathlib import Path
from typing import NamedTuple

PAYLOAD = bytes(172)
"""12 bytes of RTP header and 20 ms of G.711."""

DRAIN_EVERY = 200
"""Packets sent between two looks at the sinks."""


class Stream(NamedTuple):
    """One direction: `source` is connected to the relay's port, `sink` is where the relay sends it."""

    source: socket.socket
    sink: socket.socket


class Cost(NamedTuple):
    """What a round cost: packets sent and arrived, CPU seconds of the relay, wall seconds."""

    sent: int
    arrived: int
    cpu_s: float
    wall_s: float

    @property
    def us_per_packet(self) -> float:
        """CPU microseconds of the relay for each packet that it passed on."""
        return self.cpu_s * 1e6 / max(1, self.arrived)


def open_udp(address: str = "127.0.0.1") -> socket.socket:
    """A bound, non-blocking UDP socket on any free port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind((address, 0))
    return sock


def cpu_time_s(pid: int) -> float:
    """CPU seconds that a single-threaded process has used, to the nanosecond (/proc/PID/schedstat)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def play(streams: list[Stream], *, packets_per_s: float, duration_s: float, pid: int) -> Cost:
    """Send round-robin over all streams, evenly spaced as streams with clocks of their own are, and count
    what arrives. The sender spins on its CPU: sleeping would send in bursts.

    Arguments:
        streams: at least one.
        packets_per_s: of all streams together.
        duration_s: how long.
        pid: the relay's process.
    """
    drain(streams)
    start, cpu_start = time.monotonic(), cpu_time_s(pid)
    sent = arrived = drained = 0
    while (elapsed_s := time.monotonic() - start) < duration_s:
        for _ in range(int(elapsed_s * packets_per_s) - sent):
            streams[sent % len(streams)].source.send(PAYLOAD)
            sent += 1
        if sent - drained >= DRAIN_EVERY:
            drained = sent
            arrived += drain(streams)
    deadline = time.monotonic() + 1
    while arrived < sent and time.monotonic() < deadline:
        arrived += drain(streams)
    return Cost(sent, arrived, cpu_time_s(pid) - cpu_start, time.monotonic() - start)


def drain(streams: list[Stream]) -> int:
    """Read everything that waits at the sinks; returns how many packets that was."""
    packets = 0
    for stream in streams:
        receive = stream.sink.recv
        try:
            while True:
                receive(2048)
                packets += 1
        except BlockingIOError:
            pass
    return packets
