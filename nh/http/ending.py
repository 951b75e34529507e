"""The end of the process: a request that it cancels gets 503, so that its client asks again."""

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nh.http.replies import refusal
from nh.results import Failure

_FAILURE: Final = Failure("unavailable", "this process of nh ends; ask again")
_HEADERS: Final = {"retry-after": "1"}


class EndingReply:
    """Answers requests that were under way for too long when the process ended.

    Args:
        app: the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        begun = False

        async def send_noting(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except asyncio.CancelledError:
            if begun or scope["type"] != "http":
                raise
            await refusal(scope["path"], _FAILURE, 503, _HEADERS)(scope, receive, send)
