"""The limit on connections: where there are too many, the client with most gives way.

One of its connections is closed that waits for a request. Where none waits, its requests get 503, but for
those that ask how nh is: a health check that failed because of other connections would take a relay from its
proxies.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nh.fair_shares import FairShares
from nh.http.clients import client_of
from nh.http.limits import MAX_CONNECTIONS
from nh.http.refused import REFUSALS
from nh.http.replies import refusal
from nh.results import Failure

HEALTH: Final = frozenset({"/healthz", "/readyz"})

_FAILURE: Final = Failure("unavailable", "too many connections are open; close idle ones, or ask less often")
_HEADERS: Final = {"connection": "close", "retry-after": "1"}


def make_room(connections: Collection[Any], newcomer: Any, idle_since: Callable[[Any], float | None]) -> None:
    """Close a connection of the client with most, where a new one makes too many; else no effect.

    It is the one that has waited longest for a request. If none waits, it is any, unless the newcomer is of
    that client, too: then the requests of that client are refused.

    Args:
        connections: all connections of uvicorn's, with the new one.
        newcomer: the new one.
        idle_since: since when a connection has waited for a request; None: it does not.
    """
    if len(connections) <= MAX_CONNECTIONS:
        return
    REFUSALS.note("connections")
    open_ = [each for each in connections if not _has_ended(each.transport)]
    heaviest = FairShares(client_of(each.client) for each in open_).heaviest()
    most = [each for each in open_ if each is not newcomer and client_of(each.client) in heaviest]
    idle = [(since, index) for index, each in enumerate(most) if (since := idle_since(each)) is not None]
    if idle:
        most[min(idle)[1]].transport.abort()
    elif client_of(newcomer.client) not in heaviest:
        most[0].transport.abort()


def _has_ended(transport: asyncio.Transport) -> bool:
    """Whether a connection is closed; one that is about to be closed may wait long for its client to read."""
    return transport.is_closing() and not transport.get_write_buffer_size()


class ConnectionLimit:
    """Refuses requests of the client with most while there are more than MAX_CONNECTIONS connections.

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
        """Whether there are too many connections, and the client has most of them."""
        if len(self.open) <= MAX_CONNECTIONS:
            return False
        heaviest = FairShares(client_of(each.client) for each in self.open).heaviest()
        return client_of(scope.get("client")) in heaviest


def _closing(send: Send) -> Send:
    """Sends a response that is the last of its connection."""

    async def send_last(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["connection"] = "close"
        await send(message)

    return send_last
