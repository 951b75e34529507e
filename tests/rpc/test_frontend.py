"""nh.rpc.frontend and connection: what clients get, and what they cannot do to each other."""

import contextlib
import errno
import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nh.commands import Close, CloseCall, Extension, Ping
from nh.ipc.peer import PeerCredentials, peer_of
from nh.loop import PROBE_TURNS, SelectorLoop
from nh.reasons import SHORTAGES
from nh.results import Closed, ExtensionResult, Failure
from nh.rpc.connection import MAX_IN_FLIGHT, MAX_IN_FLIGHT_OF_ALL, MAX_OUTPUT_BYTES, MIN_IN_FLIGHT
from nh.wire import native, netsip
from nh.wire.framing import MAX_FRAME_BYTES, frame
from nh.wire.netsip.storable import freeze_array
from tests.profiles import examples
from tests.rpc.frontend_testbed import FrontendTestbed, key, open_frontend

ME = f"pid {os.getpid()} (uid {os.getuid()})"

NETSIP_CLOSE = netsip.encode_request(Close(key()))


@pytest.fixture
def testbed(tmp_path: Path) -> Iterator[FrontendTestbed]:
    with open_frontend(tmp_path / "rpc") as opened:
        yield opened


def close_call(request_id: int, call_id: bytes = b"call") -> bytes:
    return native.encode_request(request_id, CloseCall(call_id))


# --- Net::SIP's protocol --------------------------------------------------------------------------


def test_the_connection_closes_behind_the_reply_to_a_netsip_request(testbed: FrontendTestbed) -> None:
    peer = testbed.connect()
    peer.send(NETSIP_CLOSE)
    assert peer.netsip_reply() == 7
    peer.wait_until_closed()
    assert testbed.commands == [Close(key())]
    assert testbed.stats.rpc_requests_netsip == 1


def test_of_several_netsip_requests_on_a_connection_the_first_is_executed(testbed: FrontendTestbed) -> None:
    testbed.holding = True
    peer = testbed.connect()
    peer.send(*[netsip.encode_request(Close(key(b"%d" % n))) for n in range(3)])
    testbed.turn_until(lambda: testbed.held)
    testbed.settle()
    testbed.held.pop()(Closed(1))
    assert peer.netsip_reply() == 1
    peer.wait_until_closed()
    assert testbed.commands == [Close(key(b"0"))]


def test_native_requests_under_way_are_answered_before_netsips_close(testbed: FrontendTestbed) -> None:
    testbed.holding = True
    peer = testbed.connect()
    peer.send(close_call(1), NETSIP_CLOSE)
    testbed.turn_until(lambda: len(testbed.held) == 2)
    testbed.held[1](Closed(2))
    assert peer.netsip_reply() == 2
    testbed.held[0](Closed(3))
    assert peer.native_reply(Closed) == (1, Closed(3))
    peer.wait_until_closed()


def test_wrong_arguments_of_a_netsip_command_are_answered_with_undef(testbed: FrontendTestbed) -> None:
    peer = testbed.connect()
    peer.send(netsip.encode_request(Extension("close", (b"no nat_basic",))), NETSIP_CLOSE)
    assert peer.netsip_reply() is None
    peer.wait_until_closed()
    assert (testbed.commands, testbed.stats.rpc_malformed) == ([], 1)


def test_an_unknown_netsip_command_closes_the_connection(testbed: FrontendTestbed) -> None:
    peer = testbed.connect()
    peer.send(netsip.encode_request(Extension("exec", (b"/bin/sh",))), NETSIP_CLOSE)
    peer.wait_until_closed()
    assert (testbed.commands, testbed.stats.rpc_unknown_commands, testbed.stats.rpc_malformed) == ([], 1, 0)


def test_failures_are_undef_for_netsip(testbed: FrontendTestbed) -> None:
    testbed.result = Failure("unavailable", "shard 0 is down")
    peer = testbed.connect()
    peer.send(NETSIP_CLOSE)
    assert peer.netsip_reply() is None


# --- the native protocol --------------------------------------------------------------------------


def test_native_requests_run_side_by_side_and_are_answered_as_results_come(testbed: FrontendTestbed) -> None:
    testbed.holding = True
    peer = testbed.connect()
    peer.send(close_call(1), close_call(2), close_call(3))
    testbed.turn_until(lambda: len(testbed.held) == 3)
    for index in (2, 0, 1):
        testbed.held[index](Closed(index))
    assert [peer.native_reply(Closed) for _ in range(3)] == [(3, Closed(2)), (1, Closed(0)), (2, Closed(1))]
    assert testbed.stats.rpc_requests_native == 3


