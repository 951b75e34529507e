"""nh.cli.move: what it says of the calls, by the statistics of this host's nh."""

from typing import Any

import pytest

from nh.cli import move
from nh.config import Settings
from nh.errors import Unavailable
from nh.stats.reading import StatsReading
from tests.cli.readings import make_reading

PID = 4711


def reading(**values: Any) -> StatsReading:
    made = make_reading()
    for name, value in ({"pid": PID} | values).items():
        setattr(made.supervisor, name, value)
    return made


def wait(monkeypatch: pytest.MonkeyPatch, *readings: StatsReading | None) -> None:
    """Wait until the standby has the calls; one look has each reading."""
    found = iter(readings)
    monkeypatch.setattr(move, "_read", lambda _settings: next(found))
    move._wait_until_given(Settings(), PID, "standby")


def test_the_standby_has_the_calls_when_the_relay_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    wait(monkeypatch, reading(serving=1, handing_over=1), reading(serving=0))


def test_calls_that_stay_here_are_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = reading(serving=1, handover_fault="the standby has not taken the calls")
    with pytest.raises(Unavailable, match="this host relays on: the standby has not taken the calls"):
        wait(monkeypatch, reading(serving=1, handing_over=1), kept)


def test_a_relay_that_was_killed_meanwhile_has_not_moved_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    started_anew = reading(pid=PID + 1, serving=0)
    with pytest.raises(Unavailable, match="was killed and started anew before it said whether standby has"):
        wait(monkeypatch, reading(serving=1, handing_over=1), started_anew)
