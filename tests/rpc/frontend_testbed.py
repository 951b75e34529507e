"""A frontend on a loop of the test's own, with clients that turn the loop while they wait."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from nh.commands import TransactionKey
from nh.loop import SelectorLoop
from nh.results import Closed, Failure
from nh.rpc.frontend import Frontend
from nh.stats import SupervisorStats
from nh.wire import native, netsip
from nh.wire.framing import Framer, frame
from tests.rpc.answering import Answering
from tools.harness.waiting import turn_until

ResultT = TypeVar("ResultT")

WAIT_S = 20.0


class FrontendTestbed(Answering):
    """A frontend whose dispatch answers Closed(7) at once, or keeps the replies if `holding`.

    Args:
        listener: its listening socket.
        options: of Frontend.
    """

    def __init__(self, listener: socket.socket, **options: float) -> None:
        super().__init__(Closed(7))
        self.loop = SelectorLoop()
        self.stats = SupervisorStats()
        self.listener = listener
        self._peers: list[Peer] = []
        self._options = options
        self.frontend = self._open(**options)

    def hand_over(self) -> None:
        """Have another frontend serve in place of this one, from now on."""
        handed_over = self.frontend.release_connections()
        self.frontend = self._open(**self._options)
        self.frontend.adopt(handed_over)

    def _open(self, **options: float) -> Frontend:
        return Frontend(
            self.loop,
            [self.listener],
            self.dispatch,
            stats=self.stats,
            extensions=("shout",),
            **options,  # type: ignore[arg-type]
        )

    def connect(self, source: str = "") -> "Peer":
        """A client that has been accepted, from an address of this host."""
        before = self.stats.rpc_accepted
        peer = self.knock(source)
        self.turn_until(lambda: self.stats.rpc_accepted > before)
        return peer

    def knock(self, source: str = "") -> "Peer":
        """A client that has connected, but is not accepted yet."""
        peer = Peer(self, source)
        self._peers.append(peer)
        return peer

    def turn_until(self, condition: Callable[[], object]) -> None:
        turn_until(self.loop, condition)

    def settle(self) -> None:
        """Turn until nothing is left to do at once."""
        for _ in range(10):
            self.loop.turn(0)

    def close(self) -> None:
        self.frontend.close()
        for peer in self._peers:
            peer.sock.close()
        self.loop.close()


class Peer:
    """A client's end of a connection."""

    def __init__(self, testbed: FrontendTestbed, source: str = "") -> None:
        self._testbed = testbed
        self.sock = socket.socket(testbed.listener.family, socket.SOCK_STREAM)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(testbed.listener.getsockname())
        self.sock.setblocking(False)
        self._framer = Framer(native.MAX_REPLY_BYTES)
        self._gone = False

    def send(self, *payloads: bytes) -> None:
        """Send frames, as many in one piece as the kernel takes."""
        self.send_raw(b"".join(frame(payload) for payload in payloads))

    def send_raw(self, data: bytes) -> None:
        rest = memoryview(data)

        def sent() -> bool:
            nonlocal rest
            with contextlib.suppress(BlockingIOError):
                rest = rest[self.sock.send(rest) :]
            return not rest

        self._testbed.turn_until(sent)

    def reply(self) -> bytes:
        """The next reply's payload."""
        found: list[bytes] = []

        def came() -> bool:
            self._read()
            payload = self._framer.next_frame()
            found.extend([payload] if payload is not None else [])
            assert found or not self._gone, "the connection was closed without a reply"
            return bool(found)

        self._testbed.turn_until(came)
        return found[0]

    def native_reply(self, kind: type[ResultT]) -> tuple[native.RequestId, ResultT | Failure]:
        return native.decode_reply(self.reply(), kind)

    def netsip_reply(self) -> object:
        return netsip.decode_reply(self.reply())

    def wait_until_closed(self) -> None:
        """Return once the other side closed the connection, having said nothing more."""

        def closed() -> bool:
            self._read()
            assert self._framer.next_frame() is None, "there was a reply"
            return self._gone

        self._testbed.turn_until(closed)

    @property
    def has_reply(self) -> bool:
        """Whether there is something to read right now."""
        self._testbed.settle()
        self._read()
        return self._framer.pending_bytes > 0

    @property
    def closed(self) -> bool:
        """Whether the other side has closed the connection."""
        self._testbed.settle()
        self._read()
        return self._gone

    def _read(self) -> None:
        try:
            while data := self.sock.recv(65536):
                self._framer.feed(data)
            self._gone = True
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self._gone = True


@contextlib.contextmanager
def open_frontend(
    path: Path | None = None, *, make_socket: type[socket.socket] = socket.socket, **options: float
) -> Iterator[FrontendTestbed]:
    """A frontend behind a Unix socket at `path`, or behind a TCP socket if None."""
    family = socket.AF_INET if path is None else socket.AF_UNIX
    with make_socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0) if path is None else str(path))
        listener.listen(512)
        testbed = FrontendTestbed(listener, **options)
        try:
            yield testbed
        finally:
            testbed.close()


def key(call_id: bytes = b"call") -> TransactionKey:
    return TransactionKey(call_id, 1, b"from", b"to")
