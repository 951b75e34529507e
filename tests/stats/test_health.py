"""nh.stats.health: when nh is alive, and when it takes calls."""

import time

import msgspec
import pytest

from nh.stats import ShardState
from nh.stats.health import why_not_alive, why_not_ready
from nh.stats.reading import ShardReading, StatsReading, SupervisorReading, Totals


def reading(
    *states: ShardState, serving: int = 1, draining: int = 0, age_s: float | None = 0.2, calls: int = 0
) -> StatsReading:
    totals = Totals()
    totals.calls = calls
    return StatsReading(
        time=time.time(),
        clock=time.monotonic(),
        version="1",
        supervisor=SupervisorReading(serving=serving, draining=draining, heartbeat_age_s=age_s),
        shards=tuple(ShardReading(shard=number, state=state) for number, state in enumerate(states)),
        totals=totals,
    )


UP, DOWN, STARTING = ShardState.UP, ShardState.DOWN, ShardState.STARTING


def test_a_relay_that_serves_is_alive_and_ready() -> None:
    now = reading(UP, UP)
    assert (why_not_alive(now), why_not_ready(now)) == ("", "")


def test_a_relay_without_one_shard_for_a_moment_is_ready() -> None:
    assert why_not_ready(reading(UP, DOWN)) == ""


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (reading(UP, STARTING, serving=0), "nh is starting: 1 shards are not up"),
        (reading(UP, UP, serving=0), "nh is starting or ending"),
        (reading(UP, UP, draining=1, calls=3), "nh is draining: new calls are refused, 3 calls are left"),
        (reading(UP, UP, draining=1, calls=1), "nh is draining: new calls are refused, 1 call is left"),
        (reading(DOWN, STARTING), "no shard is up"),
    ],
)
def test_a_relay_that_takes_no_calls_is_alive_and_says_why_it_is_not_ready(
    now: StatsReading, why: str
) -> None:
    assert (why_not_alive(now), why_not_ready(now)) == ("", why)


def test_a_standby_that_reaches_no_server_says_where_to_look() -> None:
    warm, late = (
        msgspec.structs.replace(
            reading(DOWN, serving=0),
            supervisor=SupervisorReading(standby=1, standby_calls=5, standby_lag_s=lag),
        )
        for lag in (0.1, 8.0)
    )
    assert why_not_ready(warm) == "nh is a standby: 5 calls are warm, lag 0.1 s"
    assert why_not_ready(late) == "nh is a standby: 5 calls are warm, lag 8.0 s; its log says why"


def test_a_relay_that_refuses_while_its_server_is_away_names_the_setting() -> None:
    now = msgspec.structs.replace(reading(UP), supervisor=SupervisorReading(serving=1, store_refuses=1))
    assert "(state_away)" in why_not_ready(now)


def test_a_relay_at_a_limit_is_ready_because_its_calls_still_need_it() -> None:
    now = reading(UP, UP)
    now.totals.at_limit, now.totals.load_percent = 2, 120
    assert why_not_ready(now) == ""


def test_a_supervisor_that_hangs_is_neither() -> None:
    now = reading(UP, UP, age_s=11)
    assert why_not_alive(now) == why_not_ready(now)
    assert "the supervisor hangs or was killed" in why_not_alive(now)
