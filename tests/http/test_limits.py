"""What clients may use of the HTTP process: time, size, number. The limits are short here."""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus

from nh.commands import CloseCall
from nh.errors import ShardUnavailable
from nh.http import connections, ng, ng_link, relay, server, websocket
from nh.http.limits import JUDGED_LIST_COST, LIST_COST, MAX_FRAGMENTS, READ_BYTES, WEBSOCKET_READ_BYTES
from nh.http.refused import REFUSALS
from nh.ipc.http_config import LINGER, encode
from nh.logs.settings import LogFormat, LogLevel, LogSettings
from tests.http.ng_clients import CONTENT_TYPE, open_websocket
from tests.http.served import Answer, FakeRelay, HoldingRelay, running_server, served
from tests.no_threads import no_threads
from tests.profiles import examples
from tools.harness.waiting import eventually

SHORT_S = 0.3
LONG_S = 20.0
PING = b"c d7:command4:pinge"


@pytest.fixture
def short_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_S", SHORT_S)


@pytest.fixture
def long_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 60.0)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[tuple[str, int]]:
    with served(tmp_path) as address:
        yield address


@contextlib.contextmanager
def played(directory: Path, answer: Answer, *, timeout_s: float = LONG_S) -> Iterator[tuple[str, int]]:
    """Where HTTP is served, with a relay behind it that answers ng."""
    with (
        contextlib.closing(FakeRelay(directory, answer)),
        served(directory, ng=True, timeout_s=timeout_s) as address,
    ):
        yield address


def connected(address: tuple[str, int], source: str = "127.0.0.1") -> socket.socket:
    sock = socket.create_connection(address, source_address=(source, 0))
    sock.settimeout(LONG_S)
    return sock


def get(address: tuple[str, int], path: str = "/") -> httpx.Response:
    host, port = address
    return httpx.get(f"http://{host}:{port}{path}", timeout=LONG_S, trust_env=False)


def until_served(address: tuple[str, int]) -> None:
    """Wait until a request is answered: on a busy host it may take longer than a short limit, and fails."""

    def is_served() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return get(address).status_code == 200
        return False

    eventually(is_served, "another client is served")


def post(address: tuple[str, int], body: bytes = PING) -> httpx.Response:
    host, port = address
    url = f"http://{host}:{port}/ng"
    return httpx.post(url, content=body, headers=CONTENT_TYPE, timeout=LONG_S, trust_env=False)


def was_closed(sock: socket.socket) -> bool:
    """Read to the end; whether the server has closed the connection."""
    with contextlib.suppress(ConnectionError):
        while sock.recv(65_536):
            pass
    return True


@contextlib.contextmanager
def counted(limit: str) -> Iterator[None]:
    """What goes on meanwhile is refused at this limit, and counted."""
    before = REFUSALS.counts[limit]
    yield
    eventually(lambda: REFUSALS.counts[limit] > before, f"a refusal is counted: {limit}")


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_requests")
@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: local",
        b"POST /ng HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\nabc",
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_client_that_stops_within_its_request_is_disconnected(tmp_path: Path, begin: bytes) -> None:
    with (
        counted("stalled"),
        played(tmp_path, lambda message: message) as address,
        connected(address) as slow,
    ):
        slow.sendall(begin)
        until_served(address)
        assert was_closed(slow)


@pytest.mark.usefixtures("short_requests")
def test_a_client_may_wait_longer_with_its_next_request_than_with_its_first(address: tuple[str, int]) -> None:
    def is_served_twice() -> bool:
        try:
            with connected(address) as client:
                ask_for_health(client)
                with connected(address) as slow:
                    assert was_closed(slow), "it has as long for its first request, and came later"
                ask_for_health(client)
        except ConnectionError:  # a busy host takes longer for the request itself
            return False
        return True

    eventually(is_served_twice, "a request comes late, and is served")


@pytest.mark.usefixtures("short_requests")
def test_a_client_that_trickles_is_disconnected(address: tuple[str, int]) -> None:
    with connected(address) as slow:
        with pytest.raises(ConnectionError):
            for _ in range(int(LONG_S / 0.02)):
                slow.sendall(b"G")
                time.sleep(0.02)  # a slow client is what this is about
        until_served(address)


