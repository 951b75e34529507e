"""The token: what changes anything over HTTP needs it, and so does reading if the settings say so.

Clients send it as `Authorization: Bearer TOKEN` (RFC 6750), never as a cookie, so no web page of another site
can use it. The process knows its SHA-256 alone: comparing digests takes the same time for any wrong token.
"""

import collections
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from nh.http.clients import client_of
from nh.http.limits import MAX_WRONG_CLIENTS, MAX_WRONG_TOKENS, WRONG_TOKENS_S
from nh.http.replies import is_api, json_reply
from nh.results import Failure

_SCHEME: Final = "bearer "
_READ_ONLY: Final = "nh has no token, so HTTP is read-only; start it with --http-token-file FILE"
_PUBLIC_METHODS: Final = ("GET", "HEAD")


class TokenCheck:
    """Lets requests to the application that need no token, or have the right one.

    Args:
        app: the application.
        digest: SHA-256 of the token; b"": there is none.
        private: reading needs the token, too.
        now: the clock, monotonic seconds.

    Attributes:
        wrong: how many requests had a wrong token.
    """

    def __init__(
        self, app: ASGIApp, *, digest: bytes, private: bool, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.wrong = 0
        self._app = app
        self._digest = digest
        self._private = private
        self._now = now
        self._wrong_by_client: collections.OrderedDict[str, list[float]] = collections.OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        refusal = self._refusal(scope) if self._needs_token(scope) else None
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _needs_token(self, scope: Scope) -> bool:
        if scope["type"] != "http":
            return False
        path: str = scope["path"]
        if is_api(path) and scope["method"] not in _PUBLIC_METHODS:
            return True
        return self._private and (is_api(path) or path == "/metrics")

    def _refusal(self, scope: Scope) -> Response | None:
        if not self._digest:
            return _reply(403, "read_only", _READ_ONLY)
        client = client_of(scope.get("client"))
        wait_s = self._wait_s(client)
        if wait_s > 0:
            again = {"retry-after": str(int(wait_s) + 1)}
            return _reply(429, "too_many_wrong_tokens", "too many wrong tokens; wait", again)
        given = Headers(scope=scope).get("authorization", "")
        if not given.lower().startswith(_SCHEME):
            return _reply(
                401, "token_missing", "send Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"}
            )
        token = given[len(_SCHEME) :].strip()
        if hmac.compare_digest(hashlib.sha256(token.encode("latin-1")).digest(), self._digest):
            return None
        self._note_wrong(client)
        challenge = {"www-authenticate": 'Bearer error="invalid_token"'}
        return _reply(401, "token_wrong", "the token is wrong", challenge)

    def _wait_s(self, client: str) -> float:
        """Seconds until the client may try again."""
        times = self._wrong_by_client.get(client, [])
        if len(times) < MAX_WRONG_TOKENS:
            return 0.0
        return times[-MAX_WRONG_TOKENS] + WRONG_TOKENS_S - self._now()

    def _note_wrong(self, client: str) -> None:
        self.wrong += 1
        times = self._wrong_by_client.pop(client, [])
        self._wrong_by_client[client] = [*times[1 - MAX_WRONG_TOKENS :], self._now()]
        if len(self._wrong_by_client) > MAX_WRONG_CLIENTS:
            self._wrong_by_client.popitem(last=False)


def _reply(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return json_reply({"error": Failure(code, message)}, status, headers)
