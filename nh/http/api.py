"""The API: statistics and calls in JSON; with a token (nh.http.token), what operators do to them."""

import contextlib
import logging
from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from nh.commands import (
    MAX_DRAIN_S,
    MAX_ID_BYTES,
    MAX_LIST,
    CallOrder,
    CloseCall,
    Drain,
    ListCalls,
    ListEnded,
    ShowCall,
    ShowEnded,
    Undrain,
)
from nh.errors import MalformedRequest, UnknownCall
from nh.http.clients import client_of
from nh.http.limits import JUDGED_LIST_COST, LIST_COST, MAX_BODY_BYTES
from nh.http.openapi import DEFAULT_LIST, description
from nh.http.relay import RpcClient, StatsSource
from nh.http.replies import json_reply
from nh.printable import show_id
from nh.results import CallDetail, CallEvents, CallRecord
from nh.verdict import judge_call
from nh.wire.fields import make_list, make_network, make_order

logger = logging.getLogger(__name__)

CALLS: Final = b"/api/calls/"
WHY: Final = b"/api/why/"
CLOSE: Final = b"/close"
EVENTS: Final = b"/events"


class _DrainRequest(msgspec.Struct, forbid_unknown_fields=True):
    limit_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_DRAIN_S)] | None = None


class Api:
    """The endpoints.

    Args:
        stats: reads the statistics.
        rpc: asks nh.
    """

    def __init__(self, stats: StatsSource, rpc: RpcClient) -> None:
        self._stats = stats
        self._rpc = rpc

    async def show_stats(self, request: Request) -> Response:
        """All statistics, as `nh stats --json` prints them."""
        _parameters(request, ())
        return json_reply(self._stats.read().to_builtins())

    async def list_calls(self, request: Request) -> Response:
        """One page of calls, or of those that have ended."""
        fields = _parameters(request, (*ListCalls.__struct_fields__, "ended", "before"))
        if _yes(fields, "ended"):
            return json_reply(
                await self._rpc.request(_ended_command(fields), _client(request), cost=LIST_COST)
            )
        if "before" in fields:
            raise MalformedRequest("query: before is for calls that have ended; say ended=true")
        fields.pop("ended", None)
        command = _list_command(fields)
        return json_reply(await self._rpc.request(command, _client(request), cost=_cost(command)))

    async def show_call(self, request: Request) -> Response:
        """One call in full, or its record; or what happened to it."""
        path: bytes = request.scope["raw_path"]
        if not path.endswith(EVENTS):
            return json_reply(await self._find(_call_id(request, CALLS), _client(request)))
        call = await self._find(_call_id(request, CALLS, EVENTS), _client(request))
        return json_reply(CallEvents(call.call_id, call.events, call.events_left_out))

    async def judge_call(self, request: Request) -> Response:
        """Whether the media of a call flow, and if not, why."""
        return json_reply(judge_call(await self._find(_call_id(request, WHY), _client(request))))

    async def _find(self, call_id: bytes, client: str) -> CallDetail | CallRecord:
        """A call, or the record of one that has ended. Raises UnknownCall if there is neither."""
        with contextlib.suppress(UnknownCall):
            return await self._rpc.request(ShowCall(call_id), client)
        try:
            return await self._rpc.request(ShowEnded(call_id), client)
        except UnknownCall as exc:
            raise UnknownCall("no call has this call-id, and none that had it has ended lately") from exc

    async def close_call(self, request: Request) -> Response:
        """End a call, as `nh close` does."""
        call_id = _call_id(request, CALLS, CLOSE)
        closed = await self._rpc.request(CloseCall(call_id), _client(request))
        logger.info("call %s closed over HTTP by %s", show_id(call_id), _where(request))
        return json_reply({"call_id": call_id, "closed": closed.sessions})

    async def drain(self, request: Request) -> Response:
        """Refuse new calls, and end nh after the last one, as `nh drain` does."""
        _parameters(request, ())
        wanted = await _read_drain(request)
        state = await self._rpc.request(Drain(wanted.limit_s), _client(request))
        logger.info("drain begun over HTTP by %s", _where(request))
        return json_reply(state)

    async def undrain(self, request: Request) -> Response:
        """Take a drain back, as `nh undrain` does."""
        _parameters(request, ())
        state = await self._rpc.request(Undrain(), _client(request))
        logger.info("drain ended over HTTP by %s", _where(request))
        return json_reply(state)

    async def show_description(self, _request: Request) -> Response:
        """The OpenAPI description."""
        return json_reply(description())


