"""nh.doctor: each fault of a host is found, with what it means and what to do; a sound host has none."""

import contextlib
import fcntl
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import msgspec
import pytest

from nh.config import Settings
from nh.config.sources import LoadedSettings
from nh.doctor import doctor
from nh.doctor.comparison import Comparison, Difference, Value
from nh.doctor.doctor import CHECKS, Check, examine, worst
from nh.doctor.findings import Finding, Status, ok, warning
from nh.doctor.host import Host
from nh.doctor.patient import Patient, find_patient
from nh.errors import ConfigError
from nh.rpc.unix_sockets import check_directory
from nh.stats import SupervisorStats, SupervisorWriter, own_segment, segment_name
from nh.supervisor.host.locked_dir import LOCK_NAME, STATE_DIR, check_dir, runtime_dir
from nh.supervisor.running_nh import running_pid
from nh.supervisor.settings_in_force import SettingsInForce
from tests.netns import namespaces
from tests.no_threads import no_threads

OTHER_UID = 65534
SOUND = {
    "/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999",
    "/proc/sys/net/core/rmem_max": "4194304",
    "/proc/sys/net/core/wmem_max": "4194304",
    "/proc/sys/fs/nr_open": "1048576",
    "/proc/self/limits": "Max open files            1024                 1048576              files",
    "/proc/self/status": "CapEff:\t0000000000000000",
    "/proc/self/cgroup": "0::/nh.slice/nh.service",
    "/sys/fs/cgroup/nh.slice/cpu.max": "max 100000",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
    "/sys/class/net/eth0/device/vendor": "",
    "/sys/class/net/eth0/operstate": "up",
    "/sys/class/net/eth0/queues/rx-0/rps_cpus": "00",
    "/sys/class/net/eth0/queues/rx-1/rps_cpus": "00",
    "/dev/shm/.keep": "",
}


class PlayedHost(Host):
    """A host of files, and of what programs print."""

    def __init__(
        self, root: Path, files: Mapping[str, str], printed: Mapping[str, str] | None = None, cpus: int = 2
    ) -> None:
        super().__init__(root)
        for path, content in (SOUND | dict(files)).items():
            file = root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        self.printed = dict(printed or {})
        self.synchronized = True
        self.shm_bytes: int | None = 1 << 30
        self.read_only = False
        self._cpus = cpus

    def output(self, words: Sequence[str]) -> str | None:
        return self.printed.get(" ".join(words))

    def clock_is_synchronized(self) -> bool:
        return self.synchronized

    def free_bytes(self, path: str) -> int | None:
        return self.shm_bytes

    def is_writable(self, path: str) -> bool:
        return not self.read_only

    @property
    def cpus(self) -> int:
        return self._cpus


@pytest.fixture
def base(tmp_path: Path) -> Settings:
    return Settings(runtime_dir=str(tmp_path / "run"), state="off", kernel="off")  # type: ignore[arg-type]


def found(check: str, host: Host, settings: Settings, pid: int | None = None) -> list[Finding]:
    return list(examine(Patient(host, settings, pid), {check: CHECKS[check]}))


HOST_CHECKS = [
    *("ephemeral_ports", "used_ports", "socket_buffers", "conntrack", "firewall", "network_cards"),
    *("descriptors", "cpus", "shared_memory", "state_disk", "clock", "leftovers"),
    *("nat", "running", "secure_media", "records"),
]


@pytest.mark.parametrize("check", HOST_CHECKS)
def test_a_sound_host_has_no_fault(check: str, base: Settings, tmp_path: Path) -> None:
    findings = found(check, PlayedHost(tmp_path / "root", {}), base)
    assert {each.status for each in findings} == {Status.OK}
    assert {each.check for each in findings} == {check}


NFT_DROP = """table inet filter {
  chain input { type filter hook input priority filter; policy drop;
    udp dport 53 accept
"""


class Fault(NamedTuple):
    check: str
    files: dict[str, str]
    printed: dict[str, str]
    changes: dict[str, object]
    what: str
    remedy: str


