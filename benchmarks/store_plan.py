"""What relays need of one server of Valkey's protocol, and where it bends first, by simulation.

    python -m benchmarks.store_plan            # the tables of docs/explanation/scale.md
    python -m benchmarks.store_plan --check    # the simulation beside a real server

The costs are those that benchmarks.store_server has measured (benchmarks/results/store.json).
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Final, NamedTuple

import msgspec
import typer

from benchmarks.store_costs import Costs, load
from benchmarks.store_server import (
    make_calls,
    measure_costs,
    open_engine,
    received_bytes,
    reopen,
    server_cpu_s,
    write,
)
from benchmarks.store_simulation import (
    COMMIT_S,
    Outcome,
    Scenario,
    changes,
    rates,
    simulate,
)
from nh.supervisor.store.engine import StoredCall
from tools.harness.valkey_server import ValkeyServer, valkey_server

PLANS: Final = ((1, 10_000), (10, 100_000), (100, 1_000_000))
"""Hosts and calls."""

CALLS_OF_A_HOST: Final = 10_000

MAX_HOSTS: Final = 6400
"""At which the search for the bend ends."""

CHECKED: Final = (1000, 10_000, 50_000)
"""Calls of one relay at a real server."""

CHECK_S: Final = 10.0

RUNS: Final = 3
"""Other programs disturb what is measured; the least of so many counts."""


class Bend(NamedTuple):
    """Something that bends.

    Attributes:
        what: in words.
        fault: see Scenario.
        bends: whether it does, in an outcome.
    """

    what: str
    fault: str
    bends: Callable[[Outcome], bool]


BENDS: Final = (
    Bend("the server's thread is busy for half of the time", "", lambda outcome: outcome.busy > 0.5),
    Bend(
        "half of 1 Gbit/s goes to the server, or from it",
        "",
        lambda outcome: max(outcome.received_bytes, outcome.sent_bytes) > 62_500_000,
    ),
    Bend("one reply of 100 takes 10 ms or more", "", lambda outcome: outcome.reply_s > 0.01),
    Bend("a change waits 1 s or more", "", lambda outcome: outcome.lag_s > 1),
    Bend("a lease of 5 s is not renewed for 2.5 s", "", lambda outcome: outcome.lease_gap_s > 2.5),
    Bend("another relay reads one relay's calls for 1 s or more", "host", lambda out: out.repaired_s > 1),
    Bend(
        "after a loss of all data, writing them takes 10 s or more", "data", lambda out: out.repaired_s > 10
    ),
)


def plan(costs: Costs) -> list[str]:
    """The table of what is needed."""
    columns = []
    for hosts, calls in PLANS:
        by_fault = {
            fault: simulate(Scenario(hosts, calls, fault=fault), costs) for fault in ("", "host", "data")
        }
        alone = simulate(Scenario(hosts, calls, standbys=0), costs)
        columns.append((calls, alone, by_fault))
    rows: list[tuple[str, Callable[[int, Outcome, dict[str, Outcome]], str]]] = [
        ("changes written a second", lambda _, __, out: f"{out[''].written:,.0f}"),
        ("server's thread busy, without standbys", lambda _, alone, __: f"{100 * alone.busy:.1f} %"),
        ("server's thread busy, with a standby each", lambda _, __, out: f"{100 * out[''].busy:.1f} %"),
        ("traffic to the server", lambda _, __, out: _mbit(out[""].received_bytes)),
        ("traffic from the server", lambda _, __, out: _mbit(out[""].sent_bytes)),
        ("memory of the server", lambda calls, _, __: f"{calls * costs.memory_bytes / 1e6:,.0f} MB"),
        ("reply to a write, 99 of 100", lambda _, __, out: f"{1000 * out[''].reply_s:.1f} ms"),
        ("oldest change that is not written", lambda _, __, out: f"{out[''].lag_s:.2f} s"),
        ("longest time between renewals of a lease", lambda _, __, out: f"{out[''].lease_gap_s:.2f} s"),
        ("reading one relay's calls at a failover", lambda _, __, out: f"{out['host'].repaired_s:.2f} s"),
        ("writing all calls after a loss of all data", lambda _, __, out: f"{out['data'].repaired_s:.1f} s"),
    ]
    heads = [f"{calls:,} calls, {hosts} host{'s' * (hosts > 1)}" for hosts, calls in PLANS]
    return _table(["", *heads], [[name, *(cell(*column) for column in columns)] for name, cell in rows])


def bends(costs: Costs) -> list[str]:
    """The table of what bends at how many calls, the first one first."""
    found = [(first_bend(bend, costs), bend.what) for bend in BENDS]
    found.sort(key=lambda each: each[0] or MAX_HOSTS * CALLS_OF_A_HOST * 2)
    beyond = f"not up to {MAX_HOSTS * CALLS_OF_A_HOST:,}"
    return _table(["", "Calls"], [[what, f"{calls:,}" if calls else beyond] for calls, what in found])


def first_bend(bend: Bend, costs: Costs) -> int:
    """The calls at which it bends, to one tenth; 0: not up to MAX_HOSTS hosts."""

    def bends_at(hosts: int) -> bool:
        return bend.bends(
            simulate(Scenario(hosts, hosts * CALLS_OF_A_HOST, seconds=40, fault=bend.fault), costs)
        )

    low, high = 0, 1
    while not bends_at(high):
        low, high = high, 2 * high
        if high > MAX_HOSTS:
            return 0
    while high - low > max(1, high // 10):
        middle = (low + high) // 2
        low, high = (low, middle) if bends_at(middle) else (middle, high)
    return high * CALLS_OF_A_HOST


# --- beside a real server -------------------------------------------------------------------------


class Measured(NamedTuple):
    """One relay at a real server.

    Attributes:
        busy: share of the time in which the server's process had the CPU.
        received: bytes that it received in a second.
        write_s, read_s: CPU time of server and relay for all calls, the least of RUNS.
    """

    busy: float
    received: float
    write_s: float
    read_s: float


def check(server: ValkeyServer, costs: Costs) -> list[str]:
    """The table of what was measured at a real server, and what the simulation says of the same."""
    rows = []
    for calls in CHECKED:
        scenario = Scenario(1, calls, standbys=0, seconds=CHECK_S, round_trip_s=0.0, link_bytes=math.inf)
        simulated = simulate(scenario, costs)
        wrote, read = (
            simulate(msgspec.structs.replace(scenario, fault=fault), costs).repaired_s
            for fault in ("data", "host")
        )
        real = run_relay(server, scenario)
        for what, measured, model in (
            ("server's thread busy, %", 100 * real.busy, 100 * simulated.busy),
            ("traffic to the server, Mbit/s", real.received * 8e-6, simulated.received_bytes * 8e-6),
            ("writing all calls, s of CPU", real.write_s, wrote),
            ("reading all calls, s of CPU", real.read_s, read),
        ):
            rows.append([f"{calls:,}", what, f"{measured:.2f}", f"{model:.2f}", f"{model / measured:.2f}"])
    return _table(["Calls", "", "Measured", "Simulated", "Ratio"], rows)


def run_relay(server: ValkeyServer, scenario: Scenario) -> Measured:
    """Have a relay's engine do what the scenario says, at a real server and in real time."""
    engine, calls = open_engine(server), make_calls(scenario.calls)
    write_s = min(_cpu_s(server, lambda: write(engine, calls)) for _ in range(RUNS))
    rng, expected = random.Random(1), rates(scenario)
    before, received, begun = server_cpu_s(server), received_bytes(server), time.monotonic()
    since = begun
    while since < begun + scenario.seconds:
        now = time.monotonic()
        stored = changes(rng, expected.stored * (now - since))
        removed = changes(rng, expected.removed * (now - since))
        chosen = rng.sample(calls, min(stored + removed, len(calls)))
        changed: dict[bytes, StoredCall | None] = {call.call_id: call for call in chosen[:stored]}
        changed |= dict.fromkeys(call.call_id for call in chosen[stored:])
        engine.write(changed)
        since = now
        time.sleep(max(0.0, now + COMMIT_S - time.monotonic()))
    seconds = time.monotonic() - begun
    busy = (server_cpu_s(server) - before) / seconds
    rate = (received_bytes(server) - received) / seconds
    write(engine, calls)
    read_s = min(_cpu_s(server, lambda: reopen(engine)) for _ in range(RUNS))
    engine.close()
    return Measured(busy, rate, write_s, read_s)


def _cpu_s(server: ValkeyServer, step: Callable[[], object]) -> float:
    before, own = server_cpu_s(server), time.thread_time()
    step()
    return time.thread_time() - own + server_cpu_s(server) - before


# --- text -----------------------------------------------------------------------------------------


def _mbit(bytes_a_second: float) -> str:
    return f"{bytes_a_second * 8e-6:,.1f} Mbit/s"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines]


def tables(costs: Costs) -> str:
    """The tables of docs/explanation/scale.md, as they are there."""
    return "\n".join([*plan(costs), "", *bends(costs), ""])


def main(
    beside: Annotated[bool, typer.Option("--check", help="Run a real server beside the simulation")] = False,
) -> None:
    """Print the tables."""
    if not beside:
        print(tables(load()), end="")
        return
    with valkey_server() as server:
        print("\n".join(check(server, measure_costs(server))))


if __name__ == "__main__":
    typer.run(main)
