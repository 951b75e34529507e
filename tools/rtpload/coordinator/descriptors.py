"""Descriptor limits, looked at before a load begins: one that runs out of them half-way measures nothing."""

import resource
from typing import Final

from tools.rtpload.errors import LoadFailed
from tools.rtpload.options import MAX_PROCESSES, LoadOptions

SPARE: Final = 64
"""Descriptors of a worker that are no phone's: its link, its epoll, standard streams, Python's own."""

OVERLAP: Final = 1.1
"""Calls that end keep their sockets until their last packets are in, while their successors begin."""


def sockets_needed(calls: int, options: LoadOptions) -> int:
    """Sockets of a worker with that many calls at once."""
    return round(calls * options.sockets_per_call * (OVERLAP if options.duration else 1)) + SPARE


def provide_descriptors(options: LoadOptions) -> int:
    """Raise the soft limit as far as the workers need it, who inherit it.

    Returns:
        How many workers there shall be.

    Raises:
        LoadFailed: the hard limit is too low; the message says what would do.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _finite(hard)
    workers = options.worker_count(max(1, int((most - SPARE) / OVERLAP)))
    calls = -(-options.calls // workers)
    needed = sockets_needed(calls, options)
    if needed > most:
        counts = range(workers, MAX_PROCESSES + 1)
        enough = next((n for n in counts if sockets_needed(-(-options.calls // n), options) <= most), 0)
        raise LoadFailed(
            f"{calls} calls in one worker process need {needed} descriptors, but the hard limit is {most}"
            f" (ulimit -Hn): {f'use --processes {enough}, or ' if enough else ''}raise the limit"
        )
    if needed > _finite(soft):
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return workers


def _finite(limit: int) -> int:
    return 2**30 if limit == resource.RLIM_INFINITY else limit
