"""A process that is loaded, others that are forked of it, and when it is of no use."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nh.loop import SelectorLoop
from nh.supervisor.host.reaper import become_subreaper
from nh.supervisor.shards import zygote as zygote_module
from nh.supervisor.shards.process import ShardProcess
from nh.supervisor.shards.zygote import Zygote

FAKE_SHARD = str(Path(__file__).with_name("fake_shard.py"))
SHARD = (sys.executable, "-P", FAKE_SHARD)
MUTE = (sys.executable, "-c", "import time; time.sleep(60)")


class Bench:
    def __init__(self, wanted: int) -> None:
        self.before = psutil.Process().num_fds()
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
        self.zygote.fill(self._on_known)

    def load(self) -> int:
        """Have a zygote that can be forked; returns its pid."""
        self.fill()
        self.turn_until(lambda: self.zygote.pid is not None)
        assert self.zygote.pid is not None
        return self.zygote.pid

    def turn_until(self, condition: Callable[[], object]) -> None:
        until = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < until, "the condition did not come true"
            self.loop.turn(0.02)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(zygote_module, "REFILL_S", 0.05)
    become_subreaper()
    yield
    become_subreaper(False)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(1)
    yield bench
    bench.zygote.close()
    bench.loop.close()
    assert psutil.Process().num_fds() == bench.before
    assert set(psutil.Process().children()) <= bench.others


def end(process: ShardProcess) -> str:
    process.kill()
    how = process.reap()
    process.link.close()
    return how


def test_processes_are_forked_of_the_zygote_and_are_this_ones_children(bench: Bench) -> None:
    loaded = bench.load()
    taken = [bench.zygote.new_process(), bench.zygote.new_process()]
    assert len({loaded, *(each.pid for each in taken)}) == 3
    assert {each.pid for each in taken} <= {child.pid for child in psutil.Process().children()}
    assert (bench.zygote.pid, bench.started) == (loaded, 1)
    assert [end(each) for each in taken] == ["signal 9, SIGKILL"] * 2


def test_it_is_told_once_when_the_zygote_can_be_forked(bench: Bench) -> None:
    bench.load()
    assert bench.known == 1


def test_until_the_zygote_has_loaded_a_process_is_started(bench: Bench) -> None:
    bench.argv = MUTE
    bench.fill()
    taken = bench.zygote.new_process()
    assert (bench.started, bench.known) == (2, 0)
    end(taken)


def test_a_zygote_that_does_not_load_is_told_and_replaced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zygote_module, "LOAD_S", 0.1)
    bench.argv = MUTE
    bench.fill()
    bench.turn_until(lambda: bench.known)
    assert bench.zygote.pid is None
    monkeypatch.undo()
    bench.argv = SHARD
    bench.turn_until(lambda: bench.zygote.pid is not None)
    assert bench.known == 1, "it is told once"


def test_a_zygote_that_dies_is_replaced(bench: Bench) -> None:
    first = bench.load()
    psutil.Process(first).kill()
    bench.turn_until(lambda: bench.zygote.pid not in (first, None))


def test_a_zygote_that_died_unseen_costs_no_start(bench: Bench) -> None:
    process = psutil.Process(bench.load())
    process.kill()
    until = time.monotonic() + 20
    while process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.001)
    end(bench.zygote.new_process())
    bench.turn_until(lambda: bench.zygote.pid is not None)
    assert bench.started == 3, "one was started in its place, and another zygote"


def test_a_zygote_that_hangs_is_ended_and_a_process_started(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(zygote_module, "FORK_S", 0.1)
    process = psutil.Process(bench.load())
    process.send_signal(signal.SIGSTOP)
    end(bench.zygote.new_process())
    assert not process.is_running()
    assert "cannot be used, it is ended: timed out" in caplog.text
    bench.turn_until(lambda: bench.zygote.pid not in (process.pid, None))


def test_a_zygote_that_cannot_be_started_is_told_and_started_later(bench: Bench) -> None:
    bench.startable = False
    bench.fill()
    assert (bench.zygote.pid, bench.known) == (None, 1)
    bench.startable = True
    bench.turn_until(lambda: bench.zygote.pid is not None)


def test_without_prefork_none_is_kept() -> None:
    bench = Bench(0)
    bench.fill()
    assert bench.known == 1
    end(bench.zygote.new_process())
    bench.loop.turn(0.2)
    assert bench.started == 1
    bench.loop.close()
