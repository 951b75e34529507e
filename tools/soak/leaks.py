"""What a relay must not take more and more of while it runs, nor leave behind when it is gone."""

import contextlib
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from nh.client import NativeClient
from nh.commands import CloseCall
from nh.errors import StatsUnavailable
from nh.stats import segment_name
from tools.harness.deployment import Deployment
from tools.survive.calls import list_calls

SHARED_MEMORY: Final = Path("/dev/shm")
STAYS: Final = {"nh.lock"}
"""What nh leaves in its runtime directory on purpose."""

OF_A_DEAD_RUN: Final = ("calls.epoch", "calls.journal", "supervisor.sock", "shard-")
"""What a run that was killed leaves to the next one that serves; a standby has not served yet."""

SPARE_DESCRIPTORS: Final = 8
"""Epolls, timers and a connection more or less are no leak."""

SPARE_MEMORY: Final = 0.1
SPARE_BYTES: Final = 16 << 20
"""How much more the last third of the time may take than the third before: Python's arenas fill up slowly."""

MIN_READINGS: Final = 30


class Reading(NamedTuple):
    """What a relay has of the host: descriptors, and bytes of resident memory, of all its processes."""

    descriptors: int
    memory_bytes: int


def read(relays: Sequence[Deployment]) -> Reading:
    """What they have now, together; processes that are just ending do not count."""
    descriptors = memory_bytes = 0
    for process in (process for relay in relays for process in relay.processes()):
        with contextlib.suppress(psutil.Error):
            descriptors += process.num_fds()
            memory_bytes += process.memory_info().rss
    return Reading(descriptors, memory_bytes)


def memory_trend(readings: Sequence[Reading]) -> list[str]:
    """A finding if memory grew and grew; the first third of the time does not count."""
    third = len(readings) // 3
    if len(readings) < MIN_READINGS:
        return []
    middle, last = (
        statistics.median(reading.memory_bytes for reading in part)
        for part in (readings[third : 2 * third], readings[2 * third :])
    )
    if last <= middle * (1 + SPARE_MEMORY) + SPARE_BYTES:
        return []
    return [f"memory grew from {middle / 2**20:.0f} to {last / 2**20:.0f} MiB in the last third of the time"]


def still_taken(relays: Sequence[Deployment], idle: Reading) -> list[str]:
    """What a relay without calls has and should not have.

    Args:
        relays: the first one has the calls; the others are its standbys.
        idle: what they had before the first call.
    """
    try:
        totals = relays[0].stats().totals
    except StatsUnavailable as exc:
        return [f"its statistics cannot be read: {exc}"]
    lines = []
    if totals.ports_free != totals.ports_total:
        lines.append(f"{totals.ports_total - totals.ports_free} media ports are still taken")
    if totals.kernel_flows:
        lines.append(f"{totals.kernel_flows} flows are still in the kernel")
    if totals.calls:
        lines.append(f"{totals.calls} calls are still there")
    descriptors = read(relays).descriptors
    if descriptors > idle.descriptors + SPARE_DESCRIPTORS:
        lines.append(f"{descriptors} descriptors are open, {idle.descriptors} were before the first call")
    return lines


def close_all(relay: Deployment) -> int:
    """Close the calls that a relay has; how many there were."""
    with NativeClient(relay.address) as client:
        names = list(list_calls(client))
        for name in names:
            client.request(CloseCall(name))
    return len(names)


def left_behind(deployment: Deployment, *, had_died: bool = False) -> list[str]:
    """What is still there of a relay that has ended.

    Args:
        deployment: the relay.
        had_died: whether an earlier run may have left what only the next one that serves removes.
    """
    lines = [f"process {process.pid} still runs: {_command(process)}" for process in _survivors(deployment)]
    segment = SHARED_MEMORY / segment_name(deployment.place.directory)
    if segment.exists():
        lines.append(f"{segment} is still there")
    files = sorted(path.name for path in deployment.place.directory.iterdir() if path.name not in STAYS)
    if had_died:
        files = [name for name in files if not name.startswith(OF_A_DEAD_RUN)]
    if files:
        lines.append(f"in its runtime directory there are still {', '.join(files)}")
    return lines


def _survivors(deployment: Deployment) -> list[psutil.Process]:
    """Processes with the environment of the deployment, whatever their parent is now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("NH_STATE") == str(deployment.settings["state"]):
                found.append(process)
    return found


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())[:100]
    return "gone by now"
