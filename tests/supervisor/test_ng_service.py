"""nh.supervisor.ng_*: ng over UDP and TCP, and requests that come again."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nh.commands import Delete, Offer
from nh.results import Closed, Failure, Pong, Rewritten
from nh.rpc.connection import MAX_IN_FLIGHT
from nh.wire.ng import bencode
from tests.profiles import examples
from tests.supervisor.ng_office import NgOffice, open_ng_office
from tests.wire.ng import SDP, offer, payload, written

PING = b"d7:command4:pinge"
DELETE = payload("delete", call_id="c")
OK = b"d6:result2:oke"

TRANSPORTS = [socket.SOCK_DGRAM, socket.SOCK_STREAM]


@pytest.fixture
def office() -> Iterator[NgOffice]:
    with open_ng_office() as opened:
        yield opened


# --- UDP ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_datagram_is_answered_with_its_cookie(host: str) -> None:
    with open_ng_office(host) as office:
        office.result = Pong("1")
        assert office.ask(office.client(), b"5323_1 " + PING) == b"5323_1 d6:result4:ponge"
        assert office.stats.rpc_requests_ng == 1


def test_json_is_answered_with_json(office: NgOffice) -> None:
    office.result = Pong("1")
    assert office.ask(office.client(), b'\xff {"command":"ping"}') == b'\xff {"result":"pong"}'


def test_many_datagrams_at_once_are_all_answered(office: NgOffice) -> None:
    client = office.client()
    for number in range(200):
        client.send(b"%d " % number + DELETE)
    replies = {office.receive(client) for _ in range(200)}
    assert replies == {b"%d " % number + OK for number in range(200)}
    assert len(office.commands) == 200


def test_a_datagram_without_a_cookie_gets_no_reply(office: NgOffice) -> None:
    client = office.client()
    for data in (b"", b"x", PING, b" " + PING):
        client.send(data)
    assert not office.has_reply(client)
    assert (office.stats.rpc_malformed, office.stats.rpc_requests_ng) == (4, 0)


def test_what_cannot_be_read_is_answered_with_an_error(office: NgOffice) -> None:
    client = office.client()
    assert b"Could not decode bencode dictionary" in office.ask(client, b"1 dx")
    assert b"No call-id in message" in office.ask(client, b"2 " + payload("delete"))
    assert b"Unrecognized command" in office.ask(client, b"3 " + payload("fly"))
    assert (office.stats.rpc_malformed, office.stats.rpc_unknown_commands) == (2, 1)
    assert office.commands == []


def test_a_reply_too_long_for_a_datagram_becomes_an_error(office: NgOffice) -> None:
    office.result = Rewritten(b"x" * 70_000)
    assert b"longer than" in office.ask(office.client(), b"1 " + offer())


def test_the_largest_offer_goes_in_and_out(office: NgOffice) -> None:
    sdp = SDP + b"a=x\r\n" * 12_000
    office.result = Rewritten(sdp)
    assert sdp in office.ask(office.client(), b"1 " + offer(sdp=sdp))
    (command,) = office.commands
    assert isinstance(command, Offer)
    assert command.sdp == sdp


@settings(
    deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200))
def test_whatever_comes_the_next_one_is_served(office: NgOffice, data: bytes) -> None:
    client, other = office.client(), office.client()
    client.send(b"garbage " + data)
    office.result = Pong("1")
    assert office.ask(other, b"1 " + PING) == b"1 d6:result4:ponge"


# --- requests that come again ---------------------------------------------------------------------


def test_a_request_that_comes_again_gets_the_same_reply_and_is_not_executed(office: NgOffice) -> None:
    client = office.client()
    first = office.ask(client, b"1 " + DELETE)
    office.result = Failure("internal", "executed twice")
    # the key is the cookie alone: neither the sender nor the rest of the message is looked at
    assert office.ask(client, b"1 " + DELETE) == first
    assert office.ask(office.client(), b"1 " + DELETE) == first
    assert office.ask(office.client(socket.SOCK_STREAM), b"1 " + DELETE) == first
    assert len(office.commands) == 1
    assert (office.stats.rpc_requests_ng, office.stats.ng_retransmissions) == (1, 3)


def test_a_request_that_comes_again_before_its_reply_waits_for_it(office: NgOffice) -> None:
    office.holding = True
    client, other, stream = office.client(), office.client(), office.client(socket.SOCK_STREAM)
    for each in (client, client, other, stream):
        each.send(b"1 " + DELETE)
    office.turn_until(lambda: office.stats.ng_retransmissions == 3)
    (answer,) = office.held
    answer(Closed(1))
    assert [office.receive(each) for each in (client, other, stream)] == [b"1 " + OK] * 3
    assert not office.has_reply(client)


def test_a_failure_is_the_reply_to_the_same_request_too(office: NgOffice) -> None:
    office.result = Failure("unavailable", "shard 0 is down")
    client = office.client()
    first = office.ask(client, b"1 " + DELETE)
    office.result = Closed(1)
    assert office.ask(client, b"1 " + DELETE) == first
    assert office.ask(client, b"2 " + DELETE) == b"2 " + OK


def test_commands_reach_dispatch_typed(office: NgOffice) -> None:
    office.ask(office.client(), b"1 " + payload("delete", call_id=b"\xff", delete_delay=0))
    assert office.commands == [Delete(b"\xff", delay_s=0)]


# --- TCP ------------------------------------------------------------------------------------------


def test_a_stream_carries_messages_one_behind_the_other(office: NgOffice) -> None:
    client = office.client(socket.SOCK_STREAM)
    data = b"".join(b"%d " % number + DELETE for number in range(3))
    for byte in range(len(data)):
        client.send(data[byte : byte + 1])
        office.loop.turn(0)
    answered = b""
    while answered.count(b"ok") < 3:
        answered += office.receive(client)
    assert answered == b"".join(b"%d " % number + OK for number in range(3))


def test_requests_of_a_stream_run_side_by_side_but_not_without_end(office: NgOffice) -> None:
    office.holding = True
    client = office.client(socket.SOCK_STREAM)
    client.send(b"".join(b"%d " % number + DELETE for number in range(MAX_IN_FLIGHT + 10)))
    office.turn_until(lambda: len(office.held) == MAX_IN_FLIGHT)
    assert not office.has_reply(client)
    assert len(office.held) == MAX_IN_FLIGHT
    office.held[7](Closed(1))
    assert office.receive(client) == b"7 " + OK
    office.turn_until(lambda: len(office.held) == MAX_IN_FLIGHT + 1)


@pytest.mark.parametrize(
    "garbage", [b"x" * 1025, b'1 {"command": "ping"}', b"1 l" * 10, b"GET / HTTP/1.1\r\n"]
)
def test_a_stream_that_cannot_be_followed_is_closed(office: NgOffice, garbage: bytes) -> None:
    client = office.client(socket.SOCK_STREAM)
    client.send(garbage)
    assert office.receive(client) == b""
    assert office.stats.rpc_malformed == 1


def test_who_asked_before_the_garbage_is_still_answered(office: NgOffice) -> None:
    office.holding = True
    client = office.client(socket.SOCK_STREAM)
    client.send(b"1 " + DELETE + b"x" * 2000)
    office.turn_until(lambda: office.held)
    office.held[0](Closed(1))
    assert office.receive(client) == b"1 " + OK
    assert office.receive(client) == b""


def test_who_leaves_before_the_answer_disturbs_nobody(office: NgOffice) -> None:
    office.holding = True
    client = office.client(socket.SOCK_STREAM)
    client.send(b"1 " + DELETE)
    office.turn_until(lambda: office.held)
    client.close()
    office.turn_until(lambda: office.service.clients <= 1)
    office.held[0](Closed(1))
    office.turn_until(lambda: office.service.clients == 0)
    assert office.ask(office.client(), b"1 " + DELETE) == b"1 " + OK


# --- the end --------------------------------------------------------------------------------------


def test_after_the_end_nobody_is_served_and_late_results_do_no_harm(office: NgOffice) -> None:
    office.holding = True
    clients = [office.client(kind) for kind in TRANSPORTS]
    for number, client in enumerate(clients):
        client.send(b"%d " % number + DELETE)
    office.turn_until(lambda: len(office.held) == 2)
    office.service.close()
    for answer in office.held:
        answer(Closed(1))
    assert not office.has_reply(clients[0])
    assert office.receive(clients[1]) == b""


def test_a_reply_is_bencode_that_a_client_can_read(office: NgOffice) -> None:
    office.result = Rewritten(SDP)
    reply = office.ask(
        office.client(), b"1 " + written({"command": "offer", "sdp": SDP, "call-id": "c", "from-tag": "a"})
    )
    assert bencode.decode(reply[2:]) == {b"result": b"ok", b"sdp": SDP}
