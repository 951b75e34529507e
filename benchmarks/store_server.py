"""What calls cost a server of Valkey's protocol: time to write and to read them, memory, CPU.

    python -m benchmarks.store_server --calls 1000 --calls 10000 --calls 50000

Each number of calls is one relay. All calls are written twice, as a relay does when they begin and at their
next checkpoint, and read once, as its standby does.
"""

import os
import time
from typing import Annotated, Final

import typer

from nh.supervisor.store.engine import StoredCall
from nh.supervisor.store.valkey.engine import ValkeyEngine
from nh.supervisor.store.valkey.url import parse_url
from nh.supervisor.store.writer import ROWS
from tools.harness.valkey_server import ValkeyServer, valkey_server

SNAPSHOT_BYTES: Final = 1827
"""Of a call of ng with one audio stream and RTCP, measured."""


def measure(server: ValkeyServer, calls: int) -> str:
    """One line of the table."""
    client = server.client()
    client.flushall()
    engine = ValkeyEngine(parse_url("valkey", f"{server.host}:{server.port}/0"), "benchmark")
    engine.open()
    snapshots = [
        StoredCall(b"%064d" % number, os.urandom(SNAPSHOT_BYTES), float(number)) for number in range(calls)
    ]
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


def write(engine: ValkeyEngine, calls: list[StoredCall]) -> None:
    """Write calls as the writer does: in parts."""
    for first in range(0, len(calls), ROWS):
        engine.write({call.call_id: call for call in calls[first : first + ROWS]})


def server_cpu_s(server: ValkeyServer) -> float:
    """CPU time of the server so far."""
    cpu = server.client().info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def main(calls: Annotated[list[int] | None, typer.Option(help="Calls of one relay")] = None) -> None:
    """Measure, and print a line for each number of calls."""
    print("   calls  bytes/call   write µs     own µs  server µs  read all s")
    with valkey_server() as server:
        for number in calls or [1000, 10_000, 50_000]:
            print(measure(server, number))


if __name__ == "__main__":
    typer.run(main)
