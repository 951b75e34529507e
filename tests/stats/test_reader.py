"""Writers and readers together: what a reader sees of what writers published."""

import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from nh.errors import StatsUnavailable
from nh.stats import (
    Segment,
    ShardState,
    ShardStats,
    ShardWriter,
    StatsReader,
    SupervisorStats,
    SupervisorWriter,
    attach_segment,
    create_segment,
)
from nh.stats.fields import Kind, Total, to_builtins
from nh.stats.layout import SHARD_TABLE, STATUS_TABLE, SUPERVISOR_TABLE


def all_different() -> ShardStats:
    stats = ShardStats()
    for value, field in enumerate(SHARD_TABLE, start=1):
        setattr(stats, field.name, value / 2 if field.unit == "s" else value)
    return stats


def test_every_field_of_a_shard_arrives(segment: Segment) -> None:
    stats = all_different()
    ShardWriter(segment, 1).publish(stats)
    reading = StatsReader(segment).read().shards[1]
    for field in SHARD_TABLE:
        assert getattr(reading, field.name) == getattr(stats, field.name), field.name
    assert reading.shard == 1


def test_a_state_that_only_another_version_knows_is_not_up(segment: Segment) -> None:
    stats = SupervisorStats()
    stats.shards[0].state = 7
    SupervisorWriter(segment).publish(stats)
    assert StatsReader(segment).read().shards[0].state is ShardState.STARTING


def test_every_field_of_the_supervisor_and_each_shards_state_arrive(segment: Segment) -> None:
    stats = SupervisorStats()
    for value, field in enumerate(SUPERVISOR_TABLE, start=1):
        number = value / 2 if field.unit == "s" else value
        setattr(stats, field.name, f"text {value}" if field.text_bytes else number)
    stats.shards[0].state = ShardState.UP
    stats.shards[2].state = ShardState.DOWN
    stats.shards[2].restarts += 1
    SupervisorWriter(segment).publish(stats)

    reading = StatsReader(segment).read()
    for field in SUPERVISOR_TABLE:
        assert getattr(reading.supervisor, field.name) == getattr(stats, field.name), field.name
    assert [shard.state for shard in reading.shards] == [ShardState.UP, ShardState.STARTING, ShardState.DOWN]
    assert [shard.restarts for shard in reading.shards] == [0, 0, 1]
    assert reading.totals.restarts == 1


def test_what_a_standby_follows_arrives_and_texts_are_cut_off_within_no_character(name: str) -> None:
    segment = create_segment(name, 1, groups=2)
    stats = SupervisorStats(standby=1)
    for number, group in enumerate(stats.groups[:3]):
        group.group, group.holder, group.fault = f"pair-{number}", f"host-{number}:/run/nh", "é" * 500
        group.ready, group.calls, group.lag_s = 1, number, number / 2
    stats.shards[0].restarts = 7
    SupervisorWriter(segment).publish(stats)
    reading = StatsReader(segment).read()
    expected = [dict(to_builtins(each), fault="é" * 120) for each in stats.groups[:2]]
    assert [to_builtins(each) for each in reading.supervisor.followed] == expected
    assert reading.shards[0].restarts == 7
    supervisor = reading.to_builtins()["supervisor"]
    assert isinstance(supervisor, dict)
    assert supervisor["standby_groups"] == expected
    SupervisorWriter(segment).publish(SupervisorStats())
    assert StatsReader(segment).read().supervisor.followed == []
    segment.unlink()
    segment.close()


def test_totals_follow_the_rule_of_each_field(segment: Segment) -> None:
    for shard, (calls, lag_s, started) in enumerate([(3, 0.5, 1000.0), (4, 0.25, 900.0)]):
        ShardWriter(segment, shard).publish(
            ShardStats(packets_in=10, calls=calls, loop_lag_s=lag_s, started=started, pid=77, cpu=shard)
        )
    totals = StatsReader(segment).read().totals  # shard 2 has not begun: it must not make `started` 0
    assert (totals.packets_in, totals.calls, totals.loop_lag_s, totals.started) == (20, 7, 0.5, 900.0)
    assert (totals.pid, totals.cpu) == (0, -1)


def test_a_successor_goes_on_with_the_counters_and_begins_with_empty_gauges(segment: Segment) -> None:
    left = all_different()
    ShardWriter(segment, 0).publish(left)
    resumed = ShardWriter(segment, 0).resume()
    for field in SHARD_TABLE:
        expected = getattr(left, field.name) if field.kind is Kind.COUNTER else field.zero
        assert getattr(resumed, field.name) == expected, field.name
    assert StatsReader(segment).read().shards[0].calls == 0


