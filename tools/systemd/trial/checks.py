"""What is looked at without media: how the unit starts, ends, refuses, and who may look at it.

Each returns what was seen, or raises Broken.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Activate, Allocate, Close, TransactionKey
from tools.harness.waiting import eventually
from tools.systemd.trial.actions import RESTART_S, Broken, require
from tools.systemd.trial.unit import NAME, NH, RUNTIME, Unit, run

DROP_IN: Final = Path("/run/systemd/system/nh.service.d/no-capabilities.conf")
CAPABILITIES: Final = {True: 1 << 39 | 1 << 12, False: 0}
"""CAP_BPF and CAP_NET_ADMIN, or none, as /proc has them."""

BAD_SETTING: Final = re.compile(r"nh: .*NH_SHARDS: 999 .*")
"""What nh says of the setting that bad_setting() writes."""

STAYS_AWAY_S: Final = 4 * RESTART_S
KEY: Final = TransactionKey(b"moment", 1, b"from", b"to")


def start(unit: Unit) -> str:
    """As the unit is."""
    unit.begin()
    return f"{_started(unit)}; {_confined(unit, capable=True)}"


def start_without_capabilities(unit: Unit) -> str:
    """With both lines emptied, as the documentation says for the path in user space."""
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    DROP_IN.write_text("[Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\n")
    unit.systemctl("daemon-reload")
    try:
        unit.begin()
        return f"{_started(unit)}; {_confined(unit, capable=False)}"
    finally:
        DROP_IN.unlink()
        unit.systemctl("daemon-reload")


def drain(unit: Unit) -> str:
    """nh drain, with a call that ends a little later."""
    return _drain(unit, lambda: unit.nh("drain"))


def drain_by_signal(unit: Unit) -> str:
    """The same by the signal."""
    return _drain(unit, lambda: unit.systemctl("kill", "--kill-whom=main", "--signal=USR1", NAME))


def bad_setting(unit: Unit) -> str:
    """systemctl start with a setting that cannot be used."""
    unit.write_settings({"NH_SHARDS": "999"})
    unit.note_the_time()
    done = unit.try_systemctl("start", NAME)
    require(done.returncode != 0, "systemctl start says that it worked")
    time.sleep(STAYS_AWAY_S)
    seen = tuple(unit.show(name) for name in ("ActiveState", "ExecMainStatus", "NRestarts"))
    require(seen == ("failed", "2", "0"), f"state, status and restarts are {seen}")
    status = unit.try_systemctl("status", "--no-pager", "--full", NAME).stdout
    line = BAD_SETTING.search(status)
    if line is None:
        raise Broken(f"systemctl status does not say what is wrong:\n{status}")
    return f"failed with status 2, not started again; systemctl status: {line[0]}"


def environment_at_reload(unit: Unit) -> str:
    """A setting in /etc/default/nh is of the next start, and not of systemctl reload."""
    unit.begin()
    unit.write_settings({"NH_SHARDS": "1"})
    unit.reload()
    after_reload = len(unit.stats().shards)
    unit.systemctl("restart", NAME)
    after_restart = len(unit.stats().shards)
    require((after_reload, after_restart) == (2, 1), f"shards are {after_reload}, then {after_restart}")
    return "2 shards after systemctl reload, 1 after systemctl restart"


def looks(unit: Unit) -> str:
    """nh stats and nh calls: root, the user nh, a member of the group nh, and another user."""
    unit.write_settings({"NH_RPC_MODE": "0660"})
    unit.note_the_time()
    unit.systemctl("start", NAME)
    for user, groups in (("proxy-in", ("--groups", "nh")), ("proxy-out", ())):
        if run("id", user).returncode != 0:
            require(run("useradd", *groups, user).returncode == 0, f"useradd {user} failed")
    with NativeClient(unit.address) as client:
        _set_up(client)
    seen = dict(_looks())
    for (user, word), worked in seen.items():
        # the statistics are the owner's, the socket is the group's
        may = user in ("root", "nh") or (user == "proxy-in" and word == "calls")
        require(worked == may, f"nh {word} by {user} {'works' if worked else 'fails'}")
    return ", ".join(f"nh {word} by {user}: {'yes' if may else 'no'}" for (user, word), may in seen.items())


def stop_a_hung_one(unit: Unit) -> str:
    """systemctl stop while the supervisor hangs."""
    unit.begin()
    os.kill(unit.main_pid, signal.SIGSTOP)
    began = time.monotonic()
    unit.systemctl("stop", NAME)
    took_s = time.monotonic() - began
    require(not unit.processes(), "processes are left")
    return f"{unit.show('Result')} after {1000 * took_s:.0f} ms, no process is left"


def end_everything(unit: Unit) -> str:
    """kill -9 and stop leave shards with calls; systemctl kill --kill-whom=all ends them."""
    unit.begin()
    with NativeClient(unit.address) as client:
        _set_up(client)
    os.kill(unit.main_pid, signal.SIGKILL)
    unit.systemctl("stop", NAME)
    time.sleep(RESTART_S)
    left = len(unit.processes())
    require(left == 1, f"{left} processes are left, and not the one shard with the call")
    unit.systemctl("kill", "--kill-whom=all", "--signal=KILL", NAME)
    eventually(lambda: not unit.processes(), "none is left", details=unit.last_output)
    time.sleep(STAYS_AWAY_S)
    require(unit.main_pid == 0, "it was started again")
    return "1 shard was left with its call, none after systemctl kill"


def _drain(unit: Unit, begin: Callable[[], object]) -> str:
    unit.begin()
    with NativeClient(unit.address) as client:
        _set_up(client)
        begin()
        eventually(lambda: "draining" in unit.show("StatusText"), "systemctl status says that it drains")
        client.request(Close(KEY))
    eventually(lambda: unit.show("ActiveState") not in ("active", "deactivating"), "it has ended")
    time.sleep(STAYS_AWAY_S)
    seen = tuple(unit.show(name) for name in ("ActiveState", "Result", "ExecMainStatus", "NRestarts"))
    require(seen == ("inactive", "success", "0", "0"), f"state, result, status and restarts are {seen}")
    return "StatusText said draining; ended with status 0, not started again"


def _set_up(client: NativeClient) -> None:
    for side in Side:
        media = (Media("127.0.0.1", 9, 2, "RTP/AVP", "audio"),)
        client.request(Allocate(KEY, side, "127.0.0.1", media))
    client.request(Activate(KEY))


def _looks() -> Iterator[tuple[tuple[str, str], bool]]:
    for user in ("root", "nh", "proxy-in", "proxy-out"):
        for words in (("stats", "--once"), ("calls",)):
            directory = () if user == "root" else ("--runtime-dir", str(RUNTIME))
            yield (user, words[0]), run(NH, *words, *directory, user=user).returncode == 0


def _started(unit: Unit) -> str:
    require(unit.show("ActiveState") == "active", "systemctl start has returned, and it is not active")
    took_ms = (unit.active_ns - unit.started_ns) / 1e6
    status = unit.show("StatusText")
    expected = "kernel lo" if unit.kernel else "user space only"
    require(expected in status, f"its status is {status!r}")
    return f"active {took_ms:.0f} ms after its start ({expected})"


def _confined(unit: Unit, *, capable: bool) -> str:
    """What the kernel says of the supervisor and a shard."""
    eventually(lambda: unit.shard_pid(0) != 0, "the statistics name shard 0", details=unit.last_output)
    for pid in (unit.main_pid, unit.shard_pid(0)):
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        for name in ("CapEff", "CapBnd", "CapAmb"):
            require(int(fields[name], 16) == CAPABILITIES[capable], f"{name} of {pid} is {fields[name]}")
        require(fields["NoNewPrivs"] == "1", f"{pid} may get new privileges")
        require(fields["Seccomp"] == "2", f"{pid} has no filter of system calls")
        require(fields["Uid"].split()[0] != "0", f"{pid} is root's")
        mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        roots = [line.split() for line in mounts if line.split()[4] == "/"]
        require(roots[-1][5].startswith("ro"), f"{pid} may write to /")
    has = "CAP_BPF and CAP_NET_ADMIN only" if capable else "no capability"
    return f"both processes: user nh, {has}, no new privileges, system calls filtered, / read-only"
