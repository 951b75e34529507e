"""What every request has to pass.

No web page of another site reaches nh through an operator's browser, and no request hides behind another one.
"""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nh.errors import MalformedRequest
from nh.http.replies import refusal
from nh.results import Failure

_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_TWO_LENGTHS: Final = Failure(
    MalformedRequest.code, "it has Transfer-Encoding and Content-Length; send one of them"
)


class Guard:
    """Checks where a request comes from, and adds the headers that protect what a browser shows.

    A browser sends `Origin` with a WebSocket and with a POST of another site; SIP proxies send none. Where nh
    listens on loopback alone, `Host` has to be loopback too, or another site could make its own name one of
    this host (DNS rebinding). Without `Host` it is no browser: health checks of HTTP/1.0 have none, such as
    those of HAProxy.

    A request with two lengths may have another end for a proxy in front of nh: what follows could be a
    request that the proxy has not seen (RFC 9112 6.1).

    Args:
        app: the application.
        local: whether nh listens on loopback alone.
    """

    def __init__(self, app: ASGIApp, *, local: bool) -> None:
        self._app = app
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "websocket":
            if self._refusal(scope):
                await receive()
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if _has_two_lengths(scope):
            close = {"connection": "close"}
            await refusal(scope["path"], _TWO_LENGTHS, 400, close)(scope, receive, send_guarded)
            return
        if why := self._refusal(scope):
            await refusal(scope["path"], Failure("forbidden", why), 403)(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        host, origin = headers.get("host"), headers.get("origin")
        if self._local and host is not None and not _is_local(host):
            return (
                "Host is not loopback, and nh listens there alone; ask for 127.0.0.1, or have the proxy in"
                " front send that as Host"
            )
        if origin is not None and (host is None or _host_of(origin) != host.lower()):
            return "Origin is another site; only pages of nh itself may ask it"
        return ""


def _has_two_lengths(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers and "content-length" in headers


def _host_of(origin: str) -> str:
    """Host and port of an origin; "" if it has none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # brackets that are no IPv6 address
        return ""


def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name == "localhost" or name.endswith(".localhost"):
            return True
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
