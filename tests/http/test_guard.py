"""nh.http.guard: which requests a browser may send."""

import asyncio
import socket
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message

from nh.http.guard import Guard
from tests.http.served import served
from tools.harness.waiting import TIMEOUT_S


def status_of(host: str | None, origin: str | None, *, local: bool) -> int:
    """What a GET with these headers gets."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    headers = [(b"host", host.encode())] if host is not None else []
    headers += [(b"origin", origin.encode())] if origin is not None else []
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    asyncio.run(Guard(PlainTextResponse("ok"), local=local)(scope, receive, send))
    assert dict(sent[0]["headers"])[b"x-content-type-options"] == b"nosniff"
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "[::1]:8080", "localhost", "LOCALHOST:80", "nh.localhost"]
)
def test_on_loopback_hosts_of_loopback_are_served(host: str) -> None:
    assert status_of(host, None, local=True) == 200
    assert status_of(host, f"http://{host}", local=True) == 200


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "192.0.2.1:8080", "localhost.evil.example", "127.0.0.1.evil.example", "[::2]", "["],
)
def test_on_loopback_no_other_host_is_served(host: str) -> None:
    assert status_of(host, None, local=True) == 403


def test_a_health_check_of_http_1_0_needs_no_host() -> None:
    assert status_of(None, None, local=True) == 200
    assert status_of(None, "http://", local=True) == 403, "a browser sends Origin, and Host with it"


@pytest.mark.parametrize("host", ["relay.example:8080", "192.0.2.1:8080", "[2001:db8::1]:8080"])
def test_elsewhere_any_host_is_served(host: str) -> None:
    assert status_of(host, None, local=False) == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://relay.example", "http://[", "http://"]
)
def test_another_origin_is_refused_everywhere(origin: str) -> None:
    assert status_of("relay.example:8080", origin, local=False) == 403


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_request_hides_behind_one_with_two_lengths(tmp_path: Path, method: str) -> None:
    """A proxy that goes by Content-Length takes the second request for a body, and checks nothing of it."""
    hidden = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = f"0\r\n\r\n{hidden}"
    head = f"{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with served(tmp_path) as address, socket.create_connection(address) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n{body}".encode())
        replies = b"".join(iter(lambda: sock.recv(65_536), b""))
    assert replies.startswith(b"HTTP/1.1 400")
    assert replies.count(b"HTTP/1.1 ") == 1