@pytest.mark.usefixtures("short_requests")
def test_a_client_that_reads_no_replies_is_disconnected(address: tuple[str, int]) -> None:
    with connected(address) as slow:
        sending = threading.Thread(target=send_without_reading, args=(slow,))
        sending.start()
        sending.join(LONG_S)
        assert not sending.is_alive()
        until_served(address)


def send_without_reading(sock: socket.socket) -> None:
    """Requests for long replies, until the connection is closed."""
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(b"GET /uplot.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)


def test_an_idle_connection_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "KEEP_ALIVE_S", 1)
    with served(tmp_path) as address, connected(address) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert was_closed(idle)


# --- size and number ------------------------------------------------------------------------------


def test_a_head_that_is_too_long_is_refused(address: tuple[str, int]) -> None:
    with connected(address) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(b"GET /" + b"x" * 100_000)
        assert sock.recv(100).startswith(b"HTTP/1.1 400")
    assert get(address).status_code == 200


@pytest.fixture
def ten_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 60.0)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 10)


@pytest.mark.usefixtures("ten_connections")
def test_beyond_the_most_connections_those_that_have_waited_longest_are_closed(
    address: tuple[str, int],
) -> None:
    with counted("connections"), contextlib.ExitStack() as stack:
        first = [stack.enter_context(connected(address)) for _ in range(3)]
        used = [stack.enter_context(connected(address)) for _ in range(5)]
        for sock in used:
            ask_for_health(sock)
        last = [stack.enter_context(connected(address)) for _ in range(5)]
        assert all(was_closed(sock) for sock in first)
        for sock in (*used, *last):
            ask_for_health(sock)


@pytest.mark.usefixtures("ten_connections")
def test_where_all_connections_are_busy_a_request_is_refused_and_later_ones_are_served(
    tmp_path: Path,
) -> None:
    with served(tmp_path, ng=True) as address:
        with counted("connections"), contextlib.ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(busy(address))
            eventually(lambda: get(address).status_code == 503, "a request is refused")
            refused = get(address, "/api/calls")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
            assert (refused.headers["connection"], refused.headers["retry-after"]) == ("close", "1")
            assert get(address, "/readyz").json()["why"].startswith("no statistics"), "it is answered"
        eventually(lambda: get(address).status_code == 200, "requests are served again")


@pytest.mark.usefixtures("ten_connections")
@pytest.mark.parametrize(
    "many", [["127.0.0.2"], ["127.0.0.2", "127.0.0.3"], ["127.0.0.2", "127.0.0.3", "127.0.0.4"]]
)
@pytest.mark.parametrize("are_busy", [True, False], ids=["busy", "idle"])
def test_clients_with_very_many_connections_close_none_of_others_and_take_no_place_of_theirs(
    tmp_path: Path, many: list[str], are_busy: bool
) -> None:
    with served(tmp_path, ng=True) as address, contextlib.ExitStack() as stack:
        open_one = busy if are_busy else connected
        others = [stack.enter_context(connected(address, "127.0.0.8"))]
        for _ in range(20):
            for host in many:
                stack.enter_context(open_one(address, host))
        others += [stack.enter_context(connected(address, f"127.0.0.{host}")) for host in (8, 9)]
        assert [status_of(sock) for sock in others] == [200] * 3


def busy(address: tuple[str, int], source: str = "127.0.0.1") -> socket.socket:
    """A connection of a client that has sent half a request."""
    sock = connected(address, source)
    lines = ("POST /ng HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Content-Length: 9")
    sock.sendall("\r\n".join((*lines, "", "")).encode())
    return sock


def status_of(sock: socket.socket) -> int:
    """The status of the reply to a GET of the page."""
    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return int(sock.recv(100)[9:12])


def ask_for_health(sock: socket.socket) -> None:
    """A request with its reply; the connection stays."""
    sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = b""
    while not received.endswith(b"}"):
        part = sock.recv(10_000)
        if not part:
            raise ConnectionError(f"the connection has ended after {received!r}")
        received += part


