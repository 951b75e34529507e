"""nh.shard.recovery.refresh: which calls are saved when, and how rarely the loop wakes up for it."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import SimpleNamespace

import pytest

from nh.loop import until_next
from nh.shard.recovery import refresh
from nh.shard.recovery.refresh import REFRESH_S, SAVED_A_TURN, SNAPSHOTS_A_ROUND, RefreshRounds
from nh.shard.ticker import HOUSEKEEPING_S
from tests.calls.fakes import make_proxy
from tests.shard.test_pacing import FakeLoop

LATE_S = 0.001
"""How long after its time housekeeping is."""


class Clock(SimpleNamespace):
    """A time module with the time of the test."""

    now: float

    def monotonic(self) -> float:
        return self.now


class Rounds:
    """Rounds over calls, on a clock of their own."""

    def __init__(self, clock: Clock) -> None:
        self.saved: list[tuple[float, list[bytes]]] = []
        self.own_wake_ups = 0
        self._clock = clock
        self._began = clock.now
        self._loop = FakeLoop()
        self._proxy = make_proxy()
        self._rounds = RefreshRounds(self._proxy.table, self._save)
        self.outdated: set[bytes] = set()

    def _save(self, call_ids: Sequence[bytes], now: float) -> None:
        self.saved.append((now - self._began, list(call_ids)))
        self.outdated -= set(call_ids)

    def run(self, seconds: float) -> None:
        """Let time pass, with housekeeping in it."""
        until = self._clock.now + seconds
        while self._clock.now < until:
            self._clock.now += until_next(HOUSEKEEPING_S, now=self._clock.now) + LATE_S
            self._rounds.housekeeping(self._loop, self._clock.now, self.outdated)
            self._run_timers()

    def _run_timers(self) -> None:
        at = self._clock.now
        while self._loop.timers:
            timer = self._loop.timers.pop()
            self.own_wake_ups += timer.delay_s > 0
            self._clock.now = at = at + timer.delay_s
            assert timer.callback is not None
            timer.callback()
        self._clock.now = at


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rounds]:
    clock = Clock(now=1000.0)
    monkeypatch.setattr(refresh, "time", clock)
    yield Rounds(clock)


def calls(count: int) -> set[bytes]:
    return {b"%d" % number for number in range(count)}


def test_turns_of_a_round_follow_housekeeping_and_take_the_time_of_the_round(rounds: Rounds) -> None:
    rounds.run(2.0)  # the first round has turns of its own
    rounds.saved.clear()
    rounds.own_wake_ups = 0
    rounds.outdated = calls(6 * SAVED_A_TURN)
    rounds.run(2 * REFRESH_S)
    assert [len(each) for _, each in rounds.saved] == [SAVED_A_TURN] * 6
    assert {call_id for _, each in rounds.saved for call_id in each} == calls(6 * SAVED_A_TURN)
    assert rounds.own_wake_ups == 0
    pauses_s = [later - earlier for (earlier, _), (later, _) in pairwise(rounds.saved)]
    assert pauses_s[0] < 1.5 + LATE_S, "until the next time on the clock of the process"
    assert pauses_s[1:] == pytest.approx([1.5] * 4), "a sixth of a round, and a multiple of HOUSEKEEPING_S"


@pytest.mark.parametrize("count", [SNAPSHOTS_A_ROUND, 3 * SNAPSHOTS_A_ROUND, 10 * SNAPSHOTS_A_ROUND])
def test_a_round_of_many_calls_is_over_before_the_next_begins(rounds: Rounds, count: int) -> None:
    rounds.run(2.0)
    rounds.saved.clear()
    rounds.outdated = calls(count)
    rounds.run(2 * REFRESH_S)
    assert sum(len(each) for _, each in rounds.saved) == count
    assert max(len(each) for _, each in rounds.saved) == SAVED_A_TURN
    assert rounds.saved[-1][0] - rounds.saved[0][0] < REFRESH_S + LATE_S


def test_the_first_round_is_over_soon(rounds: Rounds) -> None:
    rounds.outdated = calls(1000)
    rounds.run(REFRESH_S)
    assert sum(len(each) for _, each in rounds.saved) == 1000
    assert rounds.saved[-1][0] < 3.0
