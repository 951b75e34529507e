import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import nh
from nh.cli.main import app
from tools.harness.ports import claim_ports, min_max


def nh_command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "nh", *words], capture_output=True, text=True, check=False)


def test_python_m_nh_tells_its_version() -> None:
    done = nh_command("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"nh {nh.__version__}\n", "")


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["config"], ["config", "--json"]])
def test_a_full_disk_is_one_line(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "nh", *words], stdout=full, stderr=PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr == b"nh: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("ignored", [False, True])
def test_ctrl_c_during_the_imports_prints_nothing(ignored: bool) -> None:
    script = (
        "import os, signal, sys\n"
        f"{'signal.signal(signal.SIGINT, signal.SIG_IGN)' if ignored else ''}\n"
        "class CtrlC:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, CtrlC())\n"
        "sys.argv = ['nh', '--version']\n"
        "from nh.__main__ import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == (0 if ignored else -signal.SIGINT)


@pytest.mark.parametrize("program", ["nh", "tools.rtpload"])
def test_ctrl_c_is_silent_before_the_first_module_that_takes_long(program: str) -> None:
    """What Python loads before is beyond nh; most of what came after was `typing`."""
    script = (
        "import _signal, sys\n"
        "class Loud:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if _signal.getsignal({signal.SIGINT.value}) != {signal.SIG_DFL.value}:\n"
        "            print(name)\n"
        "sys.meta_path.insert(0, Loud())\n"
        f"import {program}.__main__"
    )
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True)
    loud = done.stdout.split()
    assert "nh.interrupt" in loud
    assert {"typing", "re", "contextlib"}.isdisjoint(loud)


def test_the_version_costs_no_heavy_imports() -> None:
    script = "import sys, nh.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {
        "asyncio",
        "pydantic",
        "psutil",
        "rich.live",
        "rich.table",
        "nh.client",
        "nh.stats",
        "nh.supervisor",
    }
    assert not heavy & set(done.stdout.split())


def test_reading_the_flags_of_run_does_not_load_pydantic(tmp_path: Path) -> None:
    """typer converts values with it: 0.1 s and 15 MB of each start."""
    script = (
        "import sys\n"
        "from nh.cli.main import app\n"
        "try:\n"
        f"    app(['run', '--shards', '1', '--ports', '5-', '--runtime-dir', {str(tmp_path)!r}])\n"
        "finally:\n"
        "    print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "ports: '5-'" in done.stderr
    assert "pydantic" not in done.stdout.split()


def test_without_a_command_it_shows_what_there_is() -> None:
    shown = CliRunner().invoke(app, []).output
    for command in ("run", "stats", "calls", "close", "--install-completion"):
        assert command in shown


@pytest.mark.parametrize("command", ["run", "stats", "calls", "close"])
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(app, [command, "-h"])
    assert result.exit_code == 0
    assert "--config" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["walk"], "nh has no command 'walk'; `nh --help` lists all"),
        (["shrads"], "nh has no command 'shrads'; did you mean shards?"),
        (["\x1b[2J"], r"nh has no command '\x1b[2J'; `nh --help` lists all"),
        (["run", "--xyzzy"], "nh run has no option --xyzzy; `nh run --help` lists all"),
        (["run", "--silents"], "nh run has no option --silents; did you mean --silent-s?"),
        (
            ["calls", "-dash"],
            "nh calls has no option -d; `nh calls --help` lists all,"
            " and a CALL-ID that begins with - goes behind --",
        ),
        (["config", "--file", "x"], "nh config has no option --file; `nh config --help` lists all"),
        (["run", "--fastpath"], "nh run has no option --fastpath; `nh run --help` lists all"),
        (
            ["run", "--log", "debug"],
            "nh run has no option --log; did you mean --log-areas or --log-format or --log-level?",
        ),
        (["run", "-x"], "nh run has no option -x; `nh run --help` lists all"),
        (
            ["--runtime-dir", "x", "calls"],
            "nh has no option --runtime-dir; `nh --help` lists all, and options of a command go behind it",
        ),
        (["--versoin"], "nh has no option --versoin; did you mean --version?"),
        (["run", "--shards"], "--shards needs a value; `--help` says which"),
        (["run", "--takeover=5"], "--takeover takes no value; `--help` says which"),
        (["drain", "5", "6"], "nh drain takes no argument '5 6'; see `nh drain --help`"),
        (["close"], "nh close needs CALL-ID; see `nh close --help`"),
        (["shards", "x"], "shards: 'x' is not a whole number"),
        (["log", "loud"], "LEVEL: 'loud' is not one of debug, info, warning, error"),
        (
            ["log", "debug", "weather"],
            "AREA: 'weather' is not one of calls, media, kernel, rpc, shards, store, handover, host, http",
        ),
        (["calls", "--limit", "x"], "--limit: 'x' is not a whole number"),
        (["stats", "--interval", "x"], "--interval: 'x' is not a span of time, such as 30, 30s, 5m or 1h30m"),
    ],
)
def test_what_cannot_be_understood_is_one_line_in_nhs_words_and_status_2(
    words: list[str], message: str
) -> None:
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stderr, result.stdout) == (2, f"nh: command line: {message}\n", "")


