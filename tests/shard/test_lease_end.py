"""nh.shard.lease_end: a shard has ended when another relay may have its calls, whatever it was doing."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest

from nh.ipc.shared_deadline import NS, SharedDeadline
from nh.loop import SelectorLoop
from nh.shard import lease_end
from nh.shard.lease_end import KillTimer, LeaseEnd
from tests.profiles import quick_first
from tools.harness.waiting import eventually

FORK = multiprocessing.get_context("fork")
LONG_NS = 3600 * NS
SOON_NS = 300_000_000

Say = Callable[[str], None]


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Shared:
    """A deadline, and processes that have it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "lease"
        self.deadline = SharedDeadline(self.path, writable=True)
        self.deadline.write_ns(now_ns() + 2 * LONG_NS)
        self.said = directory / "said"
        self.said.touch()
        self._processes: list[BaseProcess] = []

    def process(self, run: Callable[[Path, Say], None]) -> BaseProcess:
        """A process that watches the deadline and runs `run`; returns when it does both."""
        process = FORK.Process(target=run, args=(self.path, self._say), daemon=True)
        process.start()
        self._processes.append(process)
        self.until_said("watching")
        return process

    def set(self, after_ns: int) -> int:
        """Set the deadline; returns it."""
        at_ns = now_ns() + after_ns
        self.deadline.write_ns(at_ns)
        return at_ns

    def until_said(self, what: str) -> None:
        eventually(lambda: what in self.said.read_text(), f"the process says: {what}")

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()
            process.close()
        self.deadline.close()

    def _say(self, line: str) -> None:
        with self.said.open("a") as stream:
            stream.write(f"{line}\n")


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    with contextlib.closing(Shared(tmp_path)) as shared:
        yield shared


class SaidTimer(KillTimer):
    """Says when it will kill."""

    say: Say

    def set(self, at_ns: int) -> None:
        super().set(at_ns)
        self.say(f"kills at {at_ns}")


def watch(loop: SelectorLoop, path: Path, say: Say, on_over: Callable[[], None]) -> LeaseEnd:
    SaidTimer.say = staticmethod(say)
    lease_end.KillTimer = SaidTimer  # type: ignore[misc]
    end = LeaseEnd(loop, path, on_over)
    say("watching")
    return end


def is_early(path: Path, say: Say) -> None:
    """A shard that begins to end long before the deadline, so that a busy host leaves it the time."""
    lease_end.EARLY_NS = LONG_NS  # type: ignore[misc]
    loops(path, say)


def loops(path: Path, say: Say) -> None:
    """A shard that is well: it has its turns."""
    loop = SelectorLoop()

    def over() -> None:
        say(f"over {now_ns()}")
        loop.stop()

    end = watch(loop, path, say, over)
    loop.run()
    end.close()
    loop.close()
    say("has ended")


def hangs(path: Path, say: Say) -> None:
    """A shard that has no turns any more."""
    _end = watch(SelectorLoop(), path, say, lambda: None)
    while True:
        os.getppid()


def test_it_ends_in_order_before_the_deadline(shared: Shared) -> None:
    process = shared.process(is_early)
    deadline_ns = shared.set(LONG_NS + SOON_NS)
    process.join(30)
    assert process.exitcode == 0
    said = shared.said.read_text()
    assert int(said.rpartition("over ")[2].split()[0]) >= deadline_ns - LONG_NS
    assert said.endswith("kills at 0\nhas ended\n")


def test_one_that_hangs_is_killed_at_the_deadline(shared: Shared) -> None:
    process = shared.process(hangs)
    shared.set(SOON_NS)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL


def test_one_that_hangs_goes_on_while_the_lease_is_renewed(shared: Shared) -> None:
    process = shared.process(hangs)
    until_ns = now_ns() + 3 * SOON_NS
    while now_ns() < until_ns:
        shared.set(10 * SOON_NS)
        process.join(0.05)
    assert process.exitcode is None


@pytest.mark.parametrize("run", quick_first([loops, hangs]))
def test_one_that_is_stopped_is_killed_at_the_deadline_and_never_runs_again(
    shared: Shared, run: Callable[[Path, Say], None]
) -> None:
    process = shared.process(run)
    deadline_ns = shared.set(10 * SOON_NS)
    shared.until_said(f"kills at {deadline_ns}")
    psutil.Process(process.pid).suspend()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert now_ns() >= deadline_ns
    assert shared.said.read_text().endswith(f"kills at {deadline_ns}\n")


def test_without_a_deadline_it_goes_on(shared: Shared) -> None:
    process = shared.process(loops)
    shared.deadline.write_ns(0)
    shared.until_said("kills at 0")
    process.join(SOON_NS / NS)
    assert process.exitcode is None
