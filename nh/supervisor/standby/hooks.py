"""Hooks: programs of an operator's that run when a relay gets calls or gives them away.

A hook is started without a shell, and watched by the loop: neither its time nor its failure concerns a call.
"""

import contextlib
import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from nh.loop import Loop, Timer
from nh.printable import escaped
from nh.reasons import reason
from nh.stats.layout import SupervisorStats
from nh.supervisor.host.sd_notify import without_notify_socket

logger = logging.getLogger(__name__)

HOOK_S: Final = 10.0
"""A hook may run so long; then it is killed, with its children."""

KILLED_S: Final = 1.0
"""A hook that was killed may take so long to end; one of another user, as of sudo, does not."""

POLL_S: Final = 0.1
"""How often a hook is looked at that cannot be watched."""

MAX_LINES: Final = 50
"""Most lines of a hook's output that are logged."""

MAX_LINE: Final = 400


class Hook:
    """One run of a hook.

    Args:
        loop: watches it.
        setting: on_promote or on_demote.
        command: program and arguments, as a shell would split them; "": there is none.
        group: the prefix of the calls' store, which it gets as NH_GROUP.
        stats: counts failures.
        then: called once, when it is over.
    """

    def __init__(
        self,
        loop: Loop,
        setting: str,
        command: str,
        group: str,
        *,
        stats: SupervisorStats,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._name = f"{setting}: {command}"
        self._stats = stats
        self._then = then
        self._lines = 0
        self._rest = b""
        self._timer: Timer | None = None
        self._is_late = self._is_abandoned = self._is_over = False
        self._pidfd = -1
        argv = shlex.split(command)
        if not argv:
            loop.call_later(0, then)
            return
        logger.info("%s", self._name)
        try:
            self._start(argv, {"NH_GROUP": group, "NH_EVENT": setting})
        except OSError as exc:
            self._fail(f"cannot be started: {reason(exc)}")
            loop.call_later(0, then)

    def _start(self, argv: Sequence[str], variables: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**without_notify_socket(os.environ), **variables},
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._timer = self._loop.call_later(HOOK_S, self._on_late)
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
            self._loop.add_reader(self._pidfd, self._on_exit)
            self._loop.add_reader(self._output, self._read)
        except OSError as exc:  # no descriptor, or no watch, is left
            logger.warning("%s: is watched by polling: %s", self._name, reason(exc))
            self._poll()

    def _poll(self) -> None:
        if self._is_over:
            return
        self._loop.call_later(POLL_S, self._poll)
        self._read()
        # waitid() leaves the status for _on_exit()
        if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            self._on_exit()

    def _read(self) -> None:
        try:
            data = os.read(self._output, 65536)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._output)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._log_line(line)
        self._rest = self._rest[-MAX_LINE:]

    def _log_line(self, line: bytes) -> None:
        self._lines += 1
        if self._lines <= MAX_LINES:
            logger.info(
                "%s: says: %s", self._name, escaped(line[:MAX_LINE].decode(errors="backslashreplace"))
            )

    def _on_late(self) -> None:
        self._is_late = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._timer = self._loop.call_later(KILLED_S, self._abandon)

    def _abandon(self) -> None:
        self._fail(f"took more than {HOOK_S:g} s and cannot be killed (pid {self._process.pid})")
        self._is_abandoned = True
        self._then()

    def _on_exit(self) -> None:
        self._is_over = True
        self._read()
        if self._rest:
            self._log_line(self._rest)
        self._loop.remove_reader(self._output)
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        status = self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()  # a child of the hook may have it still
        if self._timer is not None:
            self._timer.cancel()
        if self._is_abandoned:
            return
        if self._is_late:
            self._fail(f"took more than {HOOK_S:g} s and was killed")
        elif status:
            self._fail(f"failed: exit status {status}" if status > 0 else f"failed: signal {-status}")
        self._then()

    def _fail(self, why: str) -> None:
        self._stats.hooks_failed += 1
        logger.error("%s: %s; calls go on; run it by hand if it has to move an address", self._name, why)
