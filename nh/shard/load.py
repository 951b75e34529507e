"""Load of a shard, measured once a second: its CPU, what it receives, and which limit is reached.

max_calls and max_sockets are enforced where calls begin (nh.calls). max_cpu and max_bandwidth need a
measurement: the table of calls is told while one of them is reached, so no command measures anything.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nh.calls.events import CallObserver
from nh.calls.table import CallTable
from nh.paths import read_unbuffered
from nh.shard.limit_log import LimitLog
from nh.stats import ShardStats
from nh.stats.layout import LIMITS

INTERVAL_S: Final = 1.0
"""Between two measurements, seconds, rounded up to the next housekeeping."""

_STAT: Final = Path("/proc/stat")

_IDLE_FIELDS: Final = (3, 4)
"""Of a line of /proc/stat: idle, iowait (proc(5))."""

_FIELDS: Final = 8
"""user, nice, system, idle, iowait, irq, softirq, steal; guest time is part of user time."""

_FULL_PERCENT: Final = 100

MEASURED: Final = ("max_cpu", "max_bandwidth")
"""The limits that no command can look up."""

TEXTS: Final = {
    "max_calls": "max_calls is reached: this shard has its share of it, {limit}",
    "max_sockets": "max_sockets is reached: this shard has its share of it, {limit}",
    "max_cpu": "max_cpu = {limit} is reached: {value} percent of this shard's CPU are busy",
    "max_bandwidth": "max_bandwidth is reached: this shard receives {value} bytes a second, its share is"
    " {limit}",
}
"""What is so when a limit is reached."""


class CpuMeter:
    """Measures how busy a CPU is.

    Args:
        now: the clock, monotonic seconds.
        read_cpu: returns the (busy, total) time of a CPU so far, in any unit; None: unknown.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        read_cpu: Callable[[int], tuple[float, float] | None] | None = None,
    ) -> None:
        self._now = now
        self._read_cpu = read_cpu or cpu_times
        self._cpu = -1
        self._before = self._read(-1)

    def percent(self, cpu: int) -> int:
        """Percent of the time since the last call in which the CPU was busy, the kernel's work included.

        Args:
            cpu: the CPU that this process is pinned to; -1: none. Then, and if the system does not tell, it
                is the CPU time of this process.
        """
        times = self._read(cpu)
        if cpu != self._cpu:  # pinned since
            self._cpu, self._before = cpu, times
            return 0
        busy, total = times[0] - self._before[0], times[1] - self._before[1]
        self._before = times
        return min(max(round(100 * busy / total), 0), 100) if total > 0 else 0

    def _read(self, cpu: int) -> tuple[float, float]:
        return (self._read_cpu(cpu) if cpu >= 0 else None) or (time.process_time(), self._now())


def cpu_times(cpu: int) -> tuple[float, float] | None:
    """Busy and total time of a CPU since the host started, in clock ticks; None: the system does not tell."""
    with contextlib.suppress(OSError):
        _, found, values = read_unbuffered(_STAT).partition(b"\ncpu%d " % cpu)
        if found:
            times = [int(field) for field in values.split(maxsplit=_FIELDS)[:_FIELDS]]
            idle = sum(times[field] for field in _IDLE_FIELDS)
            return sum(times) - idle, sum(times)
    return None


class LoadMeter(CallObserver):
    """Measures the load of one relay, and has it refuse new calls while a load limit is reached.

    Args:
        stats: the gauges to fill in; `bytes_in` and `cpu` are read.
        table: the calls, and the limits.
        limits: knows what refuses calls for another reason, and logs all.
        cpu: measures the CPU.
    """

    def __init__(
        self, stats: ShardStats, table: CallTable, limits: LimitLog, *, cpu: CpuMeter | None = None
    ) -> None:
        self._stats = stats
        self._table = table
        self._limits = limits
        self._cpu = cpu or CpuMeter()
        self._bytes: int | None = None
        self._measured_at = 0.0

    def housekeeping(self, now: float) -> None:
        """See CallObserver."""
        passed_s = now - self._measured_at
        if self._bytes is not None and passed_s < INTERVAL_S:
            return
        stats = self._stats
        received = 0 if self._bytes is None else max(stats.bytes_in - self._bytes, 0)
        self._bytes, self._measured_at = stats.bytes_in, now
        stats.byte_rate = round(received / passed_s) if passed_s > 0 else 0
        stats.cpu_percent = self._cpu.percent(stats.cpu)
        self._apply_limits()

    def _apply_limits(self) -> None:
        stats, table, settings = self._stats, self._table, self._table.resources.settings
        calls, sockets = len(table), table.resources.sockets
        uses = {
            "max_calls": (calls, settings.max_calls),
            "max_sockets": (sockets, settings.max_sockets),
            "max_cpu": (stats.cpu_percent, settings.max_cpu),
            "max_bandwidth": (stats.byte_rate, settings.max_bandwidth),
        }
        percents = {name: 100 * value // limit for name, (value, limit) in uses.items() if limit}
        reached = {
            name: TEXTS[name].format(value=uses[name][0], limit=uses[name][1])
            for name, percent in percents.items()
            if percent >= _FULL_PERCENT
        }
        table.overload = next(((name, reached[name]) for name in MEASURED if name in reached), None)
        for name, text in reached.items():
            self._limits.measured(name, text)
        refusing = reached.keys() | self._limits.look()
        stats.load_percent = max(percents.values(), default=stats.cpu_percent)
        stats.at_limit = int(bool(refusing))
        for name in LIMITS:
            setattr(stats, f"at_{name}", int(name in refusing))
