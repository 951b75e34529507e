"""Hooks: their output is logged, their failure counted, and nothing waits for them."""

import errno
import re
import shlex
import sys
from pathlib import Path

import psutil
import pytest

from nh.loop import SelectorLoop
from nh.stats.layout import SupervisorStats
from nh.supervisor.standby.hooks import MAX_LINES, Hook


def run(*words: str) -> SupervisorStats:
    """Run a hook to its end."""
    loop, stats = SelectorLoop(), SupervisorStats()
    Hook(loop, "on_promote", shlex.join(words), "pair", stats=stats, then=loop.stop)
    loop.run()
    loop.close()
    return stats


def test_a_hook_gets_its_words_without_a_shell_and_its_output_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    program = "import os, sys; print(sys.argv[1:], os.environ['NH_GROUP'], os.environ['NH_EVENT'], end='')"
    assert run(sys.executable, "-c", program, "$HOME", "a;b").hooks_failed == 0
    assert "says: ['$HOME', 'a;b'] pair on_promote" in caplog.text


def test_a_hook_is_given_up_after_its_time_with_its_children(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nh.supervisor.standby.hooks.HOOK_S", 0.3)
    assert run("sh", "-c", "sleep 60; echo late").hooks_failed == 1
    assert "took more than 0.3 s and was killed" in caplog.text


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("/nowhere/hook",), "cannot be started: No such file"),
        (("sh", "-c", "exit 3"), "failed: exit status 3"),
        (("sh", "-c", "kill -9 $$"), "failed: signal 9"),
    ],
)
def test_a_hook_that_fails_is_counted_and_logged(
    command: tuple[str, ...], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(*command).hooks_failed == 1
    assert why in caplog.text


def test_a_hook_that_says_much_or_leaves_a_child_delays_nothing(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("INFO")
    stop = tmp_path / "stop"
    script = f"seq 100000; (while [ ! -e {stop} ]; do sleep 0.05; done) & printf 'a\\033[31m'"
    try:
        assert run("sh", "-c", script).hooks_failed == 0
    finally:
        stop.touch()
    assert caplog.text.count("says:") <= MAX_LINES
    assert "\033" not in caplog.text


def test_a_hook_is_waited_for_where_no_descriptor_is_left_to_watch_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_pid: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("os.pidfd_open", refused)
    caplog.set_level("INFO")
    assert run("sh", "-c", "sleep 0.2; echo moved; exit 3").hooks_failed == 1
    assert "is watched by polling: Too many open files" in caplog.text
    assert "says: moved" in caplog.text
    assert "failed: exit status 3" in caplog.text
    monkeypatch.setattr("nh.supervisor.standby.hooks.HOOK_S", 0.3)
    assert run("sleep", "60").hooks_failed == 1
    assert "was killed" in caplog.text


def test_no_hook_is_over_at_once() -> None:
    assert run().hooks_failed == 0


def test_a_hook_that_cannot_be_killed_is_waited_for_no_longer(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(_pid: int, _signal: int) -> None:
        raise PermissionError

    stop = tmp_path / "stop"
    loop, stats, over = SelectorLoop(), SupervisorStats(), list[str]()
    with monkeypatch.context() as patch:
        patch.setattr("nh.supervisor.standby.hooks.HOOK_S", 0.1)
        patch.setattr("nh.supervisor.standby.hooks.KILLED_S", 0.1)
        patch.setattr("os.killpg", refused)
        command = shlex.join(("sh", "-c", f"while [ ! -e {stop} ]; do sleep 0.02; done"))
        Hook(loop, "on_demote", command, "pair", stats=stats, then=lambda: over.append("over"))
        while not over:
            loop.turn()
    (pid,) = re.findall(r"cannot be killed \(pid (\d+)\)", caplog.text)
    stop.touch()
    while psutil.pid_exists(int(pid)):
        loop.turn(0.05)
    assert over == ["over"]
    assert stats.hooks_failed == 1
    loop.close()
