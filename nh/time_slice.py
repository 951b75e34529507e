"""Short time slices: with them shards and the supervisor have a CPU sooner when packets and commands come.

Linux gives a CPU to the task whose slice would end first (EEVDF), and since 6.12 a task that wakes up takes
the place of one with a longer slice. A shard needs a fraction of a millisecond at a time, where the default
is some. A supervisor with longer slices would wait for the shards on its CPU twice in each command. The share
of the CPU stays what it is, and no privilege is needed. Older kernels ignore the request.
"""

import ctypes
import logging
import os
import platform
import struct
from typing import Final

logger = logging.getLogger(__name__)

SLICE_S: Final = 0.00025
"""A few batches of packets; with less, a shard that is busy all the time would be interrupted often."""

_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
"""Number of the system call, for which Python and glibc have no function."""

_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")
"""struct sched_attr (sched_setattr(2)): size, policy, flags, nice, priority, runtime, deadline, period."""

_libc = ctypes.CDLL(None, use_errno=True)


def ask_for_short_slices(slice_s: float = SLICE_S) -> bool:
    """Ask for slices of this length for the calling thread, in seconds; priority and policy stay.

    Returns:
        Whether the kernel has accepted that.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, nice, 0, round(slice_s * 1e9), 0, 0)
    refused = _libc.syscall(number, 0, ctypes.create_string_buffer(attributes, len(attributes)), 0)
    if refused:
        logger.debug("the kernel takes no slice: %s", os.strerror(ctypes.get_errno()))
    return not refused
