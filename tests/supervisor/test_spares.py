"""nh.supervisor.spares: a process that waits, and another one when it was taken."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nh.loop import SelectorLoop
from nh.supervisor import spares as spares_module
from nh.supervisor.process import ShardProcess
from nh.supervisor.spares import Spares

FAKE_SHARD = str(Path(__file__).with_name("fake_shard.py"))


class Bench:
    def __init__(self, wanted: int) -> None:
        self.before = psutil.Process().num_fds()
        self.others = set(psutil.Process().children())
        self.loop = SelectorLoop()
        self.started = 0
        self.startable = True
        self.spares = Spares(self.loop, self._start, wanted)

    def _start(self) -> ShardProcess:
        if not self.startable:
            raise OSError(11, "Resource temporarily unavailable")
        self.started += 1
        return ShardProcess((sys.executable, "-P", FAKE_SHARD))

    def turn_until(self, condition: Callable[[], object]) -> None:
        until = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < until, "the condition did not come true"
            self.loop.turn(0.02)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spares_module, "REFILL_S", 0.05)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(1)
    yield bench
    bench.spares.close()
    bench.loop.close()
    assert psutil.Process().num_fds() == bench.before
    assert set(psutil.Process().children()) <= bench.others


def end(process: ShardProcess) -> None:
    process.kill()
    process.reap()
    process.link.close()


def test_the_spare_is_taken_and_another_one_waits_soon(bench: Bench) -> None:
    bench.spares.fill()
    first = bench.spares.pid
    taken = bench.spares.take()
    assert taken.pid == first
    bench.turn_until(lambda: bench.spares.pid is not None)
    assert bench.started == 2
    end(taken)


def test_where_there_is_no_spare_a_process_is_started(bench: Bench) -> None:
    taken = bench.spares.take()
    assert bench.spares.pid is None
    end(taken)


def test_a_spare_that_dies_is_replaced(bench: Bench) -> None:
    bench.spares.fill()
    first = bench.spares.pid
    psutil.Process(first).kill()
    bench.turn_until(lambda: bench.spares.pid not in (first, None))


def test_a_spare_that_cannot_be_started_is_started_later(bench: Bench) -> None:
    bench.startable = False
    bench.spares.fill()
    assert bench.spares.pid is None
    bench.startable = True
    bench.turn_until(lambda: bench.spares.pid is not None)


def test_without_spares_none_is_kept() -> None:
    bench = Bench(0)
    bench.spares.fill()
    end(bench.spares.take())
    bench.loop.turn(0.2)
    assert bench.started == 1
    bench.loop.close()
