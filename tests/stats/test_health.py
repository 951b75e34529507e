"""nh.stats.health: when nh is alive, and when it takes calls."""

import re
import time

import msgspec
import pytest

from nh.stats import ShardState
from nh.stats.health import why_not_alive, why_not_ready
from nh.stats.layout import StandbyGroup
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
        (reading(UP, STARTING, serving=0), "nh is starting: 1 shard is not up"),
        (reading(UP, UP, serving=0), "nh is starting or ending"),
        (reading(UP, UP, draining=1, calls=3), "nh is draining: new calls are refused, 3 calls left"),
        (reading(UP, UP, draining=1, calls=1), "nh is draining: new calls are refused, 1 call left"),
        (reading(DOWN, STARTING), "no shard is up"),
    ],
)
def test_a_relay_that_takes_no_calls_is_alive_and_says_why_it_is_not_ready(
    now: StatsReading, why: str
) -> None:
    assert (why_not_alive(now), why_not_ready(now)) == ("", why)


def standby(*groups: StandbyGroup, lag_s: float = 0.1) -> str:
    supervisor = SupervisorReading(
        standby=1,
        standby_since=1_700_000_000.0,
        standby_calls=sum(each.calls for each in groups),
        standby_lag_s=lag_s,
        groups=[*groups, StandbyGroup()],
    )
    why = why_not_ready(msgspec.structs.replace(reading(DOWN, serving=0), supervisor=supervisor))
    return re.sub(r" since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d: ", " since then: ", why)


def test_a_standby_says_whose_calls_it_has_and_how_far_behind_it_is() -> None:
    one, two = StandbyGroup(group="pair-1", calls=5), StandbyGroup(group="pair-2", calls=1)
    assert standby(one) == "nh is a standby for pair-1 since then: 5 calls warm, lag 0.1 s"
    assert standby(two) == "nh is a standby for pair-2 since then: 1 call warm, lag 0.1 s"
    assert standby(one, two) == "nh is a standby for pair-1, pair-2 since then: 6 calls warm, lag 0.1 s"


def test_a_standby_that_could_not_take_calls_over_says_which_and_why() -> None:
    one, two = StandbyGroup(group="pair-1", fault="no key"), StandbyGroup(group="pair-2")
    assert standby(one).endswith("since then: 0 calls warm, lag 0.1 s; no key")
    assert standby(one, two, lag_s=9.0).endswith("lag 9.0 s; pair-1: no key")
    two.fault = "no key"
    assert standby(one, two).endswith("lag 0.1 s; no key")
    two.fault = "no server"
    assert standby(one, two).endswith("lag 0.1 s; pair-1: no key; pair-2: no server")


def test_a_standby_that_is_late_without_a_known_reason_says_where_to_look() -> None:
    assert standby(StandbyGroup(group="pair-1"), lag_s=8.0).endswith("lag 8.0 s; its log says why")


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


def test_a_relay_that_serves_other_calls_is_not_ready_for_a_group() -> None:
    now = msgspec.structs.replace(reading(UP), supervisor=SupervisorReading(serving=1, group="pair-2"))
    assert why_not_ready(now) == why_not_ready(now, "pair-2") == ""
    assert why_not_ready(now, "pair-1") == "nh has the calls of pair-2, not those of pair-1"
    now.supervisor.group = ""
    assert why_not_ready(now, "pair-1").startswith("nh has its calls on no server (state)")
