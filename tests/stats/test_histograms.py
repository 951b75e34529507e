"""Histograms: what they count, and that it outlives processes, shared memory and handovers."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.stats import Segment, ShardStats, ShardWriter, StatsReader, SupervisorStats, SupervisorWriter
from nh.stats.fields import add_counters, read_counters
from nh.stats.histograms import Histogram
from nh.stats.layout import SHARD_HISTOGRAMS, SHARD_TABLE, STATUS_HISTOGRAMS, STATUS_TABLE, ShardStatus
from nh.stats.reading import HISTOGRAMS

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "statistics.md").read_text()


def test_a_value_is_in_the_first_range_that_has_it() -> None:
    histogram = Histogram((1.0, 2.0, 5.0))
    for value in (0.5, 1.0, 1.5, 5.0, 5.1, 100.0):
        histogram.observe(value)
    assert histogram.counts == [2, 1, 1, 2]
    assert histogram.sum == pytest.approx(113.1)


@given(values=st.lists(st.floats(0, 10), max_size=50))
def test_no_value_is_lost(values: list[float]) -> None:
    histogram = Histogram((0.001, 0.1, 1.0))
    for value in values:
        histogram.observe(value)
    assert sum(histogram.counts) == len(values)
    assert histogram.sum == pytest.approx(math.fsum(values))
    for bound, count in zip(histogram.bounds, (1, 2, 3), strict=True):
        assert sum(histogram.counts[:count]) == len([value for value in values if value <= bound])


@pytest.mark.parametrize("info", HISTOGRAMS, ids=lambda info: info.name)
def test_bounds_ascend(info: object) -> None:
    bounds = info.bounds  # type: ignore[attr-defined]
    assert list(bounds) == sorted(set(bounds))


def test_what_a_shard_and_the_supervisor_counted_is_read_with_its_totals(segment: Segment) -> None:
    for shard in range(2):
        stats = ShardStats()
        stats.stream_loss.observe(0.03)
        stats.stream_mos.observe(4.0 + shard / 10)
        ShardWriter(segment, shard).publish(stats)
    supervisor = SupervisorStats()
    supervisor.shards[1].command_s.observe(0.004)
    SupervisorWriter(segment).publish(supervisor)
    reading = StatsReader(segment).read()
    assert reading.totals.stream_mos.sum == pytest.approx(8.1)
    assert sum(reading.totals.stream_loss.counts) == 2
    assert [sum(shard.command_s.counts) for shard in reading.shards[:2]] == [0, 1]
    plain = reading.to_builtins()
    assert plain["totals"]["histograms"]["command_s"]["sum"] == pytest.approx(0.004)  # type: ignore[index]


def test_the_next_process_of_a_shard_counts_on(segment: Segment) -> None:
    stats = ShardStats()
    stats.loop_late_s.observe(0.5)
    ShardWriter(segment, 0).publish(stats)
    resumed = ShardWriter(segment, 0).resume()
    resumed.loop_late_s.observe(0.0001)
    assert (resumed.loop_late_s.counts[0], resumed.loop_late_s.counts[-1]) == (1, 1)
    assert sum(resumed.loop_late_s.counts) == 2
    assert sum(stats.loop_late_s.counts) == 1


def test_a_handover_adds_them_and_ignores_what_it_does_not_know() -> None:
    old, new = ShardStats(packets_in=3), ShardStats()
    old.stream_jitter_s.observe(0.003)
    new.stream_jitter_s.observe(0.003)
    flat = read_counters(old, SHARD_TABLE)
    add_counters(new, SHARD_TABLE, flat | {"stream_jitter_s:7": 5, "unknown:sum": 1.0, "stream_loss:0": -1})
    assert new.packets_in == 3
    assert sum(new.stream_jitter_s.counts) == 2
    assert new.stream_jitter_s.sum == pytest.approx(0.006)
    assert sum(new.stream_loss.counts) == 0


def test_the_supervisors_counts_are_handed_over_too() -> None:
    old, new = ShardStatus(), ShardStatus()
    old.command_s.observe(3.0)
    add_counters(new, STATUS_TABLE, read_counters(old, STATUS_TABLE))
    assert new.command_s.counts == old.command_s.counts
    assert new.command_s.sum == 3.0


def test_the_page_has_every_histogram() -> None:
    for info in (*SHARD_HISTOGRAMS, *STATUS_HISTOGRAMS):
        assert (
            f"| `{info.name}` | {info.help} ({info.unit}): {', '.join(f'{b:g}' for b in info.bounds)} |"
            in PAGE
        )
