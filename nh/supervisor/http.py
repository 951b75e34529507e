"""The HTTP process (nh.http): its listening sockets, its start, its restarts, its end.

It serves metrics, the API and the page, and may serve ng. It reads shared memory and asks over RPC, as any
client. So its death, its start and its load concern no call: whatever happens to it, the relay goes on.
"""

import contextlib
import hashlib
import ipaddress
import logging
import math
import socket
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from nh.address import Exposure
from nh.config import Settings
from nh.errors import ConfigError
from nh.ipc.http_config import HEARTBEAT, HEARTBEAT_S, LINGER, HttpConfig, encode
from nh.ipc.inherited import Inherited
from nh.log_settings import LogSettings
from nh.loop import Loop, Timer
from nh.rpc.listeners import Listener, check_listeners, listener_names, open_listeners
from nh.stats.layout import SupervisorStats
from nh.supervisor.host.child_process import ChildProcess
from nh.supervisor.host.secret_file import read_secret

logger = logging.getLogger(__name__)

ARGV: Final = (sys.executable, "-P", "-m", "nh.http")
"""How the process is started; `--link-fd N` follows."""

LIBRARIES: Final = ("uvicorn", "starlette", "websockets", "prometheus_client")
"""What the extra `http` installs."""

MIN_TOKEN: Final = 16
"""Fewest characters of a token: guessing it has to be hopeless."""

RESTART_S: Final = 0.5
"""First delay between a death and the next start; it doubles from death to death."""

LONGEST_RESTART_S: Final = 30.0

START_S: Final = 30.0
"""A process may take so long to show life for the first time: it loads its libraries."""

HANG_S: Final = 10.0
"""A process that shows no life for so long is killed; it has a low priority, so a busy host may delay it."""

LONG_LIFE_S: Final = 60.0
"""A process that lived so long resets the delay."""


class _Http(NamedTuple):
    """What open_listeners() needs to know of HTTP."""

    exposure: Exposure
    name: str = "http"
    udp: bool = False


def check_http(settings: Settings, *, running: bool) -> None:
    """Check that HTTP can be served; see nh.supervisor.start_checks.

    Args:
        settings: see Settings.
        running: whether an nh runs with the runtime directory, which may have the sockets.

    Raises:
        ConfigError, NotNow: it cannot.
    """
    check_http_extra(settings)
    _ = _token_digest(settings)
    check_listeners(
        _Http(settings.http_exposure),
        settings.http_addresses,
        public=settings.http_may_be_public,
        running=running,
        made_later=settings.runtime_path,
    )


def http_listener_names(settings: Settings) -> Iterator[tuple[str, str]]:
    """What Inherited.take_listener() calls each listening socket that HttpService has with these settings."""
    return listener_names(_Http(settings.http_exposure), settings.http_addresses)


