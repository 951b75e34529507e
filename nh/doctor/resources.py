"""Checks of what a host lends to processes: CPUs, descriptors, memory, clock, and what dead runs left."""

import os
from pathlib import Path
from typing import Final

from nh.doctor.findings import Finding, Findings, failure, fault_and_remedy, ok, warning
from nh.doctor.host import Host
from nh.doctor.patient import Patient
from nh.errors import ConfigError
from nh.ipc.handover_socket import SHARDS
from nh.printable import counted
from nh.rpc.protocols import most_connections
from nh.stats import segment_name
from nh.supervisor.host.fd_limits import CALL_SOCKETS, capacity, holdable_sockets
from nh.supervisor.host.port_slices import port_slices
from nh.supervisor.records.targets import fault_of

MIN_SHM_BYTES: Final = 1 << 20
MIN_STATE_BYTES: Final = 64 << 20

SLOW_CLOCKS: Final = frozenset({"hpet", "acpi_pm", "jiffies", "refined-jiffies"})
"""Clock sources that cost microseconds a reading."""

OPEN_FILES: Final = "Max open files"
"""The line of /proc/PID/limits; the soft limit and the hard one follow."""

CAP_SYS_RESOURCE: Final = 24
"""Its number in capabilities(7). Root in a container as a rule has not got it."""

_MORE_DESCRIPTORS: Final = (
    "raise the hard limit: LimitNOFILE=1048576 in the unit, or `ulimit -n 1048576` before nh run"
)


