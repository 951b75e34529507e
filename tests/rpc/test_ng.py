"""nh.rpc.ng: ng over UDP and TCP, and requests that come again."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nh.commands import Delete, Feature, Offer
from nh.results import Closed, Failure, Pong, Rewritten
from nh.rpc import datagrams
from nh.rpc.connection import MAX_IN_FLIGHT
from nh.rpc.reply_cache import ReplyCache
from nh.wire.ng import bencode
from tests.profiles import examples
from tests.rpc.ng_testbed import NgTestbed, open_ng
from tests.wire.ng import SDP, offer, payload, written

PING = b"d7:command4:pinge"
DELETE = payload("delete", call_id="c")
OTHER_DELETE = payload("delete", call_id="other")
OK = b"d6:result2:oke"

TRANSPORTS = [socket.SOCK_DGRAM, socket.SOCK_STREAM]


@pytest.fixture
def testbed() -> Iterator[NgTestbed]:
    with open_ng() as opened:
        yield opened


# --- UDP ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_datagram_is_answered_with_its_cookie(host: str) -> None:
    with open_ng(host) as testbed:
        testbed.result = Pong("1")
        assert testbed.ask(testbed.client(), b"5323_1 " + PING) == b"5323_1 d6:result4:ponge"
        assert testbed.stats.rpc_requests_ng == 1


def test_json_is_answered_with_json(testbed: NgTestbed) -> None:
    testbed.result = Pong("1")
    assert testbed.ask(testbed.client(), b'\xff {"command":"ping"}') == b'\xff {"result":"pong"}'


def test_many_datagrams_at_once_are_all_answered(testbed: NgTestbed) -> None:
    client = testbed.client()
    for number in range(200):
        client.send(b"%d " % number + DELETE)
    replies = {testbed.receive(client) for _ in range(200)}
    assert replies == {b"%d " % number + OK for number in range(200)}
    assert len(testbed.commands) == 200


def test_a_flood_of_one_client_delays_no_other_one(testbed: NgTestbed) -> None:
    rude, polite = testbed.client(source="127.0.0.2"), testbed.client(source="127.0.0.3")
    for number in range(200):
        rude.send(b"r%d " % number + DELETE)
    polite.send(b"p " + OTHER_DELETE)
    assert testbed.receive(polite) == b"p " + OK
    of_polite = next(n for n, each in enumerate(testbed.commands) if each != testbed.commands[0])
    assert of_polite < 32, "it was read in the first turn of the loop, and served in the next one"
    for _ in range(200):
        assert testbed.receive(rude).startswith(b"r")


def test_a_flood_gets_no_more_of_a_turn_of_the_loop_than_a_turn_serves(testbed: NgTestbed) -> None:
    client = testbed.client()
    served: list[int] = []
    for turn in range(3):
        for number in range(100):
            client.send(b"%d-%d " % (turn, number) + DELETE)
        before = len(testbed.commands)
        testbed.loop.turn(0)
        served.append(len(testbed.commands) - before)
    assert served == 3 * [datagrams.DATAGRAMS_A_TURN]
    for _ in range(300):
        testbed.receive(client)


def test_beyond_those_that_may_wait_datagrams_of_the_client_with_most_are_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(datagrams, "MAX_WAITING", 10)
    with open_ng() as testbed:
        rude, polite = testbed.client(source="127.0.0.2"), testbed.client(source="127.0.0.3")
        for number in range(150):
            rude.send(b"r%d " % number + DELETE)
        for number in range(3):
            polite.send(b"p%d " % number + OTHER_DELETE)
        for number in range(3):
            assert testbed.receive(polite) == b"p%d " % number + OK
        dropped = 150 + 3 - datagrams.DATAGRAMS_A_TURN - 10
        assert testbed.stats.rpc_overloaded == dropped
        assert "requests of 127.0.0.2 over UDP are dropped, as 10 wait" in caplog.text
        for _ in range(150 - dropped):
            testbed.receive(rude)
        assert not testbed.has_reply(rude)


def test_datagrams_that_wait_are_served_before_reading_ends(testbed: NgTestbed) -> None:
    client = testbed.client()
    for number in range(200):
        client.send(b"%d " % number + DELETE)
    testbed.turn_until(lambda: testbed.commands)
    testbed.frontend.stop_reading()
    assert len(testbed.commands) == 200
    assert {testbed.receive(client).split()[0] for _ in range(200)} == {b"%d" % each for each in range(200)}


def test_a_datagram_without_a_cookie_gets_no_reply(testbed: NgTestbed) -> None:
    client = testbed.client()
    for data in (b"", b"x", PING, b" " + PING):
        client.send(data)
    assert not testbed.has_reply(client)
    assert (testbed.stats.rpc_malformed, testbed.stats.rpc_requests_ng) == (4, 0)


def test_what_cannot_be_read_is_answered_with_an_error(testbed: NgTestbed) -> None:
    client = testbed.client()
    assert b"Could not decode bencode dictionary" in testbed.ask(client, b"1 dx")
    assert b"No call-id in message" in testbed.ask(client, b"2 " + payload("delete"))
    assert b"Unrecognized command" in testbed.ask(client, b"3 " + payload("fly"))
    assert (testbed.stats.rpc_malformed, testbed.stats.rpc_unknown_commands) == (2, 1)
    assert testbed.commands == []


@pytest.mark.parametrize(
    ("message", "logged"),
    [
        (PING, "ng: a message from {client} has no cookie"),
        (b"1 dx", "ng: a request from {client} was rejected: Could not decode bencode"),
        (
            b"1 " + payload("fl\ny"),
            r"ng: the command 'fl\x0ay' from {client} was rejected: Unrecognized command",
        ),
        (
            b"1 " + payload("play media", call_id="c"),
            "ng: the command 'play media' for call 'c' from {client} was rejected:"
            " nh does not do that: play media",
        ),
        (
            b"1 " + payload("offer", call_id="c\n" * 200),
            r"ng: the command 'offer' for call '%s…' from {client} was rejected: No SDP body"
            % (r"c\x0a" * 64),
        ),
    ],
    ids=["no cookie", "no dictionary", "no such command", "not supported", "no sdp"],
)
def test_a_rejected_request_is_logged_with_client_command_and_call(
    testbed: NgTestbed, caplog: pytest.LogCaptureFixture, message: bytes, logged: str
) -> None:
    client = testbed.client()
    client.send(message)
    testbed.turn_until(lambda: caplog.text)
    host, port = client.getsockname()
    assert logged.format(client=f"{host}:{port}") in caplog.text


def test_a_refusal_of_a_shard_is_logged_with_client_command_and_call(
    testbed: NgTestbed, caplog: pytest.LogCaptureFixture
) -> None:
    testbed.result = Failure("unsupported", "ICE=force: nh has no ICE agent")
    client = testbed.client()
    testbed.ask(client, b"1 " + offer())
    host, port = client.getsockname()
    assert caplog.messages == [
        f"ng: the command 'offer' for call 'call' from {host}:{port} was refused:"
        " nh does not do that: ICE=force: nh has no ICE agent"
    ]


def test_a_shortage_is_the_shards_to_log(testbed: NgTestbed, caplog: pytest.LogCaptureFixture) -> None:
    testbed.result = Failure("no_ports", "no ports are free")
    testbed.ask(testbed.client(), b"1 " + offer())
    assert caplog.messages == []


@pytest.fixture
def lenient() -> Iterator[NgTestbed]:
    with open_ng(lenient=frozenset({Feature.RECORDING})) as opened:
        yield opened


def answered(testbed: NgTestbed, client: socket.socket, message: bytes) -> Any:
    """The reply to a message with a cookie of one byte."""
    return bencode.decode(testbed.ask(client, message)[2:])


def test_what_the_settings_leave_out_is_a_warning_in_the_reply_and_in_the_log(
    lenient: NgTestbed, caplog: pytest.LogCaptureFixture
) -> None:
    lenient.result = Rewritten(SDP)
    client = lenient.client()
    warning = b"Not supported by nh: record-call (nh records nothing)"
    for cookie in (b"1", b"2", b"3"):
        reply = answered(lenient, client, cookie + b" " + offer(flags=["record-call"]))
        assert reply == {b"result": b"ok", b"sdp": SDP, b"warning": warning}
    host, port = client.getsockname()
    assert caplog.messages == [
        f"ng: the command 'offer' for call 'call' from {host}:{port} is served without what nh does not do:"
        " record-call (nh records nothing)"
    ]


def test_what_a_shard_leaves_out_is_a_warning_too(
    lenient: NgTestbed, caplog: pytest.LogCaptureFixture
) -> None:
    lenient.result = Rewritten(SDP, "no such interface", "ICE=force: the offer has no ICE")
    reply = answered(lenient, lenient.client(), b"1 " + offer(flags=["record-call", "fly"]))
    assert reply[b"warning"] == (
        b"Ignored by nh: fly; Not supported by nh: record-call (nh records nothing), "
        b"ICE=force: the offer has no ICE; no such interface"
    )
    assert len(caplog.messages) == 1


def test_a_command_that_the_settings_leave_out_reaches_no_shard(lenient: NgTestbed) -> None:
    client = lenient.client()
    reply = answered(lenient, client, b"1 " + payload("start recording", call_id="c"))
    assert reply[b"result"] == b"ok"
    assert reply[b"warning"] == b"Not supported by nh: start recording (nh records nothing)"
    assert lenient.commands == []
    refused = answered(lenient, client, b"2 " + payload("play media", call_id="c"))
    assert refused == {b"result": b"error", b"error-reason": b"Not supported by nh: play media"}


def test_a_connection_that_cannot_be_read_is_logged_with_its_client(
    testbed: NgTestbed, caplog: pytest.LogCaptureFixture
) -> None:
    client = testbed.client(socket.SOCK_STREAM)
    client.send(b"1 GET / HTTP/1.0\r\n\r\n")
    testbed.turn_until(lambda: caplog.text)
    host, port = client.getsockname()
    assert f"the connection from {host}:{port} is closed" in caplog.text


def test_a_reply_too_long_for_a_datagram_becomes_an_error(testbed: NgTestbed) -> None:
    testbed.result = Rewritten(b"x" * 70_000)
    assert b"longer than" in testbed.ask(testbed.client(), b"1 " + offer())


def test_the_largest_offer_goes_in_and_out(testbed: NgTestbed) -> None:
    sdp = SDP + b"a=x\r\n" * 12_000
    testbed.result = Rewritten(sdp)
    assert sdp in testbed.ask(testbed.client(), b"1 " + offer(sdp=sdp))
    (command,) = testbed.commands
    assert isinstance(command, Offer)
    assert command.sdp == sdp


@settings(
    deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200))
def test_whatever_comes_the_next_one_is_served(testbed: NgTestbed, data: bytes) -> None:
    client, other = testbed.client(), testbed.client()
    client.send(b"garbage " + data)
    testbed.result = Pong("1")
    assert testbed.ask(other, b"1 " + PING) == b"1 d6:result4:ponge"


# --- requests that come again ---------------------------------------------------------------------


def test_a_request_that_comes_again_gets_the_same_reply_and_is_not_executed(testbed: NgTestbed) -> None:
    client = testbed.client()
    first = testbed.ask(client, b"1 " + DELETE)
    testbed.result = Failure("internal", "executed twice")
    assert testbed.ask(client, b"1 " + DELETE) == first
    assert testbed.ask(testbed.client(), b"1 " + DELETE) == first
    assert testbed.ask(testbed.client(socket.SOCK_STREAM), b"1 " + DELETE) == first
    assert len(testbed.commands) == 1
    assert (testbed.stats.rpc_requests_ng, testbed.stats.rpc_retransmissions) == (1, 3)


def test_a_request_with_the_cookie_of_another_one_is_executed(testbed: NgTestbed) -> None:
    testbed.holding = True
    one, other = testbed.client(), testbed.client()
    one.send(b"1 " + DELETE)
    other.send(b"1 " + OTHER_DELETE)
    testbed.turn_until(lambda: len(testbed.held) == 2)
    assert [each.call_id for each in testbed.commands if isinstance(each, Delete)] == [b"c", b"other"]
    testbed.held[1](Failure("unknown_call", "of the other"))
    assert b"of the other" in testbed.receive(other)
    assert not testbed.has_reply(one)
    testbed.held[0](Closed(1))
    assert testbed.receive(one) == b"1 " + OK
    assert testbed.ask(one, b"1 " + DELETE) == b"1 " + OK
    assert b"of the other" in testbed.ask(one, b"1 " + OTHER_DELETE)


def test_a_request_that_comes_again_before_its_reply_waits_for_it(testbed: NgTestbed) -> None:
    testbed.holding = True
    client, other, stream = testbed.client(), testbed.client(), testbed.client(socket.SOCK_STREAM)
    for each in (client, client, other, stream):
        each.send(b"1 " + DELETE)
    testbed.turn_until(lambda: testbed.stats.rpc_retransmissions == 3)
    (answer,) = testbed.held
    answer(Closed(1))
    assert [testbed.receive(each) for each in (client, other, stream)] == [b"1 " + OK] * 3
    assert not testbed.has_reply(client)


def test_replies_that_make_room_before_their_time_are_counted_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("nh.rpc.cookies.ReplyCache", lambda: ReplyCache(max_replies=1))
    with open_ng() as small:
        client = small.client()
        for cookie in (b"1", b"2", b"1"):
            assert small.ask(client, cookie + b" " + DELETE) == cookie + b" " + OK
        assert len(small.commands) == 3
        assert small.stats.rpc_replies_dropped == 2
    assert "ng: the cache of replies is full" in caplog.text


def test_requests_beyond_those_that_may_be_under_way_are_refused_and_counted(
    monkeypatch: pytest.MonkeyPatch, testbed: NgTestbed
) -> None:
    monkeypatch.setattr("nh.rpc.reply_cache.MAX_PENDING", 1)
    testbed.holding = True
    client = testbed.client()
    client.send(b"1 " + DELETE)
    testbed.turn_until(lambda: testbed.held)
    assert b"overloaded" in testbed.ask(client, b"2 " + DELETE)
    assert testbed.stats.rpc_overloaded == 1


def test_a_failure_is_the_reply_to_the_same_request_too(testbed: NgTestbed) -> None:
    testbed.result = Failure("unavailable", "shard 0 is down")
    client = testbed.client()
    first = testbed.ask(client, b"1 " + DELETE)
    testbed.result = Closed(1)
    assert testbed.ask(client, b"1 " + DELETE) == first
    assert testbed.ask(client, b"2 " + DELETE) == b"2 " + OK


def test_commands_reach_dispatch_typed(testbed: NgTestbed) -> None:
    testbed.ask(testbed.client(), b"1 " + payload("delete", call_id=b"\xff", delete_delay=0))
    assert testbed.commands == [Delete(b"\xff", delay_s=0)]


# --- TCP ------------------------------------------------------------------------------------------


def test_a_stream_carries_messages_one_behind_the_other(testbed: NgTestbed) -> None:
    client = testbed.client(socket.SOCK_STREAM)
    data = b"".join(b"%d " % number + DELETE for number in range(3))
    for byte in range(len(data)):
        client.send(data[byte : byte + 1])
        testbed.loop.turn(0)
    answered = b""
    while answered.count(b"ok") < 3:
        answered += testbed.receive(client)
    assert answered == b"".join(b"%d " % number + OK for number in range(3))


def test_requests_of_a_stream_run_side_by_side_but_not_without_end(testbed: NgTestbed) -> None:
    testbed.holding = True
    client = testbed.client(socket.SOCK_STREAM)
    client.send(b"".join(b"%d " % number + DELETE for number in range(MAX_IN_FLIGHT + 10)))
    testbed.turn_until(lambda: len(testbed.held) == MAX_IN_FLIGHT)
    assert not testbed.has_reply(client)
    assert len(testbed.held) == MAX_IN_FLIGHT
    testbed.held[7](Closed(1))
    assert testbed.receive(client) == b"7 " + OK
    testbed.turn_until(lambda: len(testbed.held) == MAX_IN_FLIGHT + 1)


@pytest.mark.parametrize(
    "garbage", [b"x" * 1025, b'1 {"command": "ping"}', b"1 l" * 10, b"GET / HTTP/1.1\r\n"]
)
def test_a_stream_that_cannot_be_followed_is_closed(testbed: NgTestbed, garbage: bytes) -> None:
    client = testbed.client(socket.SOCK_STREAM)
    client.send(garbage)
    assert testbed.receive(client) == b""
    assert testbed.stats.rpc_malformed == 1


def test_requests_before_the_garbage_are_still_answered(testbed: NgTestbed) -> None:
    testbed.holding = True
    client = testbed.client(socket.SOCK_STREAM)
    client.send(b"1 " + DELETE + b"x" * 2000)
    testbed.turn_until(lambda: testbed.held)
    testbed.held[0](Closed(1))
    assert testbed.receive(client) == b"1 " + OK
    assert testbed.receive(client) == b""


def test_a_client_that_leaves_before_its_reply_disturbs_no_other(testbed: NgTestbed) -> None:
    testbed.holding = True
    client = testbed.client(socket.SOCK_STREAM)
    client.send(b"1 " + DELETE)
    testbed.turn_until(lambda: testbed.held)
    client.close()
    testbed.turn_until(lambda: testbed.frontend.clients <= 1)
    testbed.held[0](Closed(1))
    testbed.turn_until(lambda: testbed.frontend.clients == 0)
    assert testbed.ask(testbed.client(), b"1 " + DELETE) == b"1 " + OK


# --- the end --------------------------------------------------------------------------------------


def test_after_the_end_no_request_is_served_and_late_results_do_no_harm(testbed: NgTestbed) -> None:
    testbed.holding = True
    clients = [testbed.client(kind) for kind in TRANSPORTS]
    for number, client in enumerate(clients):
        client.send(b"%d " % number + DELETE)
    testbed.turn_until(lambda: len(testbed.held) == 2)
    testbed.frontend.close()
    for answer in testbed.held:
        answer(Closed(1))
    assert not testbed.has_reply(clients[0])
    assert testbed.receive(clients[1]) == b""


def test_a_reply_is_bencode_that_a_client_can_read(testbed: NgTestbed) -> None:
    testbed.result = Rewritten(SDP)
    reply = testbed.ask(
        testbed.client(), b"1 " + written({"command": "offer", "sdp": SDP, "call-id": "c", "from-tag": "a"})
    )
    assert bencode.decode(reply[2:]) == {b"result": b"ok", b"sdp": SDP}
