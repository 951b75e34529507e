"""Which CPUs the process may use, and which of them a shard is pinned to."""

import logging
import os
from collections.abc import Sequence

logger = logging.getLogger(__name__)


def usable_cpus() -> tuple[int, ...]:
    """The numbers of the CPUs that this process may run on, in ascending order; never empty."""
    return tuple(sorted(os.sched_getaffinity(0)))


def cpu_of(shard: int, cpus: Sequence[int]) -> int:
    """The CPU of a shard: in turn, so that more shards than CPUs share them evenly."""
    return cpus[shard % len(cpus)]


def pin(pid: int, cpu: int, name: str) -> bool:
    """Let a process run on one CPU only.

    Arguments:
        pid: the process.
        cpu: the CPU's number.
        name: what the log calls the process.

    Returns whether that worked; if not, it is logged, and the process runs on as it was.
    """
    try:
        os.sched_setaffinity(pid, [cpu])
    except OSError as exc:
        logger.warning("%s (pid %d) is not pinned to CPU %d: %s", name, pid, cpu, exc)
        return False
    return True
