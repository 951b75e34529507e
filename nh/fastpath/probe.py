"""Whether this host can run the path in the kernel, and if not, why, in one line for people.

The answer comes from an attempt: the program is loaded with tiny maps and let go of. Whether it can be
attached to an interface is not asked. "Cannot tell" is not "no": what may go well another time is UNKNOWN.
"""

import dataclasses
import enum
import errno
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from nh.errors import KernelPathUnavailable
from nh.fastpath.bpf import SYSCALL_NUMBERS
from nh.fastpath.loader import kernel_release, load

OLDEST: Final = (5, 10)
"""The first Linux with bpf_redirect_neigh and all else that the program needs."""

_CAP_NET_ADMIN: Final = 12
_CAP_SYS_ADMIN: Final = 21
_CAP_BPF: Final = 39

_SHORTAGES: Final = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EINTR, errno.ENOSPC)


class Answer(enum.Enum):
    """Yes, no, or cannot tell."""

    SUPPORTED = "supported"
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"


class Support(NamedTuple):
    """An answer and, unless it is SUPPORTED, its reason: one line without a full stop."""

    answer: Answer
    why: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Host:
    """What is known of this host and process; "" where it cannot be read.

    Arguments:
        system, machine, release: as uname(2) has them.
        status: /proc/self/status.
        uid_map: /proc/self/uid_map.
        lockdown: /sys/kernel/security/lockdown.
    """

    system: str
    machine: str
    release: str
    status: str
    uid_map: str
    lockdown: str


def probe() -> Support:
    """Tries to load the program; takes some milliseconds, leaves nothing behind."""
    return judge(_this_host(), lambda: load(1).close())


def judge(host: Host, attempt: Callable[[], None]) -> Support:
    """The answer for `host`, where `attempt` loads the program or raises KernelPathUnavailable."""
    if host.system != "Linux":
        return Support(Answer.UNSUPPORTED, f"it needs Linux, this is {host.system}")
    if host.machine not in SYSCALL_NUMBERS:
        known = " and ".join(SYSCALL_NUMBERS)
        return Support(Answer.UNSUPPORTED, f"it is made for {known}, this is {host.machine}")
    if (0, 0) < kernel_release(host.release) < OLDEST:
        return Support(Answer.UNSUPPORTED, f"it needs Linux 5.10 or later, this is {host.release}")
    try:
        attempt()
    except KernelPathUnavailable as refusal:
        if refusal.errno in _SHORTAGES:
            return Support(Answer.UNKNOWN, _one_line(str(refusal)))
        return Support(Answer.UNSUPPORTED, _reason(host, refusal))
    return Support(Answer.SUPPORTED)


def _reason(host: Host, refusal: KernelPathUnavailable) -> str:
    if refusal.errno == errno.ENOSYS:
        hidden = _is_filtered(host)
        return "a seccomp filter hides bpf(2) from nh" if hidden else "this kernel was built without bpf(2)"
    if refusal.errno == errno.EPERM:
        return f"nh may not load BPF programs: {_obstacle(host)}"
    return _one_line(str(refusal))


def _obstacle(host: Host) -> str:
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


def _missing_capabilities(host: Host) -> list[str]:
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", host.status, re.MULTILINE)
    if found is None:
        return []
    effective = int(found[1], 16)
    if effective >> _CAP_SYS_ADMIN & 1:
        return []
    wanted = {"CAP_BPF": _CAP_BPF, "CAP_NET_ADMIN": _CAP_NET_ADMIN}
    return [name for name, bit in wanted.items() if not effective >> bit & 1]


def _is_filtered(host: Host) -> bool:
    """Whether a seccomp filter judges this process's system calls."""
    return re.search(r"^Seccomp:\s*2$", host.status, re.MULTILINE) is not None


def _one_line(message: str) -> str:
    """The message without the verifier's log, but for the log's last word on the matter."""
    first, *log = [line.strip() for line in message.splitlines() if line.strip()] or [message]
    verdict = [line for line in log if not line.startswith("processed ")]
    return f"{first} … {verdict[-1]}" if verdict else first


def _this_host() -> Host:
    return Host(
        platform.system(),
        platform.machine(),
        platform.release(),
        _text("/proc/self/status"),
        _text("/proc/self/uid_map"),
        _text("/sys/kernel/security/lockdown"),
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
