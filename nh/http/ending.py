"""The end of the process: a request that it cancels gets 503, so that its client asks again."""

import asyncio
from typing import Final

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nh.errors import ShardUnavailable
from nh.http.replies import error_reply, is_api

_WHY: Final = "this process of nh ends; ask again"


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
            await _reply(scope)(scope, receive, send)


def _reply(scope: Scope) -> Response:
    """503: an error of the API where the path is one of it."""
    if is_api(scope["path"]):
        return error_reply(ShardUnavailable(_WHY))
    return PlainTextResponse(f"{_WHY}\n", 503, {"retry-after": "1"})
