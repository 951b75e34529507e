"""How long a shard's commands take while media come as fast as they can be sent.

The media are more than the shard can carry, so its queues are always full: what is measured is whether a
command has to wait behind them. Packets that the shard cannot take are lost in the kernel.
An echo beside the shard shows what of that is the host's (benchmarks.echo); a command passes two processes.
"""

import contextlib
import itertools
import multiprocessing
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.echo import echo_on
from benchmarks.peers.nh import Nh, nh_alone
from benchmarks.peers.signalling import set_up_by_control
from benchmarks.processes import TreeMeter
from benchmarks.results import CommandLatency
from benchmarks.streams import HEADER, PACKET_BYTES, RTP_VERSION, SAMPLES_PER_PACKET, Stream
from nh.client import NativeClient
from nh.commands import GetStats
from tools.rtpload.command_times import CommandTimes
from tools.rtpload.controls.native import NativeControl
from tools.rtpload.streams.histogram import Histogram

CALLS: Final = 2500
UDP_SEGMENT: Final = 103
"""Linux: the kernel cuts one send into packets of this size; Python has no name for it."""

PACKETS_A_SEND: Final = 4
SSRC: Final = 1
PAUSE_S: Final = 0.005
TIMEOUT_S: Final = 10.0
BELOW_THE_CLIENT: Final = 10
"""Niceness of the sender: it takes what the client leaves of their CPU."""


def measure_commands(calls: int = CALLS, *, seconds: float = 8.0) -> CommandLatency:
    """Run nh with one shard, flood it, and set up and end one more call again and again."""
    nh = Nh()
    with (
        nh_alone(nh, "127.0.1.100") as (site, phones),
        NativeClient(nh.rpc, TIMEOUT_S) as client,
        contextlib.ExitStack() as undo,
    ):
        times = CommandTimes()
        control = NativeControl(client, site.address, times)
        streams = set_up_by_control(control, range(calls), phones).streams
        echoes = Histogram()
        exchange = undo.enter_context(echo_on(site.cpu, echoes))
        undo.enter_context(_flood(streams))
        time.sleep(1.0)  # until sources are latched and queues are full
        times = CommandTimes()
        control = NativeControl(client, site.address, times)
        meter = TreeMeter(nh.pids())
        cpu_s, packets, start_s = meter.cpu_s(), _packets_out(client), time.monotonic()
        while (elapsed_s := time.monotonic() - start_s) < seconds:
            set_up_by_control(control, range(calls, calls + 1), phones, tear_down=True)
            exchange()
            time.sleep(PAUSE_S)
        load = (meter.cpu_s() - cpu_s) / elapsed_s
        relayed_per_s = (_packets_out(client) - packets) / elapsed_s
    return _summary(calls, relayed_per_s, load, times, echoes)


def _summary(
    calls: int, relayed_per_s: float, load: float, times: CommandTimes, echoes: Histogram
) -> CommandLatency:
    every = Histogram()
    for histogram in times.histograms().values():
        every.merge(histogram.filled())
    p50_ms, p99_ms, max_ms = (ns / 1e6 for ns in every.percentiles([50, 99, 100]))
    return CommandLatency(
        calls=calls,
        relayed_per_s=relayed_per_s,
        relay_load=load,
        commands=every.total,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        max_ms=max_ms,
        echo_p99_ms=echoes.percentiles([99])[0] / 1e6,
    )


def _packets_out(client: NativeClient) -> int:
    totals = client.request(GetStats()).values["totals"]
    assert isinstance(totals, dict)
    return int(totals["packets_out"])


@contextlib.contextmanager
def _flood(streams: Sequence[Stream]) -> Iterator[None]:
    # a fork, for it needs the phones' sockets; this process has one thread
    process = multiprocessing.get_context("fork").Process(target=_send_for_ever, args=(streams,), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _send_for_ever(streams: Sequence[Stream]) -> None:
    """Send the next few packets of each stream in turn: RTP, all with the same numbers and SSRC."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(BELOW_THE_CLIENT)
    packets = bytearray(PACKET_BYTES * PACKETS_A_SEND)
    payload = [packets]
    cut = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("@H", PACKET_BYTES))]
    ways = [(stream.source.sendmsg, stream.target) for stream in streams]
    for first in itertools.count(step=PACKETS_A_SEND):
        for index in range(PACKETS_A_SEND):
            number = first + index
            samples = number * SAMPLES_PER_PACKET & 0xFFFFFFFF
            header = (RTP_VERSION, 0, number & 0xFFFF, samples, SSRC, 0, 0, 0)
            HEADER.pack_into(packets, index * PACKET_BYTES, *header)
        for send, target in ways:
            with contextlib.suppress(BlockingIOError):
                send(payload, cut, 0, target)
