"""Ends a shard before another relay can have its calls, whatever shard and supervisor are doing.

A shard that runs ends in order, a moment before the deadline. One that is stopped, hangs or is suspended
with its host does not notice the deadline, so the kernel kills it then: a timer of the process sends SIGKILL,
which ends a stopped process, too. Packets pay nothing for that. A thread sets the timer anew after each
renewal of the lease, because a turn of the loop may take long.
"""

import contextlib
import ctypes
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nh.ipc.shared_deadline import NS, SharedDeadline
from nh.loop import Loop, Timer
from nh.threads import start_thread

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.1
"""How often the deadline is read."""

EARLY_NS: Final = 150_000_000
"""A shard that runs ends so long before the deadline."""

_SIGEV_SIGNAL: Final = 0
_TIMER_ABSTIME: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _Event(ctypes.Structure):
    """struct sigevent, which has 64 bytes."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    )


class _Times(ctypes.Structure):
    """struct itimerspec: interval and time, seconds and nanoseconds of each."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("at_s", ctypes.c_long),
        ("at_ns", ctypes.c_long),
    )


class KillTimer:
    """Kills this process at a moment of CLOCK_BOOTTIME; see timer_create(2).

    Raises:
        OSError: the kernel has no more timers for this user.
    """

    def __init__(self) -> None:
        self._id = ctypes.c_void_p()
        event = _Event(None, signal.SIGKILL, _SIGEV_SIGNAL)
        if _libc.timer_create(time.CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._id)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def set(self, at_ns: int) -> None:
        """Kill then, and not at the moment that was set before.

        Args:
            at_ns: nanoseconds of CLOCK_BOOTTIME; 0: do not kill.

        Raises:
            OSError: the kernel refuses the time.
        """
        times = _Times(0, 0, at_ns // NS, at_ns % NS)
        if _libc.timer_settime(self._id, _TIMER_ABSTIME, ctypes.byref(times), None):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class LeaseEnd:
    """Watches the deadline of a shard, from construction to close().

    Args:
        loop: runs the orderly end.
        path: see nh.ipc.shared_deadline.
        on_over: called once, EARLY_NS before the deadline.

    Raises:
        OSError: the deadline cannot be read, or the kernel has no timer or thread.
    """

    def __init__(self, loop: Loop, path: Path, on_over: Callable[[], None]) -> None:
        self._loop = loop
        self._on_over = on_over
        self._shared = SharedDeadline(path)
        self._kill_timer = KillTimer()
        self._kill_at_ns = 0
        self._closed = threading.Event()
        self._set_kill_timer()
        self._timer: Timer = loop.call_later(LOOK_S, self._look)
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        start_thread(self._thread)

    def close(self) -> None:
        """Watch no more: the shard forwards nothing any more. A second close() does nothing."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        self._timer.cancel()
        self._kill_timer.set(0)
        self._shared.close()

    def _look(self) -> None:
        at_ns = self._shared.read_ns()
        if at_ns and time.clock_gettime_ns(time.CLOCK_BOOTTIME) >= at_ns - EARLY_NS:
            self._on_over()
        else:
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def _run(self) -> None:
        while not self._closed.wait(LOOK_S):
            with contextlib.suppress(OSError):  # the moment that was set before stands
                self._set_kill_timer()

    def _set_kill_timer(self) -> None:
        at_ns = self._shared.read_ns()
        if at_ns != self._kill_at_ns:
            self._kill_timer.set(at_ns)
            self._kill_at_ns = at_ns
