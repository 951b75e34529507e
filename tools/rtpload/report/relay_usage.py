"""What the relay takes of this host: CPU time and resident memory of a process and all below it."""

import contextlib
from pathlib import Path
from typing import NamedTuple

import psutil

from nh.address import UnixAddress, parse_rpc_address
from nh.config.sources import load_settings
from nh.errors import NhError, StatsUnavailable
from nh.stats import read_once
from tools.rtpload.errors import LoadFailed
from tools.rtpload.options import LoadOptions


class Usage(NamedTuple):
    """A reading.

    Args:
        cpu_s: CPU seconds since the processes began.
        memory_bytes: resident, added up; what processes share counts for each.
        processes: how many there are.
    """

    cpu_s: float
    memory_bytes: int
    processes: int


class RelayMeter:
    """Reads what a process tree uses.

    Args:
        pid: of its root.

    The CPU time of a child that has ended stays in the sum.

    Raises:
        LoadFailed: there is no such process.
    """

    def __init__(self, pid: int) -> None:
        try:
            self._root = psutil.Process(pid)
        except psutil.NoSuchProcess:
            raise LoadFailed(f"relay_pid: there is no process {pid}") from None
        self.pid = pid
        self._cpu_s: dict[tuple[int, float], float] = {}

    def read(self) -> Usage:
        """A reading; what has ended counts with what it had used by the reading before."""
        memory_bytes = processes = 0
        for process in self._tree():
            with contextlib.suppress(psutil.Error):
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info().rss
                self._cpu_s[process.pid, process.create_time()] = times.user + times.system
                memory_bytes += memory
                processes += 1
        return Usage(sum(self._cpu_s.values()), memory_bytes, processes)

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return []


def find_relay(options: LoadOptions) -> RelayMeter | None:
    """The meter that the options ask for, if any. Raises LoadFailed if there is no such relay."""
    if not options.relay_pid:
        return None
    if options.relay_pid != "auto":
        return RelayMeter(int(options.relay_pid))
    directory = _runtime_dir(options)
    try:
        pid = read_once(directory).supervisor.pid
    except StatsUnavailable as exc:
        raise LoadFailed(f"relay_pid auto: no nh runs with the runtime directory {directory}: {exc}") from exc
    return RelayMeter(pid)


def _runtime_dir(options: LoadOptions) -> Path:
    if options.runtime_dir:
        return Path(options.runtime_dir)
    with contextlib.suppress(NhError):
        address = parse_rpc_address(options.address)
        if isinstance(address, UnixAddress):
            return Path(address.path).parent
    return load_settings().runtime_path
