"""nh.cli.move: what it says of the calls, by the statistics of this host's nh."""

import contextlib
import json
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from nh.cli import move
from nh.cli.main import app
from nh.config import Settings
from nh.errors import Unavailable
from nh.results import Demoting
from nh.stats.reading import StatsReading
from tests.cli.readings import make_reading

PID = 4711


def reading(**values: Any) -> StatsReading:
    made = make_reading()
    for name, value in ({"pid": PID} | values).items():
        setattr(made.supervisor, name, value)
    return made


def wait(monkeypatch: pytest.MonkeyPatch, *readings: StatsReading | None) -> str:
    """Wait until the standby has the calls; one look has each reading."""
    found = iter(readings)
    monkeypatch.setattr(move, "_read", lambda _settings: next(found))
    return move._wait_until_given(Settings(), PID, "standby")


def test_the_standby_has_the_calls_when_the_relay_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not wait(monkeypatch, reading(serving=1, handing_over=1), reading(serving=0))


@pytest.mark.parametrize("as_json", [False, True])
def test_calls_that_were_not_saved_are_named_and_the_status_tells(
    monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    client = contextlib.nullcontext(SimpleNamespace(request=lambda _: Demoting("standby", 2)))
    monkeypatch.setattr(move, "connect_to", lambda *_, **__: client)
    monkeypatch.setattr("nh.stats.read_once", lambda _: reading(serving=1))
    given = reading(serving=0, handover_unsaved="call-7")
    found = iter((given, reading(serving=0, standby=1)))
    monkeypatch.setattr(move, "_read", lambda _settings: next(found))
    result = CliRunner().invoke(app, ["move", *(["--json"] if as_json else [])])
    assert result.exit_code == 3
    if as_json:
        assert json.loads(result.stdout)["unsaved"] == "call-7"
    else:
        assert "to standby; nh on this host is a standby now" in result.stdout
        assert "standby has these calls as they were saved before, or not at all" in result.stderr
        assert result.stderr.endswith(": call-7\n")


def test_calls_that_stay_here_are_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = reading(serving=1, handover_fault="the standby has not taken the calls")
    with pytest.raises(Unavailable, match="this host relays on: the standby has not taken the calls"):
        wait(monkeypatch, reading(serving=1, handing_over=1), kept)


def test_ctrl_c_leaves_the_move_to_nh_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    client = contextlib.nullcontext(SimpleNamespace(request=lambda _: Demoting("standby", 0)))
    monkeypatch.setattr(move, "connect_to", lambda *_, **__: client)
    monkeypatch.setattr("nh.stats.read_once", lambda _: reading(serving=1))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(move, "_wait_until_given", interrupted)
    result = CliRunner().invoke(app, ["move"])
    assert result.exit_code == 130
    assert result.stderr.endswith(
        "the move goes on, and `nh health` on both hosts says where the calls are\n"
    )


def test_a_relay_that_was_killed_meanwhile_has_not_moved_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    started_anew = reading(pid=PID + 1, serving=0)
    with pytest.raises(Unavailable, match="was killed and started anew before it said whether standby has"):
        wait(monkeypatch, reading(serving=1, handing_over=1), started_anew)
