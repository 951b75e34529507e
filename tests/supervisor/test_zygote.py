"""A process that is loaded, others that are forked of it, and when it is of no use."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nh.loop import SelectorLoop
from nh.supervisor.host.cpu_use import CpuUse
from nh.supervisor.host.reaper import become_subreaper
from nh.supervisor.shards import process as process_module
from nh.supervisor.shards import zygote as zygote_module
from nh.supervisor.shards.process import ShardProcess
from nh.supervisor.shards.zygote import Zygote
from tests.descriptors import descriptors_here
from tools.harness.waiting import turn_until

FAKE_SHARD = str(Path(__file__).with_name("fake_shard.py"))
SHARD = (sys.executable, "-P", FAKE_SHARD)
MUTE = (sys.executable, "-c", "import time; time.sleep(60)")


class ZygoteTestbed:
    def __init__(self, wanted: int) -> None:
        self.before = descriptors_here()
        self.others = set(psutil.Process().children())
        self.loop = SelectorLoop()
        self.argv = SHARD
        self.started = 0
        self.known = 0
        self.startable = True
        self.zygote = Zygote(self.loop, self._start, wanted)

    def _start(self) -> ShardProcess:
        if not self.startable:
            raise OSError(11, "Resource temporarily unavailable")
        self.started += 1
        return ShardProcess.start(self.argv)

    def _on_known(self) -> None:
        self.known += 1

    def fill(self) -> None:
        self.zygote.start(self._on_known)

    def load(self) -> int:
        """Have a zygote that can be forked; returns its pid."""
        self.fill()
        self.turn_until(lambda: self.zygote.pid is not None)
        assert self.zygote.pid is not None
        return self.zygote.pid

    def turn_until(self, condition: Callable[[], object]) -> None:
        turn_until(self.loop, condition)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(zygote_module, "RESTART_S", 0.05)
    become_subreaper()
    yield
    become_subreaper(False)


@pytest.fixture
def testbed() -> Iterator[ZygoteTestbed]:
    testbed = ZygoteTestbed(1)
    yield testbed
    testbed.zygote.close()
    testbed.loop.close()
    assert psutil.Process().num_fds() == testbed.before
    assert set(psutil.Process().children()) <= testbed.others


def end(process: ShardProcess) -> str:
    process.kill()
    how = process.reap()
    process.link.close()
    return how


def test_processes_are_forked_of_the_zygote_and_are_this_ones_children(testbed: ZygoteTestbed) -> None:
    loaded = testbed.load()
    taken = [testbed.zygote.new_process(), testbed.zygote.new_process()]
    assert len({loaded, *(each.pid for each in taken)}) == 3
    assert {each.pid for each in taken} <= {child.pid for child in psutil.Process().children()}
    assert (testbed.zygote.pid, testbed.started) == (loaded, 1)
    assert [end(each) for each in taken] == ["signal 9, SIGKILL"] * 2


def test_it_is_told_once_when_the_zygote_can_be_forked(testbed: ZygoteTestbed) -> None:
    testbed.load()
    assert testbed.known == 1


def test_until_the_zygote_has_loaded_a_process_is_started(testbed: ZygoteTestbed) -> None:
    testbed.argv = MUTE
    testbed.fill()
    taken = testbed.zygote.new_process()
    assert (testbed.started, testbed.known) == (2, 0)
    end(taken)


def test_a_zygote_that_does_not_load_is_told_and_replaced(
    testbed: ZygoteTestbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zygote_module, "LOAD_S", 0.1)
    testbed.argv = MUTE
    testbed.fill()
    testbed.turn_until(lambda: testbed.known)
    assert testbed.zygote.pid is None
    monkeypatch.undo()
    testbed.argv = SHARD
    testbed.turn_until(lambda: testbed.zygote.pid is not None)
    assert testbed.known == 1, "it is told once"


def test_a_zygote_that_waits_for_a_cpu_is_waited_for(
    testbed: ZygoteTestbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []

    def starved(pid: int) -> CpuUse:
        looked_at.append(pid)
        return CpuUse(True, 0.0)

    monkeypatch.setattr(zygote_module, "LOAD_S", 0.02)
    monkeypatch.setattr(zygote_module, "cpu_use", starved)
    assert testbed.load() == looked_at[0]
    assert (testbed.started, testbed.known) == (1, 1)


def test_a_zygote_that_dies_is_replaced(testbed: ZygoteTestbed) -> None:
    first = testbed.load()
    psutil.Process(first).kill()
    testbed.turn_until(lambda: testbed.zygote.pid not in (first, None))


def test_a_zygote_that_died_unseen_costs_no_start(testbed: ZygoteTestbed) -> None:
    process = psutil.Process(testbed.load())
    process.kill()
    until = time.monotonic() + 20
    while process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.001)
    end(testbed.zygote.new_process())
    testbed.turn_until(lambda: testbed.zygote.pid is not None)
    assert testbed.started == 3, "one was started in its place, and another zygote"


def test_a_zygote_that_hangs_is_ended_and_a_process_started(
    testbed: ZygoteTestbed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(zygote_module, "FORK_S", 0.1)
    process = psutil.Process(testbed.load())
    process.send_signal(signal.SIGSTOP)
    end(testbed.zygote.new_process())
    assert not process.is_running()
    assert "cannot fork: timed out" in caplog.text
    testbed.turn_until(lambda: testbed.zygote.pid not in (process.pid, None))


def test_a_zygote_whose_fork_waits_for_a_cpu_is_waited_for(
    testbed: ZygoteTestbed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(zygote_module, "FORK_S", 0.1)
    process = psutil.Process(testbed.load())

    def starved(_pid: int) -> CpuUse:
        process.send_signal(signal.SIGCONT)  # it gets one in the end
        return CpuUse(runnable=True, used_s=0.0)

    monkeypatch.setattr(process_module, "cpu_use", starved)
    process.send_signal(signal.SIGSTOP)
    end(testbed.zygote.new_process())
    assert process.is_running()
    assert testbed.started == 1, "it has forked"
    assert "cannot fork" not in caplog.text


def test_a_zygote_that_cannot_be_started_is_told_and_started_later(testbed: ZygoteTestbed) -> None:
    testbed.startable = False
    testbed.fill()
    assert (testbed.zygote.pid, testbed.known) == (None, 1)
    testbed.startable = True
    testbed.turn_until(lambda: testbed.zygote.pid is not None)


def test_without_prefork_none_is_kept() -> None:
    testbed = ZygoteTestbed(0)
    testbed.fill()
    assert testbed.known == 1
    end(testbed.zygote.new_process())
    testbed.loop.turn(0.2)
    assert testbed.started == 1
    testbed.loop.close()
