"""nh.supervisor.handover.send: waiting until nothing is in flight, and the command line of the next nh."""

import sys

import pytest

from nh.supervisor.handover.receive import YIELD_S
from nh.supervisor.handover.send import own_argv, when_all_can_be_left, when_idle
from nh.supervisor.handover.upgrade import TAKEOVER_WAIT_S
from nh.supervisor.shards.manager import START_S
from tests.supervisor.manual_loop import ManualLoop

HOW = ["/usr/bin/python3", "-P", "-m", "nh", "run"]


@pytest.mark.parametrize(
    ("given", "shards", "following"),
    [
        ([], None, []),
        (["--shards", "2", "--ports", "1-2"], None, ["--shards", "2", "--ports", "1-2"]),
        ([], 3, ["--shards", "3"]),
        (["--shards", "2", "--rpc", "x"], 3, ["--shards", "2", "--rpc", "x", "--shards", "3"]),
        (["--rpc", "x", "--shards", "3"], 4, ["--rpc", "x", "--shards", "4"]),
        (["--shards=2"], 4, ["--shards=2", "--shards", "4"]),
    ],
)
def test_the_next_nh_has_the_same_arguments_and_the_last_number_of_shards(
    monkeypatch: pytest.MonkeyPatch, given: list[str], shards: int | None, following: list[str]
) -> None:
    monkeypatch.setattr(sys, "orig_argv", [*HOW, *given])
    assert own_argv(shards) == [sys.executable, *HOW[1:], *following]


def test_the_command_line_does_not_grow_with_every_change_of_the_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "orig_argv", [*HOW, "--rpc", "x"])
    for shards in (1, 2, 3):
        monkeypatch.setattr(sys, "orig_argv", own_argv(shards))
    assert own_argv() == [sys.executable, *HOW[1:], "--rpc", "x", "--shards", "3"]


# --- until nothing is in flight -------------------------------------------------------------------


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