def test_a_shard_that_is_down_has_no_calls_but_keeps_its_counters(segment: Segment) -> None:
    ShardWriter(segment, 0).publish(ShardStats(packets_in=9, calls=5, heartbeat=time.monotonic()))
    stats = SupervisorStats()
    stats.shards[0].state = ShardState.DOWN
    SupervisorWriter(segment).publish(stats)
    reading = StatsReader(segment).read()
    assert (reading.totals.packets_in, reading.totals.calls) == (9, 0)
    assert reading.shards[0].heartbeat_age_s is None


def test_the_age_of_a_shard_grows_while_it_is_silent(segment: Segment) -> None:
    ShardWriter(segment, 0).publish(ShardStats(heartbeat=time.monotonic() - 60))
    ShardWriter(segment, 1).publish(ShardStats(heartbeat=time.monotonic()))
    reading = StatsReader(segment).read()
    oldest, newer, never = (shard.heartbeat_age_s for shard in reading.shards)
    assert oldest is not None
    assert newer is not None
    assert oldest >= 60 > newer >= 0
    assert never is None
    assert reading.totals.heartbeat_age_s == oldest


def test_a_reading_becomes_json_with_the_names_of_the_tables(segment: Segment) -> None:
    plain = msgspec.json.decode(msgspec.json.encode(StatsReader(segment).read().to_builtins()))
    names = {field.name for field in SHARD_TABLE}
    assert set(plain) == {"time", "version", "supervisor", "shards", "totals"}
    status = {field.name for field in STATUS_TABLE}
    assert set(plain["shards"][0]) == names | status | {"shard", "heartbeat_age_s", "histograms"}
    supervisor = {field.name for field in SUPERVISOR_TABLE}
    assert set(plain["supervisor"]) == supervisor | {"heartbeat_age_s", "standby_groups"}
    summed = {field.name for field in SHARD_TABLE if field.total is not Total.NONE}
    assert set(plain["totals"]) == summed | status - {"state"} | {"heartbeat_age_s", "histograms"}
    assert plain["shards"][2]["state"] == "starting"


def test_a_reader_keeps_the_last_good_values_of_a_damaged_block(segment: Segment) -> None:
    ShardWriter(segment, 0).publish(ShardStats(packets_in=5))
    reader = StatsReader(segment)
    reader.read()
    damage_all(segment)
    assert reader.read().totals.packets_in == 5
    with pytest.raises(StatsUnavailable, match="cannot be read"):
        StatsReader(segment).read()


def damage_all(segment: Segment) -> None:
    with Path("/dev/shm", segment.name).open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(64)
        file.write(b"\xa5" * (size - 64))


PUBLISHER = """
import sys
from nh.stats import ShardWriter, SupervisorStats, SupervisorWriter, attach_segment
from nh.stats.layout import SHARD_TABLE
segment = attach_segment(sys.argv[1])
writer = ShardWriter(segment, 0)
stats = writer.resume()
counters = [field.name for field in SHARD_TABLE if field.kind == "counter"]
print("publishing", flush=True)
value = stats.packets_in
while True:
    value += 1
    for name in counters:
        setattr(stats, name, value)
    writer.publish(stats)
"""


@contextmanager
def publisher(segment: Segment) -> Iterator[None]:
    """A process that publishes as fast as it can, all counters equal; killed at the end."""
    process = subprocess.Popen([sys.executable, "-c", PUBLISHER, segment.name], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"publishing\n"
        yield
        process.send_signal(signal.SIGKILL)


def counters(stats: ShardStats) -> set[float]:
    return {getattr(stats, field.name) for field in SHARD_TABLE if field.kind is Kind.COUNTER}


def test_half_an_update_is_never_seen(segment: Segment) -> None:
    reader = StatsReader(segment)
    last = 0
    with publisher(segment):
        for _ in range(2000):
            reading = reader.read().shards[0]
            assert len(counters(reading)) == 1
            assert reading.packets_in >= last
            last = reading.packets_in
    assert last > 0


def test_writers_killed_in_the_middle_leave_consistent_counters_to_their_successors(segment: Segment) -> None:
    reader = StatsReader(segment)
    last = 0
    for _ in range(4):
        with publisher(segment):
            while reader.read().shards[0].packets_in <= last:
                pass
        attached = attach_segment(segment.name)
        left = StatsReader(attached).read().shards[0]
        resumed = ShardWriter(attached, 0).resume()
        attached.close()
        assert len(counters(left)) == 1
        assert counters(resumed) == counters(left)
        assert resumed.packets_in > last
        last = resumed.packets_in


def test_a_reading_is_a_copy(segment: Segment) -> None:
    writer = ShardWriter(segment, 0)
    stats = writer.resume()
    before = StatsReader(segment).read()
    writer.publish(dataclasses.replace(stats, packets_in=100))
    assert before.totals.packets_in == before.shards[0].packets_in == 0
