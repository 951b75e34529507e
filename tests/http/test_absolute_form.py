"""nh.http.absolute_form: a request for `http://HOST/PATH` is served as one for PATH at that host."""

import socket
from collections.abc import Iterator

import pytest

from nh.http.ng import SUBPROTOCOL
from tests.http.served import served
from tools.harness.waiting import TIMEOUT_S

WEBSOCKET = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    with served(tmp_path_factory.mktemp("absolute"), ng=True) as address:
        yield address


def ask(address: tuple[str, int], target: str, *headers: str, host: str = "localhost") -> tuple[int, bytes]:
    """The status of the reply to a GET, and the reply."""
    lines = (f"GET {target} HTTP/1.1", f"Host: {host}", *(headers or ("Connection: close",)), "", "")
    with socket.create_connection(address) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.sendall("\r\n".join(lines).encode())
        sock.shutdown(socket.SHUT_WR)
        reply = b"".join(iter(lambda: sock.recv(65_536), b""))
    return int(reply[9:12]), reply


@pytest.mark.parametrize("at", ["http://localhost", "HTTP://127.0.0.1:8080", "https://[::1]:443"])
def test_it_gets_what_its_path_gets(address: tuple[str, int], at: str) -> None:
    assert b"<title>" in ask(address, f"{at}/")[1]
    assert b"<title>" in ask(address, at)[1]
    assert b"<title>" in ask(address, f"{at}?x=/")[1]
    assert b'"openapi"' in ask(address, f"{at}/api/openapi.json")[1]
    assert ask(address, f"{at}/x") == ask(address, "/x")
    for path in ("/api/calls?limit=many", f"/api/calls/{'%2F' * 17_000}"):
        assert ask(address, f"{at}{path}") == ask(address, path), "path and query are the same"
    assert ask(address, at, *WEBSOCKET)[0] == 101


def test_its_host_is_that_of_the_target(address: tuple[str, int]) -> None:
    """Host may be another one: what a browser may ask is decided by where the request goes."""
    assert ask(address, "http://localhost/", host="evil.example")[0] == 200
    assert ask(address, "http://evil.example/")[0] == 403
    assert ask(address, "http://evil.example/", *WEBSOCKET)[0] == 403
    assert (
        ask(address, "http://localhost:8080/", "Origin: http://localhost:8080", "Connection: close")[0] == 200
    )
    assert ask(address, "http://localhost:8080/", "Origin: http://localhost", "Connection: close")[0] == 403


@pytest.mark.parametrize(
    "target", ["http://", "http:///", "http://user@localhost/", "ftp://localhost/", "http:/"]
)
def test_what_is_no_url_of_http_is_not_found(address: tuple[str, int], target: str) -> None:
    assert ask(address, target)[0] == 404