def test_a_file_of_settings_that_may_not_be_read_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "nh.toml"
    file.touch()

    def forbid(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(Path, "open", forbid)
    result = CliRunner().invoke(app, ["config", "--config", str(file)])
    assert result.exit_code == 2
    assert f"{file}: cannot be read: Permission denied" in result.stderr


def test_times_may_have_units() -> None:
    result = CliRunner().invoke(app, ["drain", "--limit-s", "8d"])
    assert result.stderr == "nh: command line: --limit-s: 691200 s is not in 0 to 604800 s (7 days)\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nh st", ["stats"]),
        ("nh calls --sort l", ["loss"]),
        ("nh log de", ["debug"]),
        ("nh log debug st", ["store"]),
        ("nh run --log-format j", ["json"]),
    ],
)
def test_the_shell_completes_commands_and_values(line: str, words: list[str]) -> None:
    result = CliRunner().invoke(
        app,
        [],
        prog_name="nh",
        env={"_NH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))},
    )
    assert result.stdout.split() == words


def test_options_stand_in_groups() -> None:
    group: Any = get_command(app)
    for name, command in group.commands.items():
        plain = [each for each in command.params if each.param_type_name == "option"]
        ungrouped = [each.name for each in plain if not each.rich_help_panel and not each.hidden]
        assert len(ungrouped) <= 5, name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shards", "0"], "shards: 0 is not in 1 to 256"),
        (["drain", "--limit-s", "604801"], "--limit-s: 604801 s is not in 0 to 604800 s (7 days)"),
        (["calls", "--limit", "0"], "--limit: 0 is below 1"),
        (["stats", "--interval", "0"], "--interval: 0 s is not in 0.1 to 3600 s"),
        (["run", "--silent-s", "0"], "--silent-s: 0 s is not in 1 to 604800 s (7 days)"),
    ],
)
def test_a_number_out_of_range_is_one_line(words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stderr) == (2, f"nh: command line: {message}\n")


@pytest.mark.parametrize(
    "words",
    [
        ["stats", "--once"],
        ["calls"],
        ["close", "a@b"],
        ["drain"],
        ["reload"],
        ["log"],
        ["upgrade"],
        ["shards", "2"],
        ["move"],
        ["promote"],
    ],
)
def test_every_command_names_the_runtime_directory_without_nh(words: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*words, "--runtime-dir", str(tmp_path)])
    assert (result.exit_code, result.stderr) == (
        1,
        f"nh does not run with runtime directory {tmp_path}; start it, or name another with"
        " --runtime-dir or NH_RUNTIME_DIR\n",
    )


def test_an_address_without_nh_is_named_as_it_was_given(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["calls", "--rpc", f"{tmp_path}/other.sock"])
    assert f"nh: {tmp_path}/other.sock: no such socket" in result.stderr


def test_the_help_shows_no_types_beside_switches() -> None:
    for words in (["--help"], ["calls", "--help"], ["run", "--help"]):
        assert "<bool>" not in CliRunner().invoke(app, words).output


def test_run_warns_of_variables_that_are_no_settings_and_check_says_a_sentence(tmp_path: Path) -> None:
    with claim_ports(40) as ports:
        words = ["run", "--check", "--ports", min_max(ports), "--runtime-dir", str(tmp_path / "run")]
        done = subprocess.run(
            [sys.executable, "-m", "nh", *words, "--shards", "1"],
            env=os.environ | {"NH_SHARD": "3"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr, done.stdout) == (
        0,
        "nh: environment: NH_SHARD is no setting; did you mean NH_SHARDS?\n",
        f"nh can start with these settings (runtime directory {tmp_path / 'run'})\n",
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rpc", "nh.sock"], "nh: command line: --rpc: address 'nh.sock': is neither a path"),
        (
            ["--ng", "0.0.0.0:42224", "--address", "127.0.0.1"],
            "nh: command line: --ng: 0.0.0.0:42224: 0.0.0.0 is not",
        ),
    ],
)
def test_an_address_that_cannot_be_served_begins_with_its_flag(words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["run", *words])
    assert result.exit_code == 2
    assert result.stderr.startswith(message)
