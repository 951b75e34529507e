"""What a scrape of /metrics costs the shards, with many calls: `python -m benchmarks.scrape_cost`.

The shards' CPU is measured in turns without scrapes and with many of them, in the same run. Calls have one
socket a side, and no media flow. Needs root: it runs in a network namespace of its own, for the ports.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Final, NamedTuple

import httpx
import psutil

from benchmarks.processes import own_cpu_s
from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Activate, Allocate, BaseCommand, TransactionKey
from nh.results import Failure, Result
from tools.arguments import number, whole_number
from tools.harness.http import http_client
from tools.harness.namespaces import namespaces
from tools.harness.relay import Relay, running_relay

PORTS: Final = range(10_000, 60_000)
BATCH: Final = 200


class Turn(NamedTuple):
    """One turn.

    Attributes:
        shards: CPU of all shards, seconds a second.
        http: CPU of the HTTP process, seconds a request; 0 without requests.
        request_s: time of a request, the median.
        requests: how many there were.
    """

    shards: float
    http: float
    request_s: float
    requests: int


def set_up(relay: Relay, calls: int) -> None:
    """Set up calls between phones that send nothing."""
    with NativeClient(relay.unix_address, 60) as client:
        for first in range(0, calls, BATCH):
            commands: list[BaseCommand[Result]] = []
            for number in range(first, min(calls, first + BATCH)):
                key = TransactionKey(b"scrape-%d@example.org" % number, 1, b"alice", b"bob")
                media = (Media("127.0.0.1", 9, 1, "UDP", "audio"),)
                commands += [
                    Allocate(key, Side.FROM, "127.0.0.1", media),
                    Allocate(key, Side.TO, "127.0.0.1", media),
                    Activate(key),
                ]
            for start in range(0, len(commands), 3):  # in order: each call needs its ports first
                for result in client.request_all(commands[start : start + 3]):
                    if isinstance(result, Failure):
                        raise SystemExit(f"a call was refused: {result.message}")


def measure(relay: Relay, path: str, *, rate: float, seconds: float) -> Turn:
    """One turn with `rate` requests a second for `path`; 0: none."""
    shards = relay.shard_processes()
    server = next(
        child for child in psutil.Process(relay.program.pid).children() if child.name() == "nh-http"
    )
    times: list[float] = []
    with http_client(relay) as client:
        before, http_before, begun = cpu_of(shards), cpu_of([server]), time.monotonic()
        while (now := time.monotonic()) < begun + seconds:
            if not rate:
                time.sleep(begun + seconds - now)
                continue
            asked = time.perf_counter()
            client.get(path).raise_for_status()
            times.append(time.perf_counter() - asked)
            time.sleep(max(0.0, begun + len(times) / rate - time.monotonic()))
        took = time.monotonic() - begun
        used, http_used = cpu_of(shards) - before, cpu_of([server]) - http_before
    median = statistics.median(times) if times else 0.0
    return Turn(used / took, http_used / len(times) if times else 0.0, median, len(times))


def cpu_of(processes: list[psutil.Process]) -> float:
    """CPU seconds of processes so far."""
    return sum(own_cpu_s(process.pid) for process in processes)


def main() -> None:
    """Set up the calls, measure in turns, and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scrape_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--calls", type=whole_number(1), default=10_000)
    parser.add_argument("--shards", type=whole_number(1), default=2)
    parser.add_argument("--seconds", type=number(0.1, 3600), default=4.0, help="of a turn")
    parser.add_argument("--turns", type=whole_number(1), default=4, help="of each kind")
    arguments = parser.parse_args()
    with (
        namespaces(1) as [namespace],
        namespace.entered(),
        running(arguments.shards) as relay,
        http_client(relay) as client,
    ):
        set_up(relay, arguments.calls)
        wait_until_counted(client, arguments.calls)
        kinds: dict[str, tuple[str, float]] = {
            "no request": ("/metrics", 0.0),
            "/metrics, 10 a second": ("/metrics", 10.0),
            "/api/stats, 10 a second": ("/api/stats", 10.0),
            "/api/calls of 50, 1 a second": ("/api/calls?limit=50", 1.0),
        }
        turns: dict[str, list[Turn]] = {name: [] for name in kinds}
        for _ in range(arguments.turns):
            for name, (path, rate) in kinds.items():
                turns[name].append(measure(relay, path, rate=rate, seconds=arguments.seconds))
    print(f"{arguments.calls} calls, {arguments.shards} shards")
    show(turns, {name for name, (_, rate) in kinds.items() if rate})


def show(turns: Mapping[str, Sequence[Turn]], asking: Set[str]) -> None:
    """Print a row for each kind of turns.

    Args:
        turns: by kind.
        asking: the kinds with requests.
    """
    print("| requests | CPU of the shards | CPU of nh-http a request | time of a request |")
    print("| --- | --- | --- | --- |")
    for name, measured in turns.items():
        shards = [100 * turn.shards for turn in measured]
        http = 1000 * statistics.median(turn.http for turn in measured)
        request = 1000 * statistics.median(turn.request_s for turn in measured)
        of_requests = f"{http:.2f} ms | {request:.2f} ms" if name in asking else "- | -"
        print(
            f"| {name} | {statistics.median(shards):.2f} % ({min(shards):.2f} to {max(shards):.2f})"
            f" | {of_requests} |"
        )


def wait_until_counted(client: httpx.Client, calls: int) -> None:
    """Return when the statistics have all calls."""
    while client.get("/api/stats").json()["totals"]["calls"] < calls:
        time.sleep(0.1)


@contextmanager
def running(shards: int) -> Iterator[Relay]:
    """A relay that serves HTTP, in user space."""
    settings = {"http": "127.0.0.1:0", "kernel": "off", "state": "off", "silent_s": 86_400}
    with running_relay(shards=shards, ports=PORTS, **settings) as relay:
        yield relay


if __name__ == "__main__":
    main()
