"""Grafana's dashboard of nh, made of short rows: a panel is a title, a unit and its queries."""

from typing import Any, Final, NamedTuple

WIDTH: Final = 24
"""Columns of Grafana's grid."""

HEIGHT: Final = 8

SELECTED: Final = 'job="$job", instance=~"$instance"'


class Query(NamedTuple):
    """A query.

    Attributes:
        expression: in PromQL.
        legend: what its series are called.
    """

    expression: str
    legend: str


class Panel(NamedTuple):
    """A panel.

    Attributes:
        title: above it.
        unit: Grafana's name of the unit.
        width: columns.
        queries: what it shows.
        kind: Grafana's name of the kind.
        stacked: whether series are on top of each other.
    """

    title: str
    unit: str
    width: int
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    stacked: bool = False


def _rate(metric: str, by: str = "instance") -> str:
    return f"sum by ({by}) (rate({metric}{{{SELECTED}}}[$__rate_interval]))"


def _sum(metric: str) -> str:
    return f"sum by (instance) ({metric}{{{SELECTED}}})"


def _quantile(quantile: float, metric: str) -> str:
    return f"histogram_quantile({quantile}, {_rate(f'{metric}_bucket', 'instance, le')})"


def _average(metric: str) -> str:
    return f"{_rate(f'{metric}_sum')} / {_rate(f'{metric}_count')}"


