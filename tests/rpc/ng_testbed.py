"""The frontend of a protocol with cookies on a loop of the test's own; the test plays the dispatch."""

import contextlib
import socket
from collections.abc import Callable, Collection, Iterator

from nh.address import TcpAddress
from nh.commands import Feature
from nh.loop import SelectorLoop
from nh.results import Closed
from nh.rpc.frontend import Frontend
from nh.rpc.listeners import Listener, open_listeners
from nh.rpc.protocols import NG, ServedProtocol
from nh.stats import SupervisorStats
from tests.rpc.answering import Answering
from tools.harness.waiting import turn_until

WAIT_S = 20.0


class NgTestbed(Answering):
    """Answers Closed(1) at once, or keeps the replies if `holding`.

    Args:
        listener: its one listener.
        protocol: what is served there.
        lenient: features that are left out of requests.
    """

    def __init__(
        self, listener: Listener, protocol: ServedProtocol = NG, lenient: Collection[Feature] = ()
    ) -> None:
        super().__init__(Closed(1))
        self.loop = SelectorLoop()
        self.stats = SupervisorStats()
        self.address = listener.sock.getsockname()
        self.family = listener.sock.family
        self._sockets = contextlib.ExitStack()
        self.frontend = Frontend(
            self.loop,
            [listener.sock],
            self.dispatch,
            protocol=protocol,
            datagrams=[] if listener.udp is None else [listener.udp],
            stats=self.stats,
            lenient=lenient,
        )

    def client(self, kind: socket.SocketKind = socket.SOCK_DGRAM, source: str = "") -> socket.socket:
        """A connected socket of a client, at an address of this host."""
        sock = self._sockets.enter_context(socket.socket(self.family, kind))
        if source:
            sock.bind((source, 0))
        sock.connect(self.address)
        sock.setblocking(False)
        return sock

    def receive(self, client: socket.socket) -> bytes:
        """What comes next to a client; b"" where its connection ends."""
        found: list[bytes] = []

        def came() -> bool:
            with contextlib.suppress(BlockingIOError):
                found.append(client.recv(70_000))
            return bool(found)

        self.turn_until(came)
        return found[0]

    def ask(self, client: socket.socket, message: bytes) -> bytes:
        """The reply to a message."""
        client.send(message)
        return self.receive(client)

    def has_reply(self, client: socket.socket) -> bool:
        """Whether something is there, once nothing is left to do."""
        for _ in range(10):
            self.loop.turn(0)
        try:
            client.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return True

    def turn_until(self, condition: Callable[[], object]) -> None:
        turn_until(self.loop, condition)

    def close(self) -> None:
        self.frontend.close()
        self._sockets.close()
        self.loop.close()


@contextlib.contextmanager
def open_ng(host: str = "127.0.0.1", *, lenient: Collection[Feature] = ()) -> Iterator[NgTestbed]:
    """A testbed on any free port of `host`, which leaves out the features of `lenient`."""
    (listener,) = open_listeners(NG, [TcpAddress(host, 0)])
    testbed = NgTestbed(listener, lenient=lenient)
    try:
        yield testbed
    finally:
        testbed.close()
        listener.close()
