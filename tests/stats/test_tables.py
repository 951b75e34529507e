"""Tables of another version of nh: what both know passes, all else is zero."""

import pytest

from nh.stats.layout import SHARD_HISTOGRAMS, SHARD_RECORD, SHARD_TABLE, ShardStats, SupervisorStats
from nh.stats.tables import ForeignRecord, Tables, describe


def filled() -> ShardStats:
    stats = ShardStats()
    for value, field in enumerate(SHARD_TABLE, start=1):
        setattr(stats, field.name, value / 2 if field.unit == "s" else value)
    for info in SHARD_HISTOGRAMS:
        getattr(stats, info.name).observe(info.bounds[1])
    return stats


def own_description() -> str:
    return describe().split("\n")[3]


def test_a_description_of_the_same_tables_makes_the_same_bytes() -> None:
    stats = filled()
    foreign = ForeignRecord(SHARD_RECORD, own_description())
    assert foreign.pack(stats) == SHARD_RECORD.pack(stats)
    values = foreign.unpack(foreign.pack(stats))
    assert {field.name: values[field.name] for field in SHARD_TABLE} == {
        field.name: getattr(stats, field.name) for field in SHARD_TABLE
    }


def test_values_pass_by_name_wherever_the_other_version_has_them() -> None:
    described = own_description().split()
    foreign = ForeignRecord(SHARD_RECORD, " ".join(["newer:q", "mood:8s", *reversed(described), "later=1.0"]))
    stats = filled()
    values = foreign.unpack(foreign.pack(stats))
    assert {field.name: values[field.name] for field in SHARD_TABLE} == {
        field.name: getattr(stats, field.name) for field in SHARD_TABLE
    }
    for info in SHARD_HISTOGRAMS:
        assert values[info.name].counts == getattr(stats, info.name).counts
    assert not {"newer", "mood", "later"} & set(values)


def test_what_the_other_version_lacks_or_has_in_another_form_is_zero() -> None:
    foreign = ForeignRecord(SHARD_RECORD, "packets_in:q packets_out:d calls:8s loop_late_s=0.5,1.0")
    values = foreign.unpack(foreign.pack(filled()))
    assert values["packets_in"] == filled().packets_in
    assert (values["packets_out"], values["calls"], values["bytes_in"]) == (0, 0, 0)
    assert values["loop_late_s"].bounds == ShardStats().loop_late_s.bounds
    assert sum(values["loop_late_s"].counts) == 0
    assert set(values) == {field.name for field in SHARD_TABLE} | {info.name for info in SHARD_HISTOGRAMS}


def test_the_supervisors_block_of_another_version_is_read_part_by_part() -> None:
    supervisor, group, status, shard = describe().split("\n")
    tables = Tables(f"mood:8s {supervisor}\n{group} more:q\nage:d {status}\n{shard}")
    stats = SupervisorStats()
    stats.pid = 7
    stats.shards[1].restarts = 5
    payload = tables.pack_supervisor(stats, 2, 1)
    assert len(payload) == tables.supervisor_bytes(2, 1) > Tables().supervisor_bytes(2, 1)
    values, groups, statuses = tables.unpack_supervisor(payload, 1)
    assert (values["pid"], len(groups), [each.restarts for each in statuses]) == (7, 1, [0, 5])


@pytest.mark.parametrize(
    "description",
    [
        "",
        "pid:q",
        "pid:x cpu:q",
        "pid:0s cpu:q",
        "pid:5000s cpu:q",
        "pid:q pid:q",
        "a:q b:q c=x",
        "a b",
        "a.b:q c:q",
        "__class__:q a:q",
    ],
)
def test_a_damaged_description_is_refused(description: str) -> None:
    with pytest.raises(ValueError):
        ForeignRecord(SHARD_RECORD, description)
