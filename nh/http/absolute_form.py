"""Targets in absolute form, `GET http://HOST/PATH`: a server takes them, too (RFC 9112 3.2.2)."""

import re
from typing import Final
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

_ABSOLUTE: Final = re.compile(rb"https?://([^/@]+)(/.*)?", re.IGNORECASE)
"""Host and port, and the path. A URL with a user, or without a host, is none that a server takes."""


class AbsoluteForm:
    """Serves requests whose target is in absolute form as those in origin form.

    The host of the target counts, and the header Host does not.

    Args:
        app: the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if found := _ABSOLUTE.fullmatch(scope["raw_path"]):
            host, path = found[1], found[2] or b"/"
            headers = [(b"host", host), *(each for each in scope["headers"] if each[0] != b"host")]
            scope = {**scope, "path": unquote(path.decode()), "raw_path": path, "headers": headers}
        await self._app(scope, receive, send)