FAULTS = [
    Fault(
        "ephemeral_ports",
        {"/proc/sys/net/ipv4/ip_local_port_range": "1024 60999"},
        {},
        {},
        "10000-29999 are in ip_local_port_range",
        "sysctl -w net.ipv4.ip_local_reserved_ports=10000-29999",
    ),
    Fault(
        "used_ports",
        {"/proc/net/udp": "  sl  local_address\n 12: 0100007F:2710 00000000:0000 07\n"},
        {},
        {},
        "other programs use 1 of the media ports: 10000",
        "ss -lunp 'sport = :10000'",
    ),
    Fault(
        "socket_buffers",
        {"/proc/sys/net/core/rmem_max": "212992"},
        {},
        {},
        "rmem_max is 212992",
        "sysctl -w net.core.rmem_max=2097152",
    ),
    Fault(
        "conntrack",
        {"/proc/sys/net/netfilter/nf_conntrack_max": "65536"},
        {"nft list ruleset": "table inet x { }"},
        {},
        "connections are tracked (at most 65536)",
        "udp dport { 10000-29999 } notrack",
    ),
    Fault("firewall", {}, {"nft list ruleset": NFT_DROP}, {}, "no rule names the media ports", "accept"),
    Fault("firewall", {}, {"iptables -S": "-P INPUT DROP"}, {}, "no rule names the media ports", "accept"),
    Fault("network_cards", {}, {}, {"queue": 1}, "eth0 has one receive queue", "ethtool -L eth0 combined 2"),
    Fault(
        "cpus",
        {"/sys/fs/cgroup/nh.slice/cpu.max": "150000 100000"},
        {},
        {},
        "allows 1.5 CPUs",
        "shards = 1",
    ),
    Fault("cpus", {}, {}, {"shards": 5}, "5 shards share 2 CPUs", "set shards = 2"),
    Fault(
        "clock",
        {"/sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet"},
        {},
        {},
        "the clock source is hpet",
        "tsc",
    ),
    Fault("clock", {}, {}, {"synchronized": False}, "not synchronized", "chrony"),
    Fault("shared_memory", {}, {}, {"shm": 4096}, "/dev/shm has 4 KiB left", "--shm-size 64m"),
    Fault("shared_memory", {}, {}, {"read_only": True}, "cannot write to /dev/shm", "remount,rw"),
    Fault("shared_memory", {}, {}, {"shm": None}, "there is no /dev/shm", "mount -t tmpfs"),
    Fault("state_disk", {}, {}, {"shm": 4096, "state": "/var/lib/nh"}, "has 0 MiB left", "--state"),
    Fault("state_disk", {}, {}, {"shm": 4096, "state": "sqlite:///var/lib/nh"}, "has 0 MiB left", "--state"),
    Fault("nat", {}, {}, {"address": "10.0.0.5"}, "10.0.0.5 is a private address", "10.0.0.5!PUBLIC"),
    Fault("nat", {}, {}, {"address": "172.31.0.5"}, "is a private address (RFC 1918)", "172.31.0.5!PUBLIC"),
    Fault("nat", {}, {}, {"address": "100.64.0.1"}, "an address of a carrier-grade NAT", "from the provider"),
    Fault(
        "nat", {}, {}, {"address": "fd00::1"}, "fd00::1 is a unique local address", "a global IPv6 address"
    ),
    Fault("nat", {}, {}, {"address": "127.0.0.1"}, "127.0.0.1 is a loopback address", "nothing for a trial"),
    Fault("nat", {}, {}, {"address": "169.254.7.7"}, "is a link-local address", "by DHCP or by hand"),
    Fault("nat", {}, {}, {"address": "203.0.113.9"}, "an address for documentation", "at which phones reach"),
    Fault("nat", {}, {}, {"address": "2001:db8::9"}, "an address for documentation", "at which phones reach"),
    Fault("nat", {}, {}, {"address": "198.19.0.1"}, "an address for benchmarks", "in a laboratory"),
    Fault("nat", {}, {}, {"address": "240.0.0.1"}, "a reserved address", "at which phones reach"),
    Fault("nat", {}, {}, {"address": "239.1.1.1"}, "a multicast address", "at which phones reach"),
    Fault(
        "nat",
        {},
        {},
        {"address": "10.0.0.5!198.51.100.1"},
        "198.51.100.1 is an address for documentation (RFC 5737, RFC 3849, RFC 9637) and is announced in"
        " place of 10.0.0.5",
        "at which phones reach",
    ),
    Fault(
        "virtual_address", {}, {}, {"address": "203.0.113.9"}, "203.0.113.9 is not on this host", "standby"
    ),
    Fault("address", {}, {}, {"address": "203.0.113.9"}, "203.0.113.9 is not on this host", "OWN!PUBLIC"),
    Fault("runtime_dir", {}, {}, {"runtime_dir": "/nowhere/run/nh"}, "there is no directory", "make it"),
    Fault("rpc", {}, {}, {"rpc": ("/nowhere/nh.sock",)}, "there is no directory", "name another path"),
    Fault("shards", {}, {}, {"shards": 200, "ports": "10000-10100"}, "too small for 200 shards", "widen"),
]


