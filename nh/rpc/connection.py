"""One client's connection: the socket around a protocol without I/O (nh.rpc.events).

Requests are read as fast as the client reads its replies, and no faster. What a request means is known to the
handler, how long the client has been idle to the IdleTracker.
"""

import logging
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from nh.address import TcpAddress
from nh.fair_shares import FairShares
from nh.ipc.peer import peer_of
from nh.logs.lines import about
from nh.logs.throttle import RateLimitedLogger
from nh.loop import Callback, Loop
from nh.reasons import SHORTAGES, reason
from nh.rpc.events import Handler, RequestCounter, StreamProtocol, Unreadable
from nh.rpc.idle_clients import IdleTracker

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT: Final = 128
"""Most requests of one connection under way; further ones are left unread. Where clients of other hosts are
connected, the connections of a host share them, or thousands of requests would be before one of theirs."""

MAX_IN_FLIGHT_OF_ALL: Final = 8 * MAX_IN_FLIGHT
"""What connections that have any share, of one host or of many: another one may come at any time."""

MIN_IN_FLIGHT: Final = 2
"""What a connection has of them at least."""

MAX_OUTPUT_BYTES: Final = 256 * 1024
"""While more bytes than this wait for a client to read them, its requests are left unread."""

READ_BYTES: Final = 64 * 1024


class ConnectionContext(NamedTuple):
    """What all connections of a frontend share.

    Attributes:
        loop: watches the sockets.
        handler: executes requests.
        clients: has the connections while they are open.
        shares: how many each host has.
        counter: counts what cannot be read.
        limited_log: logs what clients do wrong.
    """

    loop: Loop
    handler: Handler
    clients: "IdleTracker[Connection]"
    shares: FairShares
    counter: RequestCounter
    limited_log: RateLimitedLogger


