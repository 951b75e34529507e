"""`nh run` and the commands beside it, as an operator meets them."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from nh.cli.calls.commands import complete_call_id
from nh.client import NativeClient
from nh.commands import CloseCall, Ping
from nh.errors import NhError
from nh.printable import show_id
from nh.stats import segment_name
from tests.isolation.rpc_stream import activate, allocate, ask_perl, assert_calls_are_served, bye
from tools.harness.ports import claim_ports, min_max
from tools.harness.program import Program
from tools.harness.relay import Relay, kill_those_that_run, place_for_relay, running_relay
from tools.harness.waiting import TIMEOUT_S, eventually


def run_nh(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of `nh` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "nh", *arguments], capture_output=True, text=True, timeout=150, check=False
    )


def on(relay: Relay, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command about this relay; it has to succeed."""
    result = run_nh(*arguments, "--runtime-dir", str(relay.directory))
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    with running_relay() as running:
        yield running


# --- start and end ------------------------------------------------------------------------------------


def test_ready_means_that_every_shard_serves() -> None:
    with running_relay(shards=3) as relay:
        assert len(relay.shard_processes()) == 3
        assert sum("ready" in line for line in relay.program.lines) == 1
        for number in range(20):
            assert_calls_are_served(relay.unix_address, b"call-%d" % number)
        assert all(shard.allocate_ok or shard.calls == 0 for shard in relay.stats().shards)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(signum: signal.Signals) -> None:
    with running_relay() as relay:
        processes = relay.shard_processes()
        ask_perl(relay.unix_address, allocate(b"open call"))
        assert relay.program.stop(signum) == 0
        assert not any(process.is_running() for process in processes)
        assert not Path(relay.unix_address).exists()
        assert not segment_exists(relay)


def segment_exists(relay: Relay) -> bool:
    return (Path("/dev/shm") / segment_name(relay.directory)).exists()


def test_a_second_run_in_the_same_directory_is_refused(relay: Relay) -> None:
    with Program(relay.arguments) as second:
        assert second.wait(60) != 0
        assert str(relay.directory) in second.output
        assert "Traceback" not in second.output
    with NativeClient(relay.unix_address, TIMEOUT_S) as client:
        client.request(Ping())


def test_a_socket_of_another_listener_is_left_alone(relay: Relay, tmp_path: Path) -> None:
    with claim_ports(100) as ports:
        arguments = [sys.executable, "-m", "nh", "run", "--shards", "1", "--runtime-dir", str(tmp_path)]
        arguments += ["--ports", f"{ports[0]}-{ports[-1]}", "--rpc", relay.unix_address]
        with Program(arguments) as second:
            assert second.wait(60) != 0
        assert relay.unix_address in second.output
        assert "Traceback" not in second.output
    assert_calls_are_served(relay.unix_address)


@pytest.mark.full
def test_what_a_killed_run_left_is_cleaned_up() -> None:
    with place_for_relay() as place:
        killed = Relay(place, shards=2)
        with killed.program:
            killed.wait_until_ready()
            kill_everything(killed)
        assert Path(killed.unix_address).exists(), "nothing stale to test with"
        assert segment_exists(killed), "nothing stale to test with"

        successor = Relay(place, shards=3)
        with successor.program:
            successor.wait_until_ready()
            assert_calls_are_served(successor.unix_address)
            assert len(successor.stats().shards) == 3
            assert successor.program.stop() == 0
        assert not segment_exists(successor)


def kill_everything(relay: Relay) -> None:
    shards = relay.shard_processes()
    os.kill(relay.program.pid, signal.SIGKILL)
    relay.program.wait()
    kill_those_that_run(shards)
    psutil.wait_procs(shards, timeout=TIMEOUT_S)


def test_bad_settings_are_refused_before_anything_starts(tmp_path: Path) -> None:
    result = run_nh("run", "--ports", "20000-10000", "--runtime-dir", str(tmp_path))
    assert result.returncode == 2
    assert "ports" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_unix_socket_is_for_its_owner_alone(relay: Relay) -> None:
    assert Path(relay.unix_address).stat().st_mode & 0o777 == 0o600


# --- the commands beside it -----------------------------------------------------------------------------


