"""What one packet costs nh in user space, beside the smallest possible Python relay, in one run.

Both relays run as processes pinned to one CPU, the streams come from another. Rounds alternate between
the two, so that a machine whose speed drifts does not favour either. nh is a real shard: the source policy,
all counters, expiry and the statistics in shared memory are on.

    python -m benchmarks.userspace_floor [--streams 500] [--rate 20000] [--rounds 7] [--json FILE]
"""

import argparse
import contextlib
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.streams import Cost, Stream, drain, open_udp, play
from nh.calls.media import Media, Side
from nh.calls.rules import RelaySettings
from nh.commands import Activate, Activated, Allocate, Allocated, Dialog, RelayCommand, RelayResult
from nh.stats import create_segment
from nh.wire.link import Configure, Execute, Executed, Shutdown, decode_from_shard, encode

GOAL = 1.25
FIRST_PORT = 20_000


@contextlib.contextmanager
def floor_relay(streams: int, cpu: int) -> Iterator[tuple[int, list[Stream]]]:
    """The smallest Python relay: its pid, and streams through it."""
    ours: list[Stream] = []
    inner: list[socket.socket] = []
    for _ in range(streams):
        source, sink, inside, outside = (open_udp() for _ in range(4))
        for a, b in ((source, inside), (outside, sink)):
            a.connect(b.getsockname())
            b.connect(a.getsockname())
        ours.append(Stream(source, sink))
        inner += [inside, outside]
    fds = [sock.fileno() for sock in inner]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.floor_relay"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=fds,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    os.sched_setaffinity(process.pid, {cpu})
    pairs = zip(fds[::2], fds[1::2], strict=True)
    process.stdin.write("".join(f"{in_fd} {out_fd}\n" for in_fd, out_fd in pairs))
    process.stdin.close()
    process.stdout.readline()
    for sock in inner:
        sock.close()
    try:
        yield process.pid, ours
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
        _close(ours)


@contextlib.contextmanager
def nh_shard(streams: int, cpu: int, settings: RelaySettings) -> Iterator[tuple[int, list[Stream]]]:
    """A shard of nh with streams // 2 calls, both directions of each in use: its pid and the streams."""
    link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    segment = create_segment(f"nh-bench-{os.getpid()}", 1)
    process = subprocess.Popen(
        [sys.executable, "-m", "nh.shard", "--link-fd", str(theirs.fileno())], pass_fds=[theirs.fileno()]
    )
    os.sched_setaffinity(process.pid, {cpu})
    theirs.close()
    ours: list[Stream] = []
    try:
        ports = (FIRST_PORT, FIRST_PORT + 4 * streams - 1)
        link.send(encode(Configure(0, 1, ports, settings, segment.name)))
        link.recv(65536)
        for number in range(streams // 2):
            ours += _set_up_call(link, number)
        _settle(ours)
        yield process.pid, ours
        link.send(encode(Shutdown()))
        process.wait(timeout=10)
    finally:
        process.kill()
        process.wait()
        link.close()
        segment.close()
        segment.unlink()
        _close(ours)


def _set_up_call(link: socket.socket, number: int) -> list[Stream]:
    caller, callee = open_udp(), open_udp()
    dialog = Dialog(b"call-%d" % number, 1, b"caller", b"callee")
    relay = []
    for side, phone in ((Side.FROM, caller), (Side.TO, callee)):
        media = (Media("127.0.0.1", phone.getsockname()[1], 2),)
        allocated = _execute(link, Allocate(dialog, side, "127.0.0.1", media))
        assert isinstance(allocated, Allocated), allocated
        relay.append(("127.0.0.1", allocated.media[0].port))
    activated = _execute(link, Activate(dialog))
    assert isinstance(activated, Activated), activated
    callee.connect(relay[0])
    caller.connect(relay[1])
    return [Stream(caller, callee), Stream(callee, caller)]


def _execute(link: socket.socket, command: RelayCommand) -> RelayResult:
    link.send(encode(Execute(1, command)))
    reply = decode_from_shard(link.recv(65536))
    assert isinstance(reply, Executed)
    return reply.result


def _settle(streams: list[Stream]) -> None:
    for stream in streams:
        stream.source.send(b"first")
    arrived = 0
    while arrived < len(streams):
        arrived += drain(streams)


def _close(streams: list[Stream]) -> None:
    for stream in streams:
        stream.source.close()
        stream.sink.close()


def measure(options: argparse.Namespace) -> dict[str, list[Cost]]:
    """Alternate between the relays; returns each one's rounds."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[0]})
    costs: dict[str, list[Cost]] = {"floor": [], "nh": []}
    with (
        floor_relay(options.streams, cpus[-1]) as floor,
        nh_shard(options.streams, cpus[-1], RelaySettings(coalesce_s=options.coalesce_s)) as shard,
    ):
        for number in range(options.rounds + 1):
            for name, (pid, streams) in (("floor", floor), ("nh", shard)):
                cost = play(streams, packets_per_s=options.rate, duration_s=options.seconds, pid=pid)
                if number:  # the first round only warms up
                    costs[name].append(cost)
                    print(f"round {number}/{options.rounds} {name:>5}: {_text(cost)}", flush=True)
    return costs


def _text(cost: Cost) -> str:
    return f"{cost.us_per_packet:6.2f} µs CPU a packet, {cost.arrived} of {cost.sent} arrived"


def report(costs: dict[str, list[Cost]], ratios: list[float]) -> None:
    """Print medians with their spread."""
    for name, rounds in costs.items():
        figures = [cost.us_per_packet for cost in rounds]
        spread = f"({min(figures):.2f} to {max(figures):.2f})"
        lost = sum(cost.sent - cost.arrived for cost in rounds)
        print(f"{name:>5}: median {statistics.median(figures):.2f} µs {spread}, {lost} packets lost")
    spread = f"({min(ratios):.3f} to {max(ratios):.3f})"
    print(f"nh / floor: median {statistics.median(ratios):.3f} {spread}, goal at most {GOAL}")


def main() -> None:
    """Measure, print, and write the figures if a file is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--streams", type=int, default=500, help="directions; two make a call")
    parser.add_argument("--rate", type=float, default=20_000, help="packets a second, all streams together")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--coalesce-s", type=float, default=RelaySettings().coalesce_s, help="nh's setting; 0: at once"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    costs = measure(options)
    ratios = [
        nh.us_per_packet / floor.us_per_packet for nh, floor in zip(costs["nh"], costs["floor"], strict=True)
    ]
    report(costs, ratios)
    if options.json:
        machine = {"python": platform.python_version(), "kernel": platform.release(), "cpus": os.cpu_count()}
        result = {
            "machine": machine,
            "ratios": ratios,
            "rounds": {n: [c._asdict() for c in r] for n, r in costs.items()},
        }
        options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
