"""Whether a process that shows no life waits for a CPU, or hangs.

On a busy host a process may get no CPU for seconds. To kill it would help nothing: its successor would wait,
too, and its start costs time that the host does not have.
"""

from typing import Final, NamedTuple

MIN_SHARE: Final = 0.25
"""A runnable process hangs if it has run for this share of the time in which it should have shown life."""


class CpuUse(NamedTuple):
    """What a process does with the CPU.

    Attributes:
        runnable: whether it runs or waits for a CPU; otherwise it sleeps, is stopped, or has ended.
        used_s: how long it has run in all, seconds.
    """

    runnable: bool
    used_s: float

    def is_starved(self, before: "CpuUse", time_s: float) -> bool:
        """Whether it has only waited for a CPU.

        Args:
            before: its use at an earlier time.
            time_s: the time in which it should have shown life, seconds.
        """
        return self.runnable and self.used_s - before.used_s < MIN_SHARE * time_s


JUST_STARTED: Final = CpuUse(True, 0.0)
"""What a process had used when it was started, or forked."""


def cpu_use(pid: int) -> CpuUse:
    """The CPU use of a process; one that cannot be seen from here is not runnable."""
    import psutil  # noqa: PLC0415  most hosts never need it

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return CpuUse(process.status() == psutil.STATUS_RUNNING, times.user + times.system)
    except psutil.Error:
        return CpuUse(False, 0.0)
