"""Replies of the API: JSON as in the native protocol, errors with its codes, and the status of each."""

from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.responses import PlainTextResponse, Response

from nh.errors import (
    CommandTimeout,
    MalformedRequest,
    NhError,
    Unavailable,
    UnknownCall,
)
from nh.results import Failure
from nh.wire.native.values import to_json

_STATUS: Final[tuple[tuple[type[NhError], int], ...]] = (
    (MalformedRequest, 400),
    (UnknownCall, 404),
    (CommandTimeout, 504),
    (Unavailable, 503),
    (NhError, 500),
)
"""The HTTP status of each error; the first that fits counts."""

JSON: Final = "application/json"


def is_api(path: str) -> bool:
    """Whether replies at this path are those of the API."""
    return path == "/api" or path.startswith("/api/")


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value in JSON: identifiers are text, or {"base64": …} if they are not UTF-8."""
    return Response(msgspec.json.encode(to_json(value)), status, headers, JSON)


def refusal(path: str, failure: Failure, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """The reply to a request that is not executed: JSON where the path is one of the API, else text."""
    if is_api(path):
        return json_reply({"error": failure}, status, headers)
    return PlainTextResponse(f"{failure.message}\n", status, headers)


def error_reply(error: NhError) -> Response:
    """The reply to a request that failed."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    headers = {"retry-after": "1"} if status == 503 else None
    return json_reply({"error": Failure.of(error)}, status, headers)
