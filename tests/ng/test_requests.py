"""Requests and replies: what SIP proxies decide by. nh and rtpengine, unless a test says otherwise."""

import itertools
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.sdp import MediaLine, write_sdp
from tests.e2e.sip_message import new_token
from tests.media_peer import RTCP, RTP
from tests.ng.bencode import bdecode, bencode
from tests.ng.client import JSON, NgClient, NgError, Reply
from tests.ng.ng_call import End, NgCall, talk
from tests.ng.relays import NgRelay, call_ids, running_ng_relay, wait_until_gone

AUDIO = [MediaLine("127.0.0.1", 40_000)]
SDP = write_sdp(AUDIO)
NOT_FOUND = "Call-ID not found or tags didn't match"


def reason(reply: Reply) -> str:
    """Why a request failed."""
    assert reply["result"] == "error", reply
    return str(reply["error-reason"])


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
    with socket.create_connection(relay.address, timeout=5) as stream:
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


# --- the end of a call --------------------------------------------------------------------------------


@pytest.fixture
def answered(client: NgClient) -> NgCall:
    """A call from offer to answer."""
    call = NgCall(client)
    call.offer(AUDIO)
    call.answer([MediaLine("127.0.0.1", 40_002)])
    return call


def is_known(call: NgCall) -> bool:
    return bool(call.client.request("query", call_id=call.call_id)["result"] == "ok")


def test_a_delete_without_delay_ends_the_call(relay: NgRelay, answered: NgCall) -> None:
    assert answered.call_id in call_ids(relay)
    answered.delete(from_tag=answered.from_tag)
    assert answered.call_id not in call_ids(relay)


@pytest.mark.parametrize("who", ["from_tag", "to_tag"])
def test_either_end_may_end_the_call(relay: NgRelay, answered: NgCall, who: str) -> None:
    answered.delete(from_tag=getattr(answered, who))
    assert answered.call_id not in call_ids(relay)


def test_a_delete_without_tags_ends_the_call(relay: NgRelay, answered: NgCall) -> None:
    answered.delete()
    assert answered.call_id not in call_ids(relay)


def test_a_delete_with_both_tags_ends_the_call(relay: NgRelay, answered: NgCall) -> None:
    answered.delete(from_tag=answered.from_tag, to_tag=answered.to_tag, flags=["to-tag"])
    assert answered.call_id not in call_ids(relay)


def test_a_delete_of_a_tag_that_is_not_there_ends_nothing(answered: NgCall) -> None:
    assert answered.delete(from_tag="stranger")["warning"] == NOT_FOUND
    assert is_known(answered)
    answered.delete()


def test_a_delete_leaves_the_call_for_a_while_if_nothing_is_said(client: NgClient, answered: NgCall) -> None:
    """Thirty seconds: another branch may still answer."""
    client.get("delete", call_id=answered.call_id, from_tag=answered.from_tag)
    assert is_known(answered)
    answered.delete()


def test_a_delete_with_a_delay_ends_the_call_later(relay: NgRelay, answered: NgCall) -> None:
    answered.delete(delete_delay=1)
    assert is_known(answered)
    wait_until_gone(relay, answered.call_id)


def test_an_offer_cancels_a_delayed_delete(relay: NgRelay, client: NgClient, answered: NgCall) -> None:
    answered.delete(delete_delay=1)
    answered.reoffer(AUDIO)
    other = NgCall(client)
    other.offer(AUDIO)
    other.delete(delete_delay=2)
    wait_until_gone(relay, other.call_id)
    assert is_known(answered)
    answered.delete()


def test_a_delete_of_nothing_is_no_error(client: NgClient) -> None:
    reply = client.request("delete", call_id=new_token(), from_tag="f")
    assert reply == {"result": "ok", "warning": NOT_FOUND}


def test_a_delete_of_nothing_is_an_error_if_asked(client: NgClient) -> None:
    reply = client.request("delete", call_id=new_token(), from_tag="f", flags=["fatal"])
    assert reason(reply) == NOT_FOUND


