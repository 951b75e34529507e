from typing import Any

import pytest

from nh.calls.drop import Drop
from nh.cli.stats.rates import COMMANDS, STALE_S, Meter, Rates, commands, drops
from nh.stats.layout import DROPS
from nh.stats.reading import StatsReading
from tests.cli.readings import make_reading, make_shard


def measured(before: StatsReading, after: StatsReading) -> Rates | None:
    meter = Meter()
    meter.measure(before)
    return meter.measure(after).total


def test_rates_are_growth_over_the_time_between_heartbeats() -> None:
    before = make_reading(make_shard(clock=100.0, packets_in=1000, cpu_s=1.0))
    after = make_reading(make_shard(clock=100.5, packets_in=1200, cpu_s=1.25), clock=109.0)
    total = measured(before, after)
    assert total is not None
    assert (total["packets_in"], total["cpu_s"]) == (400, 0.5)


def test_one_reading_gives_no_rates() -> None:
    result = Meter().measure(make_reading(make_shard()))
    assert result.total is None
    assert result.shards == (None,)


def test_rates_hold_until_the_shard_publishes_again() -> None:
    meter = Meter()
    meter.measure(make_reading(make_shard(clock=100.0)))
    later = make_reading(make_shard(clock=101.0, packets_in=50))
    rates = meter.measure(later).total
    assert rates is not None
    assert meter.measure(later).total == rates


@pytest.mark.parametrize(
    "change", [{"heartbeat_age_s": STALE_S + 1}, {"heartbeat_age_s": None}, {"started": 5.0}]
)
def test_a_shard_that_hangs_is_down_or_began_anew_has_no_rates(change: dict[str, Any]) -> None:
    before = make_reading(make_shard(clock=100.0))
    assert measured(before, make_reading(make_shard(clock=101.0, packets_in=9, **change))) is None


def test_the_total_adds_up_the_shards_that_are_known() -> None:
    before = make_reading(make_shard(0), make_shard(1), make_shard(2))
    after = make_reading(
        make_shard(0, clock=101.0, packets_in=10, drop_no_target=1, allocate_ok=2),
        make_shard(1, clock=102.0, packets_in=40, drop_send_failed=2, show_failed=6),
        make_shard(2, heartbeat_age_s=99.0),
    )
    total = measured(before, after)
    assert total is not None
    assert (total["packets_in"], drops(total), commands(total)) == (30, 2, 5)


def test_commands_and_drops_are_told_apart() -> None:
    assert len(COMMANDS) == 30
    assert {reason.name for reason in DROPS} == {f"drop_{reason.name.lower()}" for reason in Drop}
    assert not set(COMMANDS) & {reason.name for reason in DROPS}
