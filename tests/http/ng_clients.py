"""Clients of ng over HTTP and WebSocket, with the interface of the UDP client (tests.ng.client)."""

import contextlib
from collections.abc import Iterator

import httpx
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.ng.client import BENCODE, Encoding, NgClient
from tests.sip.message import new_token
from tools.harness.http import TIMEOUT_S

CONTENT_TYPE = {"Content-Type": "application/x-rtpengine-ng"}


class PostNgClient(NgClient):
    """Sends each request as a POST.

    Args:
        address: (host, port) where the relay serves HTTP.
        encoding: of the requests.
    """

    def __init__(self, address: tuple[str, int], encoding: Encoding = BENCODE) -> None:
        self.encoding = encoding
        host, port = address
        self.http = httpx.Client(base_url=f"http://{host}:{port}", timeout=TIMEOUT_S, trust_env=False)

    def exchange(self, body: bytes, cookie: str | None = None) -> bytes:
        cookie = new_token() if cookie is None else cookie
        reply = self.http.post("/ng", content=cookie.encode() + b" " + body, headers=CONTENT_TYPE)
        assert reply.status_code == 200, reply.text
        assert reply.headers["content-type"] == CONTENT_TYPE["Content-Type"]
        answered, _, payload = reply.content.partition(b" ")
        assert answered == cookie.encode()
        return payload

    def close(self) -> None:
        self.http.close()


class PlainNgClient(PostNgClient):
    """The same without cookies."""

    def exchange(self, body: bytes, cookie: str | None = None) -> bytes:
        reply = self.http.post("/ng-plain", content=body, headers=CONTENT_TYPE)
        assert reply.status_code == 200, reply.text
        return reply.content


@contextlib.contextmanager
def open_websocket(
    address: tuple[str, int], path: str = "/", *, source: str = "127.0.0.1"
) -> Iterator[ClientConnection]:
    """A WebSocket with ng's subprotocol, from an address of this host."""
    host, port = address
    with connect(
        f"ws://{host}:{port}{path}",
        subprotocols=[Subprotocol("ng.rtpengine.com")],
        open_timeout=TIMEOUT_S,
        source_address=(source, 0),
        proxy=None,
        ping_interval=None,
    ) as websocket:
        yield websocket


class WebSocketNgClient(NgClient):
    """Sends each request as a message of one WebSocket: JSON as text, bencode as bytes."""

    def __init__(self, address: tuple[str, int], encoding: Encoding = BENCODE) -> None:
        self.encoding = encoding
        self._stack = contextlib.ExitStack()
        self.websocket = self._stack.enter_context(open_websocket(address))

    def exchange(self, body: bytes, cookie: str | None = None) -> bytes:
        cookie = new_token() if cookie is None else cookie
        message = cookie.encode() + b" " + body
        self.websocket.send(message if self.encoding is BENCODE else message.decode())
        while True:
            reply = self.websocket.recv(TIMEOUT_S)
            assert isinstance(reply, bytes) == (self.encoding is BENCODE)
            data = reply if isinstance(reply, bytes) else reply.encode()
            answered, _, payload = data.partition(b" ")
            if answered == cookie.encode():
                return payload

    def close(self) -> None:
        self._stack.close()
