"""Which CPUs the process may use, and which of them a shard is pinned to."""

import logging
import os
from collections.abc import Sequence

from nh.reasons import reason

logger = logging.getLogger(__name__)


def usable_cpus() -> tuple[int, ...]:
    """The numbers of the CPUs that this process may run on, in ascending order; never empty."""
    return tuple(sorted(os.sched_getaffinity(0)))


def cpu_of(shard: int, cpus: Sequence[int]) -> int:
    """The CPU of a shard: in turn, so that more shards than CPUs share them evenly."""
    return cpus[shard % len(cpus)]


def pin(pid: int, cpu: int, name: str) -> bool:
    """Pin a process to one CPU. If that fails, it is logged, and the process stays as it is.

    Args:
        pid: the process.
        cpu: the CPU's number.
        name: of the process, for the log.

    Returns:
        Whether it is pinned.
    """
    try:
        os.sched_setaffinity(pid, [cpu])
    except OSError as exc:
        logger.warning(
            "%s (pid %d) cannot be pinned to CPU %d: %s; it runs on any CPU", name, pid, cpu, reason(exc)
        )
        return False
    return True
