"""What is done to the unit while calls play: each action returns when all shards are up again, and
reports what it saw.

An action raises Broken where systemd or nh do something else than is promised; what it costs calls is judged
by tools.survive.verdict.
"""

import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tools.harness.waiting import eventually
from tools.systemd.trial.unit import NAME, SHARDS, Unit

WATCHDOG_S: Final = 15.0
RESTART_S: Final = 0.5
AGAIN_S: Final = 0.5
"""What may pass beyond RestartSec or WatchdogSec until the next supervisor is started."""

RELOADING_S: Final = 1.0
"""A reload is over by then: the check, then the execution."""

KILLS: Final = 6
"""One more than systemd would allow within 10 s if nothing were said of it."""

_VERSION: Final = re.compile(r'^__version__ = "(?P<release>[\d.]+?)(?:\.post(?P<post>\d+))?"$', re.MULTILINE)

Action = Callable[[Unit], str]


class Broken(Exception):
    """A promise that did not hold, in words."""


def require(holds: bool, otherwise: str) -> None:
    """Raises Broken with these words if it does not hold."""
    if not holds:
        raise Broken(otherwise)


def kill_shard(unit: Unit) -> str:
    """SIGKILL for a shard."""
    return _strike_shard(unit, signal.SIGKILL)


def hang_shard(unit: Unit) -> str:
    """SIGSTOP for a shard."""
    return _strike_shard(unit, signal.SIGSTOP)


def kill_supervisor(unit: Unit) -> str:
    """SIGKILL for the supervisor, once."""
    seen = _kill_supervisor(unit)
    said = unit.said()
    require("Found left-over process" in said, "the journal does not name the shards as left-over processes")
    return seen


def kill_supervisor_often(unit: Unit) -> str:
    """SIGKILL for one supervisor after the other."""
    return "; ".join(_kill_supervisor(unit) for _ in range(KILLS))


def hang_supervisor(unit: Unit) -> str:
    """SIGSTOP for the supervisor: the watchdog's to find."""
    before = unit.main_pid
    began = time.monotonic()
    os.kill(before, signal.SIGSTOP)
    pid, passed_s = _wait_for_next(unit, before, began, within_s=WATCHDOG_S + RESTART_S)
    said = unit.said()
    require("Watchdog timeout" in said, "the journal says nothing of a watchdog")
    require("Fatal Python error: Aborted" in said, "the journal does not have where it hung")
    return f"pid {before} stopped, {pid} started {passed_s:.1f} s later, {_ready_after(unit)}"


def reload(unit: Unit) -> str:
    """systemctl reload, after another version was installed."""
    version = install_another_version()
    seen = _reload(unit)
    require(f"going on as nh {version}" in unit.said(), f"the journal does not say that nh {version} runs")
    return f"{seen}, as nh {version}"


def reload_settings(unit: Unit) -> str:
    """systemctl reload, after the file was changed to one more shard."""
    unit.write_toml(shards=SHARDS + 1)
    seen = _reload(unit)
    now = len(unit.stats().shards)
    require(now == SHARDS + 1, f"there are {now} shards after the reload")
    return f"{seen}, with {now} shards"


def reload_nonsense(unit: Unit) -> str:
    """systemctl reload, after the file was changed to what cannot be used."""
    before = unit.main_pid
    unit.write_toml(shards=999)
    done = unit.try_systemctl("reload", NAME)
    require(done.returncode != 0, "systemctl reload says that it worked")
    require(unit.show("ActiveState") == "active", "it is not active any more")
    require(unit.main_pid == before, "there is another supervisor")
    reason = re.search(r"shards: 999 is not in \S+", unit.said())
    if reason is None:
        raise Broken("the journal does not say which setting")
    return f"systemctl reload: status {done.returncode}; journal: {reason[0]}"


def kill_while_reloading(unit: Unit) -> str:
    """systemctl reload, and SIGKILL for the supervisor while it becomes another one."""
    unit.systemctl("reload", NAME)
    pause_s = random.uniform(0, RELOADING_S)
    time.sleep(pause_s)
    return f"{_ms(pause_s)} after systemctl reload {_kill_supervisor(unit)}"


def restart(unit: Unit) -> str:
    """systemctl restart."""
    before = unit.main_pid
    began = time.monotonic()
    unit.systemctl("restart", NAME)
    require(unit.main_pid != before, "it is the same supervisor")
    return f"systemctl restart returned after {_ms(time.monotonic() - began)}, {_ready_after(unit)}"


def stop_and_start(unit: Unit) -> str:
    """systemctl stop, a second, systemctl start."""
    began = time.monotonic()
    unit.systemctl("stop", NAME)
    took_s = time.monotonic() - began
    result = unit.show("Result")
    require(result == "success", f"its result is {result}")
    require(not unit.processes(), "processes are left")
    time.sleep(1)
    unit.systemctl("start", NAME)
    return f"systemctl stop took {_ms(took_s)}; started again, {_ready_after(unit)}"