@pytest.mark.usefixtures("long_requests")
@pytest.mark.parametrize("requests", [1, 2])
def test_a_client_that_has_sent_its_last_request_gets_the_reply(
    address: tuple[str, int], requests: int
) -> None:
    with connected(address) as sock:
        sock.sendall(b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * requests)
        sock.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: sock.recv(65_536), b""))
    assert received.count(b"HTTP/1.1 200") == requests
    assert received.endswith(b"}")


@pytest.mark.usefixtures("long_requests")
def test_half_a_request_at_the_end_of_a_connection_gets_none(tmp_path: Path) -> None:
    lines = ("POST /ng HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Content-Length: 9")
    with played(tmp_path, lambda message: message) as address, connected(address) as sock:
        sock.sendall("\r\n".join((*lines, "", "")).encode())
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""


@pytest.mark.usefixtures("long_requests")
def test_half_a_request_behind_a_whole_one_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    eof_received = server.BoundedProtocol.eof_received

    def note_end(self: server.BoundedProtocol) -> bool:
        ended.set()
        return eof_received(self)

    def answer(message: bytes) -> bytes:
        assert ended.wait(LONG_S)
        return message

    monkeypatch.setattr(server.BoundedProtocol, "eof_received", note_end)
    fields = {"Host": "localhost", **CONTENT_TYPE, "Content-Length": len(PING)}
    head = "".join(
        ("POST /ng HTTP/1.1\r\n", *(f"{name}: {each}\r\n" for name, each in fields.items()), "\r\n")
    )
    with played(tmp_path, answer) as address, connected(address) as sock:
        sock.settimeout(LONG_S)
        sock.sendall(head.encode() + PING + head.encode())
        sock.shutdown(socket.SHUT_WR)
        assert read_to_end(sock).count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_request_whose_body_cannot_be_read_gets_one_response_and_no_traceback(
    address: tuple[str, int], method: str, caplog: pytest.LogCaptureFixture
) -> None:
    head = f"{method} /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    for _ in range(3):
        with connected(address) as sock:
            sock.sendall(head.encode() + b"no chunk\r\n")
            received = read_to_end(sock)
        assert received.startswith(b"HTTP/1.1 400 ")
        assert received.count(b"HTTP/1.1") == 1
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


def read_to_end(sock: socket.socket) -> bytes:
    received = b""
    while chunk := sock.recv(65_536):
        received += chunk
    return received


def test_requests_to_a_relay_that_hangs_are_bounded_in_time_and_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "MAX_RPC_WAITING", 2)
    monkeypatch.setattr(relay, "RPC_WAIT_S", SHORT_S)
    hanging = socket.socket(socket.AF_UNIX)
    hanging.bind(str(tmp_path / "nh.sock"))
    hanging.listen()
    with hanging, served(tmp_path, timeout_s=SHORT_S) as address:
        before = REFUSALS.counts["requests"]
        statuses: list[int] = []

        def asks_eight_at_once() -> bool:
            threads = [
                threading.Thread(target=lambda: statuses.append(get(address, "/api/calls").status_code))
                for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(statuses) % 8 == 0
            return REFUSALS.counts["requests"] > before

        eventually(asks_eight_at_once, "some come while others wait, and are refused")
        assert set(statuses) <= {503, 504}
        assert get(address).status_code == 200


@pytest.mark.parametrize(
    ("query", "requests"),
    [
        ("", LIST_COST),
        ("?ended=true", LIST_COST),
        ("?one_way=true", JUDGED_LIST_COST),
        ("?silent=true", JUDGED_LIST_COST),
        ("?address=192.0.2.1", JUDGED_LIST_COST),
        ("?sort=age", JUDGED_LIST_COST),
    ],
)
def test_a_list_holds_the_next_request_up_for_the_work_that_it_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, requests: int
) -> None:
    monkeypatch.setattr(relay, "RPC_RATE", 100)
    with served(tmp_path) as (host, port), httpx.Client(timeout=LONG_S, trust_env=False) as client:
        began = time.monotonic()
        for _ in range(2):
            assert client.get(f"http://{host}:{port}/api/calls{query}").status_code == 503, "no nh runs"
        assert time.monotonic() - began >= requests / 100


