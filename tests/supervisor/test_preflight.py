"""nh.supervisor.handover.preflight: what the code that is installed says of itself, whatever it is."""

import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import nh
from nh.calls.snapshots.version import READABLE
from nh.config.sources import load_settings
from nh.errors import ConfigError, NotNow, Unavailable
from nh.loop import SelectorLoop
from nh.supervisor.handover import preflight
from nh.supervisor.handover.preflight import CheckedIn, Preflight, check_in
from nh.supervisor.shards.process import ShardProcess
from tools.harness.ports import claim_ports, min_max
from tools.harness.valkey_server import valkey_server

WAIT_S = 20.0


@pytest.fixture
def loop(no_descriptor_leaks: None) -> Iterator[SelectorLoop]:
    made = SelectorLoop()
    yield made
    made.close()


def checked(loop: SelectorLoop, code: str) -> CheckedIn | str:
    """What is made of a program that does this when it is asked."""
    results: list[CheckedIn | str] = []
    Preflight(loop, [sys.executable, "-c", code], results.append)
    deadline = time.monotonic() + WAIT_S
    while not results:
        assert time.monotonic() < deadline
        loop.turn(0.1)
    (result,) = results
    return result


def test_code_that_can_go_on_says_which_version_it_is_and_what_it_reads(loop: SelectorLoop) -> None:
    code = 'import sys; assert sys.argv[-1] == \'--preflight\'; print(\'{"version": "2", "reads": [1, 2]}\')'
    assert checked(loop, code) == CheckedIn("2", (1, 2))


def test_what_a_newer_version_says_besides_is_no_hindrance(loop: SelectorLoop) -> None:
    said = json.dumps({"version": "3", "reads": [3], "mood": "fine"})
    assert checked(loop, f"print({said!r})") == CheckedIn("3", (3,))


def test_the_error_output_of_new_code_is_quoted(loop: SelectorLoop) -> None:
    assert checked(loop, "import sys; print('a\\nnh: ports: too few', file=sys.stderr); sys.exit(2)") == (
        "ports: too few"
    )


def test_code_that_ends_without_a_word_is_told_by_its_status(loop: SelectorLoop) -> None:
    assert checked(loop, "raise SystemExit(3)") == "it ended with status 3"


@pytest.mark.parametrize("said", ["", "ready", "{}", "[1]", '{"version": 1, "reads": []}'])
def test_code_that_says_something_else_cannot_go_on(loop: SelectorLoop, said: str) -> None:
    result = checked(loop, f"print({said!r})")
    assert isinstance(result, str)
    assert result.startswith("the installed code printed no version: ")


def test_code_that_hangs_is_not_waited_for_for_ever(
    loop: SelectorLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "CHECK_S", 0.3)
    assert checked(loop, "import time; time.sleep(600)") == (
        "the installed code has not checked settings and host within 0.3 s"
    )


def test_code_that_says_a_lot_is_read_while_it_runs(loop: SelectorLoop) -> None:
    said = json.dumps({"version": "2", "reads": [1]})
    noise = "print('a warning ' * 100_000, file=sys.stderr); print('\\n' * 1_000_000)"
    assert checked(loop, f"import sys; {noise}; print({said!r})") == CheckedIn("2", (1,))
    reason = "print('nh: ports: too few', file=sys.stderr); sys.exit(2)"
    assert checked(loop, f"import sys; {noise}; {reason}") == "ports: too few"


def test_a_process_that_the_code_leaves_behind_is_not_waited_for(loop: SelectorLoop) -> None:
    code = (
        "import subprocess, sys; print('no room', file=sys.stderr);"
        " print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid, file=sys.stderr);"
        " sys.exit(2)"
    )
    left = checked(loop, code)
    assert isinstance(left, str)
    os.kill(int(left), signal.SIGKILL)


def test_a_program_that_is_not_there_is_an_error_at_once(loop: SelectorLoop) -> None:
    with pytest.raises(OSError, match="No such file"):
        Preflight(loop, ["/nowhere/python"], lambda _: None)


# --- the other side -------------------------------------------------------------------------------


@pytest.fixture
def free(tmp_path: Path) -> Iterator[list[str]]:
    """Flags with which nothing on this host is in the way."""
    with claim_ports(100) as ports:
        yield ["--runtime-dir", str(tmp_path), "--ports", min_max(ports)]


def test_this_code_says_its_version_what_it_reads_and_where_it_listens(
    free: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "nh", "run", "--preflight", *free, "--http", "127.0.0.1:0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "version": nh.__version__,
        "reads": list(READABLE),
        "listeners": [["unix", str(tmp_path / "nh.sock")], ["http-tcp", "127.0.0.1:0"]],
    }
    assert done.stderr == ""


def test_settings_that_cannot_be_used_are_no_answer() -> None:
    with pytest.raises(ConfigError, match="is too small for 9 shards"):
        check_in(load_settings(flags={"ports": "10000-10009", "shards": 9}, file=None), takes_over=False)


def test_a_shard_that_does_not_start_is_no_answer(monkeypatch: pytest.MonkeyPatch, free: list[str]) -> None:
    argv = (sys.executable, "-c", "raise SystemExit(7)")
    start = ShardProcess.start

    def ended(_argv: Sequence[str]) -> ShardProcess:
        process = start(argv)
        assert select.select([process.pidfd], [], [], WAIT_S)[0]
        return process

    monkeypatch.setattr(ShardProcess, "start", ended)
    with pytest.raises(Unavailable, match="a shard process does not start: exit status 7"):
        check_in(load_settings(flags={"runtime_dir": free[1], "ports": free[3]}, file=None), takes_over=False)


@pytest.mark.parametrize("call", ["os.pidfd_open", "signal.pidfd_send_signal"])
@pytest.mark.parametrize("why", [errno.EPERM, errno.ENOSYS])
def test_a_filter_of_system_calls_that_lets_no_process_be_watched_is_named(
    free: list[str], monkeypatch: pytest.MonkeyPatch, why: int, call: str
) -> None:
    def refused(*_: int) -> int:
        raise OSError(why, os.strerror(why))

    monkeypatch.setattr(call, refused)
    settings = load_settings(flags={"runtime_dir": free[1], "ports": free[3]}, environment={})
    with pytest.raises(NotNow, match=r"^pidfd_open\(2\).* is refused: .*seccomp profile"):
        check_in(settings, takes_over=False)


@pytest.mark.valkey
@pytest.mark.parametrize("follows", [False, True])
def test_a_server_that_refuses_a_relay_ends_the_check_but_not_that_of_a_standby_which_asks_it_on(
    free: list[str], follows: bool
) -> None:
    with valkey_server({"requirepass": "open-sesame"}) as server:
        flags = {"runtime_dir": free[1], "ports": free[3], "state": f"{server.url}/0", "standby": follows}
        settings = load_settings(flags=flags, environment={})
        if follows:
            assert json.loads(check_in(settings, takes_over=False))["version"] == nh.__version__
        else:
            with pytest.raises(ConfigError, match="the server wants a password"):
                check_in(settings, takes_over=False)
