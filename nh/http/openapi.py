"""The OpenAPI description of the API: its operations. Its schemas are in nh.http.schemas."""

import functools
from typing import Any, Final

from nh.commands import MAX_DRAIN_S, MAX_ID_BYTES, MAX_LIST, CallOrder
from nh.http.schemas import reference, schemas
from nh.version import __version__

DEFAULT_LIST: Final = 100
"""Most calls in a page if the request does not say."""


@functools.cache
def description() -> dict[str, Any]:
    """The whole description, OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nh",
            "version": __version__,
            "summary": "Statistics and calls of an RTP relay. What changes anything needs a token.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": _reading_paths() | _changing_paths(),
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _reading_paths() -> dict[str, Any]:
    """What changes nothing."""
    return {
        "/healthz": _health("Whether nh works", "health"),
        "/readyz": _health("Whether nh takes new calls", "readiness", _GROUP),
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "The statistics for Prometheus",
                "responses": {
                    "200": {
                        "description": "Prometheus's text format, or OpenMetrics",
                        "content": {"text/plain": {"schema": {"type": "string"}}},
                    },
                    "503": _reply("nh is starting", "Error"),
                },
            }
        },
        "/api/stats": _path("All statistics", "stats", "Stats", 400, 503),
        "/api/calls": _path(
            "One page of calls, or of those that have ended",
            "calls",
            "CallListOrEndedCalls",
            400,
            503,
            504,
            parameters=_LIST,
        ),
        "/api/calls/{call_id}": _path(
            "One call in full, or the record of one that has ended",
            "call",
            "CallDetailOrRecord",
            400,
            404,
            503,
            504,
            parameters=_CALL,
        ),
        "/api/calls/{call_id}/events": _path(
            "What happened to a call", "events", "CallEvents", 400, 404, 503, 504, parameters=_CALL
        ),
        "/api/why/{call_id}": _path(
            "Whether the media of a call flow, and if not, why",
            "why",
            "CallVerdict",
            400,
            404,
            503,
            504,
            parameters=_CALL,
        ),
    }


def _changing_paths() -> dict[str, Any]:
    """What needs the token."""
    return {
        "/api/calls/{call_id}/close": _post(
            "End a call", "close", "ClosedCall", 404, 503, 504, parameters=_CALL
        ),
        "/api/drain": _post(
            "Refuse new calls, and end nh after the last one",
            "drain",
            "DrainState",
            503,
            504,
            body={"limit_s": {"type": ["number", "null"], "minimum": 0, "maximum": MAX_DRAIN_S}},
        ),
        "/api/undrain": _post("Take a drain back", "undrain", "DrainState", 503, 504),
    }


def _parameter(name: str, text: str, where: str = "query", **schema: object) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": text,
        "schema": {"type": "string", **schema},
    }


_GROUP: Final = _parameter("group", "Whether it does so with the calls of this prefix of the store")

_LIST: Final = (
    _parameter("contains", "Only calls whose call-id contains this", maxLength=MAX_ID_BYTES),
    _parameter("after", "Only call-ids after this one: `next` of the page before", maxLength=MAX_ID_BYTES),
    _parameter(
        "limit", "Most calls in the page", type="integer", minimum=1, maximum=MAX_LIST, default=DEFAULT_LIST
    ),
    _parameter("one_way", "Only calls with media from one end", type="boolean", default=False),
    _parameter(
        "silent", "Only calls without media; with one_way: these and those", type="boolean", default=False
    ),
    _parameter("address", "Only calls with an end in this network: ADDRESS or ADDRESS/LENGTH"),
    _parameter(
        "sort",
        "The order; in another one than call_id the list is one page",
        enum=list(CallOrder),
        default=CallOrder.CALL_ID,
    ),
    _parameter(
        "ended",
        "Calls that have ended, the latest first; with contains, before and limit only",
        type="boolean",
        default=False,
    ),
    _parameter("before", "With ended: `next` of the page before", type="integer", minimum=0, default=0),
)
_CALL: Final = (
    _parameter(
        "call_id", "The call-id, each byte that a path cannot have as %XX", "path", maxLength=MAX_ID_BYTES
    ),
)

_REASONS: Final = {
    400: "The request cannot be read",
    401: "The token is missing or wrong",
    403: "Origin or Host is another site's; or nh has no token, and changes nothing over HTTP",
    429: "The client sent too many wrong tokens",
    404: "There is no such call",
    503: "nh, or the shard of the call, does not answer or is not ready",
    504: "A shard did not answer in time",
}

_GUARDED: Final = {
    401: "The token is missing or wrong, and the settings have http_private",
    403: "Origin or Host is another site's",
    429: "The client sent too many wrong tokens",
}
"""What any request of the API may get, also one that changes nothing."""


def _path(
    summary: str, name: str, schema: str, *errors: int, parameters: tuple[dict[str, Any], ...] = ()
) -> dict[str, Any]:
    replies = {str(status): _reply(_REASONS[status], "Error") for status in errors}
    replies |= {str(status): _reply(text, "Error") for status, text in _GUARDED.items()}
    return _get(summary, name, parameters, {"200": _reply("OK", schema), **replies})


def _health(summary: str, name: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    """A check of health: its answer has the same form in both cases."""
    replies = {"200": _reply("OK", "Health"), "503": _reply("It does not; `why` says why", "Health")}
    return _get(summary, name, parameters, replies)


def _get(
    summary: str, name: str, parameters: tuple[dict[str, Any], ...], replies: dict[str, Any]
) -> dict[str, Any]:
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "parameters": list(parameters),
            "responses": replies,
        }
    }


def _post(
    summary: str,
    name: str,
    schema: str,
    *errors: int,
    parameters: tuple[dict[str, Any], ...] = (),
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    operation = _path(summary, name, schema, 400, *errors, parameters=parameters)["get"]
    operation["responses"] |= {str(status): _reply(_REASONS[status], "Error") for status in (401, 403, 429)}
    operation["security"] = [{"token": []}]
    if body is not None:
        content = {"application/json": {"schema": {"type": "object", "properties": body}}}
        operation["requestBody"] = {"required": False, "content": content}
    return {"post": operation}


def _reply(text: str, schema: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {"application/json": {"schema": reference(schema)}},
    }
