"""Whether this host can run the kernel path, and if it cannot, the reason in one line.

The answer comes from an attempt to load the program. "Cannot tell" is not "no": an attempt that may succeed
another time is UNKNOWN. Attaching to interfaces is not part of it.
"""

import dataclasses
import enum
import errno
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from nh.errors import KernelPathUnavailable
from nh.fastpath.bpf import SYSCALL_NUMBERS
from nh.fastpath.loader import kernel_release, load

T = TypeVar("T")

OLDEST: Final = (5, 10)
"""The first Linux with bpf_redirect_neigh and all else that the program needs."""

CAP_NET_ADMIN: Final = 12
_CAP_SYS_ADMIN: Final = 21
_CAP_BPF: Final = 39

_SHORTAGES: Final = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EINTR, errno.ENOSPC)


class Availability(enum.Enum):
    """Yes, no, or cannot tell."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


class Support(NamedTuple):
    """Whether the host has it and, unless it is AVAILABLE, the reason: one line without a full stop."""

    availability: Availability
    why: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class HostFacts:
    """What is known of this host and process; "" where it cannot be read.

    Attributes:
        system, machine, release: as uname(2) has them.
        status: /proc/self/status.
        uid_map: /proc/self/uid_map.
        lockdown: /sys/kernel/security/lockdown.
        clock_offsets: /proc/self/timens_offsets.
    """

    system: str
    machine: str
    release: str
    status: str
    uid_map: str
    lockdown: str
    clock_offsets: str = ""


def probe() -> Support:
    """Load the program with tiny maps and release it; takes some milliseconds."""
    return judge(this_host(), lambda: load(1).close())


def judge(host: HostFacts, attempt: Callable[[], object]) -> Support:
    """Whether `host` has the path, where `attempt` loads the program or raises KernelPathUnavailable."""
    try:
        explained(host, attempt)
    except KernelPathUnavailable as refusal:
        availability = Availability.UNKNOWN if refusal.errno in _SHORTAGES else Availability.UNAVAILABLE
        return Support(availability, str(refusal))
    return Support(Availability.AVAILABLE)


def explained(host: HostFacts, attempt: Callable[[], T]) -> T:
    """What `attempt` returns, which loads the program on `host`.

    Raises:
        KernelPathUnavailable: `attempt` failed, or the host is known to be unfit; the message is the
            reason, in one line without a full stop.
    """
    if unfit := _unfit(host):
        raise KernelPathUnavailable(unfit, errno=errno.ENOTSUP)
    try:
        return attempt()
    except KernelPathUnavailable as refusal:
        raise KernelPathUnavailable(_reason(host, refusal), errno=refusal.errno) from refusal


def _unfit(host: HostFacts) -> str:
    """Why the program need not be tried on `host`; "" if it is to be tried."""
    if host.system != "Linux":
        return f"it needs Linux, this is {host.system}"
    if host.machine not in SYSCALL_NUMBERS:
        return f"it is made for {' and '.join(SYSCALL_NUMBERS)}, this is {host.machine}"
    if (0, 0) < kernel_release(host.release) < OLDEST:
        return f"it needs Linux 5.10 or later, this is {host.release}"
    if re.search(r"^monotonic(?!\s+0\s+0\s*$)", host.clock_offsets, re.MULTILINE):
        return "nh is in a time namespace, whose clock is not that of BPF programs"
    return ""


def _reason(host: HostFacts, refusal: KernelPathUnavailable) -> str:
    if refusal.errno == errno.ENOSYS:
        hidden = _is_filtered(host)
        return "a seccomp filter hides bpf(2) from nh" if hidden else "this kernel was built without bpf(2)"
    if refusal.errno == errno.EPERM:
        return f"nh may not load BPF programs: {_find_obstacle(host)}"
    return _one_line(str(refusal))


def _find_obstacle(host: HostFacts) -> str:
    """What stands between nh and bpf(2): known for the first two, likely for the others."""
    missing = _missing_capabilities(host)
    in_namespace = host.uid_map != "" and host.uid_map.split() != ["0", "0", "4294967295"]
    locked_down = re.search(r"\[(integrity|confidentiality)\]", host.lockdown) is not None
    obstacles = (
        (bool(missing), f"it lacks {' and '.join(missing)}"),
        (in_namespace, "capabilities of a user namespace do not count for that"),
        (_is_filtered(host), "probably for a seccomp filter, such as that of a container"),
        (locked_down, "probably for the kernel's lockdown"),
        (kernel_release(host.release) < (5, 11), "probably for the limit of locked memory (RLIMIT_MEMLOCK)"),
        (True, "probably for a security module (bpf(2) says EPERM)"),
    )
    return next(words for stands, words in obstacles if stands)


def effective_capabilities(status: str) -> int | None:
    """The effective capabilities of a process, a bit for each (capabilities(7)).

    Args:
        status: content of its /proc/PID/status.

    Returns:
        The bits; None: `status` does not have them.
    """
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return int(found[1], 16) if found else None


def _missing_capabilities(host: HostFacts) -> list[str]:
    effective = effective_capabilities(host.status)
    if effective is None or effective >> _CAP_SYS_ADMIN & 1:
        return []
    wanted = {"CAP_BPF": _CAP_BPF, "CAP_NET_ADMIN": CAP_NET_ADMIN}
    return [name for name, bit in wanted.items() if not effective >> bit & 1]


def _is_filtered(host: HostFacts) -> bool:
    """Whether a seccomp filter judges this process's system calls."""
    return re.search(r"^Seccomp:\s*2$", host.status, re.MULTILINE) is not None


def _one_line(message: str) -> str:
    """The message without the verifier's log, but for the log's last word on the matter."""
    first, *log = [line.strip() for line in message.splitlines() if line.strip()] or [message]
    verdict = [line for line in log if not line.startswith("processed ")]
    return f"{first} … {verdict[-1]}" if verdict else first


def this_host() -> HostFacts:
    """This host and process."""
    return HostFacts(
        platform.system(),
        platform.machine(),
        platform.release(),
        _text("/proc/self/status"),
        _text("/proc/self/uid_map"),
        _text("/sys/kernel/security/lockdown"),
        _text("/proc/self/timens_offsets"),
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
