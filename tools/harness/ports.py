"""Runs of UDP ports that no other test uses, in this process or any other.

A relay under test is given a port range, and tests run in parallel. The ports below the kernel's ephemeral
range are divided into blocks with a lock file each; a claim holds the locks of consecutive blocks whose
ports are all free. The kernel drops the locks of a process that dies.
"""

import contextlib
import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.harness.waiting import eventually

WAIT_S = 30.0
"""How long to wait for other tests to give ports back."""

FIRST_PORT = 12_100
BLOCK = 100
BLOCKS = 200
"""Ports 12100 to 32099: above what nathelper.pl takes by default, below Linux's ephemeral ports."""


@contextlib.contextmanager
def claim_ports(count: int) -> Iterator[range]:
    """The first `count` ports of a claimed run, the lowest of them even.

    Raises AssertionError if there is no such run for a while.
    """
    need = -(-count // BLOCK)
    with contextlib.ExitStack() as held:
        blocks = eventually(
            lambda: _claim_blocks(need, held), f"{count} consecutive ports in 12100 to 32099 are free", WAIT_S
        )
        first = FIRST_PORT + blocks[0] * BLOCK
        yield range(first, first + count)


def _claim_blocks(need: int, held: contextlib.ExitStack) -> list[int]:
    """`need` consecutive blocks whose locks `held` has from now on; [] if there are none at the moment."""
    run: list[int] = []
    for block in range(BLOCKS):
        lock = _try_lock(block)
        if lock is None:
            run.clear()
            held.close()
            continue
        held.callback(os.close, lock)
        run.append(block)
        if len(run) == need:
            return run
    held.close()
    return []


def _try_lock(block: int) -> int | None:
    directory = Path(tempfile.gettempdir()) / f"nh-test-ports-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(directory / str(block), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    first = FIRST_PORT + block * BLOCK
    if all(_is_free(port) for port in range(first, first + BLOCK)):
        return lock
    os.close(lock)
    return None


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
