"""uvicorn's WebSocket with limits: what it waits for, and what it keeps of a client that does not go on."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from nh.http.limits import MAX_FRAGMENTS, WEBSOCKET_READ_BYTES, WEBSOCKET_SEND_S
from nh.http.stall_timer import StallTimer

_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket with a limit for the time in which a client reads nothing.

    What is no request for a WebSocket is refused: uvicorn says nothing to it, and waits for ever.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """See asyncio.Protocol."""
        super().connection_made(transport)
        # asyncio's own is 256 KiB, thousands of small messages: they are all decoded before another client
        transport.max_size = WEBSOCKET_READ_BYTES  # type: ignore[attr-defined]  # of its selector transports
        self._stall_timer = StallTimer()
        self._fragments = 0  # of the message that is coming, behind its first one

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        # such as one with a body, or with very many headers
        if self.conn.handshake_exc is not None and not self.transport.is_closing():
            self.transport.write(_BAD_REQUEST)
            self.transport.close()
        if not self.writable.is_set():  # uvicorn reads on when the application has taken a message
            self.transport.pause_reading()

    def handle_cont(self, event: Any) -> None:
        """A further fragment of a message; an empty one takes no part of the message's size, but memory."""
        self._fragments += 1
        if self._fragments >= MAX_FRAGMENTS:
            self.transport.abort()
            return
        if event.fin:
            self._fragments = 0
        super().handle_cont(event)

    def pause_writing(self) -> None:
        """See asyncio.Protocol: a client that reads nothing is not read either, once the buffer is full."""
        super().pause_writing()
        self.transport.pause_reading()
        self._stall_timer.begin(self.transport, WEBSOCKET_SEND_S)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._stall_timer.end()
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._stall_timer.end()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The process ends; a connection that is about to be closed has had its reply."""
        if not self.transport.is_closing():
            super().shutdown()