def test_native_errors_say_what_is_wrong_and_the_connection_stays(testbed: FrontendTestbed) -> None:
    peer = testbed.connect()
    peer.send(b'{"id": 1, "command": "fly"}', b'{"id": 2, "command": "show"}', b"{not json", close_call(4))
    replies = [json.loads(peer.reply()) for _ in range(4)]
    assert [reply["id"] for reply in replies] == [1, 2, None, 4]
    assert [reply.get("error", {}).get("code") for reply in replies] == [
        "unknown_command",
        "bad_request",
        "bad_request",
        None,
    ]
    assert (testbed.stats.rpc_unknown_commands, testbed.stats.rpc_malformed) == (1, 2)


def test_extensions_are_let_through_in_both_protocols(testbed: FrontendTestbed) -> None:
    testbed.result = ExtensionResult(["HEY"])
    peer = testbed.connect()
    peer.send(netsip.encode_request(Extension("shout", (b"hey",))))
    assert peer.netsip_reply() == ["HEY"]
    peer = testbed.connect()
    peer.send(native.encode_request(1, Extension("shout", ({"word": "hey"},))))
    assert peer.native_reply(ExtensionResult) == (1, ExtensionResult(["HEY"]))


@pytest.mark.parametrize("protocol", ["netsip", "native"])
def test_a_result_that_no_wire_can_carry_becomes_a_failure(
    testbed: FrontendTestbed, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    testbed.result = ExtensionResult(object())
    peer = testbed.connect()
    if protocol == "netsip":
        peer.send(netsip.encode_request(Extension("shout")))
        assert peer.netsip_reply() is None
    else:
        peer.send(native.encode_request(1, Extension("shout")))
        _id, failure = peer.native_reply(ExtensionResult)
        assert isinstance(failure, Failure)
        assert failure.code == "internal"


def test_both_protocols_may_share_a_connection(testbed: FrontendTestbed) -> None:
    peer = testbed.connect()
    peer.send(close_call(1), NETSIP_CLOSE)
    assert peer.native_reply(Closed) == (1, Closed(7))
    assert peer.netsip_reply() == 7


# --- log lines ------------------------------------------------------------------------------------


def test_a_rejected_request_is_logged_with_client_command_and_call(
    testbed: FrontendTestbed, caplog: pytest.LogCaptureFixture
) -> None:
    peer = testbed.connect()
    peer.send(freeze_array(["close", [b"call", "soon", b"from"]]))
    assert peer.netsip_reply() is None
    assert f"a Net::SIP request from {ME} was rejected with undef: close for call 'call': cseq" in caplog.text


def test_who_the_client_of_a_connection_is_stays_known_once_it_was_asked(
    testbed: FrontendTestbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[socket.socket] = []

    def counted_peer_of(sock: socket.socket) -> PeerCredentials:
        asked.append(sock)
        return peer_of(sock)

    monkeypatch.setattr("nh.rpc.connection.peer_of", counted_peer_of)
    peer = testbed.connect()
    for request_id in range(3):
        peer.send(close_call(request_id))
        peer.native_reply(Closed)
        assert str(testbed.origins[-1].sender) == ME
    peer.sock.close()
    testbed.turn_until(lambda: not testbed.frontend.clients)

    assert str(testbed.origins[-1].sender) == ME
    assert len(asked) == 1


def test_a_connection_that_cannot_be_read_is_logged_with_its_client(
    testbed: FrontendTestbed, caplog: pytest.LogCaptureFixture
) -> None:
    testbed.connect().send_raw(b"GET / HTTP/1.0\r\n\r\n")
    testbed.turn_until(lambda: caplog.messages)
    assert f"the connection from {ME} is closed, as its requests cannot be read" in caplog.text


# --- clients that leave ---------------------------------------------------------------------------


@pytest.mark.parametrize("request_bytes", [NETSIP_CLOSE, close_call(1)])
def test_a_client_that_leaves_before_its_reply_disturbs_no_other(
    testbed: FrontendTestbed, request_bytes: bytes
) -> None:
    testbed.holding = True
    leaver, other = testbed.connect(), testbed.connect()
    leaver.send(request_bytes)
    other.send(request_bytes)
    testbed.turn_until(lambda: len(testbed.held) == 2)
    leaver.sock.close()
    testbed.settle()
    for reply in testbed.held:
        reply(Closed(1))
    other.reply()
    testbed.turn_until(lambda: testbed.frontend.clients == (request_bytes != NETSIP_CLOSE))


def test_a_client_that_only_stops_sending_gets_all_its_replies(testbed: FrontendTestbed) -> None:
    testbed.holding = True
    peer = testbed.connect()
    peer.send(close_call(1), close_call(2))
    peer.sock.shutdown(socket.SHUT_WR)
    testbed.turn_until(lambda: len(testbed.held) == 2)
    testbed.settle()
    for reply in testbed.held:
        reply(Closed(1))
    assert {peer.native_reply(Closed)[0] for _ in range(2)} == {1, 2}
    peer.wait_until_closed()
    assert testbed.frontend.clients == 0


def test_a_netsip_client_may_stop_sending_before_its_reply(testbed: FrontendTestbed) -> None:
    testbed.holding = True
    peer = testbed.connect()
    peer.send(NETSIP_CLOSE)
    peer.sock.shutdown(socket.SHUT_WR)
    testbed.turn_until(lambda: testbed.held)
    testbed.held.pop()(Closed(1))
    assert peer.netsip_reply() == 1
    peer.wait_until_closed()


def test_replies_that_come_after_the_frontend_closed_are_dropped(testbed: FrontendTestbed) -> None:
    testbed.holding = True
    peer = testbed.connect()
    peer.send(close_call(1))
    testbed.turn_until(lambda: testbed.held)
    testbed.frontend.close()
    testbed.held[0](Closed(1))
    assert peer.closed


# --- handed on ------------------------------------------------------------------------------------


def test_a_client_between_two_requests_is_served_by_the_next_frontend(testbed: FrontendTestbed) -> None:
    native_peer, netsip_peer = testbed.connect(), testbed.connect()
    for number in range(2):
        native_peer.send(close_call(number))
        assert native_peer.native_reply(Closed) == (number, Closed(7))
        testbed.frontend.stop_reading()
        testbed.hand_over()
    netsip_peer.send(NETSIP_CLOSE)
    assert netsip_peer.netsip_reply() == 7
    netsip_peer.wait_until_closed()
    assert testbed.frontend.clients == 1
    assert testbed.stats.rpc_accepted == 2, "no client connected again"


def test_what_comes_after_reading_has_stopped_is_for_the_next_frontend(testbed: FrontendTestbed) -> None:
    peer = testbed.connect()
    testbed.frontend.stop_reading()
    peer.send(close_call(1), close_call(2))
    testbed.settle()
    assert testbed.commands == []
    testbed.hand_over()
    assert [peer.native_reply(Closed) for _ in range(2)] == [(1, Closed(7)), (2, Closed(7))]


def test_what_was_read_is_answered_before_its_client_is_handed_over(testbed: FrontendTestbed) -> None:
    testbed.holding = True
    peer = testbed.connect()
    peer.send(*[close_call(number) for number in range(MAX_IN_FLIGHT + 1)])  # the last one waits, read
    testbed.turn_until(lambda: len(testbed.held) == MAX_IN_FLIGHT)
    testbed.frontend.stop_reading()
    peer.send(close_call(500))
    for number in range(MAX_IN_FLIGHT + 1):
        testbed.turn_until(lambda: testbed.held)
        testbed.held.pop(0)(Closed(1))
        assert peer.native_reply(Closed) == (number, Closed(1))
    testbed.settle()
    assert not testbed.held
    testbed.hand_over()
    testbed.turn_until(lambda: testbed.held)
    testbed.held.pop()(Closed(3))
    assert peer.native_reply(Closed) == (500, Closed(3))


def test_who_still_waits_or_stopped_within_a_frame_has_to_connect_again(testbed: FrontendTestbed) -> None:
    testbed.holding = True
    waiting, partial = testbed.connect(), testbed.connect()
    waiting.send(close_call(1))
    partial.send_raw(b"\0\0")
    testbed.turn_until(lambda: testbed.held)
    testbed.settle()
    testbed.frontend.stop_reading()
    testbed.hand_over()
    waiting.wait_until_closed()
    partial.wait_until_closed()
    assert testbed.frontend.clients == 0


def test_a_client_that_leaves_while_it_is_handed_over_is_noticed_by_the_next_frontend(
    testbed: FrontendTestbed,
) -> None:
    peer = testbed.connect()
    testbed.frontend.stop_reading()
    peer.sock.close()
    testbed.hand_over()
    testbed.turn_until(lambda: testbed.frontend.clients == 0)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack(">I", 0),
        struct.pack(">I", MAX_FRAME_BYTES + 1),
        b"GET / HTTP/1.1\r\n\r\n",
        frame(b"\x04\x0b\x02"),
        frame(b"[]"),
        frame(b"\x05\x0b\xff"),
    ],
    ids=["empty", "too long", "http", "another major version", "no object", "cut storable"],
)
def test_garbage_closes_its_own_connection_and_is_counted(testbed: FrontendTestbed, raw: bytes) -> None:
    peer, other = testbed.connect(), testbed.connect()
    peer.send_raw(raw)
    peer.wait_until_closed()
    assert testbed.stats.rpc_malformed == 1
    other.send(NETSIP_CLOSE)
    assert other.netsip_reply() == 7