def check_descriptors(patient: Patient) -> Findings:
    """Whether descriptors limit the calls, or those that the supervisor holds the media sockets of."""
    limit = _descriptor_limit(patient)
    try:
        ports = port_slices(*patient.settings.port_range, patient.shards)
    except ConfigError:  # the check of the shards says it
        return
    room = capacity(ports, limit, patient.settings.relay)
    if room.limited_by == "descriptors":
        by_ports = sum((high + 1 - low) // CALL_SOCKETS for low, high in ports)
        yield warning(
            f"{limit} descriptors a shard allow {room.calls} calls, the media ports allow {by_ports}",
            "further calls are refused",
            _MORE_DESCRIPTORS,
        )
    else:
        calls = counted(room.calls, "call")
        yield ok(f"{limit} descriptors a shard: room for {calls} (limited by {room.limited_by})")
    yield _of_supervisor(patient, limit, room.calls)


def _of_supervisor(patient: Patient, limit: int, calls: int) -> Finding:
    clients = most_connections(patient.settings)
    held = holdable_sockets(limit, patient.settings, patient.shards) // CALL_SOCKETS
    hold = f"{limit} descriptors of the supervisor hold the media sockets of"
    beside = f"beside {clients} connections of clients (max_clients)"
    if held < calls:
        return warning(
            f"{hold} {held} of {calls} calls, {beside}",
            "if a shard dies, further calls lose what arrives until its next process has bound their ports",
            f"{_MORE_DESCRIPTORS}; or lower max_clients",
        )
    return ok(f"{hold} {counted(calls, 'call')}, {beside}")


def _descriptor_limit(patient: Patient) -> int:
    """How many descriptors the supervisor and each shard may have, or would: the start raises the limit."""
    host = patient.host
    if patient.pid and (soft := _open_files(host, str(patient.pid), hard=False)):
        return soft
    most = next(iter(host.numbers("/proc/sys/fs/nr_open")), 1 << 20)
    hard = _open_files(host, "self", hard=True)
    return max(most, hard) if host.has_capability(CAP_SYS_RESOURCE) or not hard else hard


def _open_files(host: Host, process: str, *, hard: bool) -> int:
    """A limit of a process on open files; 0: there is none, or it cannot be read."""
    for line in host.text(f"/proc/{process}/limits").splitlines():
        if line.startswith(OPEN_FILES):
            limit = line.removeprefix(OPEN_FILES).split()[hard]
            return int(limit) if limit.isdecimal() else 0
    return 0


def check_cpus(patient: Patient) -> Findings:
    """Whether the shards have the CPUs that they are made for."""
    cpus, shards = patient.host.cpus, patient.shards
    quota = _cpu_quota(patient)
    if quota is not None and quota < shards:
        yield warning(
            f"the cgroup allows {quota:g} CPUs, and nh has {counted(shards, 'shard')}",
            "the kernel pauses the shards for tens of milliseconds, which is audible",
            f"set shards = {max(1, int(quota))}, or raise the quota (CPUQuota=, --cpus)",
        )
    elif shards > cpus:
        yield warning(
            f"{shards} shards share {counted(cpus, 'CPU')}",
            "shards wait for each other",
            f"set shards = {cpus}, or give nh more CPUs",
        )
    else:
        limit = "no quota" if quota is None else f"quota {quota:g}"
        yield ok(f"{counted(cpus, 'CPU')} for {counted(shards, 'shard')}, {limit}")


def _cpu_quota(patient: Patient) -> float | None:
    """The CPUs that the control groups of nh allow, cgroups(7); None: no limit."""
    host = patient.host
    quotas: list[float] = []
    for line in host.text(f"/proc/{patient.pid or 'self'}/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        for group in (Path(path), *Path(path).parents):
            if not controllers:
                limit, _, period = host.text(f"/sys/fs/cgroup{group}/cpu.max").partition(" ")
            elif "cpu" in controllers.split(","):
                limit = host.text(f"/sys/fs/cgroup/cpu{group}/cpu.cfs_quota_us")
                period = host.text(f"/sys/fs/cgroup/cpu{group}/cpu.cfs_period_us")
            else:
                break
            if limit.isdecimal() and period.isdecimal() and int(period):
                quotas.append(int(limit) / int(period))
    return min(quotas, default=None)


def check_shared_memory(patient: Patient) -> Findings:
    """Whether the statistics have room."""
    free = patient.host.free_bytes("/dev/shm")
    if free is None:
        yield failure(
            "there is no /dev/shm",
            "nh does not start: its statistics are shared memory",
            "mount it: `mount -t tmpfs shm /dev/shm`; in a container: --shm-size 64m",
        )
    elif not patient.host.is_writable("/dev/shm"):
        yield failure(
            "this user cannot write to /dev/shm",
            "nh does not start: its statistics are shared memory",
            "let its user write there: `mount -o remount,rw,mode=1777 /dev/shm`",
        )
    elif free < MIN_SHM_BYTES and patient.pid is None:
        yield failure(
            f"/dev/shm has {free // 1024} KiB left",
            "nh does not start: its statistics have no room",
            "remove what fills it; in a container: --shm-size 64m",
        )
    else:
        yield ok(f"/dev/shm has {free >> 20} MiB left")


def check_state_disk(patient: Patient) -> Findings:
    """Whether the store of calls has room."""
    path = patient.settings.state_path
    if path is None:
        yield ok("calls are not stored here")
        return
    there = next(each for each in (path, *path.absolute().parents) if patient.host.exists(str(each)))
    free = patient.host.free_bytes(str(there))
    if free is not None and free < MIN_STATE_BYTES:
        yield warning(
            f"the disk of {path} has {free >> 20} MiB left",
            "a full disk stores no calls: a restart of the host loses them",
            "make room, or name another directory with --state",
        )
    else:
        yield ok(f"the disk of {path} has room")


def check_records(patient: Patient) -> Findings:
    """Whether the targets of the records can take some."""
    targets = patient.settings.records
    faults = [(target, fault) for target in targets if (fault := fault_of(target))]
    for target, fault in faults:
        found, remedy = fault_and_remedy(fault)
        yield warning(f"{target}: {found}", "the records of calls that end are lost", remedy)
    if not faults:
        yield ok("all targets take records" if targets else "records are written nowhere (records)")


def check_clock(patient: Patient) -> Findings:
    """Whether the clock is right, and quick to read."""
    source = patient.host.text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    if source in SLOW_CLOCKS:
        yield warning(
            f"the clock source is {source}",
            "each reading of the clock costs microseconds of CPU",
            "boot with clocksource=tsc, or see what dmesg says of the clock",
        )
    if not patient.host.clock_is_synchronized():
        yield warning(
            "the clock is not synchronized",
            "times in logs and records differ from those of the proxy; relaying does not depend on it",
            "run chrony or systemd-timesyncd",
        )
    elif source not in SLOW_CLOCKS:
        yield ok(f"the clock is synchronized{f', its source is {source}' if source else ''}")


def check_leftovers(patient: Patient) -> Findings:
    """What runs left that are dead."""
    if patient.pid is not None:
        yield ok("nh runs: what it has is its own")
        return
    if patient.is_hidden:
        yield ok("this user cannot see what dead runs left")
        return
    directory = patient.settings.runtime_path
    listening = patient.host.text("/proc/net/unix")
    sockets = [str(path) for path in sorted(directory.glob(SHARDS))] if os.access(directory, os.R_OK) else []
    orphans = [path for path in sockets if path in listening]
    if orphans:
        yield warning(
            f"{len(orphans)} orphaned shards relay calls of a run that was killed",
            "their calls go on, but no new ones are taken",
            "start nh: it takes these calls over",
        )
    name = segment_name(directory)
    left = len(sockets) - len(orphans) + patient.host.exists(f"/dev/shm/{name}")
    if left and not orphans:
        yield ok(f"a killed run left {left} files, which the next start removes")
    elif not orphans:
        yield ok("dead runs left nothing")
