"""Core dumps: none with the keys of calls in it.

A core dump is a copy of the memory, with the keys of SRTP and DTLS, for all who may read the directory, or
for the collector of the distribution. The limit on its size is 0 for this process and those that it starts.
A collector behind a pipe gets a dump nevertheless (core(5)), so that has no memory in it: registers and the
list of mappings, which tell where the process was.
"""

import logging
import resource
from pathlib import Path
from typing import Final

from nh.reasons import reason

logger = logging.getLogger(__name__)

_FILTER: Final = Path("/proc/self/coredump_filter")
"""Which mappings a dump has, by bits; inherited over fork(2) and execve(2)."""


def keep_memory_out_of_core_dumps() -> None:
    """Keep the memory of this process, and of those that it starts, out of core dumps."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    try:
        _FILTER.write_text("0\n")
    except OSError as exc:
        logger.warning("a core dump of nh may have keys of calls in it: %s: %s", _FILTER, reason(exc))