def kill_all(unit: Unit) -> str:
    """SIGKILL for every process of the unit."""
    before = unit.main_pid
    began = time.monotonic()
    unit.systemctl("kill", "--kill-whom=all", "--signal=KILL", NAME)
    pid, passed_s = _wait_for_next(unit, before, began, within_s=RESTART_S)
    return f"all killed, {pid} started {_ms(passed_s)} later, {_ready_after(unit)}"


def kill_stop_start(unit: Unit) -> str:
    """SIGKILL for the supervisor, systemctl stop before it is started again, and systemctl start."""
    os.kill(unit.main_pid, signal.SIGKILL)
    unit.systemctl("stop", NAME)
    time.sleep(2 * RESTART_S)
    state = unit.show("ActiveState")
    require(state in ("inactive", "failed"), f"it is {state} although it was stopped")
    left = len(unit.processes())
    require(left == SHARDS, f"{left} processes are left, and not {SHARDS} shards")
    unit.systemctl("start", NAME)
    return f"{state}, with {left} shards left for {2 * RESTART_S:g} s; started, {_ready_after(unit)}"


def reexecute_systemd(unit: Unit) -> str:
    """systemctl daemon-reload and daemon-reexec, as when systemd itself is upgraded."""
    before = unit.main_pid
    unit.systemctl("daemon-reload")
    unit.systemctl("daemon-reexec")
    require(unit.main_pid == before, "there is another supervisor")
    time.sleep(WATCHDOG_S + AGAIN_S)
    require(unit.main_pid == before, "the watchdog has ended the supervisor")
    return f"pid {before} all the time, {WATCHDOG_S + AGAIN_S:g} s later too"


def install_another_version() -> str:
    """Change the number of the version that is installed; returns it."""
    (path,) = Path("/opt/nh/lib").glob("python3*/site-packages/nh/version.py")
    version, text = with_another_version(path.read_text())
    path.write_text(text)
    return version


def with_another_version(module: str) -> tuple[str, str]:
    """The number of another version, and nh/version.py with it.

    Args:
        module: the text of nh/version.py.

    Raises:
        Broken: it has no number.
    """
    found = _VERSION.search(module)
    if found is None:
        raise Broken("nh/version.py has no version")
    version = f"{found['release']}.post{int(found['post'] or 0) + 1}"
    return version, module.replace(found[0], f'__version__ = "{version}"')


def _strike_shard(unit: Unit, signum: signal.Signals) -> str:
    """Send a signal to a shard, and wait for its successor."""
    struck, supervisor = unit.shard_pid(0), unit.main_pid
    began = time.monotonic()
    os.kill(struck, signum)
    eventually(
        lambda: unit.shard_pid(0) not in (0, struck), "shard 0 has a successor", details=unit.last_output
    )
    took_s = time.monotonic() - began
    require(unit.main_pid == supervisor, "there is another supervisor")
    require(unit.show("ActiveState") == "active", "it is not active any more")
    return f"{signum.name} for shard 0, pid {struck}; pid {unit.shard_pid(0)} up {_ms(took_s)} later"


def _kill_supervisor(unit: Unit) -> str:
    before = unit.main_pid
    began = time.monotonic()
    os.kill(before, signal.SIGKILL)
    pid, passed_s = _wait_for_next(unit, before, began, within_s=RESTART_S)
    return f"pid {before} killed, {pid} started {_ms(passed_s)} later, {_ready_after(unit)}"


def _wait_for_next(unit: Unit, before: int, began: float, *, within_s: float) -> tuple[int, float]:
    """Wait for another supervisor than `before`: its pid, and how long after `began` it was started."""
    pid = unit.wait_until_active(after=before)
    passed_s = unit.started_ns / 1e9 - began
    require(passed_s <= within_s + AGAIN_S, f"the next one was started after {passed_s:.2f} s")
    return pid, passed_s


def _reload(unit: Unit) -> str:
    before = unit.main_pid
    returned_s, took_s = unit.reload()
    states = unit.show("ActiveState"), unit.show("NRestarts"), unit.main_pid
    require(states == ("active", "0", before), f"state, restarts and pid are {states}, the pid was {before}")
    unit.nh("calls")
    return (
        f"systemctl reload returned after {_ms(returned_s)}, the new shard 0 was there after {_ms(took_s)},"
        f" pid {before} as before"
    )


def _ready_after(unit: Unit) -> str:
    return f"active {_ms((unit.active_ns - unit.started_ns) / 1e9)} after its start"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
