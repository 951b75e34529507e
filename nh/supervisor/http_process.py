"""The process that serves HTTP (nh.http): its start, its restarts, its end."""

import contextlib
import logging
import math
import socket
import sys
from typing import Final

import msgspec

from nh.ipc.http_config import HEARTBEAT, HEARTBEAT_S, LINGER, HttpConfig, encode
from nh.logs.settings import LogSettings
from nh.loop import Loop, Timer
from nh.stats.layout import SupervisorStats
from nh.supervisor.host.child_process import ChildProcess

logger = logging.getLogger(__name__)

ARGV: Final = (sys.executable, "-P", "-m", "nh.http")
"""How the process is started; `--link-fd N` follows."""

RESTART_S: Final = 0.5
"""First delay between a death and the next start; it doubles from death to death."""

MAX_RESTART_S: Final = 30.0

START_S: Final = 30.0
"""A process may take so long to show life for the first time: it loads its libraries."""

HANG_S: Final = 10.0
"""A process that shows no life for so long is killed; it has a low priority, so a busy host may delay it."""

LONG_LIFE_S: Final = 60.0
"""A process that lived so long resets the delay."""


class HttpProcess:
    """At most one process from start() on; another one takes its place whenever it dies or hangs.

    Args:
        loop: watches the process.
        stats: counts restarts and hangs.
    """

    def __init__(self, loop: Loop, stats: SupervisorStats) -> None:
        self._loop = loop
        self._stats = stats
        self._config: HttpConfig
        self._process: ChildProcess | None = None
        self._started_at = 0.0
        self._restart_s = RESTART_S
        self._timer: Timer | None = None
        self._watch: Timer | None = None
        self._silent_polls = 0  # without a heartbeat; below 0 until the first one
        self._stopping = False

    def start(self, config: HttpConfig) -> None:
        """Start the process, unless it runs.

        Args:
            config: of the next process, and of each further one.
        """
        self._config = config
        if self._process is None and self._timer is None:
            self._launch()

    def change_log(self, log: LogSettings) -> None:
        """Have the process, and each further one, log with these settings. No effect before start()."""
        if self._process is None and self._timer is None:
            return
        self._config = msgspec.structs.replace(self._config, log=log)
        self._send(encode(log))

    def hand_over(self) -> None:
        """Start no process any more; the one that runs serves until that of the next supervisor does."""
        self._stop()
        if self._process is not None:
            self._send(LINGER)
            self._process.link.close()

    def close(self) -> None:
        """End the process now."""
        self._stop()
        self._end_process()

    def _send(self, record: bytes) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError):  # it has just died, or does not read: it hangs
                self._process.link.send(record, socket.MSG_DONTWAIT)

    def _stop(self) -> None:
        self._stopping = True
        self._stop_watch()
        if self._timer is not None:
            self._timer.cancel()

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _launch(self) -> None:
        self._timer = None
        self._started_at = self._loop.now()
        try:
            self._process = process = ChildProcess.start(ARGV, self._config.inherited)
            self._loop.add_reader(process.pidfd, self._on_exit)
            process.link.send(encode(self._config))
            self._silent_polls = _polls(HANG_S) - _polls(START_S)
            self._watch = self._loop.call_later(HEARTBEAT_S, self._poll_heartbeat)
        except OSError as exc:
            self._end_process()
            self._restart_later(f"cannot be started: {exc.strerror}")

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._loop.remove_reader(process.pidfd)
            process.link.close()
            process.kill()
            process.reap()

    def _poll_heartbeat(self) -> None:
        """Kill a process that hangs. Polls are counted, as for shards: a supervisor that was itself stopped
        kills nothing when it resumes."""
        process = self._process
        assert process is not None  # its end ends the watch
        self._watch = self._loop.call_later(HEARTBEAT_S, self._poll_heartbeat)
        self._silent_polls += 1
        with contextlib.suppress(OSError):  # nothing more waits
            while process.link.recv(len(HEARTBEAT), socket.MSG_DONTWAIT):
                self._silent_polls = 0
        if self._silent_polls >= _polls(HANG_S):
            self._stop_watch()
            self._stats.http_hangs += 1
            logger.error("the HTTP process (pid %d) hangs: it is killed", process.pid)
            process.kill()

    def _on_exit(self) -> None:
        process, self._process = self._process, None
        assert process is not None  # it is watched
        self._stop_watch()
        self._loop.remove_reader(process.pidfd)
        process.link.close()
        how = process.reap()
        if not self._stopping:
            if self._loop.now() - self._started_at >= LONG_LIFE_S:
                self._restart_s = RESTART_S
            self._restart_later(f"(pid {process.pid}) died: {how}")

    def _restart_later(self, what: str) -> None:
        logger.error(
            "the HTTP process %s; it is restarted in %g s; calls are not affected", what, self._restart_s
        )
        self._stats.http_restarts += 1
        self._timer = self._loop.call_later(self._restart_s, self._launch)
        self._restart_s = min(MAX_RESTART_S, self._restart_s * 2)


def _polls(seconds: float) -> int:
    return math.ceil(seconds / HEARTBEAT_S)
