"""What calls cost a server of Valkey's protocol: time to write and to read them, memory, CPU.

    python -m benchmarks.store_server --calls 1000 --calls 10000 --calls 50000
    python -m benchmarks.store_server --json benchmarks/results/store.json

Each number of calls is one relay. All calls are written twice, as a relay does when they begin and at their
next checkpoint, and read once, as its standby does. With --json the costs of single steps are measured, for
benchmarks.store_plan.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from benchmarks.store_costs import SNAPSHOT_BYTES, Costs, save
from nh.errors import ConfigError
from nh.supervisor.store.engine import StoredCall
from nh.supervisor.store.valkey.engine import ValkeyEngine
from nh.supervisor.store.valkey.url import parse_url
from nh.supervisor.store.writer import ROWS
from tools.harness.valkey_server import ValkeyServer, valkey_server
from tools.rtpload.report.files import check_file

STEPS: Final = 2000
"""How often a step is repeated while it is measured."""

IDLE_S: Final = 3.0

COST_CALLS: Final = 10_000
"""Calls of the relay whose steps are measured."""


def make_calls(number: int) -> list[StoredCall]:
    """Calls with contents of their own."""
    return [StoredCall(b"%064d" % call, os.urandom(SNAPSHOT_BYTES), float(call)) for call in range(number)]


def open_engine(server: ValkeyServer) -> ValkeyEngine:
    """The engine of a relay, on a server without data."""
    server.client().flushall()
    engine = ValkeyEngine(parse_url("valkey", f"{server.host}:{server.port}/0"), "benchmark")
    engine.open()
    return engine


def measure(server: ValkeyServer, calls: int) -> str:
    """One line of the table."""
    client = server.client()
    engine = open_engine(server)
    snapshots = make_calls(calls)
    empty = client.info("memory")["used_memory"]
    write(engine, snapshots)
    before, begun, own = server_cpu_s(server), time.monotonic(), time.thread_time()
    write(engine, snapshots)
    took_s, own_s = time.monotonic() - begun, time.thread_time() - own
    cpu_s = server_cpu_s(server) - before
    memory = (client.info("memory")["used_memory"] - empty) / calls
    engine.close()
    begun = time.monotonic()
    assert len(engine.open()) == calls
    read_s = time.monotonic() - begun
    engine.close()
    return (
        f"{calls:>8} {memory:>12.0f} {took_s / calls * 1e6:>10.1f} {own_s / calls * 1e6:>10.1f}"
        f" {cpu_s / calls * 1e6:>10.1f} {read_s:>10.2f}"
    )


def write(engine: ValkeyEngine, calls: list[StoredCall], rows: int = ROWS) -> None:
    """Write calls as the writer does: in parts."""
    for first in range(0, len(calls), rows):
        engine.write({call.call_id: call for call in calls[first : first + rows]})


def reopen(engine: ValkeyEngine) -> None:
    """Read all calls, as at a start."""
    engine.close()
    engine.open()


def server_cpu_s(server: ValkeyServer) -> float:
    """CPU time of the server so far."""
    cpu = server.client().info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def received_bytes(server: ValkeyServer) -> int:
    """What the server has received so far."""
    return int(server.client().info("stats")["total_net_input_bytes"])


# --- single steps ---------------------------------------------------------------------------------


def idle_us(server: ValkeyServer) -> float:
    """CPU of the server in a second without requests, microseconds."""
    before = server_cpu_s(server)
    time.sleep(IDLE_S)
    return (server_cpu_s(server) - before) / IDLE_S * 1e6


def measure_costs(server: ValkeyServer) -> Costs:
    """The cost of each step."""
    client, engine, calls = server.client(), open_engine(server), make_calls(COST_CALLS)
    empty = client.info("memory")["used_memory"]
    write(engine, calls)
    memory = (client.info("memory")["used_memory"] - empty) / COST_CALLS

    def cost(steps: Callable[[], object], number: int) -> tuple[float, float]:
        steps()
        before, own = server_cpu_s(server), time.thread_time()
        steps()
        own_s, cpu_s = time.thread_time() - own, server_cpu_s(server) - before
        return cpu_s / number * 1e6, own_s / number * 1e6

    def follow() -> None:
        write(engine, calls[:2], rows=1)
        ((_, _), (before_last, _)) = client.xrevrange("{nh}:changes", count=2)
        for _ in range(STEPS):
            client.xread({"{nh}:changes": before_last}, count=1)
            client.hmget("{nh}:calls", [calls[0].call_id])

    idle = idle_us(server)
    single, own_single = cost(lambda: write(engine, calls[:STEPS], rows=1), STEPS)
    received = received_bytes(server)
    full, own_full = cost(lambda: write(engine, calls), COST_CALLS)
    record_bytes = (received_bytes(server) - received) / (2 * COST_CALLS)
    read, own_read = cost(lambda: reopen(engine), COST_CALLS)
    page, _ = cost(lambda: [client.hscan("{nh}:calls", count=1) for _ in range(STEPS)], STEPS)
    looks, _ = cost(follow, STEPS)
    engine.close()
    info = client.info("server")
    return Costs(
        server=f"{info.get('server_name', 'redis')} {info['redis_version']}",
        idle_us=round(idle),
        write_us=round(single - full, 1),
        write_call_us=round(full, 1),
        read_us=round(page, 1),
        read_call_us=round(read, 1),
        follow_us=round(looks, 1),
        own_us=round(own_single - own_full, 1),
        own_call_us=round(own_full, 1),
        own_read_call_us=round(own_read, 1),
        record_bytes=round(record_bytes),
        memory_bytes=round(memory),
    )


def main(
    calls: Annotated[list[int] | None, typer.Option(min=1, max=1_000_000, help="Calls of one relay")] = None,
    json: Annotated[
        Path | None, typer.Option(help="Measure single steps, and write them to this file")
    ] = None,
) -> None:
    """Measure, and print a line for each number of calls."""
    if json is not None:
        try:
            check_file("--json", json)
        except ConfigError as exc:
            raise typer.BadParameter(str(exc)) from exc
    with valkey_server() as server:
        if json is not None:
            save(measure_costs(server), json)
            return
        print("   calls  bytes/call   write µs     own µs  server µs  read all s")
        for number in calls or [1000, 10_000, 50_000]:
            print(measure(server, number))


if __name__ == "__main__":
    typer.run(main)
