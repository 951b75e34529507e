"""The HTTP process's server in a thread of the test, with a relay behind it that the test plays itself."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from nh.http.server import serve
from nh.ipc.http_config import HttpConfig
from nh.logs.settings import LogLevel, LogSettings
from nh.wire.framing import Framer, frame

Answer = Callable[[bytes], bytes | None]
"""The reply to a message of ng; None: the connection is closed instead."""


class Server(NamedTuple):
    """A running server.

    Attributes:
        address: where it listens.
        link: the supervisor's end of its link.
        thread: in which it runs.
    """

    address: tuple[str, int]
    link: socket.socket
    thread: threading.Thread


@contextlib.contextmanager
def served(directory: Path, *, ng: bool = False, timeout_s: float = 2.0) -> Iterator[tuple[str, int]]:
    """Where a server listens; see running_server()."""
    with running_server(directory, ng=ng, timeout_s=timeout_s) as server:
        yield server.address


@contextlib.contextmanager
def running_server(directory: Path, *, ng: bool = False, timeout_s: float = 2.0) -> Iterator[Server]:
    """A server, which has ended behind the context.

    Args:
        directory: a runtime directory without an nh, but for what the test plays in it.
        ng: whether ng is served, from the socket ng.sock in the directory.
        timeout_s: time limit for a command.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    address: tuple[str, int] = listener.getsockname()
    config = HttpConfig(
        listeners=(listener.detach(),),
        local=True,
        runtime_path=str(directory),
        rpc=str(directory / "nh.sock"),
        ng=str(directory / "ng.sock") if ng else "",
        command_timeout_s=timeout_s,
        log=LogSettings(LogLevel.ERROR),
    )
    near, far = socket.socketpair()
    with near, far:
        thread = threading.Thread(target=serve, args=(config, far, lambda: None))
        thread.start()
        try:
            yield Server(address, near, thread)
        finally:
            with contextlib.suppress(OSError):  # the test has done it
                near.shutdown(socket.SHUT_RDWR)
            thread.join()


class FakeRelay:
    """Answers messages of ng at ng.sock of a directory, as nh's supervisor does.

    Args:
        directory: where.
        answer: called with each message.
    """

    def __init__(self, directory: Path, answer: Answer) -> None:
        self.connections = 0
        self._answer = answer
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / "ng.sock"))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        framer = Framer(100_000)
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65_536):
                framer.feed(data)
                while message := framer.next_frame():
                    reply = self._answer(message)
                    if reply is None:
                        return
                    connection.sendall(frame(reply))

    def close(self) -> None:
        """End it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


class HoldingRelay(FakeRelay):
    """Answers each message with itself, from release() on.

    Args:
        directory: where.
    """

    def __init__(self, directory: Path) -> None:
        self.held: list[bytes] = []
        self._holds = True
        super().__init__(directory, self._hold)

    def _hold(self, message: bytes) -> bytes:
        if not self._holds:
            return message
        self.held.append(message)
        return b"none -"  # the cookie of no request

    def release(self) -> None:
        """Answer what was asked, and all that comes, at once."""
        self._holds = False
        for message in self.held:
            self._open[-1].sendall(frame(message))
