"""The application: which path is which endpoint."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp

from nh.errors import NhError
from nh.http import metrics
from nh.http.api import Api
from nh.http.ending import EndingReply
from nh.http.guard import Guard
from nh.http.ng import NgGateway
from nh.http.ng_link import NgLink
from nh.http.page import page_routes
from nh.http.relay import RpcClient, StatsSource
from nh.http.replies import error_reply, is_api, json_reply
from nh.http.token import TokenCheck
from nh.ipc.http_config import HttpConfig
from nh.results import Failure
from nh.stats.health import why_not_alive, why_not_ready
from nh.stats.reading import StatsReading

_MARGIN_S: Final = 1.0
"""nh answers within command_timeout_s; this process waits so much longer."""

_PATHS: Final = (
    "the page is at /, the API at /api/openapi.json; /metrics, /healthz and /readyz are for programs"
)


def make_app(config: HttpConfig) -> ASGIApp:
    """The application.

    Args:
        config: whom to ask.
    """
    register_url_convertor("octets", _Octets())
    stats = StatsSource(Path(config.runtime_path), config.stats_fd)
    api = Api(stats, RpcClient(config.rpc, config.command_timeout_s + _MARGIN_S))
    routes: list[BaseRoute] = [
        Route("/healthz", _health(stats, lambda reading, _group: why_not_alive(reading))),
        Route("/readyz", _health(stats, why_not_ready)),
        Route("/metrics", _metrics(stats, lambda: check.wrong)),
        Route("/api/stats", api.show_stats),
        Route("/api/calls", api.list_calls),
        Route("/api/calls/{call_id:octets}/close", api.close_call, methods=["POST"]),
        Route("/api/calls/{call_id:octets}", api.show_call),
        Route("/api/drain", api.drain, methods=["POST"]),
        Route("/api/undrain", api.undrain, methods=["POST"]),
        Route("/api/why/{call_id:octets}", api.judge_call),
        Route("/api/openapi.json", api.show_description),
        *page_routes(),
    ]
    if config.ng:
        gateway = NgGateway(NgLink(config.ng, config.command_timeout_s + _MARGIN_S))
        routes += [
            Route("/ng", gateway.post, methods=["POST"]),
            Route("/ng-plain", gateway.post_plain, methods=["POST"]),
            WebSocketRoute("/{path:path}", gateway.serve_websocket),  # as rtpengine, at any path
        ]
    app = Starlette(routes=routes, exception_handlers={NhError: _on_error, HTTPException: _on_no_route})
    app.router.redirect_slashes = False  # a redirect would lead to whatever Host the client named
    check = TokenCheck(app, digest=config.token_sha256, private=config.private)
    return Guard(EndingReply(check), local=config.local)


async def _on_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, NhError)
    return error_reply(error)


async def _on_no_route(request: Request, error: Exception) -> Response:
    """404 or 405: an error of the API where the path is one of it."""
    assert isinstance(error, HTTPException)
    if not is_api(request.url.path):
        where = f"; {_PATHS}" if error.status_code == 404 else ""
        return PlainTextResponse(f"{error.detail}{where}\n", error.status_code, error.headers)
    if error.status_code == 405:
        what = Failure("bad_request", "this path of the API has another method; /api/openapi.json says which")
    else:
        what = Failure("not_found", "the API has no such path; /api/openapi.json has them all")
    return json_reply({"error": what}, error.status_code, error.headers)


class _Octets(PathConvertor):
    """Anything, line ends too: a call-id has any bytes."""

    regex = r"[\s\S]+"


Endpoint = Callable[[Request], Awaitable[Response]]


def _health(stats: StatsSource, why_not: Callable[[StatsReading, str], str]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        load: dict[str, object] = {"load_percent": 0, "at_limit": 0, "limits": []}
        try:
            reading = stats.read()
            why = why_not(reading, request.query_params.get("group", ""))
            load = {
                "load_percent": reading.totals.load_percent,
                "at_limit": reading.totals.at_limit,
                "limits": list(reading.limits),
            }
        except NhError as exc:
            why = str(exc)
        return json_reply({"ok": not why, "why": why, **load}, 503 if why else 200)

    return endpoint


def _metrics(stats: StatsSource, wrong_tokens: Callable[[], int]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        body, content_type = metrics.render(stats.read(), accept, wrong_tokens=wrong_tokens())
        return Response(body, headers={"content-type": content_type})

    return endpoint