# --- ng -------------------------------------------------------------------------------------------


def test_a_websocket_whose_client_reads_nothing_is_closed_and_others_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "WEBSOCKET_SEND_S", SHORT_S)
    long_reply = b"c " + b"x" * 60_000
    with (
        played(tmp_path, lambda message: message.split(b" ")[0] + long_reply[1:]) as address,
        open_websocket(address) as slow,
    ):
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.recv_bufsize = 1
        sent = threading.Thread(target=ask_without_reading, args=(slow.socket,))
        sent.start()
        sent.join(LONG_S)
        assert not sent.is_alive()
        with open_websocket(address) as other:
            other.send(PING)
            assert other.recv(LONG_S) == long_reply


def ask_without_reading(sock: socket.socket) -> None:
    """Messages, masked with zeros, until the connection is closed, or the socket by its own client."""
    message = bytes((0x82, 0x80 | len(PING))) + bytes(4) + PING
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(message * 100)


def test_a_request_for_which_there_is_no_thread_is_to_be_asked_again(address: tuple[str, int]) -> None:
    url = f"http://127.0.0.1:{address[1]}/api/calls/x"
    with no_threads("rpc_0"):
        refused = httpx.get(url)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
    assert refused.headers["retry-after"] == "1"
    assert "no thread can be started" in refused.json()["error"]["message"]
    assert "no such socket" in httpx.get(url).json()["error"]["message"], "it has a thread, and no relay"


def test_a_request_that_was_refused_for_want_of_a_thread_is_not_executed_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executed: list[bytes] = []

    class Recorder:
        def __init__(self, _address: str, _timeout_s: float) -> None:
            pass

        def request(self, command: CloseCall) -> None:
            executed.append(command.call_id)

    monkeypatch.setattr(relay, "NativeClient", Recorder)

    async def ask_twice() -> None:
        client = relay.RpcClient("", LONG_S)
        with no_threads("rpc_0"), pytest.raises(ShardUnavailable, match="no thread can be started"):
            await client.request(CloseCall(call_id=b"refused"), "")
        await client.request(CloseCall(call_id=b"later"), "")

    asyncio.run(ask_twice())
    assert executed == [b"later"]


def test_a_relay_that_does_not_answer_ng_is_a_time_out(tmp_path: Path) -> None:
    silent = threading.Event()

    def answer(_message: bytes) -> bytes | None:
        silent.wait(LONG_S)
        return None

    with played(tmp_path, answer, timeout_s=-0.7) as address:  # with the margin of 1 s
        try:
            reply = post(address)
        finally:
            silent.set()
        assert reply.status_code == 504


def test_a_connection_that_the_relay_closed_is_opened_again(tmp_path: Path) -> None:
    answers: list[bytes | None] = [b"1", None, b"2"]

    def answer(message: bytes) -> bytes | None:
        payload = answers.pop(0)
        return None if payload is None else message.split(b" ")[0] + b" " + payload

    with played(tmp_path, answer) as address:
        assert [post(address).content for _ in range(2)] == [b"c 1", b"c 2"]


def test_without_a_relay_ng_is_unavailable(tmp_path: Path) -> None:
    with served(tmp_path, ng=True) as address:
        assert post(address).status_code == 503
        assert get(address, "/readyz").json()["ok"] is False


@contextlib.contextmanager
def holding(directory: Path) -> Iterator[tuple[tuple[str, int], HoldingRelay]]:
    """Where HTTP is served, and the relay behind it, which answers nothing until it is told to."""
    with (
        contextlib.closing(HoldingRelay(directory)) as behind,
        served(directory, ng=True, timeout_s=LONG_S) as address,
    ):
        yield address, behind


def test_requests_with_one_cookie_get_each_its_own_reply_in_any_order(tmp_path: Path) -> None:
    with (
        holding(tmp_path) as (address, behind),
        open_websocket(address) as one,
        open_websocket(address) as other,
    ):
        one.send(b"c one")
        other.send(b"c other")
        eventually(lambda: len(behind.held) == 2, "nh has both")
        behind.held.reverse()
        behind.release()
        assert (one.recv(LONG_S), other.recv(LONG_S)) == (b"c one", b"c other")