class StreamSender:
    """The sender of one request on a connection: each gets a reply of its own. As text: where the client is.

    Args:
        connection: the request's connection.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    def __str__(self) -> str:
        return self._connection.client


class Connection:
    """Serves a client's connection until either side ends it; adds itself to the context's clients.

    Args:
        sock: the accepted socket; it becomes nonblocking, and the connection closes it.
        protocol: the connection's protocol.
        context: see ConnectionContext.
        host: where the client is, see nh.fair_shares.client_at(); LOCAL on a Unix socket.

    Attributes:
        host: as given.

    Raises:
        OSError: the socket cannot be watched; the caller closes it.
    """

    __slots__ = (
        "_client",
        "_context",
        "_ended",
        "_in_flight",
        "_open",
        "_output",
        "_protocol",
        "_reading",
        "_serving",
        "_sock",
        "_stopped",
        "host",
    )

    def __init__(
        self, sock: socket.socket, protocol: StreamProtocol, context: ConnectionContext, host: str
    ) -> None:
        sock.setblocking(False)
        self.host = host
        self._sock = sock
        self._protocol = protocol
        self._context = context
        self._output = bytearray()
        self._client = ""  # not asked for yet
        self._in_flight = 0  # requests under way
        self._ended = False  # the client has sent all, or cannot be understood
        self._stopped = False  # what the client sends is for the next process
        self._open = True
        self._reading = True
        self._serving = False
        context.loop.add_reader(sock.fileno(), self._on_readable)  # fails if the kernel has no watches left
        context.clients.add(self, context.loop.now())
        context.shares.take(host)

    def close(self) -> None:
        """End the connection now and drop replies to come. No effect if it is closed."""
        if self._open:
            self._leave()
            self._sock.close()

    def stop_reading(self) -> None:
        """Read no more; requests that were read get their replies, what comes now waits in the kernel."""
        self._stopped = True
        if self._reading:
            self._pause()

    def release(self) -> socket.socket | None:
        """Stop serving the connection, after stop_reading(), if it is between two requests.

        Returns:
            The socket, for the process that serves it next; None if it cannot be handed over and stays.
        """
        if not self._open or self._ended or self._in_flight or self._output or self._protocol.pending_bytes:
            return None
        self._leave()
        return self._sock

    def _leave(self) -> None:
        self._open = False
        self._context.clients.discard(self)
        self._context.shares.give_back(self.host)
        self._context.loop.remove_reader(self._sock.fileno())
        self._context.loop.remove_writer(self._sock.fileno())

    @property
    def client(self) -> str:
        """Where the client is; the kernel is asked once, as each command of calls notes its client."""
        if not self._client:
            self._client = _describe_peer(self._sock)
        return self._client

    @property
    def stalled(self) -> str:
        """What the client has left unfinished, as a predicate for log lines; empty for an idle one."""
        if self._output:
            return "does not read its replies"
        return "stopped within a request" if self._protocol.pending_bytes else ""

    @property
    def _full(self) -> bool:
        """Whether the next request has to wait until earlier ones have replies, or replies are read."""
        in_flight = self._in_flight
        if in_flight >= MIN_IN_FLIGHT and in_flight >= self._most_in_flight:
            return True
        return len(self._output) > MAX_OUTPUT_BYTES

    @property
    def _most_in_flight(self) -> int:
        clients = self._context.clients
        number = self._context.shares.number_of(self.host)
        is_alone = number == len(clients)
        of_host = (MAX_IN_FLIGHT_OF_ALL if is_alone else MAX_IN_FLIGHT) // max(1, number)
        return min(MAX_IN_FLIGHT, of_host, MAX_IN_FLIGHT_OF_ALL // clients.busy)

    # --- reading ----------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        if self._full:  # only now: most clients wait for their reply before they send more
            self._context.counter.count_pause()
            self._pause()
            return
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            if exc.errno in SHORTAGES:  # nothing was read, and the socket stays readable
                return
            logger.debug("a client's connection failed: %s", reason(exc))
            self.close()
            return
        if data:
            self._context.clients.active(self, self._context.loop.now())
            self._protocol.receive_data(data)
        else:
            self._end()
        self._serve()

    def _watch(self, add: Callable[[int, Callback], None], callback: Callback) -> None:
        try:
            add(self._sock.fileno(), callback)
        except OSError as exc:
            self._context.limited_log.log(
                logging.WARNING,
                "the connection from %s was closed, as its socket cannot be watched: %s",
                self.client,
                reason(exc),
            )
            self.close()

    def _pause(self) -> None:
        self._reading = False
        self._context.loop.remove_reader(self._sock.fileno())

    def _end(self) -> None:
        """Read no more; the connection closes when all replies are sent."""
        self._ended = True
        if self._reading:
            self._pause()

    # --- requests and replies ---------------------------------------------------------------------

    def _serve(self) -> None:
        """Serve the requests that were received, as many as may be under way; then read on, or close."""
        if self._serving:  # a reply that came at once: the loop below continues
            return
        self._serving = True
        try:
            self._serve_events()
        except Exception:
            # a bug met by one client's request must end its own connection only
            logger.exception(
                "the connection from %s was closed, because serving it failed: this is a bug in nh",
                self.client,
            )
            self.close()
        finally:
            self._serving = False
        if self._open:
            self._continue()

    def _serve_events(self) -> None:
        context = self._context
        while self._open and not self._full:
            event = self._protocol.next_event()
            if event is None:
                return
            context.clients.complete_frame(self)
            if isinstance(event, Unreadable):
                self._reject(event)
                return
            self._in_flight += 1
            if self._in_flight == 1:
                context.clients.begin(self)
            if not context.handler.serve(event, StreamSender(self), self._reply):
                self._done()
            if self._protocol.complete and self._open:
                self._end()
                return

    def _reject(self, event: Unreadable) -> None:
        """End a connection that cannot be read on; requests before that still get their replies."""
        self._context.counter.count(event.protocol)
        self._context.counter.count_error(event.error.code)
        self._context.limited_log.log(
            logging.WARNING,
            "the connection from %s is closed, as its requests cannot be read: %s",
            self.client,
            event.error,
            extra=about(client=self.client),
        )
        self._end()

    def _continue(self) -> None:
        if self._full:
            return
        if self._ended:
            if not self._in_flight and not self._output:
                self.close()
            return
        if self._stopped:
            return
        if self._protocol.pending_bytes:
            self._context.clients.partial_frame(self, self._context.loop.now())
        if not self._reading:
            self._reading = True
            self._watch(self._context.loop.add_reader, self._on_readable)

    def _reply(self, data: bytes) -> None:
        if not self._open:  # the client left before its reply
            return
        self._done()
        self._write(data)
        if self._protocol.pending_bytes or not self._reading:  # else nothing has waited for the reply
            self._serve()

    def _done(self) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._context.clients.end(self, self._context.loop.now())

    # --- writing ----------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if self._output:
            self._output += data
            return
        sent = self._send(data)
        if sent < len(data) and self._open:
            self._output += memoryview(data)[sent:]
            self._watch(self._context.loop.add_writer, self._on_writable)

    def _on_writable(self) -> None:
        sent = self._send(self._output)
        if not self._open:
            return
        if sent:
            del self._output[:sent]
            self._context.clients.active(self, self._context.loop.now())
        if not self._output:
            self._context.loop.remove_writer(self._sock.fileno())
        self._serve()

    def _send(self, data: bytes | bytearray) -> int:
        """Bytes that the kernel took; closes the connection if the client is gone."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            if exc.errno in SHORTAGES:  # the host has no memory for it now, and the socket stays writable
                return 0
            logger.debug("a client's connection failed before its reply: %s", reason(exc))
            self.close()
            return 0


def _describe_peer(sock: socket.socket) -> str:
    try:
        if sock.family != socket.AF_UNIX:
            return str(TcpAddress(*sock.getpeername()[:2]))
        peer = peer_of(sock)
    except OSError:
        return "a client that has left"
    return f"pid {peer.pid} (uid {peer.uid})"
