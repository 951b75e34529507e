"""The connection over which this process asks nh what it was asked in ng: messages behind their lengths."""

import asyncio
import contextlib
import hashlib
from collections import deque

from nh.errors import CommandTimeout, MalformedFrame, ShardUnavailable, Unavailable
from nh.http.limits import MAX_NG, MAX_NG_WAITING
from nh.http.refused import REFUSALS
from nh.http.turns import Turns
from nh.wire.framing import Framer, frame
from nh.wire.ng.stream import MAX_MESSAGE_BYTES

_READ_BYTES = 64 * 1024


class NgLink:
    """Asks nh, at most MAX_NG requests at once, on one connection that is opened when needed.

    Args:
        path: the Unix socket (nh.rpc.protocols.NG_OVER_HTTP).
        timeout_s: time limit for each request.
    """

    def __init__(self, path: str, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._opening = asyncio.Lock()
        self._connection: _Connection | None = None
        self._turns = Turns(MAX_NG, MAX_NG_WAITING, _refuse)

    async def ask(self, cookie: bytes, payload: bytes, client: str) -> bytes:
        """The payload of the reply to a request.

        Args:
            cookie: of the request; with the payload it makes out the request, as clients choose equal ones.
            payload: the dictionary; with cookie and a space at most MAX_MESSAGE_BYTES.
            client: who asks; see nh.fair_shares.client_at().

        Raises:
            Unavailable: nh does not answer, or too many requests wait.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._turns.take(client)
                try:
                    return await self._ask(_link_cookie(cookie, payload), payload)
                finally:
                    self._turns.give_back()
        except TimeoutError:
            raise CommandTimeout(
                "nh did not answer in time; a command that changes a call may still be executed"
            ) from None
        except OSError as exc:
            raise Unavailable(f"nh cannot be asked: {exc.strerror or exc}") from exc

    async def _ask(self, cookie: bytes, payload: bytes) -> bytes:
        try:
            return await (await self._connected()).ask(cookie, payload)
        except ConnectionError:
            # nh closed it: it was idle, or another supervisor has taken over. Asking again is safe, because
            # nh executes a message once
            return await (await self._connected()).ask(cookie, payload)

    async def _connected(self) -> "_Connection":
        async with self._opening:
            if self._connection is None or self._connection.ended:
                reader, writer = await asyncio.open_unix_connection(self._path)
                self._connection = _Connection(reader, writer)
            return self._connection


def _link_cookie(cookie: bytes, payload: bytes) -> bytes:
    """A cookie for the connection to nh that no other message has."""
    return hashlib.sha256(b"%b %b" % (cookie, payload)).hexdigest().encode()


def _refuse() -> ShardUnavailable:
    REFUSALS.note("ng")
    return ShardUnavailable(
        f"{MAX_NG_WAITING} requests of ng wait, most of them of this client; try again later"
    )


class _Connection:
    """One connection; its replies are matched with requests by their cookies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ended = False
        self._writer = writer
        self._waiting: dict[bytes, deque[asyncio.Future[bytes]]] = {}
        self._task = asyncio.create_task(self._receive(reader))

    async def ask(self, cookie: bytes, payload: bytes) -> bytes:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(cookie, deque()).append(future)
        try:
            self._writer.write(frame(b"%b %b" % (cookie, payload)))
            await self._writer.drain()
            return await future
        finally:
            self._forget(cookie, future)

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        framer = Framer(2 * MAX_MESSAGE_BYTES)
        try:
            with contextlib.suppress(OSError, MalformedFrame):
                while data := await reader.read(_READ_BYTES):
                    framer.feed(data)
                    while (message := framer.next_frame()) is not None:
                        self._resolve(*message.split(b" ", 1))
        finally:
            self._end()

    def _end(self) -> None:
        self.ended = True
        self._writer.transport.abort()
        for futures in list(self._waiting.values()):
            for future in futures:
                if not future.done():
                    future.set_exception(ConnectionResetError())

    def _resolve(self, cookie: bytes, payload: bytes) -> None:
        # each request has a reply of its own, and those with one cookie are equal
        for future in self._waiting.get(cookie, ()):
            if not future.done():
                future.set_result(payload)
                return

    def _forget(self, cookie: bytes, future: asyncio.Future[bytes]) -> None:
        futures = self._waiting[cookie]
        futures.remove(future)
        if not futures:
            del self._waiting[cookie]
