"""The limits on connections: beyond them requests get 503, but for those that ask how nh is.

A health check that failed because others have too many connections would take a relay from its proxies.
"""

from collections import Counter
from collections.abc import Collection
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nh.http.clients import network_of
from nh.http.limits import MAX_CONNECTIONS, MAX_OF_CLIENT
from nh.http.refused import REFUSALS
from nh.http.replies import refusal
from nh.results import Failure

HEALTH: Final = frozenset({"/healthz", "/readyz"})

_FAILURE: Final = Failure("unavailable", "too many connections are open; close idle ones, or ask less often")
_HEADERS: Final = {"connection": "close", "retry-after": "1"}


def numbers_by_client(connections: Collection[Any]) -> Counter[str]:
    """How many connections of uvicorn's each client has, see network_of()."""
    return Counter(network_of(each.client) for each in connections)


class ConnectionLimit:
    """Serves requests while there are no more than MAX_CONNECTIONS connections, MAX_OF_CLIENT of one client.

    Args:
        app: the application.

    Attributes:
        open: the connections; the server sets it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.open: Collection[Any] = ()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI). WebSockets have a limit of their own (nh.http.ng)."""
        if scope["type"] != "http" or not self._is_beyond(scope):
            await self._app(scope, receive, send)
        elif scope["path"] in HEALTH:
            await self._app(scope, receive, _closing(send))
        else:
            REFUSALS.note("connections")
            await refusal(scope["path"], _FAILURE, 503, _HEADERS)(scope, receive, send)

    def _is_beyond(self, scope: Scope) -> bool:
        """Whether the client has too many connections, or all have, each with its share at most."""
        if len(self.open) <= MAX_OF_CLIENT:
            return False
        numbers = numbers_by_client(self.open)
        if numbers[network_of(scope.get("client"))] > MAX_OF_CLIENT:
            return True
        return sum(min(number, MAX_OF_CLIENT) for number in numbers.values()) > MAX_CONNECTIONS


def _closing(send: Send) -> Send:
    """Sends a response that is the last of its connection."""

    async def send_last(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["connection"] = "close"
        await send(message)

    return send_last
