"""nh.supervisor.shards.idle: a supervisor that leaves waits for commands and for shards, and not for ever."""

import contextlib

import pytest

from nh.supervisor.handover.handover import TAKEOVER_WAIT_S
from nh.supervisor.handover.receive import YIELD_S
from nh.supervisor.shards.idle import when_all_can_be_left, when_idle
from nh.supervisor.shards.manager import START_S
from tests.supervisor.manual_loop import ManualLoop


class Wait:
    """A wait for it, on a clock of the test's."""

    def __init__(self, *, busy: bool) -> None:
        self.busy = busy
        self.loop = ManualLoop()
        self.times = 0
        when_idle(self.loop, lambda: self.busy, timeout_s=2.0, then=self._then)

    def _then(self) -> None:
        self.times += 1


def test_where_nothing_is_in_flight_it_is_over_in_the_next_turn() -> None:
    wait = Wait(busy=False)
    assert wait.times == 0, "who asked is not called back from within"
    wait.loop.advance(0)
    assert wait.times == 1


def test_what_is_in_flight_is_waited_for() -> None:
    wait = Wait(busy=True)
    wait.loop.advance(1)
    assert wait.times == 0
    wait.busy = False
    wait.loop.advance(0.1)
    assert wait.times == 1


def test_what_never_ends_is_not_waited_for_for_ever() -> None:
    wait = Wait(busy=True)
    wait.loop.advance(1.9)
    assert wait.times == 0
    wait.loop.advance(0.2)
    assert wait.times == 1
    wait.loop.advance(10)
    assert wait.times == 1


def test_a_wait_that_meets_a_bug_ends_all_the_same() -> None:
    """The supervisor reads no commands meanwhile."""
    loop, bugs, left = ManualLoop(), 3, list[float]()

    def busy() -> bool:
        nonlocal bugs
        bugs -= 1
        if bugs >= 0:
            raise RuntimeError("a bug")
        return False

    when_idle(loop, busy, timeout_s=2.0, then=lambda: left.append(loop.now()))
    for _ in range(3):
        with pytest.raises(RuntimeError, match="a bug"):  # the loop logs it
            loop.advance(0.01)
        assert not left, "what is in flight is not known"
    loop.advance(2.0)
    assert len(left) == 1


def test_a_wait_that_meets_a_bug_each_time_is_over_when_its_time_is() -> None:
    loop, left = ManualLoop(), list[float]()
    ends_at = loop.now() + 2.0

    def busy() -> bool:
        raise RuntimeError("a bug")

    when_idle(loop, busy, timeout_s=2.0, then=lambda: left.append(loop.now()))
    while loop.now() < ends_at + 1.0:
        with contextlib.suppress(RuntimeError):
            loop.advance(0.01)
    assert left == pytest.approx([ends_at], abs=0.05)


class ShardsToLeave:
    busy = True
    all_up = True


def test_a_shard_that_died_meanwhile_has_longer_than_a_command_to_be_up_again() -> None:
    left: list[float] = []
    loop, shards = ManualLoop(), ShardsToLeave()
    when_all_can_be_left(loop, shards, command_timeout_s=2.0, then=lambda: left.append(loop.now()))
    loop.advance(1.0)
    shards.all_up = shards.busy = False
    loop.advance(START_S - 5.0)
    assert not left, "its calls would have no process"
    shards.all_up = True
    loop.advance(1.0)
    assert len(left) == 1


@pytest.mark.parametrize(("busy", "longest_s"), [(True, 2.0), (False, START_S)])
def test_neither_a_command_nor_a_shard_is_waited_for_for_ever(busy: bool, longest_s: float) -> None:
    left: list[float] = []
    loop, shards = ManualLoop(), ShardsToLeave()
    shards.busy, shards.all_up = busy, busy
    when_all_can_be_left(loop, shards, command_timeout_s=2.0, then=lambda: left.append(loop.now()))
    loop.advance(longest_s - 0.5)
    assert not left
    loop.advance(1.0)
    assert len(left) == 1


def test_a_takeover_is_over_before_the_other_process_gives_up_whatever_hangs() -> None:
    left: list[float] = []
    loop, shards = ManualLoop(), ShardsToLeave()
    began = loop.now()
    shards.all_up = False
    when_all_can_be_left(
        loop,
        shards,
        command_timeout_s=60.0,
        longest_s=TAKEOVER_WAIT_S,
        then=lambda: left.append(loop.now() - began),
    )
    loop.advance(60.0 + START_S + 1.0)
    assert len(left) == 1
    assert left[0] < YIELD_S
