"""Requests and replies: what SIP proxies decide by. nh and rtpengine, unless a test says otherwise."""

import socket

import pytest

from tests.ng.bencode import bdecode, bencode
from tests.ng.client import NOT_FOUND, NgClient, reason
from tests.ng.ng_call import SDP, End, NgCall, talk
from tests.ng.relays import NgRelay
from tests.sip.message import new_token

# --- transport --------------------------------------------------------------------------------------


def test_ping(any_client: NgClient) -> None:
    assert any_client.request("ping") == {"result": "pong"}


def test_a_call_in_either_encoding(any_client: NgClient, alice: End, bob: End) -> None:
    call = NgCall(any_client)
    bob.read(call.offer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    talk(alice, bob)
    call.delete()


def test_tcp(relay: NgRelay) -> None:
    """Bencode after a cookie, one reply after the other on one connection."""
    with socket.create_connection(relay.address, timeout=20) as stream:
        for cookie in (b"first", b"second"):
            stream.sendall(cookie + b" " + bencode({"command": "ping"}))
            reply = b""
            while not reply.endswith(b"e"):
                reply += stream.recv(4096)
            answered, _, body = reply.partition(b" ")
            assert answered == cookie
            assert bdecode(body) == {"result": "pong"}


def test_keys_need_no_order_and_no_spelling(client: NgClient) -> None:
    request = {"sdp": SDP, "from-tag": "f", "call-id": new_token(), "address family": "IP4"}
    assert client.request("offer", **request)["result"] == "ok"


def test_a_retransmission_is_not_executed_again(client: NgClient) -> None:
    call_id = new_token()
    offer = bencode({"command": "offer", "call-id": call_id, "from-tag": "f", "sdp": SDP})
    delete = bencode({"command": "delete", "call-id": call_id, "from-tag": "f", "delete-delay": 0})
    cookie = new_token()
    first = client.exchange(offer, cookie)
    assert client.exchange(offer, cookie) == first
    client.exchange(delete)
    assert client.exchange(offer, cookie) == first, "not after the delete either"
    assert bdecode(client.exchange(delete))["warning"] == NOT_FOUND, "it was executed again"


def test_a_retransmission_from_another_socket_gets_the_reply_too(relay: NgRelay) -> None:
    offer = bencode({"command": "offer", "call-id": new_token(), "from-tag": "f", "sdp": SDP})
    cookie = new_token()
    with NgClient(relay.address) as one, NgClient(relay.address) as other:
        assert one.exchange(offer, cookie) == other.exchange(offer, cookie)


def test_a_burst_of_duplicates_makes_one_call(client: NgClient) -> None:
    """Duplicates may come while the first is under way: each gets the reply, or one reply is for all."""
    offer = bencode({"command": "offer", "call-id": new_token(), "from-tag": "f", "sdp": SDP})
    cookie = new_token()
    for _ in range(5):
        client.send(cookie.encode() + b" " + offer)
    first = client.exchange(offer, cookie)
    for _ in range(5):
        assert client.exchange(offer, cookie) == first


# --- what is wrong with a request ---------------------------------------------------------------------


WHOLE = {"call-id": "c", "from-tag": "f", "to-tag": "t", "sdp": SDP}


@pytest.mark.parametrize(
    ("command", "missing", "text"),
    [
        ("offer", "sdp", "No SDP body in message"),
        ("offer", "call-id", "No call-id in message"),
        ("offer", "from-tag", "No from-tag in message"),
        ("answer", "sdp", "No SDP body in message"),
        ("answer", "call-id", "No call-id in message"),
        ("answer", "from-tag", "No from-tag in message"),
        ("answer", "to-tag", "No to-tag in message"),
        ("delete", "call-id", "No call-id in message"),
        ("query", "call-id", "No call-id in message"),
    ],
)
def test_what_is_missing_is_named(client: NgClient, command: str, missing: str, text: str) -> None:
    fields = {key: value for key, value in WHOLE.items() if key != missing}
    assert reason(client.request(command, **fields)) == text


def test_unknown_commands(any_client: NgClient) -> None:
    assert reason(any_client.request("dance")) == "Unrecognized command"


def test_an_answer_to_nothing(client: NgClient) -> None:
    assert reason(client.request("answer", **WHOLE)) == "Unknown call-id"


def test_a_query_of_nothing(client: NgClient) -> None:
    assert reason(client.request("query", call_id=new_token())) == "Unknown call-id"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("garbage", "Failed to parse SDP", id="garbage"),
        pytest.param(SDP.replace("40000", "many"), "Failed to parse SDP", id="port"),
        pytest.param(SDP.replace("m=audio 40000 RTP/AVP 0", "m=audio"), "Failed to parse SDP", id="m="),
        pytest.param(SDP.replace("c=IN IP4", "c=IN IP9"), "Failed to parse SDP", id="family"),
        pytest.param(SDP.replace("c=IN IP4 127.0.0.1\r\n", ""), "Incomplete SDP specification", id="no c="),
    ],
)
def test_descriptions_that_cannot_be_used(client: NgClient, text: str, why: str) -> None:
    call_id = new_token()
    assert reason(client.request("offer", call_id=call_id, from_tag="f", sdp=text)) == why
