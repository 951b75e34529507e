"""Runs of ports that no other program and no other relay uses: for relays under test, and for those of tools.

Programs that need ports run in parallel. The ports outside the kernel's ephemeral range are divided into
blocks with a lock file each. A claim holds the locks of consecutive blocks whose ports are free, and are not
among the ports of a running nh. One program at a time looks for blocks: two that look at once meet each
other's locks in the same blocks, and find none. The kernel drops the locks of a process that dies.
"""

import contextlib
import fcntl
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nh.supervisor.host.port_claim import others_claims
from tools.harness.waiting import eventually

WAIT_S: Final = 30.0
"""How long to wait for other programs to return ports."""

BLOCK: Final = 100
RANGES: Final = ((12_100, 32_699), (61_000, 65_499), (3_000, 12_099))
"""Ports to take, in this order: between nathelper.pl's default ports and Linux's ephemeral ones, above those,
and below. An nh with the default ports (10000-29999) leaves enough of them."""

BLOCKS: Final = tuple(first for low, high in RANGES for first in range(low, high, BLOCK))
"""The first port of each block."""


@contextlib.contextmanager
def claim_ports(count: int) -> Iterator[range]:
    """`count` consecutive ports, the lowest of them even, which are this caller's within the context.

    Raises:
        HarnessError: there are none within WAIT_S.
    """
    need = -(-count // BLOCK)
    with contextlib.ExitStack() as held:
        first = eventually(lambda: _claim_blocks(need, held), f"{count} consecutive ports are free", WAIT_S)
        yield range(first, first + count)


def min_max(ports: range) -> str:
    """Ports as settings of nh have them: MIN-MAX."""
    return f"{ports[0]}-{ports[-1]}"


def free_port() -> int:
    """A port that is free now, for UDP and TCP, and that no other caller gets while this process lives.

    A server may stop and start again there meanwhile: no client's socket gets it, as it is not ephemeral.
    """
    with _handing_out:
        return next(port for port in _own_ports if _is_free(port))


def _ports_of_this_process() -> Iterator[int]:
    while True:
        held = contextlib.ExitStack()  # not closed: the locks last as long as this process
        first = eventually(lambda: _claim_blocks(1, held), "a port is free", WAIT_S)  # noqa: B023  at once
        yield from range(first, first + BLOCK)


_own_ports: Final = _ports_of_this_process()
_handing_out: Final = threading.Lock()


def _claim_blocks(need: int, held: contextlib.ExitStack) -> int:
    """Lock `need` consecutive blocks until `held` closes. Returns their first port; 0: there are none."""
    with _looking():
        return _find_blocks(need, held)


@contextlib.contextmanager
def _looking() -> Iterator[None]:
    """The time in which this thread is the only one, of all programs, that looks for blocks."""
    look = _open_lock("look")
    try:
        fcntl.flock(look, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(look, fcntl.LOCK_UN)  # a process that was forked meanwhile has a copy of the descriptor
        os.close(look)


def _find_blocks(need: int, held: contextlib.ExitStack) -> int:
    """What _claim_blocks does, for one caller at a time."""
    claims = list(others_claims())
    run: list[int] = []
    for first in BLOCKS:
        if run and first != run[-1] + BLOCK:  # another of the ranges begins
            run.clear()
            held.close()
        claimed = any(claim.low < first + BLOCK and first <= claim.high for claim in claims)
        lock = None if claimed else _try_lock(first)
        if lock is None:
            run.clear()
            held.close()
            continue
        held.callback(os.close, lock)
        run.append(first)
        if len(run) == need:
            return run[0]
    held.close()
    return 0


def _try_lock(first: int) -> int | None:
    """The descriptor that holds the lock of a block; None: the block is in use."""
    lock = _open_lock(str(first))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    if all(_is_free(port) for port in range(first, first + BLOCK)):
        return lock
    os.close(lock)
    return None


def _open_lock(name: str) -> int:
    directory = Path(tempfile.gettempdir()) / f"nh-harness-ports-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    return os.open(directory / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _is_free(port: int) -> bool:
    """Whether neither UDP nor TCP has the port, at any address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what is only in TIME_WAIT is free
        try:
            udp.bind(("0.0.0.0", port))
            tcp.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
