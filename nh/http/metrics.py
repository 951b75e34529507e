"""The statistics as Prometheus metrics, made when they are asked for. All names follow from nh.stats.layout.

A counter or gauge that is added to a table there is a metric without a change here. Its name gets the unit
that Prometheus wants (seconds, bytes); outcomes of commands and reasons of drops become labels.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from nh.http.refused import REFUSALS
from nh.stats import ShardState
from nh.stats.fields import FieldInfo, Kind
from nh.stats.histograms import Histogram, HistogramInfo
from nh.stats.layout import GROUP_TABLE, SHARD_TABLE, STATUS_TABLE, SUPERVISOR_TABLE, StandbyGroup
from nh.stats.reading import HISTOGRAMS, ShardReading, StatsReading

_OUTCOMES: Final = ("ok", "refused", "failed")

_NAMES: Final = {
    "packets_in": "received_packets",
    "bytes_in": "received_bytes",
    "packets_out": "sent_packets",
    "bytes_out": "sent_bytes",
    "cpu_s": "shard_cpu_seconds",
    "memory_bytes": "shard_memory_bytes",
    "started": "shard_start_time_seconds",
    "ports_total": "ports",  # _total is for counters
}
"""Metrics of shards whose names do not follow from the field's name."""

_SUPERVISOR_NAMES: Final = {
    "memory_bytes": "supervisor_memory_bytes",
    "started": "supervisor_start_time_seconds",
    "running_since": "start_time_seconds",
}

_GROUP_NAMES: Final = {
    "ready": "standby_group_ready",
    "calls": "standby_group_calls",
    "lag_s": "standby_group_lag_seconds",
}

_LEFT_OUT: Final = frozenset({"heartbeat", "drain_deadline", "state", "cpu"})
"""Monotonic clocks, which mean nothing outside this host, and what has a metric of another form."""


class _Family(NamedTuple):
    """A metric with its fields.

    Attributes:
        labels: the names of its labels, beside `shard`.
        fields: (values of these labels, field).
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    fields: list[tuple[tuple[str, ...], str]]


def _families(table: tuple[FieldInfo, ...], names: dict[str, str]) -> list[_Family]:
    families: dict[str, _Family] = {}
    for field in table:
        if field.name in _LEFT_OUT or field.unit in ("id", "text"):
            continue
        name, text = names.get(field.name, field.name), field.help
        labels: tuple[str, ...] = ()
        values: tuple[str, ...] = ()
        command, _, outcome = field.name.rpartition("_")
        if outcome in _OUTCOMES and field.unit == "commands":
            name, labels, values = "commands", ("command", "outcome"), (command, outcome)
            text = "commands executed, by command and outcome"
        elif field.label:
            name, labels, values = "dropped_packets", ("reason",), (field.name.removeprefix("drop_"),)
            text = "packets that were not passed on, by reason"
        elif name == field.name and field.unit == "s":
            name = f"{field.name.removesuffix('_s')}_seconds"
        family = families.setdefault(name, _Family(f"nh_{name}", field.kind, text, labels, []))
        family.fields.append((values, field.name))
    return list(families.values())


_SHARDS: Final = _families((*SHARD_TABLE, *STATUS_TABLE), _NAMES)
_SUPERVISOR: Final = _families(SUPERVISOR_TABLE, _SUPERVISOR_NAMES)
_GROUPS: Final = _families(GROUP_TABLE, _GROUP_NAMES)


def render(reading: StatsReading, accept: str, *, wrong_tokens: int = 0) -> tuple[bytes, str]:
    """The metrics in the format that a client accepts; returns the body and its content type.

    Args:
        reading: the statistics.
        accept: the Accept header, of any text: OpenMetrics if it has that, else Prometheus's text format.
        wrong_tokens: requests with a wrong token so far.
    """
    registry = CollectorRegistry()
    registry.register(_Reading(reading, wrong_tokens))
    try:
        encoder, content_type = choose_encoder(accept)
    except TypeError:  # it compares the version in the header with a number, whatever that is
        encoder, content_type = choose_encoder("")
    return encoder(registry), content_type


class _Reading(Collector):
    """One reading as a collector."""

    def __init__(self, reading: StatsReading, wrong_tokens: int) -> None:
        self._reading = reading
        self._wrong_tokens = wrong_tokens

    def describe(self) -> Iterator[Metric]:
        """No metric is registered beforehand."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        reading = self._reading
        yield InfoMetricFamily("nh_build", "the version of nh that runs", {"version": reading.version})
        yield GaugeMetricFamily("nh_shards", "number of shards", len(reading.shards))
        text = "requests over HTTP with a wrong token, since the HTTP process started"
        yield CounterMetricFamily("nh_http_wrong_tokens", text, self._wrong_tokens)
        yield _refused()
        for family in _SHARDS:
            metric = _metric(family, ("shard",))
            for shard in reading.shards:
                for labels, field in family.fields:
                    metric.add_metric([str(shard.shard), *labels], getattr(shard, field))
            yield metric
        for info in HISTOGRAMS:
            histogram = HistogramMetricFamily(_histogram_name(info), info.help, labels=["shard"])
            for shard in reading.shards:
                each: Histogram = getattr(shard, info.name)
                histogram.add_metric([str(shard.shard)], _buckets(each), each.sum)
            yield histogram
        for name, text, value in _SHARD_STATES:
            metric = GaugeMetricFamily(name, text, labels=["shard"])
            for shard in reading.shards:
                if (number := value(shard)) is not None:
                    metric.add_metric([str(shard.shard)], number)
            yield metric
        for family in _SUPERVISOR:
            metric = _metric(family, ())
            for labels, field in family.fields:
                metric.add_metric(list(labels), getattr(reading.supervisor, field))
            yield metric
        yield from _of_groups(reading.supervisor.followed)
        if reading.supervisor.heartbeat_age_s is not None:
            yield GaugeMetricFamily(
                "nh_supervisor_heartbeat_age_seconds",
                "seconds since the supervisor's last publication",
                reading.supervisor.heartbeat_age_s,
            )


def _of_groups(groups: Sequence[StandbyGroup]) -> Iterator[Metric]:
    for family in _GROUPS if groups else ():
        metric = _metric(family, ("group",))
        for group in groups:
            for _, field in family.fields:
                metric.add_metric([group.group], getattr(group, field))
        yield metric


def _histogram_name(info: HistogramInfo) -> str:
    suffix = {"s": "_seconds", "ratio": "_ratio"}.get(info.unit, "")
    return f"nh_{info.name.removesuffix('_s')}{suffix}"


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    ends = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
    return list(zip(ends, itertools.accumulate(histogram.counts), strict=True))


def _refused() -> CounterMetricFamily:
    text = "what limits of the HTTP process refused, since it started"
    metric = CounterMetricFamily("nh_http_refused", text, labels=["limit"])
    for limit, number in REFUSALS.counts.items():
        metric.add_metric([limit], number)
    return metric


def _metric(family: _Family, labels: tuple[str, ...]) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    return kind(family.name, family.help, labels=[*labels, *family.labels])


_SHARD_STATES: Final[tuple[tuple[str, str, Callable[[ShardReading], float | None]], ...]] = (
    ("nh_shard_up", "1 if the shard is up, otherwise 0", lambda shard: float(shard.state is ShardState.UP)),
    (
        "nh_shard_heartbeat_age_seconds",
        "seconds since the shard's last publication",
        lambda shard: shard.heartbeat_age_s,
    ),
)