def check_http_extra(settings: Settings) -> None:
    """Check that what HTTP needs is installed, if it is wanted.

    Raises:
        ConfigError: it is not; the message says what to install.
    """
    import importlib.util  # noqa: PLC0415  most relays serve no HTTP

    missing = [name for name in LIBRARIES if settings.http and importlib.util.find_spec(name) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise ConfigError(
            f"http: {', '.join(missing)} {are} not installed; install nh with its extra `http`, in its"
            " repository: pip install '.[http]', or start without --http"
        )


def _token_digest(settings: Settings) -> bytes:
    """SHA-256 of the token; b"" without one.

    Raises:
        ConfigError: its file cannot be used, or the token is too short.
    """
    if not settings.http_token_file:
        return b""
    path = Path(settings.http_token_file)
    token = read_secret("http_token_file", path)
    if len(token) < MIN_TOKEN or " " in token:
        raise ConfigError(
            f"http_token_file: the token in {path} has fewer than {MIN_TOKEN} characters, or a space;"
            f" make one: openssl rand -hex 32"
        )
    return hashlib.sha256(token.encode()).digest()


class HttpService:
    """The listening sockets, from construction on, and at most one process that serves them.

    Args:
        loop: watches the process.
        settings: see Settings; `http` names the addresses.
        stats: counts restarts and hangs.
        inherited: sockets that listen already.

    Raises:
        ConfigError: an address cannot be used; the message says which, why, and what to do.
    """

    def __init__(self, loop: Loop, settings: Settings, stats: SupervisorStats, inherited: Inherited) -> None:
        self._loop = loop
        self._stats = stats
        self._settings = settings
        self._listeners: list[Listener] = open_listeners(
            _Http(settings.http_exposure),
            settings.http_addresses,
            public=settings.http_may_be_public,
            inherited=inherited,
        )
        self._token_sha256 = _token_digest(settings)
        self._log = settings.log
        self._rpc = self._ng = ""
        self._process: ChildProcess | None = None
        self._started_at = 0.0
        self._restart_s = RESTART_S
        self._timer: Timer | None = None
        self._watch: Timer | None = None
        self._silent_polls = 0  # without a heartbeat; below 0 until the first one
        self._stopping = False

    def __str__(self) -> str:
        """The addresses, for the `ready` line; "" if there are none."""
        return f"http {' '.join(map(str, self._listeners))}" if self._listeners else ""

    def start(self, rpc: str, ng: str) -> None:
        """Start the process, and another one whenever it dies. No effect without an address or if it runs.

        Args:
            rpc, ng: see HttpConfig.
        """
        self._rpc, self._ng = rpc, ng
        if self._listeners and self._process is None and self._timer is None:
            self._launch()

    def change_log(self, log: LogSettings) -> None:
        """Have the process, and each further one, log with these settings."""
        self._log = log
        if self._process is not None:
            with contextlib.suppress(OSError):  # it has just died, or does not read: it hangs
                self._process.link.send(encode(log), socket.MSG_DONTWAIT)

    def hand_over(self) -> None:
        """Start no process any more; the one that runs serves until that of the next supervisor does."""
        self._stop()
        if self._process is not None:
            with contextlib.suppress(OSError):  # it has just died, or does not read: it hangs
                self._process.link.send(LINGER, socket.MSG_DONTWAIT)
            self._process.link.close()

    def close(self) -> None:
        """End the process now, and stop listening."""
        self._stop()
        if self._process is not None:
            self._process.link.close()
            self._loop.remove_reader(self._process.pidfd)
            self._process.kill()
            self._process.reap()
            self._process = None
        while self._listeners:
            self._listeners.pop().close()

    def close_handed_over(self, keep: Collection[tuple[str, str]] = ()) -> None:
        """Close this process's copies of the listening sockets; the next supervisor keeps listening.

        Args:
            keep: names of those that stay open.
        """
        for listener in self._listeners:
            for what, sock in listener.handed_over:
                if what not in keep:
                    sock.close()

    def inherited(self) -> Iterator[tuple[tuple[str, str], int]]:
        """What Inherited.take_listener() calls each listening socket, and its descriptor."""
        for listener in self._listeners:
            for what, sock in listener.handed_over:
                yield what, sock.fileno()

    def _stop(self) -> None:
        self._stopping = True
        self._stop_watch()
        if self._timer is not None:
            self._timer.cancel()

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    # --- the process ------------------------------------------------------------------------------

    def _launch(self) -> None:
        self._timer = None
        self._started_at = self._loop.now()
        fds = tuple(listener.sock.fileno() for listener in self._listeners)
        try:
            self._process = process = ChildProcess.start(ARGV, fds)
            self._loop.add_reader(process.pidfd, self._on_exit)
            process.link.send(encode(self._config(fds)))
            self._silent_polls = _polls(HANG_S) - _polls(START_S)
            self._watch = self._loop.call_later(HEARTBEAT_S, self._poll_heartbeat)
        except OSError as exc:
            self._end_failed_start()
            self._restart_later(f"cannot be started: {exc.strerror}")

    def _config(self, fds: tuple[int, ...]) -> HttpConfig:
        settings = self._settings
        return HttpConfig(
            listeners=fds,
            local=all(_is_loopback(listener.sock) for listener in self._listeners),
            runtime_path=str(settings.runtime_path),
            rpc=self._rpc,
            ng=self._ng,
            command_timeout_s=settings.command_timeout_s,
            log=self._log,
            token_sha256=self._token_sha256,
            private=settings.http_private,
        )

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

    def _end_failed_start(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._loop.remove_reader(process.pidfd)
            process.link.close()
            process.kill()
            process.reap()

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
        self._restart_s = min(LONGEST_RESTART_S, self._restart_s * 2)


def _polls(seconds: float) -> int:
    return math.ceil(seconds / HEARTBEAT_S)


def _is_loopback(sock: socket.socket) -> bool:
    return ipaddress.ip_address(sock.getsockname()[0]).is_loopback
