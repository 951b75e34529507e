"""ng over HTTP POST and WebSocket: whole calls, retransmissions, and what cannot be read."""

import contextlib
import socket
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from nh.wire.ng.stream import MAX_MESSAGE_BYTES
from tests.http.ng_clients import (
    CONTENT_TYPE,
    PlainNgClient,
    PostNgClient,
    WebSocketNgClient,
    open_websocket,
)
from tests.ng.client import BENCODE, JSON, Encoding, NgClient, reason
from tests.ng.ng_call import AUDIO, End, NgCall, talk
from tests.profiles import examples
from tools.harness.http import TIMEOUT_S
from tools.harness.relay import Relay
from tools.harness.waiting import eventually

Address = tuple[str, int]

PING = b"d7:command4:pinge"
PONG = b"d6:result4:ponge"


@pytest.fixture(params=[PostNgClient, PlainNgClient, WebSocketNgClient])
def kind(request: pytest.FixtureRequest) -> type[NgClient]:
    kind: type[NgClient] = request.param
    return kind


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    with contextlib.closing(End("alice")) as alice, contextlib.closing(End("bob")) as bob:
        yield alice, bob


@pytest.mark.parametrize("encoding", [BENCODE, JSON], ids=lambda encoding: encoding.name)
def test_a_whole_call(
    relay: Relay, address: Address, kind: type[NgClient], encoding: Encoding, ends: tuple[End, End]
) -> None:
    alice, bob = ends
    with kind(address, encoding) as client:
        assert client.get("ping")["result"] == "pong"
        call = NgCall(client)
        bob.read(call.offer(alice.describe()))
        alice.read(call.answer(bob.describe()))
        talk(alice, bob)
        assert call.query()["totals"]["RTP"]["packets"] == 2
        assert call.delete()["result"] == "ok"
        assert not call.is_known()


def test_an_error_is_the_same_as_over_udp(address: Address, kind: type[NgClient]) -> None:
    with kind(address) as client:
        assert reason(client.request("query", call_id="none")) == "Unknown call-id"
        assert reason(client.request("offer", call_id="x", from_tag="y")) == "No SDP body in message"
        assert reason(client.request("nonsense")) == "Unrecognized command"


@pytest.mark.parametrize("kind", [PostNgClient, WebSocketNgClient])
def test_a_retransmission_gets_the_same_reply_over_either(address: Address, kind: type[NgClient]) -> None:
    with kind(address) as first, PostNgClient(address) as second:
        call = NgCall(first)
        request = BENCODE.encode(
            {
                "command": "offer",
                "call-id": call.call_id,
                "from-tag": call.from_tag,
                "sdp": "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                "m=audio 40000 RTP/AVP 0\r\n",
            }
        )
        reply = first.exchange(request, f"again-{call.call_id}")
        assert second.exchange(request, f"again-{call.call_id}") == reply
        call.delete()


def test_a_websocket_has_many_requests_under_way(address: Address) -> None:
    with open_websocket(address, "/any/path") as websocket:
        for number in range(200):
            websocket.send(b"%d " % number + PING)
        replies = {bytes(websocket.recv(TIMEOUT_S)) for _ in range(200)}  # type: ignore[arg-type]
        assert replies == {b"%d " % number + PONG for number in range(200)}


def test_requests_of_a_client_that_left_change_nothing_for_others(address: Address) -> None:
    for _ in range(5):
        with open_websocket(address) as leaving:
            for number in range(50):
                leaving.send(b"left-%d " % number + PING)
            leaving.socket.shutdown(socket.SHUT_RDWR)
    with PostNgClient(address) as client:
        assert client.get("ping")["result"] == "pong"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"c " + PING, 415),
        ({"Content-Type": "text/plain"}, b"c " + PING, 415),
        (CONTENT_TYPE, PING.replace(b" ", b""), 400),
        (CONTENT_TYPE, b"", 400),
        (CONTENT_TYPE, b"x" * 300 + b" " + PING, 400),
        (CONTENT_TYPE, b"c " + b"x" * MAX_MESSAGE_BYTES, 413),
        ({**CONTENT_TYPE, "Origin": "http://evil.example"}, b"c " + PING, 403),
    ],
)
def test_a_post_that_is_no_message_is_refused(
    client: httpx.Client, headers: dict[str, str], body: bytes, status: int
) -> None:
    assert client.post("/ng", content=body, headers=headers).status_code == status


def test_the_longest_message_is_read(client: httpx.Client) -> None:
    body = b"x" * MAX_MESSAGE_BYTES
    reply = client.post("/ng-plain", content=body, headers=CONTENT_TYPE)
    assert reply.content == b"d12:error-reason22:Invalid NG data format6:result5:errore"


def test_a_websocket_of_another_site_or_protocol_is_refused(address: Address) -> None:
    url = f"ws://{address[0]}:{address[1]}/"
    ng = Subprotocol("ng.rtpengine.com")
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(url, subprotocols=[ng], origin=Origin("http://evil.example"), proxy=None),
    ):
        pass
    for protocols in (None, [Subprotocol("cli.rtpengine.com")]):
        with pytest.raises(InvalidStatus, match="403"), connect(url, subprotocols=protocols, proxy=None):
            pass


def test_a_message_that_is_too_long_ends_its_websocket_alone(address: Address) -> None:
    with open_websocket(address) as websocket, open_websocket(address) as other:
        websocket.send(b"x" * (MAX_MESSAGE_BYTES + 1))
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(TIMEOUT_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        other.send(b"c " + PING)
        assert other.recv(TIMEOUT_S) == b"c " + PONG


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(message=st.binary(max_size=300) | st.text(max_size=200))
def test_whatever_a_client_sends_the_next_one_is_answered(
    address: Address, client: httpx.Client, message: bytes | str
) -> None:
    body = message if isinstance(message, bytes) else message.encode("utf-8", "surrogatepass")
    for path in ("/ng", "/ng-plain"):
        assert client.post(path, content=body, headers=CONTENT_TYPE).status_code in (200, 400)
    with open_websocket(address) as websocket:
        websocket.send(body)
        websocket.send(b"after " + PING)
        replies = []
        while b"after " + PONG not in replies:
            replies.append(websocket.recv(TIMEOUT_S))


def test_calls_over_http_are_calls_of_the_relay(relay: Relay, address: Address, client: httpx.Client) -> None:
    with PostNgClient(address) as ng:
        call = NgCall(ng)
        call.offer(AUDIO)
        shown = client.get(f"/api/calls/{call.call_id}").json()
        assert shown["call_id"] == call.call_id
        call.delete()
        relay.wait_until_gone(call.call_id.encode())
    eventually(lambda: relay.stats().supervisor.rpc_requests_ng > 0, "the requests are counted")
