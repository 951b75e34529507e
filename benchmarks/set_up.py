"""What it takes to set up and end a call over ng: calls per second, and the CPU of one call by process.

nh and rtpengine are up together and take turns. Each call is an offer, an answer and a delete that closes its
sockets at once, without media. Clients are processes of their own, each with one call after the other.

    python -m benchmarks.set_up          prints the tables of this machine
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final, NamedTuple

import psutil

from benchmarks.figures import cpu_ms_of, rates_of, ratios, spread
from benchmarks.peers.names import NH, RTPENGINE
from benchmarks.peers.ng_relays import LOOPBACK, NgRelay, ng_control, ng_relays
from benchmarks.processes import own_cpu_s
from benchmarks.results import SetUpRound, SetUps
from tools.harness.program import running_on
from tools.rtpload.ends import Endpoint, MediaEnd, TransactionKey

ROUNDS: Final = 5
CALLS_A_ROUND: Final = 800
WARM_UP: Final = 100


class Arrangement(NamedTuple):
    """Who runs where.

    Attributes:
        clients: how many ask at the same time.
        shards: of nh.
        relay_cpus, client_cpus: where relays and clients run.
    """

    clients: int
    shards: int
    relay_cpus: list[int]
    client_cpus: list[int]


def measure_set_ups(rounds: int = ROUNDS, calls: int = CALLS_A_ROUND) -> list[SetUps]:
    """One client beside relays on one CPU, and eight clients beside relays on all CPUs."""
    cpus = sorted(os.sched_getaffinity(0))
    return [
        _measure(Arrangement(1, 1, cpus[-1:], cpus[:1]), rounds, calls),
        _measure(Arrangement(8, len(cpus), cpus, cpus), rounds, calls),
    ]


def _measure(arrangement: Arrangement, rounds: int, calls: int) -> SetUps:
    found = SetUps(clients=arrangement.clients, shards=arrangement.shards, cpus=len(arrangement.relay_cpus))
    with ng_relays(arrangement.relay_cpus, shards=arrangement.shards) as relays:
        for relay in relays.values():
            _call(arrangement, relay.ng, WARM_UP)
        for _ in range(rounds):
            for name, relay in relays.items():
                found.peers.setdefault(name, []).append(_round(arrangement, name, relay, calls))
    return found


def _round(arrangement: Arrangement, name: str, relay: NgRelay, calls: int) -> SetUpRound:
    processes = _processes_of_nh(relay.pid) if name == NH else {name: [relay.pid]}
    before = {what: sum(map(own_cpu_s, pids)) for what, pids in processes.items()}
    done, duration_s = _call(arrangement, relay.ng, calls)
    after = {what: sum(map(own_cpu_s, pids)) for what, pids in processes.items()}
    return SetUpRound(done, duration_s, {what: after[what] - before[what] for what in processes})


def _call(arrangement: Arrangement, ng: str, calls: int) -> tuple[int, float]:
    """Set up and end calls; returns how many, and in how many seconds."""
    each = -(-calls // arrangement.clients)
    context = multiprocessing.get_context("fork")
    with (
        running_on(arrangement.client_cpus),
        ProcessPoolExecutor(arrangement.clients, context, initializer=_leave_ctrl_c_to_the_parent) as pool,
    ):
        spans = list(pool.map(_be_client, [ng] * arrangement.clients, [each] * arrangement.clients))
    return each * arrangement.clients, max(end for _, end in spans) - min(begin for begin, _ in spans)


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _be_client(ng: str, calls: int) -> tuple[float, float]:
    """One client's calls; when it began and ended, in monotonic seconds."""
    control = ng_control(ng)
    ends = [MediaEnd(Endpoint(LOOPBACK, port), Endpoint(LOOPBACK, port + 1)) for port in (4000, 4002)]
    begin = time.monotonic()
    for number in range(calls):
        key = TransactionKey(f"{os.getpid()}-{number}-{begin}@set-up", f"from-{number}", f"to-{number}", 1)
        control.negotiate(key, *ends, hold=False)
        control.tear_down(key)
    end = time.monotonic()
    control.close()
    return begin, end


def _processes_of_nh(supervisor: int) -> dict[str, list[int]]:
    children = psutil.Process(supervisor).children(recursive=True)
    shards = [child.pid for child in children if child.name().startswith("nh-shard")]
    return {"supervisor": [supervisor], "shards": shards}


def table_of(set_ups: Sequence[SetUps]) -> list[list[str]]:
    """Rows of text, the head first: each relay's rate, the CPU of a call by process, and nh / rtpengine."""
    rows: dict[str, list[str]] = {}
    for at, found in enumerate(set_ups):
        for what, values in _figures(found):
            cells = rows.setdefault(what, [""] * len(set_ups))
            if summary := spread(values):
                cells[at] = f"{summary.median:.3g} ({summary.least:.3g} to {summary.most:.3g})"
    head = ["", *(f"clients: {each.clients}, shards: {each.shards}, CPUs: {each.cpus}" for each in set_ups)]
    return [head, *([what, *cells] for what, cells in rows.items())]


def _figures(found: SetUps) -> Iterator[tuple[str, list[float]]]:
    """What each row is about, and its value in each round."""
    for peer, rounds in found.peers.items():
        yield f"{peer}, calls/s", rates_of(rounds)
        for process in rounds[0].cpu_s:
            yield (
                f"CPU of a call, {process}, ms",
                [1000 * each.cpu_s[process] / each.calls for each in rounds],
            )
    ours, theirs = found.peers.get(NH, []), found.peers.get(RTPENGINE, [])
    if ours and theirs:
        yield f"{NH} / {RTPENGINE}, calls/s", ratios(rates_of(ours), rates_of(theirs))
        yield f"{NH} / {RTPENGINE}, CPU of a call", ratios(cpu_ms_of(ours), cpu_ms_of(theirs))


def main() -> None:
    """Measure, and print the table."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.set_up", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    ).parse_args()
    for line in table_of(measure_set_ups()):
        print(" | ".join(line))


if __name__ == "__main__":
    main()
