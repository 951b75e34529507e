"""CPU time and memory of the relays' processes."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import psutil


def own_cpu_s(pid: int) -> float:
    """CPU seconds of one process since it began: of the threads that it has now."""
    tasks = os.scandir(f"/proc/{pid}/task")
    return sum(int(Path(task.path, "schedstat").read_text().split()[0]) for task in tasks) / 1e9


class TreeMeter:
    """CPU time and resident memory of processes and all below them.

    Args:
        pids: the roots.

    CPU time is /proc/PID/task/TID/schedstat, to the nanosecond. Threads that have ended count with what they
    had used by the last reading before.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self.pids = list(pids)
        self._roots = [psutil.Process(pid) for pid in pids]
        self._cpu_ns: dict[tuple[int, int], int] = {}

    def cpu_s(self) -> float:
        """CPU seconds since the processes began."""
        for process in self._tree():
            with contextlib.suppress(OSError):  # it has ended
                for task in os.scandir(f"/proc/{process.pid}/task"):
                    ran_ns = Path(task.path, "schedstat").read_text().split()[0]
                    self._cpu_ns[process.pid, int(task.name)] = int(ran_ns)
        return sum(self._cpu_ns.values()) / 1e9

    def memory_bytes(self) -> int:
        """Resident memory, added up."""
        return sum(process.memory_info().rss for process in self._tree())

    def _tree(self) -> list[psutil.Process]:
        return [process for root in self._roots for process in (root, *root.children(recursive=True))]