def test_requests_before_the_garbage_are_answered(testbed: FrontendTestbed) -> None:
    testbed.holding = True
    peer = testbed.connect()
    peer.send_raw(frame(close_call(1)) + b"\xff\xff\xff\xff")
    testbed.turn_until(lambda: testbed.stats.rpc_malformed)
    testbed.held[0](Closed(1))
    assert peer.native_reply(Closed) == (1, Closed(1))
    peer.wait_until_closed()


@settings(
    max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=60).map(frame),
            st.binary(max_size=60),
            st.binary(max_size=60).map(lambda rest: frame(b"\x05" + rest)),
            st.binary(max_size=60).map(lambda rest: frame(b"{" + rest)),
            st.sampled_from([frame(NETSIP_CLOSE), frame(close_call(1)), frame(NETSIP_CLOSE)[:9]]),
        ),
        max_size=6,
    )
)
def test_whatever_a_client_sends_the_next_one_is_served(
    testbed: FrontendTestbed, pieces: list[bytes]
) -> None:
    peer = testbed.connect()
    for piece in pieces:
        with contextlib.suppress(BrokenPipeError):
            peer.send_raw(piece)
    peer.sock.close()
    testbed.turn_until(lambda: testbed.frontend.clients == 0)
    other = testbed.connect()
    other.send(close_call(9))
    assert other.native_reply(Closed) == (9, Closed(7))
    other.sock.close()
    testbed.turn_until(lambda: testbed.frontend.clients == 0)


