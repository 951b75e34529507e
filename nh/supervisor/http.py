"""HTTP, on the supervisor's side: its settings, its listening sockets, and the process that serves it.

The process (nh.http) serves metrics, the API and the page, and may serve ng. It reads shared memory and asks
over RPC, as any client. So its death, its start and its load concern no call: whatever happens to it, the
relay goes on.
"""

import hashlib
import ipaddress
import socket
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from nh.address import RpcAddress
from nh.config import Settings
from nh.errors import ConfigError
from nh.exposure import Exposure
from nh.ipc.http_config import HttpConfig
from nh.ipc.inherited import Inherited
from nh.logs.settings import LogSettings
from nh.loop import Loop
from nh.rpc.listeners import Listener, check_listeners, listener_names, open_listeners
from nh.stats.layout import SupervisorStats
from nh.supervisor.host.secret_file import read_secret
from nh.supervisor.http_process import HttpProcess

LIBRARIES: Final = ("uvicorn", "starlette", "websockets", "prometheus_client")
"""What the extra `http` installs."""

MIN_TOKEN: Final = 16
"""Fewest characters of a token: guessing it has to be hopeless."""


class _Http(NamedTuple):
    """What open_listeners() needs to know of HTTP."""

    exposure: Exposure
    name: str = "http"
    udp: bool = False


def check_http(settings: Settings, *, had: Callable[[RpcAddress], bool]) -> None:
    """Check that HTTP can be served; see nh.supervisor.start_checks.

    Args:
        settings: see Settings.
        had: see check_listeners().

    Raises:
        ConfigError, NotNow: it cannot.
    """
    check_http_extra(settings)
    _ = _token_digest(settings)
    check_listeners(
        _Http(settings.http_exposure),
        settings.http_addresses,
        public=settings.http_may_be_public,
        had=had,
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
    """The listening sockets, from construction on, and the process that serves them.

    Args:
        loop, stats: see HttpProcess.
        settings: see Settings; `http` names the addresses.
        inherited: sockets that listen already.

    Raises:
        ConfigError: an address cannot be used; the message says which, why, and what to do.
    """

    def __init__(self, loop: Loop, settings: Settings, stats: SupervisorStats, inherited: Inherited) -> None:
        self._settings = settings
        self._listeners: list[Listener] = open_listeners(
            _Http(settings.http_exposure),
            settings.http_addresses,
            public=settings.http_may_be_public,
            inherited=inherited,
        )
        self._token_sha256 = _token_digest(settings)
        self._log = settings.log
        self._process = HttpProcess(loop, stats)

    def __str__(self) -> str:
        """The addresses, for the `ready` line; "" if there are none."""
        return f"http {' '.join(map(str, self._listeners))}" if self._listeners else ""

    def start(self, rpc: str, ng: str, stats_fd: int) -> None:
        """Start the process, and another one whenever it dies. No effect without an address or if it runs.

        Args:
            rpc, ng, stats_fd: see HttpConfig.
        """
        if self._listeners:
            self._process.start(self._config(rpc, ng, stats_fd))

    def change_log(self, log: LogSettings) -> None:
        """Have the process, and each further one, log with these settings."""
        self._log = log
        self._process.change_log(log)

    def hand_over(self) -> None:
        """Start no process any more; the one that runs serves until that of the next supervisor does."""
        self._process.hand_over()

    def close(self) -> None:
        """End the process now, and stop listening."""
        self._process.close()
        while self._listeners:
            self._listeners.pop().close()

    def close_handed_over(self, keep: Collection[tuple[str, str]] | None = None) -> None:
        """Close this process's copies of the listening sockets; the next supervisor keeps listening.

        Args:
            keep: names of those that stay open, for the next supervisor. If there are others, the process
                that serves is ended, because it has copies of those too. None: all are closed, and the
                process goes on.
        """
        closed = [sock for what, sock in self._sockets() if keep is None or what not in keep]
        if closed and keep is not None:
            self._process.close()
        for sock in closed:
            sock.close()

    def inherited(self) -> Iterator[tuple[tuple[str, str], int]]:
        """What Inherited.take_listener() calls each listening socket, and its descriptor."""
        for what, sock in self._sockets():
            yield what, sock.fileno()

    def _sockets(self) -> Iterator[tuple[tuple[str, str], socket.socket]]:
        for listener in self._listeners:
            yield from listener.handed_over

    def _config(self, rpc: str, ng: str, stats_fd: int) -> HttpConfig:
        settings = self._settings
        return HttpConfig(
            listeners=tuple(listener.sock.fileno() for listener in self._listeners),
            local=all(_is_loopback(listener.sock) for listener in self._listeners),
            runtime_path=str(settings.runtime_path),
            rpc=rpc,
            ng=ng,
            command_timeout_s=settings.command_timeout_s,
            log=self._log,
            token_sha256=self._token_sha256,
            private=settings.http_private,
            stats_fd=stats_fd,
        )


def _is_loopback(sock: socket.socket) -> bool:
    return ipaddress.ip_address(sock.getsockname()[0]).is_loopback
