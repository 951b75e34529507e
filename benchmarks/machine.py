"""What the benchmarks ran on, and how busy it is."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Final

import msgspec

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_IDLE_COLUMNS: Final = (3, 4)
"""idle and iowait in /proc/stat (proc(5)); guest times, from column 8 on, are in user's already."""


class Machine(msgspec.Struct, frozen=True):
    """Where figures come from: versions by the name of what has them; "" for what is not there."""

    cpu: str
    cpus: int
    memory_bytes: int
    versions: dict[str, str]


def busy_s() -> float:
    """CPU seconds, of all CPUs together, in which the machine was not idle since it started."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(t for column, t in enumerate(ticks) if column not in _IDLE_COLUMNS) / _TICKS_PER_S


def describe_machine() -> Machine:
    """This machine."""
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    versions = {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nh": _said(
            "git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"
        ),
        "perl": _said("perl", "-e", "print substr($^V, 1)"),
        "Net::SIP": _said("perl", "-MNet::SIP", "-e", "print $Net::SIP::VERSION"),
        "rtpengine": _said("rtpengine", "--version").removeprefix("Version: "),
        "cc": _said("cc", "-dumpfullversion"),
    }
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(models[0] if models else platform.machine(), os.cpu_count() or 1, memory_bytes, versions)


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip() if done.returncode == 0 else ""
