"""ng over HTTP POST and WebSocket, as rtpengine has them: its paths, content type and subprotocol."""

import asyncio
import contextlib
import itertools
import os
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from nh.errors import CommandTimeout, NhError
from nh.fair_shares import FairShares
from nh.http.clients import client_of
from nh.http.limits import MAX_NG_OF_WEBSOCKETS, MAX_WEBSOCKETS
from nh.http.ng_link import NgLink
from nh.http.refused import REFUSALS
from nh.wire.ng import split_cookie
from nh.wire.ng.stream import MAX_MESSAGE_BYTES

SUBPROTOCOL: Final = "ng.rtpengine.com"

CONTENT_TYPE: Final = "application/x-rtpengine-ng"

_ACCEPTED: Final = frozenset({CONTENT_TYPE, "application/json"})
"""Types of a POST. No form of a web page can have them, so another site cannot send one through a browser."""

_NO_COOKIE: Final = "a message is a cookie, a space, and a dictionary in bencode or JSON"

_TRY_AGAIN: Final = {"retry-after": "1"}
_TRY_AGAIN_LATER: Final = 1013
_PROTOCOL_ERROR: Final = 1002


class NgGateway:
    """The endpoints of ng.

    Args:
        link: asks nh.
    """

    def __init__(self, link: NgLink) -> None:
        self._link = link
        self._websockets: dict[_WebSocket, str] = {}  # and their clients, in the order in which they came
        self._busy: set[_WebSocket] = set()
        self._cookies = (b"%d_%d" % (os.getpid(), number) for number in itertools.count())

    # --- POST -------------------------------------------------------------------------------------

    async def post(self, request: Request) -> Response:
        """POST /ng: a message as over UDP, cookie and all."""
        body = await _body(request)
        if isinstance(body, Response):
            return body
        parts = split_cookie(body)
        if parts is None:
            return PlainTextResponse(f"{_NO_COOKIE}\n", 400)
        return await self._reply(request, *parts, b"%b " % parts[0])

    async def post_plain(self, request: Request) -> Response:
        """POST /ng-plain: the dictionary alone; a POST that is sent again is executed again."""
        body = await _body(request)
        if isinstance(body, Response):
            return body
        return await self._reply(request, next(self._cookies), body, b"")

    async def _reply(self, request: Request, cookie: bytes, payload: bytes, head: bytes) -> Response:
        try:
            reply = await self._link.ask(cookie, payload, client_of(request.scope.get("client")))
        except CommandTimeout as exc:
            return PlainTextResponse(f"{exc}\n", 504)
        except NhError as exc:
            return PlainTextResponse(f"{exc}\n", 503, _TRY_AGAIN)
        return Response(head + reply, headers={"content-type": CONTENT_TYPE})

    # --- WebSocket --------------------------------------------------------------------------------

    async def serve_websocket(self, websocket: WebSocket) -> None:
        """A WebSocket with the subprotocol of ng: one message each for request and reply, in any order."""
        if SUBPROTOCOL not in websocket.scope["subprotocols"]:
            await websocket.close(_PROTOCOL_ERROR)
            return
        client = client_of(websocket.scope.get("client"))
        if len(self._websockets) >= MAX_WEBSOCKETS and not self._make_room(client):
            await websocket.close(_TRY_AGAIN_LATER)
            return
        with contextlib.suppress(WebSocketDisconnect):
            await websocket.accept(SUBPROTOCOL)
            accepted = _WebSocket(websocket, self._link, client, self._busy)
            self._websockets[accepted] = client
            try:
                await accepted.serve()
            finally:
                self._websockets.pop(accepted, None)

    def _make_room(self, client: str) -> bool:
        """Close the latest WebSocket of the client with most; False if none has more than `client`."""
        REFUSALS.note("websockets")
        heaviest = FairShares([*self._websockets.values(), client]).heaviest()
        if client in heaviest:
            return False
        latest = next(each for each in reversed(self._websockets) if self._websockets[each] in heaviest)
        del self._websockets[latest]
        latest.close()
        return True


class _WebSocket:
    """One accepted WebSocket.

    Args:
        websocket: it.
        link: asks nh.
        client: who asks; see nh.fair_shares.client_at().
        busy: those WebSockets that have requests under way; they share MAX_NG_OF_WEBSOCKETS.
    """

    def __init__(self, websocket: WebSocket, link: NgLink, client: str, busy: "set[_WebSocket]") -> None:
        self._websocket = websocket
        self._link = link
        self._client = client
        self._busy = busy
        self._answered = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """End it: its client may connect again later. Replies to come are dropped."""
        self._closing = asyncio.create_task(self._close())

    async def _close(self) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the client has left
            await self._websocket.close(_TRY_AGAIN_LATER)

    async def serve(self) -> None:
        """Answer messages until the client leaves, or does not read its replies."""
        try:
            while True:
                message = await self._websocket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                while self._is_full():  # others may have come while it waited for this message
                    self._answered.clear()
                    await self._answered.wait()
                text: str | None = message.get("text")
                data = message.get("bytes") if text is None else text.encode("utf-8", "surrogatepass")
                task = asyncio.create_task(self._answer(data or b"", text is not None))
                self._tasks.add(task)
                self._busy.add(self)
                task.add_done_callback(self._on_answered)
        finally:
            for task in self._tasks:
                task.cancel()

    def _is_full(self) -> bool:
        """Whether a message has to wait until an earlier one has its reply."""
        return bool(self._tasks) and len(self._tasks) >= MAX_NG_OF_WEBSOCKETS // len(self._busy)

    def _on_answered(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._busy.discard(self)
        self._answered.set()

    async def _answer(self, message: bytes, as_text: bool) -> None:
        parts = split_cookie(message)
        if parts is None:  # as over UDP: it can get no reply
            return
        try:
            reply = b"%b %b" % (parts[0], await self._link.ask(*parts, self._client))
        except NhError:  # as over UDP: the client asks again
            return
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the client has left
            await self._send(reply, as_text)

    async def _send(self, reply: bytes, as_text: bool) -> None:
        if as_text:
            with contextlib.suppress(UnicodeDecodeError):  # it has bytes that no text can have
                await self._websocket.send_text(reply.decode())
                return
        await self._websocket.send_bytes(reply)


async def _body(request: Request) -> bytes | Response:
    """The body of a POST, or the response to one that cannot be read."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in _ACCEPTED:
        return PlainTextResponse(f"content-type: is not {CONTENT_TYPE}\n", 415)
    body = bytearray()
    with contextlib.suppress(ClientDisconnect):
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_MESSAGE_BYTES:
                return PlainTextResponse(f"a message has {MAX_MESSAGE_BYTES} bytes at most\n", 413)
    return bytes(body)