@contextlib.contextmanager
def posting(address: tuple[str, int], source: str, cookie: bytes) -> Iterator[list[int]]:
    """A POST from an address of this host; its status is there behind the context, or before."""
    statuses: list[int] = []

    def ask() -> None:
        with connected(address, source) as sock:
            body = cookie + b" d7:command4:pinge"
            head = f"POST /ng HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
            head += "Content-Type: application/json\r\n\r\n"
            sock.sendall(head.encode() + body)
            statuses.append(int(sock.recv(100)[9:12]))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        thread.join(LONG_S)


def test_too_many_requests_of_ng_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ng_link, "MAX_NG", 1)
    monkeypatch.setattr(ng_link, "MAX_NG_WAITING", 0)
    with holding(tmp_path) as (address, behind):
        with posting(address, "127.0.0.1", b"1") as first:
            eventually(lambda: behind.held, "the first one is under way")
            with counted("ng"):
                refused = post(address)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            behind.release()
        assert first == [200]
        assert post(address).content == PING


def test_websockets_share_the_requests_under_way_and_another_client_waits_for_one_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ng, "MAX_NG_OF_WEBSOCKETS", 6)
    with holding(tmp_path) as (address, behind), contextlib.ExitStack() as stack:
        rude = [stack.enter_context(open_websocket(address, source="127.0.0.2")) for _ in range(6)]
        for number, each in enumerate(rude):
            each.send(b"first-%d d7:command4:pinge" % number)
            eventually(lambda: len(behind.held) == number + 1, "nh has the first request of each")  # noqa: B023
        for each in rude:
            for number in range(20):
                each.send(b"%d d7:command4:pinge" % number)
        with posting(address, "127.0.0.1", b"polite") as polite:
            eventually(lambda: len(behind.held) > len(rude), "nh has the request of the polite client")
            assert len(behind.held) == len(rude) + 1
            behind.release()
        assert polite == [200]
        for each in rude:
            assert len([each.recv(LONG_S) for _ in range(21)]) == 21
        assert post(address).content == PING


def test_a_client_with_very_many_requests_of_ng_gives_way_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ng_link, "MAX_NG", 1)
    monkeypatch.setattr(ng_link, "MAX_NG_WAITING", 3)
    with holding(tmp_path) as (address, behind), open_websocket(address) as many:
        before = REFUSALS.counts["ng"]
        for number in range(5):
            many.send(b"%d d7:command4:pinge" % number)
        eventually(lambda: REFUSALS.counts["ng"] == before + 1, "the last one is refused")
        with posting(address, "127.0.0.2", b"a") as one, posting(address, "127.0.0.3", b"b") as other:
            eventually(lambda: REFUSALS.counts["ng"] == before + 3, "two more are refused")
            behind.release()
        assert (one, other) == ([200], [200])
        assert [many.recv(LONG_S)[:1] for _ in range(2)] == [b"0", b"1"]
        many.send(b"9 d7:command4:pinge")
        assert many.recv(LONG_S)[:1] == b"9", "the others had no reply"


def test_beyond_the_most_websockets_another_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ng, "MAX_WEBSOCKETS", 1)
    with played(tmp_path, lambda message: message) as address, open_websocket(address) as first:
        with counted("websockets"), pytest.raises(InvalidStatus, match="403"), open_websocket(address):
            pass
        first.send(PING)
        assert first.recv(LONG_S) == PING


def test_a_client_with_very_many_websockets_gives_way_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ng, "MAX_WEBSOCKETS", 3)
    with played(tmp_path, lambda message: message) as address, contextlib.ExitStack() as stack:
        many = [stack.enter_context(open_websocket(address, source="127.0.0.2")) for _ in range(3)]
        others = [stack.enter_context(open_websocket(address, source=f"127.0.0.{host}")) for host in (3, 4)]
        for latest in many[:0:-1]:
            with pytest.raises(ConnectionClosed, match="1013"):
                latest.recv(LONG_S)
        with pytest.raises(InvalidStatus, match="403"), open_websocket(address, source="127.0.0.3"):
            pass
        for each in (many[0], *others):
            each.send(PING)
            assert each.recv(LONG_S) == PING


