"""Which CPUs the process may use, and which of them a shard is pinned to."""

import os
from collections.abc import Sequence


def usable_cpus() -> tuple[int, ...]:
    """The numbers of the CPUs that this process may run on, in ascending order; never empty."""
    return tuple(sorted(os.sched_getaffinity(0)))


def cpu_of(shard: int, cpus: Sequence[int]) -> int:
    """The CPU of a shard: in turn, so that more shards than CPUs share them evenly."""
    return cpus[shard % len(cpus)]
