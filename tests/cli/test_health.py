"""`nh health`: one line, and an exit status that scripts can rely on."""

import json
import socket
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nh.cli.main import app
from nh.stats import Segment, ShardState, SupervisorStats, SupervisorWriter


def health(directory: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["health", "--runtime-dir", str(directory), *words])


def publish(segment: Segment, **values: float) -> None:
    stats = SupervisorStats(heartbeat=time.monotonic(), serving=1)
    for status in stats.shards[:2]:
        status.state = ShardState.UP
    for name, value in values.items():
        setattr(stats, name, value)
    SupervisorWriter(segment).publish(stats)


def test_an_nh_that_does_not_run_is_not_well(tmp_path: Path) -> None:
    result = health(tmp_path)
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.startswith(f"nh does not run with runtime directory {tmp_path}")
    assert json.loads(health(tmp_path, "--json").stdout)["alive"] is False


@pytest.mark.parametrize(
    ("values", "why", "alive"),
    [
        ({"draining": 1}, "nh is draining: new calls are refused, 0 calls left", True),
        ({"serving": 0}, "nh is starting or ending", True),
        ({"heartbeat": 1.0}, "the supervisor hangs", False),
    ],
)
def test_an_nh_that_takes_no_calls_is_not_ready_and_may_be_alive(
    segment: Segment, tmp_path: Path, values: dict[str, float], why: str, alive: bool
) -> None:
    publish(segment, **values)
    result = health(tmp_path)
    assert result.exit_code == 1
    assert result.stdout.startswith(why)
    assert health(tmp_path, "--alive").exit_code == (0 if alive else 1)
    found = json.loads(health(tmp_path, "--json").stdout)
    assert (found["alive"], found["ready"], found["why"][: len(why)]) == (alive, False, why)


def test_an_nh_that_answers_no_ping_is_not_well(segment: Segment, tmp_path: Path) -> None:
    publish(segment)
    result = health(tmp_path, "--alive")
    assert result.exit_code == 1
    assert "nh.sock: no such socket" in result.stdout


def test_an_nh_that_hangs_is_told_with_the_time_that_it_had(
    segment: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(segment)
    monkeypatch.setattr("nh.cli.health.REPLY_S", 0.25)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "nh.sock"))
        silent.listen()
        result = health(tmp_path, "--alive")
    assert result.exit_code == 1
    assert result.stdout.startswith(
        "nh answers no ping within 0.25 s: the supervisor is overloaded or hangs;"
    )


def test_an_option_that_cannot_be_used_is_status_2(tmp_path: Path) -> None:
    assert health(tmp_path, "--rpc", "nonsense").exit_code == 2