def test_a_request_may_come_byte_by_byte(testbed: FrontendTestbed) -> None:
    peer = testbed.connect()
    for byte in frame(NETSIP_CLOSE):
        peer.send_raw(bytes([byte]))
        testbed.loop.turn(0)
    assert peer.netsip_reply() == 7


# --- limits ---------------------------------------------------------------------------------------


def test_only_so_many_requests_of_one_client_are_under_way(testbed: FrontendTestbed) -> None:
    testbed.holding = True
    peer = testbed.connect()
    peer.send(*[close_call(n) for n in range(3 * MAX_IN_FLIGHT)])
    testbed.turn_until(lambda: len(testbed.held) == MAX_IN_FLIGHT)
    testbed.settle()
    assert len(testbed.held) == MAX_IN_FLIGHT
    for answered in range(3 * MAX_IN_FLIGHT):
        testbed.turn_until(lambda answered=answered: len(testbed.held) > answered)  # type: ignore[misc]
        testbed.held[answered](Closed(1))
    assert {peer.native_reply(Closed)[0] for _ in range(3 * MAX_IN_FLIGHT)} == set(range(3 * MAX_IN_FLIGHT))


def test_a_client_that_does_not_read_is_not_read_from_either(testbed: FrontendTestbed) -> None:
    testbed.result = ExtensionResult("x" * 20_000)
    shout = native.encode_request(1, Extension("shout"))
    peer, other = testbed.connect(), testbed.connect()
    peer.send(*[shout] * 400)
    testbed.settle()
    stuck_at = len(testbed.commands)
    assert stuck_at * 20_000 < 4 * MAX_OUTPUT_BYTES  # the kernel's buffers and nh's own
    peer.send(shout)
    testbed.turn_until(lambda: testbed.stats.rpc_paused == 1)
    other.send(shout)
    assert other.native_reply(ExtensionResult)[0] == 1
    for _ in range(401):
        assert peer.native_reply(ExtensionResult)[0] == 1
    assert len(testbed.commands) == 402


