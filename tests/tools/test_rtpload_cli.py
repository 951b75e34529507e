"""The command line: reports, files, exit statuses and Ctrl-C."""

import builtins
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from rich.console import Console
from typer.testing import CliRunner

from tools.harness.program import Program
from tools.harness.relay import Relay, running_relay
from tools.harness.waiting import eventually
from tools.rtpload.cli import app, run
from tools.rtpload.coordinator import session
from tools.rtpload.options import LoadOptions
from tools.rtpload.report.capacity import Limit, Step

RTPLOAD = [sys.executable, "-m", "tools.rtpload"]
PATIENCE = ["--timeout-s", "20", "--drain-s", "20"]
"""On a busy host a relay takes its time for a command, and for the last packets of a call."""

INTERRUPTED = 130
END_S = 40.0


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    with running_relay() as running:
        yield running


def rtpload(*arguments: str) -> tuple[int, str]:
    with Program([*RTPLOAD, *arguments], {"COLUMNS": "120"}) as program:
        status = program.wait(END_S)
        return status, program.output


def test_it_says_what_was_received(relay: Relay, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    arguments = [*PATIENCE, "--calls", "5", "--time-s", "1", "--relay-pid", "auto", "--json", str(file)]
    status, output = rtpload(relay.unix_address, *arguments)
    assert status == 0, output
    assert "Every packet arrived." in output
    assert "5 calls set up" in output
    assert f"process {relay.program.pid}" in output
    for row in ("duplicates", "reordered", "of other streams", "latency, to caller", "generator's lateness"):
        assert row in output
    report = json.loads(file.read_bytes())
    assert report["both"]["lost"] == 0
    assert report["options"]["calls"] == 5


def test_ctrl_c_tears_the_calls_down_and_prints_the_report(relay: Relay) -> None:
    before = relay.stats().totals.packets_in
    with Program([*RTPLOAD, relay.unix_address, *PATIENCE, "--calls", "5", "--time-s", "600"]) as program:
        eventually(lambda: relay.stats().totals.packets_in > before + 100, "media flow")
        eventually(lambda: len(relay.calls().calls) == 5, "all calls are up")
        os.kill(program.pid, signal.SIGINT)
        assert program.wait(END_S) == INTERRUPTED
        assert "Interrupted before its time." in program.output
        assert "5 calls set up" in program.output
        assert "Every packet arrived." in program.output
    assert relay.calls().calls == ()


@pytest.mark.full
def test_a_second_ctrl_c_ends_at_once_and_leaves_no_process() -> None:
    with (
        running_relay(shards=1) as own,
        Program([*RTPLOAD, own.unix_address, "--calls", "5", "--time-s", "600"]) as program,
    ):
        eventually(lambda: len(own.calls().calls) == 5, "all calls are up")
        psutil.Process(own.program.pid).suspend()  # so that the tear-down does not come to its end
        workers = psutil.Process(program.pid).children()
        assert workers
        psutil.Process(program.pid).send_signal(signal.SIGINT)
        program.wait_for_line("Ending the calls")
        psutil.Process(program.pid).send_signal(signal.SIGINT)
        assert program.wait(END_S) == INTERRUPTED
        psutil.Process(own.program.pid).resume()
        eventually(lambda: not any(worker.is_running() for worker in workers), "the workers have ended")


def test_a_worker_that_dies_ends_the_load(relay: Relay) -> None:
    with Program([*RTPLOAD, relay.unix_address, "--calls", "3", "--time-s", "600"]) as program:
        eventually(lambda: len(relay.calls().calls) == 3, "all calls are up")
        [worker] = psutil.Process(program.pid).children()
        worker.kill()
        assert program.wait(END_S) == 1
        assert f"worker process {worker.pid} has ended unexpectedly" in program.output


@pytest.mark.full
def test_the_capacity_is_searched(relay: Relay, tmp_path: Path) -> None:
    file = tmp_path / "capacity.json"
    arguments = ["--find-capacity", "--calls", "2", "--max-calls", "4", "--time-s", "1", "--json", str(file)]
    arguments += PATIENCE
    status, output = rtpload(relay.unix_address, *arguments)
    assert "Search for the capacity" in output
    steps = json.loads(file.read_bytes())["steps"]
    # on a busy host the generator itself is late with each number of calls
    passed = any(step["limit"] == "nothing" for step in steps)
    assert status == (0 if passed else 1), output
    assert {step["limit"] for step in steps} <= {"nothing", "the generator itself", "latency"}
    assert steps[0]["calls"] == 2
    assert all(step["loss"] == 0 for step in steps)


@pytest.mark.parametrize(
    ("carried", "status"), [(0, 1), (1, 0)], ids=["no number of calls passes", "one call passes"]
)
def test_a_search_that_finds_no_capacity_fails(
    monkeypatch: pytest.MonkeyPatch, carried: int, status: int
) -> None:
    def run_load(options: LoadOptions, *_: object, **__: object) -> tuple[object, bool]:
        return SimpleNamespace(calls=options.calls, interrupted=False), False

    def judge(report: SimpleNamespace) -> Step:
        limit = Limit.NONE if report.calls <= carried else Limit.LOSS
        return Step(report.calls, limit, 0.0, 1.0, 0.1, None)

    monkeypatch.setattr(session, "_run", run_load)
    monkeypatch.setattr(session, "judge", judge)
    options = LoadOptions(address="direct", calls=2)
    assert session.search(options, Console(), None, highest=4, max_steps=9) == status


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--control", "ng"], 2, "HOST:PORT"),
        (["/nowhere/nh.sock"], 1, "check that `nh run` runs"),
        (["127.0.0.1:1", "--calls", "0"], 2, "--calls: 0 is not in 1 to"),
        (["127.0.0.1:1", "--control", "smoke"], 2, "smoke"),
        (["/nowhere/nh.sock", "--control", "ng"], 2, "UDP"),
        (["127.0.0.1:1", "--cpus", "x"], 2, "--cpus: 'x' is neither"),
        (["127.0.0.1:1", "--plot", "x.gif"], 2, ".png"),
        (["127.0.0.1:1", "--plot", "/nowhere/x.png"], 2, "no directory"),
        (["127.0.0.1:1", "--json", "/nowhere/x.json"], 2, "no directory"),
        (["127.0.0.1:1", "--json", "/"], 2, "it is a directory"),
        (["127.0.0.1:1", "--find-capacity", "--plot", "x.svg"], 2, "leave one of them out"),
        (
            ["127.0.0.1:1", "--find-capacity", "--max-calls", "100001"],
            2,
            "--max-calls: 100001 is not in 1 to",
        ),
        (["127.0.0.1:1", "--find-capacity", "--max-steps", "0"], 2, "--max-steps: 0 is not in 1 to"),
        (["127.0.0.1:1", "--relay-pid", "nh"], 2, "--relay-pid: 'nh' is neither"),
        (["127.0.0.1:1", "--phone-address", "here"], 2, "--phone-address: 'here' is not an IP address"),
        (["127.0.0.1:1", "--phone-address", "::1"], 2, "--phone-address: ::1 is not of IPv4"),
        (["127.0.0.1:1", "--cpus", "3-1"], 2, "'3-1' does not ascend"),
        (["127.0.0.1:1", "--cpus", "0-99999999"], 2, "does not ascend from 0 to 8191"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(arguments: Sequence[str], status: int, message: str) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == status
    assert message in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--control", "smoke"], "--control: 'smoke' is not one of netsip, native, ng, direct; see"),
        (["--calls", "1O"], "--calls: '1O' is not a whole number; see"),
        (["--calls", "x" * 999], f"--calls: '{'x' * 80}' is not a whole number; see"),
        (["--timeout-s", "x\x1b"], "--timeout-s: 'x\\x1b' is not a number; see"),
        (["--call", "5"], "nh load has no option --call; did you mean --calls?"),
        (["a", "b"], "nh load takes no argument 'b'; see"),
        (["--calls"], "--calls needs a value; "),
    ],
)
def test_a_command_line_that_cannot_be_read_is_told_in_nhs_words(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RTPLOAD_NAME", "nh load")
    monkeypatch.setattr(sys, "argv", ["rtpload", *arguments])
    assert run() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nh load: command line: {message}")


def test_a_plot_without_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def import_without_matplotlib(
        name: str,
        globals_: Mapping[str, object] | None = None,
        locals_: Mapping[str, object] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> object:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, globals_, locals_, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", import_without_matplotlib)
    result = CliRunner().invoke(app, ["127.0.0.1:1", "--plot", "load.png"])
    assert result.exit_code == 2
    assert "pip install matplotlib" in result.output
