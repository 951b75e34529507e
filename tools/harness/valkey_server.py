"""A server of Valkey's protocol of its own: valkey-server or redis-server, whichever is installed."""

import contextlib
import importlib.util
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tools.harness.own_directory import own_directory
from tools.harness.ports import free_port
from tools.harness.program import Program

PROGRAMS: Final = ("valkey-server", "redis-server")
READY: Final = "Ready to accept connections"


def missing() -> str:
    """Why no server can be started or asked here; "" if one can."""
    if not any(map(shutil.which, PROGRAMS)):
        return "needs a server: apt-get install valkey-server, or redis-server"
    if importlib.util.find_spec("valkey") is None:
        return "needs the extra valkey: pip install '.[valkey]'"
    return ""


def program_name() -> str:
    """The server that is installed here."""
    return next(name for name in PROGRAMS if shutil.which(name))


class ValkeyServer:
    """A server in a directory of its own, which keeps nothing on the disk.

    Args:
        directory: where it runs.
        options: further settings of it, by name.
        host: the address that it listens on.
        port: the port; 0: a free one.
    """

    def __init__(
        self,
        directory: Path,
        options: Mapping[str, object] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.host = host
        self.port = port or free_port()
        self._directory = directory
        self._options = {"save": "", "appendonly": "no", "bind": host, "port": self.port} | dict(
            options or {}
        )
        self._program: Program | None = None
        self.start()

    @property
    def url(self) -> str:
        """Its URL without a path."""
        return f"valkey://{self.host}:{self.port}"

    @property
    def program(self) -> Program:
        """The running server."""
        assert self._program is not None
        return self._program

    def option(self, name: str) -> object:
        """One of its settings; None: it has its default."""
        return self._options.get(name)

    def client(self, **options: Any) -> Any:
        """A client of it."""
        from valkey import Valkey  # noqa: PLC0415  the extra may be missing where no test needs it

        return Valkey(host=self.host, port=self.port, **options)

    def start(self) -> None:
        """Start it, at the same port as before."""
        options = [word for key, value in self._options.items() for word in (f"--{key}", str(value))]
        arguments = [program_name(), "--dir", str(self._directory), *options]
        self._program = Program(arguments)
        self._program.wait_for_line(READY)

    def stop(self) -> None:
        """End it at once; it loses all data."""
        if self._program is not None:
            self._program.kill()
            self._program.close()
            self._program = None


@contextlib.contextmanager
def valkey_server(options: Mapping[str, object] | None = None, **more: Any) -> Iterator[ValkeyServer]:
    """A server for the duration of the block; see ValkeyServer."""
    with own_directory() as directory:
        server = ValkeyServer(directory, options, **more)
        try:
            yield server
        finally:
            server.stop()
