"""nh.cli.stats.keys: rows in the chosen order, those that are not well, and the end."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.cli.stats.keys import SORTS, Choice, Row
from nh.cli.stats.rates import Meter
from nh.stats.layout import ShardState
from tests.cli.readings import make_reading, make_shard


def rows_of(*shards: dict[str, Any]) -> list[Row]:
    """Rows of shards with these values, and with rates from nothing to these values in a second."""
    meter = Meter()
    meter.measure(make_reading(*(make_shard(number) for number in range(len(shards)))))
    later = make_reading(
        *(make_shard(number, clock=101.0, **values) for number, values in enumerate(shards)), clock=101.0
    )
    return list(zip(later.shards, meter.measure(later).shards, strict=True))


ROWS = rows_of(
    {"calls": 5, "packets_in": 10, "cpu_s": 0.1},
    {"calls": 7, "packets_in": 5, "cpu_s": 0.9, "drop_no_target": 3},
    {"calls": 6, "packets_in": 20, "cpu_s": 0.5, "state": ShardState.DOWN},
)


def numbers(choice: Choice) -> list[int]:
    return [shard.shard for shard, _ in choice.rows(ROWS)]


def test_s_sorts_by_one_column_after_the_other() -> None:
    choice = Choice()
    orders = {}
    for _ in SORTS:
        orders[choice.sort] = numbers(choice)
        choice.press("s")
    assert orders == {
        "shard": [0, 1, 2],
        "CPU": [1, 2, 0],
        "calls": [1, 2, 0],
        "packets": [2, 0, 1],
        "drops": [1, 0, 2],
    }
    assert choice.sort == "shard"
    choice.press("S")
    assert choice.sort == "drops"
    assert choice.legend == "q quit · s sort: drops · f filter: all"


def test_f_shows_shards_that_are_not_well_and_all_again() -> None:
    choice = Choice()
    choice.press("f")
    assert numbers(choice) == [1, 2]
    assert choice.legend.endswith("filter: unwell")
    choice.press("f")
    assert numbers(choice) == [0, 1, 2]


def test_before_there_are_rates_f_shows_what_is_not_well_without_them() -> None:
    choice = Choice(only_unwell=True)
    rows: list[Row] = [(make_shard(0, drop_no_target=3), None), (make_shard(1, restarts=1), None)]
    assert [shard.shard for shard, _ in choice.rows(rows)] == [1]


@pytest.mark.parametrize("key", ["q", "Q", "\x1b"])
def test_q_and_escape_end_it(key: str) -> None:
    choice = Choice()
    choice.press(key)
    assert choice.ended


@given(st.lists(st.text(max_size=2)))
def test_any_keys_leave_a_choice_that_can_be_shown(keys: list[str]) -> None:
    choice = Choice()
    for key in keys:
        choice.press(key)
    assert choice.legend.isprintable()
    assert {shard.shard for shard, _ in choice.rows(ROWS)} <= {0, 1, 2}
