"""tools/systemd: the unit is one that systemd takes without a word, and nh can live with what it forbids."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nh.config import Settings
from nh.supervisor.shards.process import MAX_FORK_S
from nh.supervisor.shards.zygote import FORK_S
from tests.confinement import NO_NEW_CODE, NO_NEW_PRIVILEGES, needs_no_new_code
from tests.isolation.rpc_stream import assert_calls_are_served
from tools.harness.relay import Relay, place_for_relay

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "tools" / "systemd" / "nh.service"
USERS = ROOT / "tools" / "systemd" / "nh.sysusers.conf"
DOCUMENTATION = ROOT / "docs" / "how-to" / "systemd.md"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd"
)


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=150, check=False)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there: systemd-analyze minds one that is not."""
    path = tmp_path / "nh.service"
    path.write_text(UNIT.read_text().replace("/opt/nh/bin/nh", "/bin/true"))
    return path


@needs_systemd
def test_systemd_has_nothing_to_say_about_the_unit(unit: Path) -> None:
    done = run("systemd-analyze", "verify", "--man=no", unit)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_what_the_documentation_says_of_the_units_exposure_is_so(unit: Path) -> None:
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    level = re.search(r"Overall exposure level for nh\.service: ([\d.]+)", done.stdout)
    assert level is not None, done.stderr
    promised = re.search(r"exposure level of ([\d.]+)", DOCUMENTATION.read_text())
    assert promised is not None
    # other versions of systemd look at other things, too
    assert float(level[1]) <= float(promised[1]) + 0.5


@needs_systemd
@pytest.mark.parametrize("call", ["bpf", "capset", "bind", "sched_setaffinity"])
def test_the_unit_allows_the_system_calls_that_nh_needs(call: str) -> None:
    """capset(2): the HTTP process gives up the capabilities that the unit gives to nh."""
    allowed: set[str] = set()
    for given in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE):
        named = {name for word in given.lstrip("~").split() for name in system_calls(word)}
        allowed = allowed - named if given.startswith("~") else allowed | named
    assert call in allowed


def system_calls(word: str) -> set[str]:
    """What a word of SystemCallFilter= names: a system call, or a group of them."""
    if not word.startswith("@"):
        return {word}
    lines = run("systemd-analyze", "syscall-filter", "--no-pager", word).stdout.splitlines()
    words = [line.strip() for line in lines[1:] if not line.strip().startswith("#")]
    return {name for each in words if each for name in system_calls(each)}


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="needs systemd-sysusers")
def test_the_user_can_be_made() -> None:
    done = run("systemd-sysusers", "--dry-run", USERS)
    assert done.returncode == 0, done.stderr
    assert f"{USERS}:" not in done.stdout + done.stderr, "it minds a line"


def test_settings_in_the_unit_exist() -> None:
    named = set(re.findall(r"\bNH_([A-Z_]+)=", UNIT.read_text())) - {"CONFIG"}
    assert named == {"RUNTIME_DIR", "STATE"}
    assert {name.lower() for name in named} <= set(Settings.__struct_fields__)


def test_a_fork_is_given_up_before_systemd_takes_the_supervisor_for_hung() -> None:
    watchdog_s = re.search(r"^WatchdogSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert watchdog_s is not None
    assert int(watchdog_s[1]) / 2 > MAX_FORK_S + FORK_S, "a ping may be due when the wait begins"


def test_calls_are_served_where_no_memory_may_be_written_and_executed() -> None:
    needs_no_new_code()
    with place_for_relay() as place:
        relay = Relay(place, 2, {"NH_PREFORK": "1"}, wrapped_in=[*NO_NEW_PRIVILEGES, *NO_NEW_CODE])
        with relay.program as program:
            relay.wait_until_ready()
            assert_calls_are_served(relay.unix_address)
            assert program.stop() == 0
