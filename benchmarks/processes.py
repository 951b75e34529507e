"""The relays' processes: started on one CPU, measured with all below them, ended by their process ids."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import psutil

STOP_S: Final = 10.0


class ProcessEnded(Exception):
    """A process ended by itself, or did not begin as it should; the message has what it said."""


class Process:
    """A running program.

    Arguments:
        command: its command line.
        cpus: CPUs that it may use.
        piped: whether its standard input and output are ours (`stdin`, `stdout`); else they go nowhere.
        directory: where its output on standard error, and unless piped on standard output, is kept.
    """

    def __init__(
        self, command: Sequence[str], *, cpus: Iterable[int], directory: Path, piped: bool = False
    ) -> None:
        self.command = list(command)
        descriptor, name = tempfile.mkstemp(prefix="log-", dir=directory)
        self._log = Path(name)
        os.close(descriptor)
        with self._log.open("wb") as log, running_on(cpus):
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else log,
                stderr=log,
                process_group=0,  # Ctrl-C is for us: we end it
                text=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def stdin(self) -> IO[str]:
        """Of a piped one."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> IO[str]:
        """Of a piped one."""
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    def check(self) -> None:
        """Raises ProcessEnded if it runs no more."""
        if (status := self._process.poll()) is not None:
            raise ProcessEnded(
                f"{self.command[0]} ended with status {status}. It said:\n{self.output[-2000:]}"
            )

    def wait_until(self, condition: str, holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Ask `holds` again and again until it says yes. Raises ProcessEnded if that takes too long."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            self.check()
            if time.monotonic() > deadline:
                raise ProcessEnded(
                    f"{self.command[0]}: not {condition} in {timeout_s:g} s:\n{self.output[-2000:]}"
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, by SIGKILL if it does not go."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class TreeMeter:
    """CPU time and resident memory of processes and all below them.

    Arguments:
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


@contextlib.contextmanager
def running_on(cpus: Iterable[int]) -> Iterator[None]:
    """This thread, and what it starts meanwhile, runs on these CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
