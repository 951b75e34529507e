"""Calls are drawn as the options say, and the same again from the same seed."""

import itertools
import random

import pytest

from nh.errors import ConfigError
from tools.rtpload.coordinator.plan import CallPlan, StepKind, plan_calls
from tools.rtpload.durations import MIN_S, parse_duration


def plans(count: int, *, seed: int = 1, duration: str = "", **shares: float) -> list[CallPlan]:
    chosen = {"one_way": 0.0, "hold": 0.0, "reinvite": 0.0, **shares}
    calls = plan_calls(random.Random(seed), duration=parse_duration(duration), time_s=60, **chosen)
    return list(itertools.islice(calls, count))


def test_the_same_seed_gives_the_same_calls() -> None:
    def draw(seed: int) -> list[CallPlan]:
        return plans(50, seed=seed, duration="exp:5", one_way=0.3, hold=0.2, reinvite=0.4)

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_calls_without_a_duration_last_as_long_as_the_load() -> None:
    assert {call.life_s for call in plans(10)} == {None}


def test_shares_are_kept_on_average() -> None:
    calls = plans(2000, one_way=0.25, hold=0.1, reinvite=0.5)
    kinds = [call.steps[0].kind for call in calls if call.steps]
    assert 0.2 < sum(call.one_way for call in calls) / 2000 < 0.3
    assert 0.07 < kinds.count(StepKind.HOLD) / 2000 < 0.13
    assert 0.45 < kinds.count(StepKind.REINVITE) / 2000 < 0.55


def test_steps_are_in_order_and_within_the_call() -> None:
    for call in plans(200, duration="uniform:1-9", hold=0.5, reinvite=0.5):
        times = [step.at_s for step in call.steps]
        assert times == sorted(times)
        assert call.life_s is not None
        assert all(0 < at_s < call.life_s for at_s in times)


def test_a_call_on_hold_is_resumed() -> None:
    for call in plans(20, hold=1):
        assert [step.kind for step in call.steps] == [StepKind.HOLD, StepKind.RESUME]


@pytest.mark.parametrize(
    ("text", "low", "high"), [("30", 30, 30), ("uniform:2-4", 2, 4), ("exp:5", MIN_S, 200)]
)
def test_durations_are_what_they_say(text: str, low: float, high: float) -> None:
    rule = parse_duration(text)
    assert rule is not None
    rng = random.Random(1)
    assert all(low <= rule(rng) <= high for _ in range(1000))


@pytest.mark.parametrize(
    "text", ["x", "exp:", "exp:x", "uniform:3", "uniform:a-b", "normal:3", "0", "-1", "1e99", "nan"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="duration"):
        parse_duration(text)
