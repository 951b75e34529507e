"""A server that answers with something of another shape, as another program would, is away, and says so."""

import contextlib
import re
import socketserver
import threading
from collections.abc import Callable, Iterator

import pytest

from nh.errors import StoreUnavailable
from nh.supervisor.store.valkey.engine import ValkeyEngine
from nh.supervisor.store.valkey.facts import ask
from nh.supervisor.store.valkey.failures import failures
from nh.supervisor.store.valkey.follower import Follower
from nh.supervisor.store.valkey.url import ValkeyTarget, parse_url

ASKS: list[Callable[[ValkeyTarget], object]] = [
    lambda target: ValkeyEngine(target, "relay").open(),
    lambda target: Follower(target, "standby").poll(),
    lambda target: ask(target, ("nh",)),
]
"""Whatever nh asks a server at first."""

REPLIES = [
    b"*0\r\n",
    b"*2\r\n$1\r\na\r\n*1\r\n:-1\r\n",
    b"*5\r\n$1\r\na\r\n$0\r\n\r\n$-1\r\n*-1\r\n:18446744073709551616\r\n",
    b"*10\r\n" + 10 * b"$4\r\n\xff\xfe\xfd\xfc\r\n",
    b"*10\r\n" + 10 * b"*0\r\n",
    b":x\r\n",
    b"*1\r\n" * 5000 + b":1\r\n",
]


_COMMAND = re.compile(rb"^\*[0-9]+\r$", re.MULTILINE)


class _Handler(socketserver.BaseRequestHandler):
    server: "_Server"

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client has left, or the test ends
            while received := self.request.recv(65_536):
                self.request.sendall(self.server.reply * len(_COMMAND.findall(received)))


class _Server(socketserver.ThreadingTCPServer):
    """One reply for each command; clients may stay, as those of a failed test do."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        super().__init__(("127.0.0.1", 0), _Handler)


@contextlib.contextmanager
def server_that_says(reply: bytes) -> Iterator[str]:
    """HOST:PORT of a server with one reply for each command."""
    with _Server(reply) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("scheme", ["valkey", "valkey+cluster"])
@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.parametrize("ask", ASKS)
def test_a_reply_of_another_shape_is_no_bug_of_nh(
    ask: Callable[[ValkeyTarget], object], reply: bytes, scheme: str
) -> None:
    with server_that_says(reply) as where:
        target = parse_url(scheme, where)
        with contextlib.suppress(StoreUnavailable):  # some questions take any answer
            ask(target)


def test_a_reply_that_cannot_be_read_is_told() -> None:
    reply: list[bytes] = []
    with (
        pytest.raises(StoreUnavailable, match="store: the server's reply cannot be read"),
        failures("store"),
    ):
        reply[0].decode()
