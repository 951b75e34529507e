"""The dashboard and the alerts name only metrics and labels that nh has, and are what Prometheus reads."""

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from nh.http.metrics import render
from nh.stats import (
    ShardStats,
    ShardWriter,
    StatsReader,
    SupervisorStats,
    SupervisorWriter,
    own_segment,
    segment_name,
)
from tools.monitoring.__main__ import PATH, text

ALERTS = PATH.with_name("nh-alerts.yml")
OF_PROMETHEUS = {"job", "instance"}
RELAY = 'instance="a", job="nh"'


@pytest.fixture
def exposed(tmp_path: Path) -> str:
    """What a relay that is a standby, too, says at /metrics."""
    stats = SupervisorStats(heartbeat=1.0, standby=1)
    stats.groups[0].group = "pair-1"
    with own_segment(segment_name(tmp_path), 2, 1) as segment:
        for shard in range(2):
            ShardWriter(segment, shard).publish(ShardStats(heartbeat=1.0, pid=1))
        SupervisorWriter(segment).publish(stats)
        return render(StatsReader(segment).read(), "")[0].decode()


@pytest.fixture
def labels(exposed: str) -> dict[str, set[str]]:
    """The labels of each metric."""
    return {
        sample.name: {*sample.labels}
        for family in text_string_to_metric_families(exposed)
        for sample in family.samples
    }


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(PATH.read_text())["panels"]
    return found


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in alerts())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])


def test_every_metric_that_they_name_exists(labels: dict[str, set[str]]) -> None:
    named = {name for expression in expressions() for name in re.findall(r"\bnh_\w+", expression)}
    assert named <= set(labels)
    assert len(named) > 20


def test_every_label_that_they_select_or_sum_by_exists(labels: dict[str, set[str]]) -> None:
    for expression in expressions():
        known = OF_PROMETHEUS.union(*(labels[name] for name in re.findall(r"\bnh_\w+", expression)))
        selected = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', expression))
        for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
            selected |= set(grouped.replace(" ", "").split(","))
        assert selected <= known, expression


def test_alerts_say_what_is_wrong_and_how_bad_it_is() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"]["summary"]
    assert len({rule["alert"] for rule in alerts()}) == len(alerts())


def test_the_dashboard_is_what_its_source_makes() -> None:
    assert PATH.read_text() == text(), "run python -m tools.monitoring"


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells


def promtool(*words: str, given: str = "") -> str:
    done = subprocess.run(["promtool", *words], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.promtool
def test_prometheus_reads_the_alerts_and_the_queries(tmp_path: Path) -> None:
    promtool("check", "rules", str(ALERTS))
    queries = [
        {"record": f"query:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions())
    ]
    rules = tmp_path / "queries.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": queries}]}))
    promtool("check", "rules", str(rules))


@pytest.mark.promtool
def test_prometheus_finds_no_fault_in_the_metrics(exposed: str) -> None:
    assert promtool("check", "metrics", given=exposed) == ""


def check_alerts(directory: Path, series: dict[str, str], expected: dict[str, Any]) -> None:
    """Check what promtool is to expect of the alerts, given the values of each minute."""
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        **expected,
    }
    path = directory / "test.yml"
    path.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": [test]}))
    promtool("test", "rules", str(path))


def check_firing(directory: Path, series: dict[str, str], firing: Sequence[str]) -> None:
    """Check that of all alerts these fire after a quarter of an hour, given the values of each minute."""
    expected = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": "15m",
        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in firing],
    }
    check_alerts(directory, series, {"promql_expr_test": [expected]})


@pytest.mark.promtool
def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    series = {
        f'nh_shard_up{{shard="0", {RELAY}}}': "1 0x19",
        f'nh_ports_free{{shard="0", {RELAY}}}': "9x20",
        f'nh_ports{{shard="0", {RELAY}}}': "100x20",
        f'nh_restarts_total{{shard="0", {RELAY}}}': "0+1x20",
        f'nh_loop_lag_seconds{{shard="0", {RELAY}}}': "0.001x20",
        f'nh_at_limit{{shard="0", {RELAY}}}': "1x20",
        f'nh_standby_group_ready{{group="pair-1", {RELAY}}}': "1 0x19",
        f"nh_hooks_failed_total{{{RELAY}}}": "0 1x19",
    }
    firing = (
        *("NhShardDown", "NhPortsShort", "NhShardRestarts", "NhAtLimit"),
        *("NhStandbyNotReady", "NhHooksFail"),
    )
    check_firing(tmp_path, series, firing)


@pytest.mark.promtool
@pytest.mark.parametrize("rises", ["failed", "lost", "refused"])
def test_a_proxy_that_is_not_told_of_a_timeout_is_an_alert_for_whatever_reason(
    tmp_path: Path, rises: str
) -> None:
    series = {
        f"nh_timeouts_{why}_total{{{RELAY}}}": "0 3x19" if why == rises else "0x20"
        for why in ("failed", "lost", "refused")
    }
    check_firing(tmp_path, series, ["NhTimeoutsUnreported"])


@pytest.mark.promtool
def test_a_hook_that_failed_is_named_with_its_relay_and_what_may_be_wrong(tmp_path: Path) -> None:
    alert = {
        "exp_labels": {"severity": "critical", "instance": "a", "job": "nh"},
        "exp_annotations": {
            "summary": "on_promote of a failed",
            "description": "The address may not be where the calls are. nh's log has what it printed.",
        },
    }
    series = {f"nh_hooks_failed_total{{{RELAY}}}": "0 1x19"}
    fires = {"eval_time": "5m", "alertname": "NhHooksFail", "exp_alerts": [alert]}
    check_alerts(tmp_path, series, {"alert_rule_test": [fires]})
