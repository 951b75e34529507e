import dataclasses

import pytest

from nh.stats import MAX_SHARDS, ShardState, ShardStats, SupervisorStats
from nh.stats.fields import FieldInfo, Kind, Total
from nh.stats.layout import GROUP_RECORD, SHARD_TABLE, STATUS_TABLE, SUPERVISOR_TABLE, StandbyGroup


@pytest.mark.parametrize(
    "field", [*SHARD_TABLE, *SUPERVISOR_TABLE, *STATUS_TABLE], ids=lambda field: field.name
)
def test_every_field_says_its_unit_and_meaning_and_counters_add_up(field: FieldInfo) -> None:
    assert field.unit
    assert field.help
    assert field.kind is Kind.GAUGE or (field.total is Total.SUM and field.zero == 0)


def test_values_in_seconds_are_floats_texts_are_text_and_all_others_integers() -> None:
    for stats in (ShardStats, SupervisorStats):
        types = {field.name: field.type for field in dataclasses.fields(stats)}
        for field in SHARD_TABLE if stats is ShardStats else SUPERVISOR_TABLE:
            expected = {"s": float, "text": str}.get(field.unit, int)
            assert types[field.name] is expected, field.name


def test_a_text_that_is_no_unicode_does_not_stop_the_statistics() -> None:
    group = StandbyGroup(fault="/run/\udcff is away")
    assert GROUP_RECORD.unpack(GROUP_RECORD.pack(group))["fault"] == "/run/? is away"


def test_every_command_counts_every_outcome() -> None:
    names = {field.name for field in SHARD_TABLE}
    commands = ("allocate", "activate", "close", "list", "show")
    assert {f"{c}_{o}" for c in commands for o in ("ok", "refused", "failed")} <= names


def test_the_supervisor_has_room_for_every_shard() -> None:
    stats = SupervisorStats()
    stats.shards[MAX_SHARDS - 1].state = ShardState.UP
    stats.shards[MAX_SHARDS - 1].restarts += 1
    assert stats.shards[MAX_SHARDS - 1].state is ShardState.UP
    assert [status.restarts for status in stats.shards] == [0] * (MAX_SHARDS - 1) + [1]
