"""nh.start_again: which starts that fail are tried again, and for how long."""

import os
import sys
import time

import pytest

from nh.start_again import HANDOVER_FD, TRIES_S, TRY_UNTIL, start_again

FAILURE = ImportError("no module")


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is executed in place of this process."""
    found: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _path, argv: found.append(argv))
    monkeypatch.setattr(time, "sleep", lambda _s: None)
    monkeypatch.setattr(os, "environ", {HANDOVER_FD: "3"})
    return found


def test_a_start_behind_a_handover_is_tried_again_until_its_time_is_over(
    executed: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    start_again(FAILURE)
    until = float(os.environ[TRY_UNTIL])
    assert began + TRIES_S <= until <= time.monotonic() + TRIES_S
    start_again(FAILURE)
    assert executed == 2 * [[sys.executable, *sys.orig_argv[1:]]]
    assert float(os.environ[TRY_UNTIL]) == until, "all tries have one end"
    assert capsys.readouterr().err == 2 * "nh cannot start: no module; trying again\n"
    monkeypatch.setattr(time, "monotonic", lambda: until)
    start_again(FAILURE)
    assert len(executed) == 2


def test_no_other_start_is_tried_again(executed: list[list[str]]) -> None:
    del os.environ[HANDOVER_FD]
    start_again(FAILURE)
    assert not executed