def test_a_delete_twice_finds_nothing(answered: NgCall) -> None:
    answered.delete()
    assert answered.delete()["warning"] == NOT_FOUND


# --- what it tells ------------------------------------------------------------------------------------


def test_a_query_counts_packets_and_names_ports(call: NgCall, alice: End, bob: End) -> None:
    bob.read(call.offer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    talk(alice, bob)
    bob.media[0].send(b"0123456789", bob.remote[0].target, RTP)
    assert alice.media[0].receive(RTP)[0] == b"0123456789"
    reply = call.query()
    assert (reply["totals"]["RTP"]["packets"], reply["totals"]["RTCP"]["packets"]) == (3, 2)
    assert reply["totals"]["RTP"]["bytes"] == len("alice on 0.0" + "bob on 0.0" + "0123456789")
    assert set(reply["tags"]) == {call.from_tag, call.to_tag}
    [medium] = reply["tags"][call.from_tag]["medias"]
    rtp, rtcp = medium["streams"]
    assert medium["type"] == "audio"
    assert rtp["local port"] == alice.remote[0].port
    assert rtp["endpoint"] == {"family": "IPv4", "address": "127.0.0.1", "port": alice.media[0].port}
    assert rtp["stats"]["packets"] == 1
    assert rtcp["local port"] == rtp["local port"] + RTCP


def test_a_delete_tells_what_a_query_tells(answered: NgCall) -> None:
    reply = answered.delete(from_tag=answered.from_tag)
    assert reply["totals"]["RTP"] == {"packets": 0, "bytes": 0, "errors": 0}


def test_blocked_media_are_dropped(call: NgCall, alice: End, bob: End) -> None:
    bob.read(call.offer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    talk(alice, bob)
    call.client.get("block media", call_id=call.call_id, from_tag=call.from_tag)
    alice.media[0].send(b"unheard", alice.remote[0].target)
    bob.media[0].send(b"heard", bob.remote[0].target)
    assert alice.media[0].receive()[0] == b"heard"
    call.client.get("unblock media", call_id=call.call_id, from_tag=call.from_tag)
    alice.media[0].send(b"heard again", alice.remote[0].target)
    assert bob.media[0].receive()[0] == b"heard again"


# --- limits -------------------------------------------------------------------------------------------


@pytest.fixture(params=["nh", pytest.param("rtpengine", marks=pytest.mark.rtpengine)])
def full(request: pytest.FixtureRequest) -> Iterator[NgClient]:
    """A relay with one call, which may not have more."""
    with running_ng_relay(request.param, max_calls=1) as relay, NgClient(relay.address) as client:
        NgCall(client).offer(AUDIO)
        yield client


def test_a_full_relay_says_so(full: NgClient) -> None:
    offer = {"call_id": new_token(), "from_tag": "f", "sdp": SDP}
    assert reason(full.request("offer", **offer)) == "Parallel session limit reached"
    reply = full.request("offer", supports=["load limit"], **offer)
    assert reply["result"] == "load limit"
    assert reply["message"]


def test_calls_of_a_full_relay_go_on(full: NgClient) -> None:
    [known] = full.get("list")["calls"]
    assert full.request("offer", call_id=known, from_tag="f", sdp=SDP)["result"] == "ok"
    assert reason(full.request("offer", call_id="new", from_tag="f", sdp=SDP))
    full.get("delete", call_id=known, delete_delay=0)
    assert full.request("offer", call_id="new", from_tag="f", sdp=SDP)["result"] == "ok"


@pytest.mark.parametrize("name", ["nh", pytest.param("rtpengine", marks=pytest.mark.rtpengine)])
def test_calls_that_find_no_ports_are_refused(name: str) -> None:
    with running_ng_relay(name, ports=8) as relay, NgClient(relay.address, JSON) as client:
        with pytest.raises(NgError, match="Ran out of ports"):
            for number in itertools.count():
                NgCall(client).offer([MediaLine("127.0.0.1", 40_000 + 2 * number)])
        for call_id in call_ids(relay):
            client.get("delete", call_id=call_id, delete_delay=0)
        NgCall(client).offer(AUDIO)
