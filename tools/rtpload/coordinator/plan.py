"""What will happen to each call, drawn before it begins: the same options and seed give the same calls.

Pure: times are seconds from the moment when the call is up.
"""

import enum
import random
from collections.abc import Iterator

import msgspec

from tools.rtpload.durations import Duration


class StepKind(enum.StrEnum):
    """What happens to a call in its middle."""

    REINVITE = "re-invite"
    HOLD = "hold"
    RESUME = "resume"


class Step(msgspec.Struct, frozen=True):
    """Something that happens `at_s` seconds after the call is up."""

    at_s: float
    kind: StepKind


class CallPlan(msgspec.Struct, frozen=True):
    """One call.

    Args:
        number: counts the calls of a run, from 0.
        one_way: only the caller sends media.
        life_s: how long it lasts once it is up; None: until the load ends.
        steps: in the order of their times.
    """

    number: int
    one_way: bool
    life_s: float | None
    steps: tuple[Step, ...]


def plan_calls(
    rng: random.Random,
    *,
    duration: Duration | None,
    time_s: float,
    one_way: float,
    hold: float,
    reinvite: float,
) -> Iterator[CallPlan]:
    """Calls without end.

    Args:
        rng: all chance comes from it.
        duration: how long calls last; None: as long as the load.
        time_s: how long the load lasts, for the steps of calls that have no end of their own.
        one_way, hold, reinvite: shares of the calls, 0 to 1; hold and reinvite together at most 1.
    """
    number = 0
    while True:
        life_s = duration(rng) if duration else None
        span_s = time_s if life_s is None else life_s
        one_way_call = rng.random() < one_way
        yield CallPlan(number, one_way_call, life_s, _steps(rng, span_s, hold, reinvite))
        number += 1


def _steps(rng: random.Random, span_s: float, hold: float, reinvite: float) -> tuple[Step, ...]:
    chance = rng.random()
    if chance < hold:
        at_s = rng.uniform(0.1, 0.5) * span_s
        return Step(at_s, StepKind.HOLD), Step(at_s + span_s / 4, StepKind.RESUME)
    if chance < hold + reinvite:
        return (Step(rng.uniform(0.1, 0.9) * span_s, StepKind.REINVITE),)
    return ()
