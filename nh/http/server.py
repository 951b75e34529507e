"""Serves the application on the sockets that the supervisor opened, until the link to it ends."""

import asyncio
import contextlib
import errno
import logging
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from nh.http.absolute_form import AbsoluteForm
from nh.http.app import make_app
from nh.http.connections import ConnectionLimit, make_room
from nh.http.limits import (
    FIRST_REQUEST_S,
    KEEP_ALIVE_S,
    MAX_HEAD_BYTES,
    PING_S,
    READ_BYTES,
    REQUEST_S,
    SHUTDOWN_S,
)
from nh.http.stall_timer import StallTimer
from nh.http.websocket import BoundedWebSocket
from nh.ipc.http_config import (
    HEARTBEAT,
    HEARTBEAT_S,
    LINGER,
    LINGER_S,
    MAX_RECORD_BYTES,
    HttpConfig,
    decode_log,
)
from nh.logs.lines import configure_logging
from nh.logs.throttle import RateLimitedLogger
from nh.reasons import SHORTAGES, shortage
from nh.wire.ng.stream import MAX_MESSAGE_BYTES

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
"""Least seconds between two log lines about clients that have to wait."""


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with a limit for each request: a slow client is disconnected, not waited for.

    uvicorn limits only how long a connection may be idle between requests.
    """

    _has_all = False
    """Whether the client sends nothing any more."""

    idle_since = 0.0
    """When it connected, or had its last response."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """See asyncio.Protocol."""
        super().connection_made(transport)
        # asyncio's own is 256 KiB, a thousand requests: they are all copied before another client is served
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]  # of its selector transports
        self._stall_timer = StallTimer()
        self._stall_timer.begin(transport, REQUEST_S)
        self.idle_since = time.monotonic()
        make_room(self.connections, self, _idle_since)

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """See asyncio.Protocol: a client that has sent its last request may still read the reply to it."""
        self._has_all = True
        return not _is_new(self) and not self.cycle.more_body and not self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._stall_timer.begin(self.transport, REQUEST_S)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._stall_timer.end()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        """A WebSocket has limits of its own (nh.http.ng)."""
        self._stall_timer.end()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """The response is with the transport, which may still have to send it."""
        self._stall_timer.end()
        super().on_response_complete()
        # the next request, if any, came with the one before; the rest of its body does not come any more
        if self._has_all and (self.cycle.response_complete or self.cycle.more_body):
            self.transport.close()
        self.idle_since = time.monotonic()
        # until the client has read it; or the next request came with the one before, and has begun
        if self.transport.is_closing() or not self.cycle.response_complete:
            self._stall_timer.begin(self.transport, REQUEST_S)

    def send_400_response(self, msg: str) -> None:
        """What cannot be read gets 400, unless a response has begun: the connection ends in any case.

        A request that has begun gets no reply any more: uvicorn would send a second one, which is no HTTP.
        """
        if not _is_new(self) and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        """The connection was idle for KEEP_ALIVE_S seconds, or its client has not read the response."""
        self.transport.abort()


class _Supervision:
    """The supervisor's link on the loop: its messages come in, signs of life go out.

    Args:
        link: to the supervisor.
        on_end: called once, when it is time to end.
    """

    def __init__(self, link: socket.socket, on_end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._on_end = on_end
        self._loop.add_reader(link.fileno(), self._read)
        self._show_life()

    def _read(self) -> None:
        try:
            record = self._link.recv(MAX_RECORD_BYTES)
        except ConnectionError:  # the supervisor ended before it had read all signs of life
            record = b""
        if record not in (LINGER, b""):
            configure_logging(decode_log(record))
            return
        self._loop.remove_reader(self._link.fileno())
        if record == LINGER:
            self._loop.call_later(LINGER_S, self._on_end)
        else:
            self._on_end()

    def _show_life(self) -> None:
        with contextlib.suppress(OSError):  # the supervisor has ended, or does not read
            self._link.send(HEARTBEAT, socket.MSG_DONTWAIT)
        self._loop.call_later(HEARTBEAT_S, self._show_life)


_LOOK_S: Final = 0.05


class _Server(uvicorn.Server):
    """uvicorn's server, whose end resets no connection of a client that has just connected.

    uvicorn closes connections without a request at once, and the next process cannot answer there.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn.Server: accept none any more, and wait up to FIRST_REQUEST_S for first requests."""
        for each in self.servers:
            each.close()
        ends_at = time.monotonic() + FIRST_REQUEST_S
        await asyncio.sleep(_LOOK_S)  # what is accepted becomes a connection
        while time.monotonic() < ends_at and any(map(_is_new, self.server_state.connections)):
            await asyncio.sleep(_LOOK_S)
        await super().shutdown(sockets)


def _is_new(connection: object) -> bool:
    """Whether a client has connected, and no request of it has come yet."""
    return isinstance(connection, BoundedProtocol) and connection.cycle is None


def _idle_since(connection: object) -> float | None:
    """Since when a connection has waited for a request; None: it does not, or its client reads the reply."""
    if not isinstance(connection, BoundedProtocol) or connection.transport.get_write_buffer_size():
        return None
    waits = _is_new(connection) or connection.cycle.response_complete
    return connection.idle_since if waits else None


def serve(config: HttpConfig, link: socket.socket, on_end: Callable[[], None]) -> None:
    """Serve until the link ends; see nh.ipc.http_config.

    Args:
        config: where to serve, and whom to ask.
        link: to the supervisor.
        on_end: called when it is time to end; requests under way still get their replies.
    """
    logging.getLogger("uvicorn.error").addFilter(_is_no_fault_of_a_client)
    sockets = [socket.socket(fileno=fd) for fd in config.listeners]
    limit = ConnectionLimit(make_app(config))
    server = _Server(_server_config(AbsoluteForm(limit)))
    limit.open = server.server_state.connections

    def end() -> None:
        server.should_exit = True
        on_end()

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(_FaultLog().tell)
        _ = _Supervision(link, end)
        await server.serve(sockets)

    asyncio.run(run())


class _FaultLog:
    """Logs what asyncio has no one else to tell of.

    Where a client cannot be accepted for want of room, asyncio tells it some thousand times a second.
    """

    def __init__(self) -> None:
        self._shortages = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)

    def tell(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """See loop.set_exception_handler()."""
        exc = context.get("exception")
        if isinstance(exc, OSError) and exc.errno in SHORTAGES:
            self._shortages.log(logging.WARNING, "clients of HTTP have to wait: %s", shortage(exc))
        elif isinstance(exc, OSError) and exc.errno == errno.ENOSPC:  # of epoll_ctl(2)
            self._shortages.log(
                logging.WARNING,
                "clients of HTTP are not served: their sockets cannot be watched; raise"
                " fs.epoll.max_user_watches",
            )
        else:
            loop.default_exception_handler(context)


def _is_no_fault_of_a_client(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's is not what any client can have it log, with a traceback."""
    return not record.getMessage().startswith("Invalid UTF-8")


def _server_config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws=BoundedWebSocket,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(KEEP_ALIVE_S),
        timeout_graceful_shutdown=SHUTDOWN_S,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,
    )
