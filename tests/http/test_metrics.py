"""nh.http.metrics: every statistic is a metric, by Prometheus's conventions."""

import re
from collections.abc import Iterator

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from nh.http.metrics import render
from nh.stats import Segment, ShardStats, ShardWriter, StatsReader, SupervisorStats, SupervisorWriter
from nh.stats.fields import FieldInfo, Kind
from nh.stats.layout import SHARD_TABLE, STATUS_TABLE, SUPERVISOR_TABLE, StandbyGroup
from nh.stats.reading import StatsReading

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

NO_METRIC = {"pid", "cpu", "heartbeat", "drain_deadline", "state"}
"""Ids and monotonic clocks; heartbeat and state have metrics of another form."""


@pytest.fixture
def numbered(segment: Segment) -> StatsReading:
    """A reading in which each statistic has a value of its own."""
    for shard in range(2):
        stats = ShardStats()
        for number, field in enumerate(SHARD_TABLE):
            setattr(stats, field.name, 1000 * (shard + 1) + number)
        ShardWriter(segment, shard).publish(stats)
    supervisor = SupervisorStats()
    for number, field in enumerate(SUPERVISOR_TABLE):
        if not field.text_bytes:
            setattr(supervisor, field.name, 3000 + number)
    for number, field in enumerate(STATUS_TABLE):
        for shard in range(2):
            setattr(supervisor.shards[shard], field.name, 4000 + 100 * shard + number)
        supervisor.shards[0].state = supervisor.shards[1].state = 1
    SupervisorWriter(segment).publish(supervisor)
    return StatsReader(segment).read()


def families(reading: StatsReading, accept: str = "") -> list[Metric]:
    body, content_type = render(reading, accept)
    read = read_openmetrics if content_type.startswith("application/openmetrics-text") else read_text
    return list(read(body.decode()))


def values(metrics: list[Metric]) -> Iterator[float]:
    for metric in metrics:
        yield from (sample.value for sample in metric.samples)


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_every_statistic_of_every_shard_is_a_metric(numbered: StatsReading, accept: str) -> None:
    shown = set(values(families(numbered, accept)))
    for shard in numbered.shards:
        for field in (*SHARD_TABLE, *STATUS_TABLE):
            if field.name not in NO_METRIC:
                assert getattr(shard, field.name) in shown, field.name
    for field in SUPERVISOR_TABLE:
        if field.name not in NO_METRIC and not field.text_bytes:
            assert getattr(numbered.supervisor, field.name) in shown, field.name


@pytest.mark.parametrize("version", ["x", "1.x", "1..", "²", "9" * 5000])
@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
def test_a_client_that_asks_for_no_version_of_a_format_gets_the_text(
    numbered: StatsReading, kind: str, version: str
) -> None:
    assert render(numbered, f"{kind};version={version}") == render(numbered, "")


def test_names_types_and_units_are_those_of_prometheus(numbered: StatsReading) -> None:
    for metric in families(numbered):
        assert re.fullmatch(r"nh(_[a-z0-9]+)+", metric.name)
        assert metric.documentation
        assert not re.search(r"_(s|ms)$", metric.name), "a unit has its full name"
        for sample in metric.samples:
            assert (metric.type == "counter") == sample.name.endswith("_total")
    names = {metric.name for metric in families(numbered)}
    assert {
        "nh_command_seconds",
        "nh_loop_late_seconds",
        "nh_stream_jitter_seconds",
        "nh_stream_mos",
    } <= names
    kinds = {metric.name: metric.type for metric in families(numbered)}
    assert kinds["nh_received_bytes"] == "counter"
    assert kinds["nh_shard_cpu_seconds"] == "counter"
    assert kinds["nh_loop_lag_seconds"] == "gauge"
    assert kinds["nh_calls"] == "gauge"


def test_help_is_that_of_the_statistic(numbered: StatsReading) -> None:
    texts = {metric.name: metric.documentation for metric in families(numbered)}
    fields: dict[str, FieldInfo] = {field.name: field for field in SHARD_TABLE}
    assert texts["nh_calls"] == fields["calls"].help
    assert texts["nh_received_packets"] == fields["packets_in"].help


def test_commands_and_drops_have_labels(numbered: StatsReading) -> None:
    samples = [sample for metric in families(numbered) for sample in metric.samples]
    offered = {"shard": "1", "command": "offer", "outcome": "refused"}
    [refused] = [each for each in samples if each.name == "nh_commands_total" and each.labels == offered]
    assert refused.value == numbered.shards[1].offer_refused
    dropped = {"shard": "0", "reason": "source_mismatch"}
    [drop] = [each for each in samples if each.name == "nh_dropped_packets_total" and each.labels == dropped]
    assert drop.value == numbered.shards[0].drop_source_mismatch


def test_histograms_are_cumulative_with_sum_and_count(segment: Segment) -> None:
    stats = ShardStats()
    for value in (0.0, 0.03, 0.03, 0.9):
        stats.stream_loss.observe(value)
    ShardWriter(segment, 1).publish(stats)
    [metric] = [each for each in families(StatsReader(segment).read()) if each.name == "nh_stream_loss_ratio"]
    of_shard = [sample for sample in metric.samples if sample.labels["shard"] == "1"]
    buckets = {each.labels["le"]: each.value for each in of_shard if each.name.endswith("_bucket")}
    assert (buckets["0"], buckets["0.02"], buckets["0.05"], buckets["+Inf"]) == (1, 1, 3, 4)
    rest = {each.name: each.value for each in of_shard if not each.name.endswith("_bucket")}
    assert rest["nh_stream_loss_ratio_count"] == 4
    assert rest["nh_stream_loss_ratio_sum"] == pytest.approx(0.96)


def test_the_version_and_the_state_of_shards_are_metrics(numbered: StatsReading) -> None:
    samples = {
        (each.name, *each.labels.values()): each.value
        for metric in families(numbered)
        for each in metric.samples
    }
    assert samples["nh_build_info", numbered.version] == 1
    assert samples["nh_shards",] == 2
    assert samples["nh_shard_up", "0"] == samples["nh_shard_up", "1"] == 1


def test_counters_and_gauges_are_never_mixed_in_one_metric() -> None:
    kinds = {field.name: field.kind for field in (*SHARD_TABLE, *STATUS_TABLE)}
    assert {kind for name, kind in kinds.items() if name.startswith(("drop_", "offer_"))} == {Kind.COUNTER}


def test_a_standby_has_metrics_of_each_group_that_it_follows(numbered: StatsReading) -> None:
    assert not any("standby_group" in metric.name for metric in families(numbered))
    numbered.supervisor.groups[:] = [
        StandbyGroup(group="pair-1", ready=1, calls=5, lag_s=0.5),
        StandbyGroup(group="pair-2", calls=7, fault="no key"),
    ]
    found = {
        (sample.name.removeprefix("nh_standby_group_"), sample.labels["group"]): sample.value
        for metric in families(numbered)
        for sample in metric.samples
        if "standby_group" in sample.name
    }
    assert found == {
        ("ready", "pair-1"): 1,
        ("calls", "pair-1"): 5,
        ("lag_seconds", "pair-1"): 0.5,
        ("ready", "pair-2"): 0,
        ("calls", "pair-2"): 7,
        ("lag_seconds", "pair-2"): 0,
    }
