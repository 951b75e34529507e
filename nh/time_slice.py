"""Short time slices: with them shards and the supervisor have a CPU sooner when packets and commands come.

A process that is busy all the time also yields the CPU to those that need it for a short time.

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
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

SLICE_S: Final = 0.00025
"""A few batches of packets; with less, a shard that is busy all the time would be interrupted often."""

SHORT_S: Final = 0.001
"""A process that lost the CPU for no longer yields again at once: a supervisor needs 0.1 to 0.4 ms."""

APART: Final = 50
"""One that lost it for longer does not yield for this multiple of that time."""

_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
"""Number of the system call, for which Python and glibc have no function."""

_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")
"""struct sched_attr (sched_setattr(2)): size, policy, flags, nice, priority, runtime, deadline, period."""

_libc = ctypes.CDLL(None, use_errno=True)


def ask_for_short_slices() -> bool:
    """Ask for slices of SLICE_S for the calling thread; its priority and policy stay.

    Returns:
        Whether the kernel has accepted that.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, nice, 0, round(SLICE_S * 1e9), 0, 0)
    refused = _libc.syscall(number, 0, ctypes.create_string_buffer(attributes, len(attributes)), 0)
    if refused:
        logger.debug("the kernel takes no slice: %s", os.strerror(ctypes.get_errno()))
    return not refused


class CpuYielder:
    """Lets other tasks that wait for the CPU have it (sched_yield(2)); does nothing if there are none.

    Linux interrupts a task that never sleeps at a tick of its clock, every 4 ms on most hosts (CONFIG_HZ). A
    supervisor that has just used the CPU is not given it when it wakes up, and waits for the tick. Another
    program would use the whole time until the tick. So after one has had the CPU for longer than a supervisor
    needs, the task does not yield for a while: it loses 2 % of its time to that at most.

    Args:
        clock: monotonic seconds.
        yield_cpu: yields once.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, yield_cpu: Callable[[], object] = os.sched_yield
    ) -> None:
        self._clock = clock
        self._yield = yield_cpu
        self._next = 0.0

    def __call__(self) -> None:
        """Yield, unless that took long lately."""
        begun = self._clock()
        if begun < self._next:
            return
        self._yield()
        now = self._clock()
        if now - begun > SHORT_S:
            self._next = now + APART * (now - begun)