def test_thousands_of_requests_answered_at_once_do_not_nest(testbed: FrontendTestbed) -> None:
    peer = testbed.connect()
    ping = native.encode_request(1, Ping())
    testbed.result = Closed(0)
    peer.send_raw(frame(ping) * 3000)
    for _ in range(3000):
        peer.reply()
    assert len(testbed.commands) == 3000


def test_idle_clients_are_closed_in_time_but_not_those_that_wait(tmp_path: Path) -> None:
    with open_frontend(tmp_path / "rpc", idle_client_s=0.2) as testbed:
        testbed.holding = True
        waiting = testbed.knock()
        waiting.send(close_call(1))  # before it is accepted: no pause of a busy host makes it idle
        idle = testbed.connect()
        idle.wait_until_closed()
        later: list[bool] = []
        testbed.loop.call_later(0.4, lambda: later.append(True))
        testbed.turn_until(lambda: later)
        assert not waiting.closed
        assert testbed.stats.rpc_evicted == 1
        testbed.held[0](Closed(1))
        assert waiting.native_reply(Closed) == (1, Closed(1))
        waiting.wait_until_closed()


def test_a_client_that_does_not_read_its_replies_is_closed_in_time(tmp_path: Path) -> None:
    with open_frontend(tmp_path / "rpc", idle_client_s=0.3) as testbed:
        testbed.result = ExtensionResult("x" * 20_000)
        peer = testbed.connect()
        peer.send(*[native.encode_request(1, Extension("shout"))] * 400)
        testbed.turn_until(lambda: testbed.frontend.clients == 0)
        assert (testbed.stats.rpc_stalled, testbed.stats.rpc_evicted) == (1, 0)


def test_half_a_frame_is_waited_for_for_a_while_however_slowly_it_drips(tmp_path: Path) -> None:
    with open_frontend(tmp_path / "rpc", partial_frame_s=0.3) as testbed:
        dripping, quiet = testbed.connect(), testbed.connect()

        def drip() -> None:
            with contextlib.suppress(OSError):
                dripping.sock.send(b"\0")
            testbed.loop.call_later(0.02, drip)

        dripping.send_raw(struct.pack(">I", 30_000) + b"{")
        drip()
        dripping.wait_until_closed()
        assert not quiet.closed
        assert (testbed.stats.rpc_stalled, testbed.stats.rpc_evicted) == (1, 0)


def test_the_longest_idle_client_makes_room_for_a_new_one(tmp_path: Path) -> None:
    with open_frontend(tmp_path / "rpc", max_clients=3) as testbed:
        first, second, third = (testbed.connect() for _ in range(3))
        first.send(close_call(1))
        assert first.native_reply(Closed)[0] == 1
        fourth = testbed.connect()
        second.wait_until_closed()
        assert not first.closed
        assert not third.closed
        assert not fourth.closed
        assert (testbed.stats.rpc_evicted, testbed.frontend.clients) == (1, 3)


def test_a_host_with_very_many_connections_makes_room_for_the_clients_of_others() -> None:
    with open_frontend(max_clients=4) as testbed:
        polite = testbed.connect("127.0.0.2")
        many = [testbed.connect("127.0.0.3") for _ in range(6)]
        for each in many[:3]:
            each.wait_until_closed()
        other = testbed.connect("127.0.0.4")
        many[3].wait_until_closed()
        for number, peer in enumerate((polite, other, *many[4:])):
            peer.send(close_call(number))
            assert peer.native_reply(Closed)[0] == number


def test_connections_that_have_ended_are_no_share_of_their_host() -> None:
    with open_frontend(max_clients=3) as testbed:
        for _ in range(4):
            testbed.connect("127.0.0.3").sock.close()
            testbed.turn_until(lambda: testbed.frontend.clients == 0)
        one = testbed.connect("127.0.0.3")
        more = [testbed.connect("127.0.0.2") for _ in range(2)]
        testbed.connect("127.0.0.4")
        more[0].wait_until_closed()
        assert not one.closed


