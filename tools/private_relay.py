"""A relay of one's own: `nh run` in a temporary directory on free ports, gone when it is no longer needed."""

import contextlib
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nh.supervisor.host.port_claim import others_claims

READY_S: Final = 30.0
STOP_S: Final = 10.0
LOWEST_PORT: Final = 12_000
HIGHEST_PORT: Final = 32_767
"""Below Linux's ephemeral ports."""


class RelayFailed(Exception):
    """The relay did not start or did not end as it should; the message has what it said."""


@contextlib.contextmanager
def private_relay(*, shards: int, ports: str) -> Iterator[Path]:
    """A running relay; its runtime directory, with the RPC socket nh.sock in it.

    Arguments:
        shards: number of shard processes; 0: one for each usable CPU.
        ports: its media ports, MIN-MAX.

    Raises RelayFailed.
    """
    with tempfile.TemporaryDirectory(prefix="nh-private-") as name:
        directory = Path(name)
        log = directory / "log"
        command = [sys.executable, "-m", "nh", "run", "--runtime-dir", name, "--no-state"]
        command += ["--shards", str(shards), "--ports", ports]
        with log.open("wb") as stream:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        try:
            _wait_until_ready(process, log)
            yield directory
        finally:
            status = _stop(process)
        if status != 0:
            raise RelayFailed(f"nh run ended with status {status}. It said:\n{log.read_text()}")


def find_free_ports(count: int) -> str:
    """`count` consecutive UDP ports that nobody uses and no relay claims, from an even one on, as MIN-MAX.

    The search begins anywhere: two programs that look at the same time should not find the same ports.
    Raises RelayFailed if there are none.
    """
    last = HIGHEST_PORT - count + 1
    first = random.randrange(LOWEST_PORT, last, 2)
    claims = list(others_claims())
    for low in (*range(first, last, count), *range(LOWEST_PORT, first, count)):
        high = low + count - 1
        if any(claim.low <= high and low <= claim.high for claim in claims):
            continue
        if all(_is_free(port) for port in range(low, high + 1)):
            return f"{low}-{high}"
    raise RelayFailed(f"no {count} free consecutive UDP ports in {LOWEST_PORT}-{HIGHEST_PORT}")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while "ready" not in log.read_text():
        if process.poll() is not None:
            raise RelayFailed(f"nh run ended before it was ready. It said:\n{log.read_text()}")
        if time.monotonic() > deadline:
            raise RelayFailed(f"nh run was not ready within {READY_S:.0f} s. It said:\n{log.read_text()}")
        time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
