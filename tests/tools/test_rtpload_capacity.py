"""The search for the capacity: finds it, within its bounds, and says what the limit is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.rtpload.report.capacity import PRECISION, Capacity, Limit, Step, find_capacity


def search(capacity: int, *, first: int = 10, highest: int = 100_000, max_steps: int = 80) -> Capacity:
    def try_calls(calls: int) -> Step:
        limit = Limit.NONE if calls <= capacity else Limit.LATENCY
        return Step(calls, limit, 0.0, 1.0, 0.1, None)

    return find_capacity(try_calls, first=first, highest=highest, max_steps=max_steps)


@given(st.integers(1, 50_000), st.integers(1, 5000))
def test_the_capacity_is_found_within_its_precision(capacity: int, first: int) -> None:
    found = search(capacity, first=first)
    assert found.limit is Limit.LATENCY
    assert found.calls <= capacity
    assert capacity - found.calls <= max(1, PRECISION * (capacity + 1) * 1.06)


def test_it_doubles_and_then_bisects() -> None:
    calls = [step.calls for step in search(100).steps]
    assert list(dict.fromkeys(calls)) == [10, 20, 40, 80, 160, 120, 100, 110, 105]


def test_what_fails_is_tried_once_more_before_it_counts() -> None:
    failures = iter([40])

    def try_calls(calls: int) -> Step:
        limit = Limit.LOSS if calls == next(failures, 0) or calls > 80 else Limit.NONE
        return Step(calls, limit, 0.0, 1.0, 0.1, None)

    assert find_capacity(try_calls, first=40, highest=80, max_steps=9).calls == 80
    assert [step.calls for step in search(1, first=2).steps] == [2, 2, 1]


def test_it_ends_at_the_highest_number() -> None:
    found = search(1000, highest=50)
    assert (found.calls, found.limit) == (50, Limit.NONE)
    assert [step.calls for step in found.steps] == [10, 20, 40, 50]


def test_it_takes_no_more_steps_than_it_may() -> None:
    assert len(search(30_000, max_steps=3).steps) == 3


def test_a_relay_that_carries_nothing_has_no_capacity() -> None:
    found = search(0, first=4)
    assert (found.calls, found.limit) == (0, Limit.LATENCY)
    assert [step.calls for step in found.steps] == [4, 4, 2, 2, 1, 1]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_it_can_be_ended_between_steps(after: int) -> None:
    steps: list[Step] = []

    def try_calls(calls: int) -> Step | None:
        if len(steps) == after:
            return None
        steps.append(Step(calls, Limit.NONE, 0.0, 1.0, 0.1, None))
        return steps[-1]

    found = find_capacity(try_calls, first=1, highest=1000, max_steps=20)
    assert list(found.steps) == steps
    assert found.calls == (steps[-1].calls if steps else 0)
