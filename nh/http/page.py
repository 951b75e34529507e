"""The page, and the files that it consists of: all are in the package, none comes from elsewhere."""

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/call.js": ("call.js", "text/javascript; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/uplot.js": ("uPlot.iife.min.js", "text/javascript; charset=utf-8"),
    "/uplot.css": ("uPlot.min.css", "text/css; charset=utf-8"),
}
"""The file and the type of each path."""

_DIRECTORY: Final = Path(__file__).with_name("static")


def page_routes() -> list[Route]:
    """The routes of the page's files, which are read once."""
    return [_route(path, *file) for path, file in _FILES.items()]


def _route(path: str, name: str, content_type: str) -> Route:
    content = (_DIRECTORY / name).read_bytes()

    async def endpoint(_request: Request) -> Response:
        return Response(content, headers={"content-type": content_type})

    return Route(path, endpoint)