UPGRADE = "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
UPGRADE += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ng.rtpengine.com\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        f"POST / HTTP/1.1\r\n{UPGRADE}\r\n",
        f"POST / HTTP/1.1\r\n{UPGRADE}Content-Length: 5\r\n\r\nhello",
        f"GET / HTTP/1.1\r\n{UPGRADE}Content-Length: 5\r\n\r\nhello",
        f"GET / HTTP/1.1\r\n{UPGRADE}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"GET / HTTP/1.1\r\n{UPGRADE}" + "X: y\r\n" * 1000 + "\r\n",
        f"GET / HTTP/1.1\r\n{UPGRADE}X: {'y' * 20_000}\r\n\r\n",
    ],
    ids=["a POST", "a POST with a body", "a body", "a body in chunks", "many headers", "a long header"],
)
def test_what_is_no_request_for_a_websocket_is_refused_at_once(tmp_path: Path, request_: str) -> None:
    with played(tmp_path, lambda message: message) as address, connected(address) as sock:
        sock.sendall(request_.encode())
        assert sock.recv(12) in (b"HTTP/1.1 400", b"HTTP/1.1 405")
        assert was_closed(sock)


def test_of_very_many_messages_of_a_websocket_a_few_are_read_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    data_received = websocket.BoundedWebSocket.data_received

    def note_size(self: websocket.BoundedWebSocket, data: bytes) -> None:
        read.append(len(data))
        data_received(self, data)

    monkeypatch.setattr(websocket.BoundedWebSocket, "data_received", note_size)
    message = bytes((0x82, 0x80 | len(PING))) + bytes(4) + PING
    with played(tmp_path, lambda message: message) as address, open_websocket(address) as client:
        client.socket.sendall(message * 2000)
        for _ in range(2000):
            assert client.recv(LONG_S) == PING
    assert max(read) <= WEBSOCKET_READ_BYTES


def test_of_very_many_requests_of_a_connection_a_few_are_read_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    data_received = server.BoundedProtocol.data_received

    def note_size(self: server.BoundedProtocol, data: bytes) -> None:
        read.append(len(data))
        data_received(self, data)

    monkeypatch.setattr(server.BoundedProtocol, "data_received", note_size)
    request, number = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 1000
    with played(tmp_path, lambda message: message) as address, connected(address) as sock:
        sending = threading.Thread(target=sock.sendall, args=(request * number,))
        sending.start()
        replies = b""
        while replies.count(b"HTTP/1.1 ") < number:
            replies += sock.recv(1 << 16)
        sending.join()
    assert max(read) <= READ_BYTES


def test_a_message_may_have_so_many_fragments(tmp_path: Path) -> None:
    # the client sends an empty one behind them
    fragments = [b"1 ", *[b"d"] * (MAX_FRAGMENTS - 3), b"e"]
    with played(tmp_path, lambda message: message) as address, open_websocket(address) as client:
        for _ in range(2):
            client.send(fragments)
            assert client.recv(LONG_S) == b"".join(fragments)
        with pytest.raises(ConnectionClosed):
            client.send([*fragments, b"e"])
            client.recv(LONG_S)


def test_a_message_of_empty_fragments_without_end_is_refused(tmp_path: Path) -> None:
    begin, fragment = b"\x02\x80" + bytes(4), b"\x00\x80" + bytes(4)
    with played(tmp_path, lambda message: message) as address, open_websocket(address) as client:
        with contextlib.suppress(ConnectionError):
            client.socket.sendall(begin + fragment * 100_000)
        with pytest.raises(ConnectionClosed):
            client.recv(LONG_S)


def test_a_client_that_answers_no_ping_is_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PING_S", 0.2)
    with played(tmp_path, lambda message: message) as address, connected(address) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\n{UPGRADE}\r\n".encode())
        assert sock.recv(12) == b"HTTP/1.1 101"
        assert was_closed(sock)


