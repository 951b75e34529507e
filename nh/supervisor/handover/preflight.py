"""Preflight of an upgrade: whether the installed code can start, before this process gives anything up.

The installed code is run as `nh run --preflight` with this process's arguments. It reads the
settings, starts a shard process, prints its version in JSON, and ends.
"""

import contextlib
import logging
import os
import subprocess
from collections.abc import Callable, Sequence
from typing import IO, Final

import msgspec

from nh.calls.snapshots.version import READABLE
from nh.config import Settings
from nh.config.table import KernelMode
from nh.errors import Unavailable
from nh.ipc.link_codec import encode
from nh.ipc.link_messages import Shutdown
from nh.loop import Loop, Timer
from nh.reasons import reason
from nh.supervisor.host.child_process import check_pidfds, wait_for_end
from nh.supervisor.runtime import listener_names
from nh.supervisor.shards.process import SHARD_ARGV, ShardProcess
from nh.version import __version__

logger = logging.getLogger(__name__)

CHECK_S: Final = 60.0
"""`nh run --preflight` may take so long. Calls and commands do not wait for it, and a busy host is slow."""

OUTPUT_BYTES: Final = 16_384
"""What is kept of each output: its end, which has the result, or the reason why there is none."""

_READ_BYTES: Final = 65_536
"""What is read at once: as much as a pipe holds."""


class CheckedIn(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `nh run --preflight` prints.

    Attributes:
        version: of the installed nh.
        reads: the versions of snapshots that it reads.
        no_kernel: why it would relay in user space, though the settings allow the kernel; "" if it would not,
            or that cannot be told.
        listeners: (kind, address) of the listening sockets that it uses; None: an earlier version does not
            tell.
    """

    version: str
    reads: tuple[int, ...]
    no_kernel: str = ""
    listeners: tuple[tuple[str, str], ...] | None = None


def check_in(settings: Settings, *, takes_over: bool) -> str:
    """Check settings, host and shard program; returns what `nh run --preflight` prints.

    Args:
        settings: of the next start.
        takes_over: whether a running nh ends for it; see check_takeover().

    Raises:
        ConfigError: the settings cannot be used.
        NotNow: this host does not give what they name.
        Unavailable: a shard process does not start.
    """
    # a start makes its own checks
    from nh.supervisor.running_nh import RunningNh, find_running  # noqa: PLC0415
    from nh.supervisor.start_checks import check_host, check_takeover  # noqa: PLC0415
    from nh.supervisor.store.open import check_server  # noqa: PLC0415

    check_pidfds()
    running = RunningNh(settings.runtime_path) if takes_over else find_running(settings.runtime_path)
    check_host(settings, running)
    if running is not None:
        check_takeover(settings, running)
    elif not settings.groups:  # a standby starts without the server, and asks it again
        check_server(settings)
    _try_shard()
    listeners = tuple(listener_names(settings))
    result = CheckedIn(__version__, READABLE, _why_not_in_kernel(settings), listeners)
    return msgspec.json.encode(result).decode()


def _why_not_in_kernel(settings: Settings) -> str:
    """See CheckedIn; where the settings demand the kernel, check_host() has tried it."""
    if settings.kernel is not KernelMode.AUTO:
        return ""
    from nh.fastpath.probe import Availability, probe  # noqa: PLC0415

    availability, why = probe()
    return why if availability is Availability.UNAVAILABLE else ""


def _try_shard() -> None:
    """Start a shard process, and end it by Shutdown."""
    process = ShardProcess.start(SHARD_ARGV)
    with process.link:
        with contextlib.suppress(OSError):  # it has ended already; how it did is the answer
            process.link.send(encode(Shutdown()))
        _ = wait_for_end(process.pidfd, CHECK_S / 2)
        process.kill()  # if it has not ended
        how = process.reap()
    if how != "exit status 0":
        raise Unavailable(f"a shard process does not start: {how}; the lines above may say why")


class Preflight:
    """One run of `nh run --preflight`, from construction on.

    Args:
        loop: watches the process.
        argv: the command line to check; `--preflight` is added.
        on_result: called once, with what it printed, or with the reason why it cannot be used.

    Raises:
        OSError: the program cannot be started.
    """

    def __init__(self, loop: Loop, argv: Sequence[str], on_result: Callable[[CheckedIn | str], None]) -> None:
        self._loop = loop
        self._on_result = on_result
        self._process = subprocess.Popen(
            [*argv, "--preflight"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._output = _Tail(loop, self._process.stdout)
        self._errors = _Tail(loop, self._process.stderr)
        self._killed = False
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(self._pidfd, self._on_end)
        self._timer: Timer = loop.call_later(CHECK_S, self._kill)

    def _kill(self) -> None:
        self._killed = True
        self._process.kill()

    def _on_end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._timer.cancel()
        os.close(self._pidfd)
        status = self._process.wait()
        output, errors = self._output.close(), self._errors.close()
        if status != 0:
            why = errors.decode(errors="replace").strip().splitlines()
            if self._killed:
                why.append(f"the installed code has not checked settings and host within {CHECK_S:g} s")
            for line in why[:-1]:
                logger.error("upgrade: the installed code says: %s", line)
            self._on_result(why[-1].removeprefix("nh: ") if why else f"it ended with status {status}")
            return
        try:
            self._on_result(msgspec.json.decode(output, type=CheckedIn))
        except msgspec.DecodeError as exc:
            self._on_result(f"the installed code printed no version: {reason(exc)}")


class _Tail:
    """The end of what a process writes into a pipe, which is read as it comes: a full pipe stops its writer.

    Args:
        loop: watches the pipe.
        pipe: it belongs to this object.
    """

    def __init__(self, loop: Loop, pipe: IO[bytes] | None) -> None:
        assert pipe is not None
        self._loop = loop
        self._pipe = pipe
        self._bytes = b""
        self._watched = True
        os.set_blocking(pipe.fileno(), False)
        loop.add_reader(pipe.fileno(), self._read)

    def close(self) -> bytes:
        """Read what is left, and return the end of it all. Another process may still have the pipe open."""
        self._read()
        self._unwatch()
        self._pipe.close()
        return self._bytes

    def _read(self) -> None:
        try:
            read = os.read(self._pipe.fileno(), _READ_BYTES)
        except BlockingIOError:
            return
        if not read:
            self._unwatch()
        self._bytes = (self._bytes + read)[-OUTPUT_BYTES:]

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._pipe.fileno())