@pytest.fixture
def call(relay: Relay) -> Iterator[str]:
    """The call-id of an active call."""
    call_id = "call-of-an-operator@example.org"
    ask_perl(relay.unix_address, allocate(call_id.encode(), 0))
    ask_perl(relay.unix_address, allocate(call_id.encode(), 1))
    ask_perl(relay.unix_address, activate(call_id.encode()))
    yield call_id
    ask_perl(relay.unix_address, bye(call_id.encode()))


def test_stats_as_json(relay: Relay, call: str) -> None:
    def with_the_session() -> Any:
        """Statistics with one session; another shard may still have published that of the test before."""
        found = json.loads(on(relay, "stats", "--json").stdout)
        return found if found["totals"]["sessions"] == 1 else None

    stats = eventually(with_the_session, "the session is in the statistics")
    assert [shard["state"] for shard in stats["shards"]] == ["up", "up"]


def test_stats_once(relay: Relay) -> None:
    shown = on(relay, "stats", "--once").stdout
    for shard in relay.stats().shards:
        assert str(shard.shard) in shown


@pytest.mark.parametrize(
    "harmful", ["`reboot`", "$(reboot)", "a b", "a;b", "a\\b", "*", "it's", "-x", "a&", "é>b", "=ls"]
)
def test_the_shell_completes_no_call_id_that_it_would_execute_or_change(
    relay: Relay, harmful: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nh.cli.calls.commands.COMPLETION_S", TIMEOUT_S)
    monkeypatch.setenv("NH_RUNTIME_DIR", str(relay.directory))
    harmless = "a-é_1%2B+@192.0.2.1:5060"
    ids = [harmless.encode(), harmful.encode()]
    for call_id in ids:
        ask_perl(relay.unix_address, allocate(call_id))
    completed = complete_call_id(cast("Any", SimpleNamespace(params={})), "")
    assert harmless in completed
    assert show_id(harmful.encode()) not in completed
    for call_id in ids:
        ask_perl(relay.unix_address, bye(call_id))


def test_the_shell_completes_call_ids(relay: Relay, call: str) -> None:
    environment = {
        "_NH_COMPLETE": "complete_bash",
        "COMP_WORDS": f"nh close {call[:7]}",
        "COMP_CWORD": "2",
        "NH_RUNTIME_DIR": str(relay.directory),
    }
    words = [sys.executable, "-m", "nh"]

    def completed() -> list[str]:
        done = subprocess.run(
            words, capture_output=True, text=True, env=os.environ | environment, check=False
        )
        return done.stdout.splitlines()

    # a shell does not wait long for a busy host
    eventually(lambda: call in completed(), "the call-id is completed")
    nowhere = environment | {"NH_RUNTIME_DIR": str(relay.directory / "nowhere")}
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | nowhere, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.full
def test_the_load_generator_loads_the_nh_of_the_runtime_directory(relay: Relay) -> None:
    done = on(relay, "load", "--calls", "2", "--time-s", "0.5", "--processes", "1")
    assert "What was received" in done.stdout
    relay.wait_until_gone(b"")


def test_a_load_without_nh_and_an_option_that_it_does_not_know_are_errors(tmp_path: Path) -> None:
    nowhere = run_nh("load", "--runtime-dir", str(tmp_path))
    assert nowhere.returncode == 1
    assert f"{tmp_path}/nh.sock: no such socket" in nowhere.stderr
    assert run_nh("load", "--calls", "many").returncode == 2


def test_the_health_of_a_relay(relay: Relay, call: str) -> None:
    assert on(relay, "health").stdout.startswith("ok: 2 of 2 shards up, ")
    found = json.loads(on(relay, "health", "--json").stdout)
    assert (found["alive"], found["ready"], found["why"], found["shards_up"]) == (True, True, "", 2)


def test_the_doctor_judges_by_the_settings_of_the_running_nh(relay: Relay) -> None:
    findings = {each["found"]: each for each in json.loads(run_doctor(relay))["findings"]}
    [found] = [each for each in findings if each.startswith("in force: 2 shards; ports")]
    assert min_max(relay.ports) in found
    assert relay.tcp_address in found
    [holds] = [each for each in findings if "of the supervisor hold the media sockets of" in each]
    assert f"{len(relay.ports) // 4} calls" in holds


def run_doctor(relay: Relay) -> str:
    return run_nh("doctor", "--json", "--runtime-dir", str(relay.directory)).stdout


def test_a_shard_shows_its_number_in_lists_of_processes(relay: Relay) -> None:
    assert {process.name() for process in relay.shard_processes()} == {"nh-shard-0", "nh-shard-1"}


def test_the_list_of_calls(relay: Relay, call: str) -> None:
    assert call in on(relay, "calls").stdout
    listed = json.loads(on(relay, "calls", "--json").stdout)
    assert call in json.dumps(listed)


def test_one_call_in_full(relay: Relay, call: str) -> None:
    shown = on(relay, "calls", call).stdout
    [group, *_] = relay.call(call.encode()).groups
    assert call in shown
    assert str(group.local_ports[0]) in shown


def test_close_ends_a_call(relay: Relay, call: str) -> None:
    on(relay, "close", call)
    assert not relay.calls(call.encode()).calls


def test_the_log_says_when_a_call_begins_and_ends_unless_it_is_asked_not_to(relay: Relay) -> None:
    hostile = b"\x1b[2J\nERROR <b>" + b"x" * 10_000
    ask_perl(relay.unix_address, allocate(hostile))
    shown = r"call '\x1b[2J\x0aERROR <b>" + "x" * 114 + "…'"
    begun = relay.program.wait_for_line(f"{shown} begins in shard")
    assert re.search(r" INFO .*: netsip allocate of pid \d+ \(uid \d+\)$", begun)
    with NativeClient(relay.unix_address, TIMEOUT_S) as client:
        client.request(CloseCall(hostile))
    ended = relay.program.wait_for_line(f"{shown} ended after ")
    assert re.search(r"closed by native close of pid \d+ \(uid \d+\); 0 packets received$", ended)
    assert on(relay, "log", "warning", "calls").stdout == "log level info; calls warning\n"
    ask_perl(relay.unix_address, allocate(b"unseen"))
    with NativeClient(relay.unix_address, TIMEOUT_S) as client:
        client.request(CloseCall(b"unseen"))
    assert "'unseen'" not in relay.program.output
    assert on(relay, "reload").stdout == "applied: log_areas\n"
    assert json.loads(on(relay, "log", "--json").stdout) == {"level": "info", "areas": {}}
    assert on(relay, "reload").stdout == "nothing to apply\n"


def test_an_unknown_call_is_an_error(relay: Relay) -> None:
    for command in ("calls", "close"):
        result = run_nh(command, "unknown", "--runtime-dir", str(relay.directory))
        assert result.returncode == 1
        assert result.stderr == "nh: no call 'unknown' here; `nh calls` lists them\n"
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["drain", "--json"], 0),
        (["undrain"], 0),
        (["reload"], 0),
        (["log", "--json"], 0),
        (["health"], 0),
        (["health", "--group", "other"], 1),
        (["close", "unknown"], 1),
        (["close", "unknown", "--what"], 2),
    ],
)
def test_a_reader_that_has_gone_does_not_change_the_exit_status(arguments: list[str], status: int) -> None:
    with running_relay() as relay:
        ask_perl(relay.unix_address, allocate(b"one call keeps a relay that drains"))
        reader, gone = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "nh", *arguments, "--runtime-dir", str(relay.directory)]
        done = subprocess.run(command, stdout=gone, stderr=gone, timeout=150, check=False)
        os.close(gone)
        assert done.returncode == status


@pytest.mark.parametrize("arguments", [["stats", "--once"], ["calls"], ["close", "x"]])
def test_no_relay_is_an_error_that_says_so(tmp_path: Path, arguments: list[str]) -> None:
    result = run_nh(*arguments, "--runtime-dir", str(tmp_path))
    assert result.returncode == 1
    assert str(tmp_path) in result.stderr
    assert "Traceback" not in result.stderr


def test_a_client_of_a_stopped_relay_is_told() -> None:
    with running_relay() as relay:
        with NativeClient(relay.unix_address, TIMEOUT_S) as client:
            client.request(Ping())
            relay.program.stop()
            with pytest.raises(NhError):
                client.request(Ping())
        with pytest.raises(NhError, match="nh run"):
            NativeClient(relay.unix_address, TIMEOUT_S).request(Ping())