PANELS: Final = (
    Panel("Calls", "short", 4, (Query(f"sum(nh_calls{{{SELECTED}}})", "calls"),), "stat"),
    Panel("Shards up", "short", 4, (Query(f"sum(nh_shard_up{{{SELECTED}}})", "up"),), "stat"),
    Panel("Shards", "short", 4, (Query(f"sum(nh_shards{{{SELECTED}}})", "shards"),), "stat"),
    Panel(
        "Ports free",
        "percentunit",
        4,
        (Query(f"sum(nh_ports_free{{{SELECTED}}}) / sum(nh_ports{{{SELECTED}}})", "free"),),
        "stat",
    ),
    Panel("Draining", "short", 4, (Query(f"sum(nh_draining{{{SELECTED}}})", "relays"),), "stat"),
    Panel(
        "Up for",
        "s",
        4,
        (Query(f"time() - min(nh_start_time_seconds{{{SELECTED}}})", "oldest start"),),
        "stat",
    ),
    Panel("Calls", "short", 12, (Query(_sum("nh_calls"), "{{instance}}"),)),
    Panel(
        "Packets a second, by path",
        "pps",
        12,
        (
            Query(_rate("nh_kernel_packets_total"), "{{instance}} kernel"),
            Query(
                f"{_rate('nh_received_packets_total')} - {_rate('nh_kernel_packets_total')}",
                "{{instance}} user space",
            ),
        ),
        stacked=True,
    ),
    Panel(
        "Dropped packets a second, by reason",
        "pps",
        12,
        (Query(_rate("nh_dropped_packets_total", "instance, reason"), "{{instance}} {{reason}}"),),
    ),
    Panel(
        "Bits a second",
        "bps",
        12,
        (
            Query(f"8 * {_rate('nh_received_bytes_total')}", "{{instance}} in"),
            Query(f"8 * {_rate('nh_sent_bytes_total')}", "{{instance}} out"),
        ),
    ),
    Panel(
        "Commands a second",
        "ops",
        12,
        (Query(_rate("nh_commands_total", "command, outcome"), "{{command}} {{outcome}}"),),
    ),
    Panel(
        "Commands without an answer",
        "ops",
        12,
        (
            Query(_rate("nh_rpc_timeouts_total"), "{{instance}} late"),
            Query(_rate("nh_rpc_unroutable_total"), "{{instance}} shard down"),
            Query(_rate("nh_rpc_malformed_total"), "{{instance}} malformed"),
        ),
    ),
    Panel(
        "Time of a command: median and 99 %",
        "s",
        12,
        (
            Query(_quantile(0.5, "nh_command_seconds"), "{{instance}} median"),
            Query(_quantile(0.99, "nh_command_seconds"), "{{instance}} 99 %"),
        ),
    ),
    Panel(
        "MOS of streams that ended: average and worst tenth",
        "short",
        12,
        (
            Query(_average("nh_stream_mos"), "{{instance}} average"),
            Query(_quantile(0.1, "nh_stream_mos"), "{{instance}} 10 %"),
        ),
    ),
    Panel(
        "Loss of streams that ended: average and worst tenth",
        "percentunit",
        12,
        (
            Query(_average("nh_stream_loss_ratio"), "{{instance}} average"),
            Query(_quantile(0.9, "nh_stream_loss_ratio"), "{{instance}} 90 %"),
        ),
    ),
    Panel(
        "Jitter of streams that ended: average and worst tenth",
        "s",
        12,
        (
            Query(_average("nh_stream_jitter_seconds"), "{{instance}} average"),
            Query(_quantile(0.9, "nh_stream_jitter_seconds"), "{{instance}} 90 %"),
        ),
    ),
    Panel(
        "CPU of each shard",
        "percentunit",
        12,
        (Query(_rate("nh_shard_cpu_seconds_total", "instance, shard"), "{{instance}} {{shard}}"),),
    ),
    Panel(
        "Event loop late by",
        "s",
        12,
        (Query(f"nh_loop_lag_seconds{{{SELECTED}}}", "{{instance}} {{shard}}"),),
    ),
    Panel(
        "Memory",
        "bytes",
        12,
        (
            Query(f"nh_shard_memory_bytes{{{SELECTED}}}", "{{instance}} {{shard}}"),
            Query(f"nh_supervisor_memory_bytes{{{SELECTED}}}", "{{instance}} supervisor"),
        ),
    ),
    Panel(
        "Sessions that expired, a second",
        "ops",
        12,
        (
            Query(_rate("nh_expired_silent_total"), "{{instance}} silent"),
            Query(_rate("nh_expired_hold_total"), "{{instance}} on hold"),
            Query(_rate("nh_expired_unused_total"), "{{instance}} unused"),
        ),
    ),
    Panel(
        "Restarts and lost calls in an hour",
        "short",
        12,
        (
            Query(f"increase(nh_restarts_total{{{SELECTED}}}[1h])", "{{instance}} {{shard}} restarts"),
            Query(f"increase(nh_hangs_total{{{SELECTED}}}[1h])", "{{instance}} {{shard}} hangs"),
            Query(f"increase(nh_calls_lost_total{{{SELECTED}}}[1h])", "{{instance}} {{shard}} calls lost"),
        ),
    ),
    Panel(
        "Store",
        "short",
        12,
        (
            Query(f"nh_store_pending{{{SELECTED}}}", "{{instance}} changes to write"),
            Query(_rate("nh_store_errors_total"), "{{instance}} errors a second"),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """The dashboard in Grafana's JSON."""
    return {
        "title": "nh",
        "uid": "nh-relay",
        "tags": ["rtp", "nh"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_datasource(), *_variables()]},
        "panels": list(_placed()),
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _variables() -> list[dict[str, Any]]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    job = {
        "name": "job",
        "label": "Job",
        "type": "query",
        "datasource": source,
        "query": "label_values(nh_build_info, job)",
        "refresh": 2,
    }
    instance = {
        "name": "instance",
        "label": "Relay",
        "type": "query",
        "datasource": source,
        "query": 'label_values(nh_build_info{job="$job"}, instance)',
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
    return [job, instance]


def _placed() -> list[dict[str, Any]]:
    placed: list[dict[str, Any]] = []
    column = row = 0
    for number, panel in enumerate(PANELS, 1):
        height = HEIGHT // 2 if panel.kind == "stat" else HEIGHT
        if column + panel.width > WIDTH:
            column, row = 0, row + placed[-1]["gridPos"]["h"]
        placed.append(
            _panel(panel, number) | {"gridPos": {"x": column, "y": row, "w": panel.width, "h": height}}
        )
        column += panel.width
    return placed


def _panel(panel: Panel, number: int) -> dict[str, Any]:
    custom = {"fillOpacity": 30, "stacking": {"mode": "normal"}} if panel.stacked else {}
    return {
        "id": number,
        "title": panel.title,
        "type": panel.kind,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": query.expression, "legendFormat": query.legend}
            for at, query in enumerate(panel.queries)
        ],
    }