@pytest.mark.parametrize("messages", [b"", b"\x82\x84" + bytes(4) + b"1 de"], ids=["pings", "messages, too"])
def test_a_client_that_reads_no_answers_is_not_read_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: bytes
) -> None:
    """A message that is taken has uvicorn read on."""
    monkeypatch.setattr(websocket, "WEBSOCKET_SEND_S", LONG_S)
    pings = (b"\x89\xfd" + bytes(4) + bytes(125)) * 2000
    with played(tmp_path, lambda message: message) as address, connected(address) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\n{UPGRADE}\r\n".encode())
        assert sock.recv(12) == b"HTTP/1.1 101"
        sock.settimeout(1.0)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 100 << 20:
                sock.sendall((messages if sent < 10 << 20 else b"") + pings)
                sent += len(pings)


def test_text_that_is_none_ends_its_websocket_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with played(tmp_path, lambda message: message) as address, open_websocket(address) as client:
        client.socket.sendall(b"\x81\x82" + bytes(4) + b"\xff\xff")
        with pytest.raises(ConnectionClosed):
            client.recv(LONG_S)
    assert caplog.messages == []


# --- anything -----------------------------------------------------------------------------------------


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["Host", "Origin", "Accept", "Upgrade", "Sec-WebSocket-Key", "X"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30),
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    with served(tmp_path_factory.mktemp("fuzz"), ng=True) as address:
        yield address


@settings(max_examples=examples(150), deadline=None)
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "X"]),
    path=st.sampled_from(
        ["/", "/metrics", "/readyz", "/api/calls", "/api/calls/", "/api/stats", "/ng", "//", "*"]
    ),
    rest=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
    headers=HEADERS,
)
def test_no_request_makes_the_application_fail(
    one_server: tuple[str, int], method: str, path: str, rest: str, headers: list[tuple[str, str]]
) -> None:
    lines = [f"{method} {path}{rest} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    with connected(one_server) as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        with contextlib.suppress(ConnectionError):  # the time for the request is over
            status = sock.recv(12)
            assert status == b"" or int(status[9:12]) < 500 or status.endswith(b"503"), status


# --- the end --------------------------------------------------------------------------------------


def test_it_serves_on_for_a_while_when_the_supervisor_hands_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for linger_s in (1.0, 5.0, 25.0):  # on a busy host a request takes long
        monkeypatch.setattr(server, "LINGER_S", linger_s)
        with running_server(tmp_path) as running:
            running.link.send(LINGER)
            running.link.shutdown(socket.SHUT_RDWR)
            status = 0
            with contextlib.suppress(httpx.TransportError):
                status = get(running.address).status_code
            running.thread.join(linger_s + LONG_S)
            assert not running.thread.is_alive()
        if status == 200:
            return
    pytest.fail("no request is served")


def test_a_client_that_connected_just_before_the_end_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LINGER_S", 0.0)
    monkeypatch.setattr(server, "FIRST_REQUEST_S", LONG_S)
    with running_server(tmp_path) as running:
        with connected(running.address) as client:
            assert get(running.address).status_code == 200, "later ones are served: it is accepted"
            running.link.send(LINGER)
            eventually(lambda: is_refused(running.address), "no further ones are accepted")
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        running.thread.join(LONG_S)
        assert not running.thread.is_alive()


def is_refused(address: tuple[str, int]) -> bool:
    try:
        connected(address).close()
    except ConnectionError:
        return True
    return False


def test_it_logs_as_the_supervisor_says_and_serves_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[LogSettings] = []
    monkeypatch.setattr(server, "configure_logging", applied.append)
    log = LogSettings(LogLevel.ERROR, {"http": LogLevel.DEBUG}, LogFormat.JSON)
    with running_server(tmp_path) as running:
        assert get(running.address).status_code == 200
        running.link.send(encode(log))
        eventually(lambda: applied == [log], "the new settings are in force", LONG_S)
        assert get(running.address).status_code == 200


def test_it_ends_at_once_when_the_supervisor_has_ended(tmp_path: Path) -> None:
    with running_server(tmp_path) as running:
        assert get(running.address).status_code == 200
        running.link.shutdown(socket.SHUT_RDWR)
        running.thread.join(LONG_S)
        assert not running.thread.is_alive()
