"""nh.rpc.rtpproxy: datagrams with cookies, Unix connections with one command, TCP connections with many."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nh.address import TcpAddress, UnixAddress
from nh.commands import Update
from nh.results import Closed, Failure, Pong, RelayPort
from nh.rpc.listeners import open_listeners
from nh.rpc.protocols import RTPPROXY
from nh.wire.rtpproxy import MAX_REPLY_BYTES, MAX_REQUEST_BYTES
from tests.profiles import examples
from tests.rpc.ng_testbed import NgTestbed

UPDATE = b"U call 192.0.2.7 4000 a;1"
DELETE = b"D call a b"


@pytest.fixture
def testbed() -> Iterator[NgTestbed]:
    (listener,) = open_listeners(RTPPROXY, [TcpAddress("127.0.0.1", 0)])
    testbed = NgTestbed(listener, RTPPROXY)
    yield testbed
    testbed.close()
    listener.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[NgTestbed]:
    (listener,) = open_listeners(RTPPROXY, [UnixAddress(str(tmp_path / "rtpproxy.sock"))])
    testbed = NgTestbed(listener, RTPPROXY)
    yield testbed
    testbed.close()
    listener.close()


# --- UDP ------------------------------------------------------------------------------------------


def test_a_datagram_is_answered_with_its_cookie(testbed: NgTestbed) -> None:
    testbed.result = RelayPort(35_000, "192.0.2.1")
    assert testbed.ask(testbed.client(), b"77_1 " + UPDATE) == b"77_1 35000 192.0.2.1\n"
    (command,) = testbed.commands
    assert isinstance(command, Update)
    assert testbed.stats.rpc_requests_rtpproxy == 1


def test_a_relay_without_a_notify_socket_does_not_confirm_notifications(testbed: NgTestbed) -> None:
    testbed.result = Pong("1")
    assert testbed.ask(testbed.client(), b"1 VF 20081224") == b"1 0\n"


def test_a_command_that_comes_again_is_not_executed_again(testbed: NgTestbed) -> None:
    client = testbed.client()
    first = testbed.ask(client, b"1 " + DELETE)
    testbed.result = Failure("internal", "executed twice")
    assert testbed.ask(client, b"1 " + DELETE) == first == b"1 0\n"
    assert testbed.ask(testbed.client(), b"1 " + DELETE) == first
    assert len(testbed.commands) == 1
    assert (testbed.stats.rpc_requests_rtpproxy, testbed.stats.rpc_retransmissions) == (1, 2)


def test_a_command_that_comes_again_before_its_reply_waits_for_it(testbed: NgTestbed) -> None:
    testbed.holding = True
    client = testbed.client()
    for _ in range(3):
        client.send(b"1 " + DELETE)
    testbed.turn_until(lambda: testbed.stats.rpc_retransmissions == 2)
    (answer,) = testbed.held
    answer(Closed(1))
    assert testbed.receive(client) == b"1 0\n"
    assert not testbed.has_reply(client)


def test_two_proxies_may_choose_one_cookie(testbed: NgTestbed) -> None:
    """Kamailio's cookie is its process id and a number; in containers both are small."""
    testbed.result = RelayPort(35_000, "192.0.2.1")
    testbed.ask(testbed.client(), b"8_5 " + UPDATE)
    testbed.result = RelayPort(35_002, "192.0.2.1")
    other = UPDATE.replace(b"call", b"other")
    assert testbed.ask(testbed.client(), b"8_5 " + other) == b"8_5 35002 192.0.2.1\n"


def test_a_failed_command_has_a_reply(testbed: NgTestbed) -> None:
    client = testbed.client()
    testbed.result = Failure("limit", "max_calls = 1 is reached")
    assert testbed.ask(client, b"1 " + UPDATE) == b"1 E7\n"
    assert testbed.ask(client, b"2 P c prompt 0 a") == b"2 E60\n"
    assert testbed.ask(client, b"3 hello") == b"3 E0\n"
    assert (testbed.stats.rpc_malformed, testbed.stats.rpc_unknown_commands) == (1, 1)


def test_a_log_line_has_the_call_in_a_field_of_its_own(
    testbed: NgTestbed, caplog: pytest.LogCaptureFixture
) -> None:
    testbed.ask(testbed.client(), b"1 P c\xff prompt 0 a")
    (line,) = caplog.records
    assert "the command 'P' for call 'c\\xff'" in line.getMessage()
    assert line.call_id == "c\\xff"  # type: ignore[attr-defined]


def test_no_datagram_is_longer_than_clients_read(testbed: NgTestbed) -> None:
    testbed.result = RelayPort(65_535, "2001:db8:1111:2222:3333:4444:5555:6666")
    assert len(testbed.ask(testbed.client(), b"c" * 128 + b" " + UPDATE)) <= MAX_REPLY_BYTES


def test_a_datagram_without_a_cookie_gets_no_reply(testbed: NgTestbed) -> None:
    client = testbed.client()
    for data in (b"", b"V", b" V"):
        client.send(data)
    assert not testbed.has_reply(client)


# --- Unix -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_unix_connection_carries_one_command(local: NgTestbed, end: bytes) -> None:
    local.result = Pong("1")
    client = local.client(socket.SOCK_STREAM)
    assert local.ask(client, b"V" + end) == b"20040107\n"
    assert local.receive(client) == b""


def test_a_unix_connection_is_served_anew_each_time(local: NgTestbed) -> None:
    for _ in range(3):
        client = local.client(socket.SOCK_STREAM)
        assert local.ask(client, DELETE) == b"0\n"
        assert local.receive(client) == b""
    assert len(local.commands) == 3
    assert local.stats.rpc_retransmissions == 0


# --- TCP ------------------------------------------------------------------------------------------


def test_a_tcp_connection_carries_lines(testbed: NgTestbed) -> None:
    client = testbed.client(socket.SOCK_STREAM)
    for _ in range(2):
        assert testbed.ask(client, DELETE + b"\n") == b"0\n"
    for byte in DELETE:
        client.send(bytes((byte,)))
        testbed.loop.turn(0)
    assert not testbed.has_reply(client)
    assert testbed.ask(client, b"\r\n") == b"0\n"


def test_a_line_without_an_end_is_the_last(testbed: NgTestbed) -> None:
    client = testbed.client(socket.SOCK_STREAM)
    client.send(b"x" * (MAX_REQUEST_BYTES + 1))
    assert testbed.receive(client) == b""


# --- whatever comes -------------------------------------------------------------------------------


@settings(
    deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200))
def test_whatever_comes_the_next_one_is_served(testbed: NgTestbed, data: bytes) -> None:
    garbage, other = testbed.client(), testbed.client()
    garbage.send(b"garbage " + data)
    testbed.result = Pong("1")
    assert testbed.ask(other, b"1 V") == b"1 20040107\n"