@pytest.mark.parametrize(
    "fault", FAULTS, ids=[f"{each.check}-{number}" for number, each in enumerate(FAULTS)]
)
def test_a_fault_is_found_with_its_meaning_and_remedy(base: Settings, tmp_path: Path, fault: Fault) -> None:
    host = PlayedHost(tmp_path / "root", fault.files, fault.printed)
    changes = dict(fault.changes)
    if changes.pop("queue", None):
        (tmp_path / "root/sys/class/net/eth0/queues/rx-1/rps_cpus").unlink()
        (tmp_path / "root/sys/class/net/eth0/queues/rx-1").rmdir()
    host.synchronized = bool(changes.pop("synchronized", True))
    host.read_only = bool(changes.pop("read_only", False))
    if "shm" in changes:
        value = changes.pop("shm")
        host.shm_bytes = value if isinstance(value, int) else None
    fields = {name: getattr(base, name) for name in Settings.__struct_fields__}
    (finding,) = found(fault.check, host, Settings(**(fields | changes)))
    assert finding.status is not Status.OK
    assert fault.what in finding.found
    assert finding.meaning
    assert fault.remedy in finding.remedy
    assert all(text.isprintable() for text in (finding.found, finding.meaning, finding.remedy))


@pytest.mark.parametrize(
    ("check", "files", "printed"),
    [
        (
            "ephemeral_ports",
            {
                "/proc/sys/net/ipv4/ip_local_port_range": "1024 60999",
                "/proc/sys/net/ipv4/ip_local_reserved_ports": "80,9000-19999,20000-30000",
            },
            {},
        ),
        (
            "conntrack",
            {"/proc/sys/net/netfilter/nf_conntrack_max": "65536"},
            {"iptables -t raw -S": "-A PREROUTING -p udp --dport 10000:29999 -j NOTRACK"},
        ),
        ("firewall", {}, {"nft list ruleset": NFT_DROP + "udp dport 10000-29999 accept"}),
        ("socket_buffers", {"/proc/sys/net/core/rmem_max": "1", "/proc/self/status": "CapEff:\t1000"}, {}),
        ("network_cards", {"/sys/class/net/eth0/operstate": "down"}, {}),
        (
            "network_cards",
            {"/sys/class/net/eth1/operstate": "down", "/sys/class/net/eth1/device/uevent": ""},
            {},
        ),
    ],
)
def test_what_was_remedied_is_well(
    base: Settings, tmp_path: Path, check: str, files: dict[str, str], printed: dict[str, str]
) -> None:
    findings = found(check, PlayedHost(tmp_path / "root", files, printed), base)
    assert {each.status for each in findings} == {Status.OK}


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2a00:1450::1", "10.0.0.5!8.8.8.8", "172.16.0.1!10.9.9.9", "fd00::1!fd01::2"]
)
def test_addresses_that_phones_reach_or_that_an_operator_chose_are_well(
    address: str, base: Settings, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(base, address=address)
    assert [each.status for each in found("nat", PlayedHost(tmp_path / "root", {}), settings)] == [Status.OK]


def test_beside_a_running_nh_its_own_things_are_no_faults(base: Settings, tmp_path: Path) -> None:
    files = {
        "/proc/net/udp": " 12: 0100007F:2710 00000000:0000 07\n",
        "/proc/7/limits": "Max open files            64                   64                   files",
    }
    host = PlayedHost(tmp_path / "root", files)
    for check in ("used_ports", "leftovers", "running"):
        assert [each.status for each in found(check, host, base, 7)] == [Status.OK]
    of_shard, of_supervisor = found("descriptors", host, base, 7)
    assert "64 descriptors a shard allow 16 calls" in of_shard.found
    assert "64 descriptors of the supervisor hold the media sockets of 0 of 16 calls" in of_supervisor.found


def test_the_supervisor_holds_the_sockets_of_calls_with_what_its_clients_leave(
    base: Settings, tmp_path: Path
) -> None:
    limits = {
        "/proc/self/limits": "Max open files            1024                 20000                files"
    }
    settings = msgspec.structs.replace(base, ng=("127.0.0.1:2223",), ports="10000-11999")
    host = PlayedHost(tmp_path / "root", limits)
    of_shard, of_supervisor = found("descriptors", host, settings)
    assert of_shard == Finding(
        "descriptors", Status.OK, "20000 descriptors a shard: room for 500 calls (limited by ports)"
    )
    assert "of 500 calls, beside 8192 connections of clients (max_clients)" in of_supervisor.found
    settings = msgspec.structs.replace(settings, max_clients=9500)
    _, of_supervisor = found("descriptors", host, settings)
    assert of_supervisor.status is Status.WARNING
    assert "hold the media sockets of 118 of 500 calls, beside 19000 connections" in of_supervisor.found
    assert "or lower max_clients" in of_supervisor.remedy


@pytest.mark.parametrize(("capabilities", "limit"), [("1000000", 1048576), ("1fffeffffff", 20000)])
def test_the_start_raises_the_limit_as_far_as_its_rights_allow(
    capabilities: str, limit: int, base: Settings, tmp_path: Path
) -> None:
    """Root in a container may as a rule not raise the hard limit."""
    files = {
        "/proc/self/limits": "Max open files            1024                 20000                files",
        "/proc/self/status": f"CapEff:\t{capabilities}",
    }
    of_shard, of_supervisor = found("descriptors", PlayedHost(tmp_path / "root", files), base)
    assert of_shard.found.startswith(f"{limit} descriptors ")
    assert of_supervisor.found.startswith(f"{limit} descriptors ")


@pytest.mark.parametrize(("silent_s", "status"), [(0.0, Status.OK), (20.0, Status.WARNING)])
def test_a_supervisor_that_hangs_is_found_by_its_silence(
    silent_s: float, status: Status, base: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nh.stats.reader.time.monotonic", lambda: 1000.0)
    with own_segment(segment_name(base.runtime_path), 1) as segment:
        SupervisorWriter(segment).publish(SupervisorStats(heartbeat=1000.0 - silent_s))
        (finding,) = found("running", PlayedHost(tmp_path / "root", {}), base, 7)
    assert finding.status is status
    assert finding.found.endswith("has been silent for 20 s" if silent_s else "(pid 7)")


def test_a_store_that_takes_no_calls_of_the_nh_that_runs_is_found(base: Settings, tmp_path: Path) -> None:
    host = PlayedHost(tmp_path / "root", {})
    with own_segment(segment_name(base.runtime_path), 1) as segment:
        writer = SupervisorWriter(segment)
        writer.publish(SupervisorStats(store_pending=3, store_fault="there: the memory is full; raise it"))
        (full,) = found("stored", host, base, 7)
        writer.publish(SupervisorStats())
        (well,) = found("stored", host, base, 7)
    assert (full.status, full.found, full.remedy) == (
        Status.WARNING,
        "there: the memory is full",
        "raise it",
    )
    assert "not stored, 3 calls waiting" in full.meaning
    assert well.status is Status.OK
    (none,) = found("stored", host, base)
    assert none.status is Status.OK


def test_a_user_who_may_not_see_whether_nh_runs_is_told_so(
    base: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hidden(*_: object) -> None:
        raise PermissionError

    host = PlayedHost(tmp_path / "root", {})
    assert [each.status for each in found("running", host, base)] == [Status.OK]
    monkeypatch.setattr(Path, "open", hidden)
    (finding,) = found("running", host, base)
    assert finding.status is Status.WARNING
    assert finding.found.startswith("this user cannot see whether an nh runs with ")


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    os.seteuid(OTHER_UID)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_setting_that_several_checks_stumble_over_is_told_once_with_its_origin(base: Settings) -> None:
    wrong = msgspec.structs.replace(base, state="elsewhere://host")
    patient = Patient(Host(), wrong, None, origins={"state": "/etc/nh.toml:7"})
    (finding,) = [each for each in examine(patient) if "elsewhere://" in each.found]
    assert finding.check == "state"
    assert finding.found == "/etc/nh.toml:7: state: there is no store for elsewhere://"


def test_a_fault_of_the_settings_in_force_and_of_those_given_is_told_once(base: Settings) -> None:
    given = msgspec.structs.replace(base, state=str(base.runtime_path), state_key_file="/nowhere/key")
    running = msgspec.structs.replace(given, max_calls=6)
    origins = {"state_key_file": "/etc/nh.toml:5", "max_calls": "/etc/nh.toml:6"}
    changed = Difference("max_calls", Value(6, "/etc/nh.toml:6"), Value(0, "/etc/nh.toml:6"))
    compared = Comparison(LoadedSettings(given, origins), (changed,))
    patient = Patient(Host(), running, os.getpid(), compared, origins)
    told = list(examine(patient, {name: CHECKS[name] for name in ("settings", "state")}))
    faults = [(each.check, each.found) for each in told if each.status is Status.FAILURE]
    assert [check for check, _ in faults] == ["settings"]
    assert faults[0][1].startswith("/etc/nh.toml:5: state_key_file: ")


def test_all_checks_judge_by_what_the_nh_that_runs_told_once(base: Settings) -> None:
    base.runtime_path.mkdir()
    loaded = LoadedSettings(base, {})
    with locked(base.runtime_path), contextlib.closing(SettingsInForce(loaded, shards=1)) as told:
        patient = find_patient(loaded, lambda _: loaded)
        told.change(msgspec.structs.replace(base, max_calls=7), {"max_calls": None})
        assert patient.running
        assert patient.running.in_force
        assert patient.running.in_force.settings["max_calls"] == base.max_calls


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """The lock of a runtime directory is held, as by an nh that runs."""
    with (directory / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_what_a_user_may_not_look_into_is_no_bug_and_no_failure(tmp_path: Path) -> None:
    """An operator without root on the host of a relay, whose HOME may be another user's."""
    directory = tmp_path / "nh"
    directory.mkdir(mode=0o700)
    (directory / LOCK_NAME).touch()
    settings = Settings(runtime_dir=str(directory), kernel="off")  # type: ignore[arg-type]
    with another_user():
        findings = list(examine(Patient(Host(), settings, running_pid(directory))))
    by_check = {each.check: each for each in findings}
    assert not [each for each in findings if "this is a bug" in each.remedy]
    assert by_check["running"].found == f"this user cannot see whether an nh runs with {directory}"
    assert not by_check["settings"].found.startswith("no nh runs")
    start = [by_check[name] for name in ("runtime_dir", "state", "rpc")]
    assert {each.status for each in start} == {Status.WARNING}
    assert all("does not start" not in each.meaning or "an nh that runs" in each.meaning for each in start)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_directory_below_one_that_a_user_may_not_enter_is_named(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    below = tmp_path / "private" / "nh"
    with another_user():
        for named in (True, False):
            with pytest.raises(ConfigError, match=f"state: {below}: this user may not enter /"):
                check_dir(below, STATE_DIR, named=named)
        with pytest.raises(ConfigError, match=r"rpc: .*: Permission denied; name another path"):
            check_directory("rpc", below / "nh.sock")


def test_a_setting_that_would_end_a_start_may_not_be_that_of_the_nh_that_runs(tmp_path: Path) -> None:
    host = PlayedHost(tmp_path / "root", {})
    other = Settings(ports="20000-20003", shards=8)
    (without,) = found("shards", host, other)
    (beside,) = found("shards", host, other, 7)
    assert without.status is beside.status is Status.FAILURE
    assert without.meaning.startswith("nh does not start")
    assert beside.meaning == "the nh that runs has other settings than these, or could not start again"
    assert beside.remedy.startswith("give nh doctor the flags, environment and file of nh run; else ")


@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_a_default_store_that_nh_would_run_without_is_a_warning(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = tmp_path / "default"
    default.mkdir()
    monkeypatch.setattr("nh.config.settings._default_state_path", lambda: default)
    monkeypatch.setattr("nh.config.settings.default_runtime_path", lambda: tmp_path / "run")
    default.chmod(mode)

    (finding,) = found(
        "state", PlayedHost(tmp_path / "root", {}), Settings(runtime_dir=str(tmp_path / "run"))
    )

    if mode == 0o700:
        assert (finding.status, finding.found) == (Status.OK, "the directory can be used")
    else:
        assert finding.status is Status.WARNING
        assert finding.found.startswith(f"state: every user can write to {default}")
        assert finding.remedy.startswith(f"`chmod o-w {default}`")


def test_what_a_killed_run_left_is_said(base: Settings, tmp_path: Path) -> None:
    directory = base.runtime_path
    directory.mkdir()
    (directory / "shard-0-aa.sock").touch()
    (finding,) = found("leftovers", PlayedHost(tmp_path / "root", {}), base)
    assert finding.found == "a killed run left 1 files, which the next start removes"
    alive = {"/proc/net/unix": f"0: 1 {directory}/shard-0-aa.sock"}
    (finding,) = found("leftovers", PlayedHost(tmp_path / "root", alive), base)
    assert (finding.status, finding.remedy) == (Status.WARNING, "start nh: it takes these calls over")


@pytest.mark.parametrize("check", HOST_CHECKS)
@pytest.mark.parametrize("content", ["", "garbage \x00\x1b[2J", "-1", "9" * 400])
def test_no_file_of_a_host_breaks_a_check(check: str, content: str, base: Settings, tmp_path: Path) -> None:
    host = PlayedHost(tmp_path / "root", dict.fromkeys(SOUND, content))
    for finding in found(check, host, base):
        assert not re.match(r"the check \S+ failed", finding.found)
        assert finding.found.isprintable()


@pytest.mark.parametrize("check", ["state_disk", "records", "leftovers", "descriptors"])
def test_a_path_that_cannot_be_looked_at_breaks_no_check(check: str, base: Settings, tmp_path: Path) -> None:
    path = str(tmp_path / ("x" * 300))
    settings = msgspec.structs.replace(base, runtime_dir=path, state=path, records=(path,))
    for finding in found(check, PlayedHost(tmp_path / "root", {}), settings):
        assert not re.match(r"the check \S+ failed", finding.found)


def test_a_host_without_proc_and_sys_is_examined_too(base: Settings, tmp_path: Path) -> None:
    for check in HOST_CHECKS:
        for finding in found(check, Host(tmp_path / "empty"), base):
            assert not re.match(r"the check \S+ failed", finding.found)


@pytest.fixture
def hang() -> Iterator[Check]:
    """A check that ends with the test."""
    release = threading.Event()

    def check(patient: Patient) -> Iterator[Finding]:
        release.wait(20)
        yield ok("late")

    yield check
    release.set()


def test_a_check_that_hangs_or_fails_is_a_finding_and_the_others_go_on(
    base: Settings, hang: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "CHECK_S", 0.5)

    def fail(patient: Patient) -> Iterator[Finding]:
        yield warning("so far", "nothing", "nothing")
        raise ValueError("odd")

    def fine(patient: Patient) -> Iterator[Finding]:
        yield ok("fine")

    patient = Patient(Host(tmp_path), base, None)
    findings = []
    for finding in examine(patient, {"hang": hang, "fail": fail, "fine": fine}):
        findings.append(finding)
        monkeypatch.setattr(doctor, "CHECK_S", 20.0)  # the others do not hang, but a busy host is slow
    assert [(each.check, each.status) for each in findings] == [
        ("hang", Status.WARNING),
        ("fail", Status.WARNING),
        ("fail", Status.WARNING),
        ("fine", Status.OK),
    ]
    assert "the check fail failed: ValueError: odd" in findings[2].found
    assert worst(findings) is Status.WARNING


def test_a_host_without_threads_is_a_finding_of_each_check(base: Settings, tmp_path: Path) -> None:
    def fine(patient: Patient) -> Iterator[Finding]:
        yield ok("fine")

    with no_threads("cards"):
        findings = list(examine(Patient(Host(tmp_path), base, None), {"cards": fine, "cpus": fine}))
    assert [(each.check, each.status) for each in findings] == [
        ("cards", Status.WARNING),
        ("cpus", Status.OK),
    ]
    assert findings[0].found == "the check cards cannot begin: no thread can be started"
    assert findings[0].remedy.startswith("raise the limit on processes")


def test_what_a_check_has_found_before_it_hangs_is_told(
    base: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, release = threading.Event(), threading.Event()

    class Patience(threading.Thread):
        """Is given up when the check hangs, and not before."""

        def join(self, timeout: float | None = None) -> None:
            assert timeout is not None
            assert hangs.wait(30)

    def check(patient: Patient) -> Iterator[Finding]:
        yield warning("so far", "something", "something")
        hangs.set()
        release.wait(30)

    monkeypatch.setattr(doctor, "threading", SimpleNamespace(Thread=Patience))
    findings = list(examine(Patient(Host(tmp_path), base, None), {"cards": check}))
    release.set()
    assert [each.found.partition(" within")[0] for each in findings] == [
        "so far",
        "the check cards did not end",
    ]


def test_a_slow_server_of_the_store_is_waited_for_longer_than_a_local_check(
    base: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float | None] = []

    class Asked(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            limits.append(timeout)
            super().join(30)

    def check(patient: Patient) -> Iterator[Finding]:
        yield ok("fine")

    monkeypatch.setattr(doctor, "threading", SimpleNamespace(Thread=Asked))
    names = ("cards", "store_server")
    _ = list(examine(Patient(Host(tmp_path), base, None), dict.fromkeys(names, check)))
    # a second for the connection, and two for each reply to TLS, account, database and question
    assert limits == [5.0, 15.0]


def test_of_several_checks_that_hang_or_fail_each_is_a_finding(
    base: Settings, hang: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "CHECK_S", 0.05)

    def fail(patient: Patient) -> Iterator[Finding]:
        yield from ()
        raise ValueError("odd")

    patient = Patient(Host(tmp_path), base, None)
    hanging = list(examine(patient, {"cards": hang, "firewall": hang}))
    monkeypatch.setattr(doctor, "CHECK_S", 20.0)
    failing = list(examine(patient, {"cpus": fail, "clock": fail}))
    assert [each.check for each in hanging + failing] == ["cards", "firewall", "cpus", "clock"]


def test_the_extra_for_secure_media_is_missed_where_proxies_may_need_it(
    base: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = PlayedHost(tmp_path / "root", {})
    with_ng = msgspec.structs.replace(base, ng=("127.0.0.1:2223",), address="192.0.2.1")
    assert found("secure_media", host, with_ng)[0].status is Status.OK
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "OpenSSL" else object())
    (finding,) = found("secure_media", host, with_ng)
    assert finding.status is Status.WARNING
    assert "the extra srtp is not installed (pyOpenSSL)" in finding.found
    assert "pip install '.[srtp]'" in finding.remedy
    assert found("secure_media", host, base)[0].status is Status.OK


def run_doctor(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nh", "doctor", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
        env=os.environ | {"NH_STATE": "off", "NH_KERNEL": "off"},
    )


def test_the_command_examines_the_host_that_it_runs_on(tmp_path: Path) -> None:
    with namespaces(1) as (host,), host.entered():
        done = run_doctor("--runtime-dir", str(tmp_path / "run"), "--json")
        assert done.returncode == 0, done.stdout
        findings = {each["check"]: each for each in json.loads(done.stdout)["findings"]}
        assert set(CHECKS) <= set(findings)
        assert not (tmp_path / "run").exists()
        missing = run_doctor("--runtime-dir", str(tmp_path / "run"), "--address", "192.0.2.1", "-q")
        assert missing.returncode == 1
        assert (
            "failure  address          command line: --address: 192.0.2.1 is not on this host"
            in missing.stdout
        )
        host.run("ip address add 192.0.2.1/24 dev lo")
        assert run_doctor("--runtime-dir", str(tmp_path / "run"), "--address", "192.0.2.1").returncode == 0


def test_the_command_sees_the_nh_that_runs(tmp_path: Path) -> None:
    with runtime_dir(tmp_path):
        done = run_doctor("--runtime-dir", str(tmp_path), "--ports", "40000-40099", "--share-ports")
    assert f"nh runs with {tmp_path} (pid {os.getpid()})" in done.stdout


def test_the_reference_lists_every_check() -> None:
    page = Path(__file__).parents[2].joinpath("docs/reference/doctor.md").read_text()
    rows = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert rows == set(CHECKS)
