"""The limit on connections: beyond it requests get 503, but for those that ask how nh is.

A health check that failed because others have too many connections would take a relay from its proxies.
"""

from collections.abc import Collection
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from nh.http.limits import MAX_CONNECTIONS
from nh.http.refused import REFUSALS
from nh.http.replies import refusal
from nh.results import Failure

HEALTH: Final = frozenset({"/healthz", "/readyz"})

_FAILURE: Final = Failure("unavailable", "too many connections are open; close idle ones, or ask less often")
_HEADERS: Final = {"connection": "close", "retry-after": "1"}


class ConnectionLimit:
    """Serves requests while there are fewer than MAX_CONNECTIONS connections.

    Args:
        app: the application.

    Attributes:
        open: the connections; the server sets it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.open: Collection[object] = ()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI). WebSockets have a limit of their own (nh.http.ng)."""
        if scope["type"] != "http" or len(self.open) < MAX_CONNECTIONS or scope["path"] in HEALTH:
            await self._app(scope, receive, send)
            return
        REFUSALS.note("connections")
        await refusal(scope["path"], _FAILURE, 503, _HEADERS)(scope, receive, send)