def _list_command(fields: Mapping[str, bytes]) -> ListCalls:
    return make_list(
        ListCalls(
            contains=_identifier(fields, "contains"),
            after=_identifier(fields, "after"),
            limit=_limit(fields.get("limit")),
            one_way=_yes(fields, "one_way"),
            silent=_yes(fields, "silent"),
            address=make_network(_text(fields, "address"), where="address"),
            sort=make_order(_text(fields, "sort") or CallOrder.CALL_ID, where="sort"),
        )
    )


def _ended_command(fields: Mapping[str, bytes]) -> ListEnded:
    if others := sorted(fields.keys() - {"ended", "contains", "before", "limit"}):
        raise MalformedRequest(f"query: {others[0]} is for calls that go on, not for those that have ended")
    before = fields.get("before", b"0")
    if not before.isdigit() or len(before) > 18:
        raise MalformedRequest("before: is not `next` of the page before")
    return ListEnded(_identifier(fields, "contains"), int(before), _limit(fields.get("limit")))


def _cost(command: ListCalls) -> int:
    judges = command.one_way or command.silent or command.address or command.sort is not CallOrder.CALL_ID
    return JUDGED_LIST_COST if judges else LIST_COST


def _call_id(request: Request, prefix: bytes, suffix: bytes = b"") -> bytes:
    """The call-id that stands between `prefix` and `suffix` in the path."""
    _parameters(request, ())
    path: bytes = request.scope["raw_path"]
    call_id = unquote_to_bytes(path.removeprefix(prefix).removesuffix(suffix))
    if not 1 <= len(call_id) <= MAX_ID_BYTES:
        raise MalformedRequest(f"call_id: has {len(call_id)} bytes, not 1 to {MAX_ID_BYTES}")
    return call_id


def _parameters(request: Request, known: tuple[str, ...]) -> dict[str, bytes]:
    """The query's parameters: bytes, because identifiers are.

    Raises:
        MalformedRequest: one is unknown, or given twice.
    """
    query: bytes = request.scope["query_string"]
    fields: dict[str, bytes] = {}
    for part in filter(None, query.split(b"&")):
        name, _, value = part.replace(b"+", b" ").partition(b"=")
        key = unquote_to_bytes(name).decode("ascii", "backslashreplace")
        if key not in known or key in fields:
            raise MalformedRequest(
                f"query: {key[:64]!r} is {'given twice' if key in fields else 'unknown'};"
                f" the parameters are {', '.join(known) or 'none'}"
            )
        fields[key] = unquote_to_bytes(value)
    return fields


def _identifier(fields: Mapping[str, bytes], name: str) -> bytes:
    value = fields.get(name, b"")
    if len(value) > MAX_ID_BYTES:
        raise MalformedRequest(f"{name}: has {len(value)} bytes, more than {MAX_ID_BYTES}")
    return value


def _text(fields: Mapping[str, bytes], name: str) -> str:
    return fields.get(name, b"").decode("utf-8", "backslashreplace")


def _yes(fields: Mapping[str, bytes], name: str) -> bool:
    value = fields.get(name, b"false")
    if value not in (b"true", b"false"):
        raise MalformedRequest(f"{name}: is not true or false")
    return value == b"true"


def _limit(text: bytes | None) -> int:
    if text is None:
        return DEFAULT_LIST
    if text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_LIST:
        return int(text)
    raise MalformedRequest(f"limit: is not a number from 1 to {MAX_LIST}")


async def _read_drain(request: Request) -> _DrainRequest:
    """The body of a request to drain; an empty one says nothing.

    Raises:
        MalformedRequest: it is too long, or no such object.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise MalformedRequest(f"body: has more than {MAX_BODY_BYTES} bytes")
    try:
        return msgspec.json.decode(body or b"{}", type=_DrainRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise MalformedRequest(f"body: {exc}") from exc


def _client(request: Request) -> str:
    """Whose turn a request takes."""
    return client_of(request.scope.get("client"))


def _where(request: Request) -> str:
    """Where a request came from, for the log."""
    return request.client.host if request.client is not None else "unknown"