def test_a_busy_host_with_most_connections_makes_others_give_way_by_their_idle_time() -> None:
    with open_frontend(max_clients=3) as testbed:
        testbed.holding = True
        busy = [testbed.connect("127.0.0.3") for _ in range(2)]
        for peer in busy:
            peer.send(close_call(1))
        testbed.turn_until(lambda: len(testbed.held) == 2)
        idle = testbed.connect("127.0.0.2")
        testbed.knock("127.0.0.3").wait_until_closed()
        assert not idle.closed, "the new one is of the busy host, so it gives way itself"
        assert testbed.stats.rpc_evicted == 1
        testbed.connect("127.0.0.4")
        idle.wait_until_closed()


def test_the_connections_of_one_host_share_the_requests_under_way_where_others_are_connected() -> None:
    with open_frontend() as testbed:
        testbed.holding = True
        other = testbed.connect("127.0.0.4")
        many = [testbed.connect("127.0.0.3") for _ in range(MAX_IN_FLIGHT // 4)]
        for peer in many:
            peer.send(*(close_call(number) for number in range(10)))
        testbed.settle()
        assert len(testbed.held) == MAX_IN_FLIGHT
        other.send(*(close_call(number) for number in range(10)))
        testbed.turn_until(lambda: len(testbed.held) == MAX_IN_FLIGHT + 10)
        testbed.holding = False
        for reply in testbed.held:
            reply(Closed(1))
        for peer in (other, *many):
            assert {peer.native_reply(Closed)[0] for _ in range(10)} == set(range(10))


def test_of_very_many_connections_of_one_host_each_has_some_requests_under_way() -> None:
    with open_frontend() as testbed:
        testbed.holding = True
        testbed.connect("127.0.0.4")
        many = [testbed.connect("127.0.0.3") for _ in range(MAX_IN_FLIGHT + 1)]
        for peer in many:
            peer.send(*(close_call(number) for number in range(10)))
        testbed.turn_until(lambda: len(testbed.held) >= MIN_IN_FLIGHT * len(many))
        testbed.settle()
        assert len(testbed.held) == MIN_IN_FLIGHT * len(many)


@pytest.mark.parametrize(("connections", "under_way"), [(3, 3 * MAX_IN_FLIGHT), (16, MAX_IN_FLIGHT_OF_ALL)])
def test_the_connections_of_a_host_alone_share_more(connections: int, under_way: int) -> None:
    with open_frontend() as testbed:
        testbed.holding = True
        for peer in [testbed.connect("127.0.0.3") for _ in range(connections)]:
            peer.send(*(close_call(number) for number in range(MAX_IN_FLIGHT + 1)))
        testbed.turn_until(lambda: len(testbed.held) == under_way)
        testbed.settle()
        assert len(testbed.held) == under_way


def test_busy_connections_of_many_hosts_share_the_requests_under_way_and_idle_ones_take_none() -> None:
    with open_frontend() as testbed:
        testbed.holding = True
        for number in range(40):
            testbed.connect(f"127.0.0.{100 + number}")
        busy = [testbed.connect(f"127.0.1.{1 + number}") for number in range(32)]
        for peer in busy:
            peer.send(close_call(1))
        testbed.turn_until(lambda: len(testbed.held) == len(busy))
        for peer in busy:
            peer.send(*(close_call(number) for number in range(MAX_IN_FLIGHT)))
        testbed.turn_until(lambda: len(testbed.held) >= MAX_IN_FLIGHT_OF_ALL)
        testbed.settle()
        assert len(testbed.held) == MAX_IN_FLIGHT_OF_ALL


def test_a_new_client_waits_where_all_others_are_busy(tmp_path: Path) -> None:
    with open_frontend(tmp_path / "rpc", max_clients=2) as testbed:
        testbed.holding = True
        busy = [testbed.connect() for _ in range(2)]
        for peer in busy:
            peer.send(close_call(1))
        testbed.turn_until(lambda: len(testbed.held) == 2)
        new = testbed.knock()
        testbed.settle()
        assert testbed.stats.rpc_accepted == 2
        testbed.held[0](Closed(1))
        new.send(close_call(2))
        testbed.turn_until(lambda: len(testbed.held) == 3)
        testbed.held[2](Closed(2))
        assert new.native_reply(Closed) == (2, Closed(2))
        assert testbed.stats.rpc_evicted == 1


def test_two_hundred_idle_clients_keep_no_new_client_out(testbed: FrontendTestbed) -> None:
    for _ in range(200):
        testbed.connect()
    late = testbed.connect()
    late.send(NETSIP_CLOSE)
    assert late.netsip_reply() == 7
    late.wait_until_closed()
    assert testbed.frontend.clients == 200


class CountedAccepts(socket.socket):
    """A listening socket that counts how often a client is asked for."""

    attempts = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.attempts += 1
        return super().accept()


def test_clients_that_come_one_by_one_cost_one_accept_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SelectorLoop, "is_behind", False)  # as if the loop had to wait for each client
    with open_frontend(tmp_path / "rpc", make_socket=CountedAccepts) as testbed:
        for _ in range(2 * PROBE_TURNS):
            testbed.connect()
        assert isinstance(testbed.listener, CountedAccepts)
        in_vain = testbed.listener.attempts - testbed.stats.rpc_accepted
        assert in_vain <= 3, "the first turn and one in PROBE_TURNS look for more than one"

        for _ in range(100):
            testbed.knock()
        testbed.turn_until(lambda: testbed.frontend.clients == 2 * PROBE_TURNS + 100)


class NoDescriptorsAtFirst(socket.socket):
    """A listening socket whose accept fails once for want of descriptors."""

    attempts = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.attempts += 1
        if self.attempts == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_without_descriptors_new_clients_wait_and_nothing_spins(tmp_path: Path) -> None:
    with open_frontend(tmp_path / "rpc", make_socket=NoDescriptorsAtFirst) as testbed:
        new = testbed.knock()
        testbed.settle()
        assert isinstance(testbed.listener, NoDescriptorsAtFirst)
        assert testbed.listener.attempts == 1
        new.send(close_call(1))
        assert new.native_reply(Closed) == (1, Closed(7))


class LastDescriptor(socket.socket):
    """A listening socket that has descriptors for one connection only, and for another when one was closed.

    As accept(2), it fails for want of descriptors whether a client waits or not.
    """

    accepted: socket.socket | None = None

    def accept(self) -> tuple[socket.socket, object]:
        if self.accepted is not None and self.accepted.fileno() >= 0:
            raise OSError(errno.EMFILE, "Too many open files")
        self.accepted, address = super().accept()
        return self.accepted, address


def test_without_descriptors_the_longest_idle_client_makes_room(tmp_path: Path) -> None:
    with open_frontend(tmp_path / "rpc", make_socket=LastDescriptor) as testbed:
        idle = testbed.connect()
        new = testbed.knock()
        idle.wait_until_closed()
        assert testbed.stats.rpc_evicted == 1
        new.send(close_call(1))
        assert new.native_reply(Closed) == (1, Closed(7))


def test_the_last_descriptor_serves_its_client_where_no_other_waits(tmp_path: Path) -> None:
    with open_frontend(tmp_path / "rpc", make_socket=LastDescriptor) as testbed:
        only = testbed.knock()
        testbed.settle()
        only.send(close_call(1))
        assert only.native_reply(Closed) == (1, Closed(7))
        assert testbed.stats.rpc_evicted == 0


@pytest.mark.parametrize("method", ["recv", "send"])
@pytest.mark.parametrize("number", sorted(SHORTAGES))
def test_a_client_stays_connected_where_the_host_has_no_memory_for_what_it_sends_or_gets(
    testbed: FrontendTestbed, monkeypatch: pytest.MonkeyPatch, method: str, number: int
) -> None:
    peer = testbed.connect()
    refusals = [number, number]
    original = getattr(socket.socket, method)

    def refuse(sock: socket.socket, *arguments: Any) -> Any:
        if sock is not peer.sock and refusals:
            raise OSError(refusals.pop(), os.strerror(number))
        return original(sock, *arguments)

    monkeypatch.setattr(socket.socket, method, refuse)
    peer.send(close_call(1), close_call(2))
    assert [peer.native_reply(Closed) for _ in range(2)] == [(1, Closed(7)), (2, Closed(7))]
    assert not refusals


def test_tcp_clients_are_served_too() -> None:
    with open_frontend() as testbed:
        peer = testbed.connect()
        peer.send(close_call(1), NETSIP_CLOSE)
        assert peer.native_reply(Closed) == (1, Closed(7))
        assert peer.netsip_reply() == 7
        peer.wait_until_closed()
