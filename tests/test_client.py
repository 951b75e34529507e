from collections.abc import Callable, Iterable
from typing import Any

import pytest

from nh.calls.media import Media, RelayMedia, Side
from nh.client import Client, NativeClient
from nh.commands import (
    Activate,
    Allocate,
    Close,
    CloseCall,
    Command,
    Extension,
    GetStats,
    ListCalls,
    Ping,
    TransactionKey,
)
from nh.errors import (
    ERRORS_BY_CODE,
    AddressUnavailable,
    CommandTimeout,
    Draining,
    LimitReached,
    MalformedFrame,
    MalformedRequest,
    NhError,
    ProtocolError,
    Unavailable,
    UnknownCall,
    UnknownCommand,
)
from nh.results import CallList, CallSummary, Failure, Pong
from nh.wire import native, netsip
from nh.wire.framing import MAX_FRAME_BYTES, frame
from tests.rpc_server import HangUp, answer_native, answer_netsip, serving

KEY = TransactionKey(b"call@example", 1, b"from\0tag", b"to\0tag", b"sip:from", b"sip:to")
NAT_BASIC = [
    "call@example",
    "1",
    "from\0tag",
    b"to\0tag",
    "sip:from",
    "sip:to",
]
MEDIUM = {"addr": "192.0.2.1", "port": 30000, "proto": "RTP/AVP", "media": "audio"}
AUDIO = Media("192.0.2.1", 30000, 2, "RTP/AVP", "audio")


# --- Client ---------------------------------------------------------------------------------------


def test_a_call_through_the_net_sip_client(rpc_where: str, no_descriptor_leaks: None) -> None:
    with serving(rpc_where, answer_netsip) as (address, server):
        client = Client(address)
        assert client.allocate_sockets(NAT_BASIC, 0, "127.0.0.1", [MEDIUM]) == [("127.0.0.1", 5004, 2)]
        assert client.allocate_sockets(KEY, Side.TO, "::1", [AUDIO]) == [("::1", 5004, 2)]
        assert client.allocate_sockets(KEY, 1, "::1", []) == []
        assert client.activate_session(NAT_BASIC) == 1
        assert client.activate_session(KEY, {"again": "yes"}) == -1
        assert client.close_session(NAT_BASIC) == 2
        assert client.close_session([b"gone", None, b"f", b"t"]) is None
        assert server.connections == 7


@pytest.mark.parametrize("nat_basic", [NAT_BASIC, tuple(NAT_BASIC), KEY])
@pytest.mark.parametrize("medium", [MEDIUM, {**MEDIUM, "port": "30000", "range": "2"}, AUDIO])
def test_the_same_request_whatever_the_form(nat_basic: Any, medium: Any, rpc_path: str) -> None:
    requests: list[bytes] = []

    def answer(payload: bytes) -> Iterable[bytes]:
        requests.append(payload)
        return answer_netsip(payload)

    with serving(rpc_path, answer) as (address, _):
        Client(address).allocate_sockets(nat_basic, 0, "127.0.0.1", [medium])
    assert netsip.decode_request(requests[0]) == Allocate(KEY, Side.FROM, "127.0.0.1", (AUDIO,))


def test_commands_of_ones_own_are_called_by_name(rpc_path: str) -> None:
    with serving(rpc_path, answer_netsip) as (address, _):
        assert Client(address).rpc("extra", b"x", 5, ["\u20ac", None]) == [b"x", 5, ["\u20ac", None]]


def test_an_unknown_command_is_a_connection_that_closes(rpc_where: str, no_descriptor_leaks: None) -> None:
    with (
        serving(rpc_where, answer_netsip) as (address, _),
        pytest.raises(Unavailable, match="without a reply"),
    ):
        Client(address).rpc("reboot")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.allocate_sockets(["c", None, "f"], 0, "127.0.0.1", []),
        lambda client: client.allocate_sockets(KEY, 2, "127.0.0.1", []),
        lambda client: client.allocate_sockets(KEY, 0, "localhost", []),
        lambda client: client.allocate_sockets(KEY, 0, "127.0.0.1", [{"addr": "192.0.2.1"}]),
        lambda client: client.activate_session(["c"]),
        lambda client: client.activate_session(KEY, {"a": "b" * 2000}),
        lambda client: client.close_session("call"),
        lambda client: client.close_session(["c", "\ud800", "f"]),
        lambda client: client.rpc("extra", object()),
        lambda client: client.rpc("extra", "\ud800"),
        lambda client: client.rpc("extra", b"x" * MAX_FRAME_BYTES),
    ],
)
def test_what_the_protocol_cannot_carry_is_refused_before_it_is_sent(
    call: Callable[[Client], object], rpc_path: str
) -> None:
    with pytest.raises(MalformedRequest):
        call(Client(rpc_path))


@pytest.mark.parametrize("reply", [b"\x05\x0b\x11", b"{}", b"\x05\x0b\x0a\x03abc"])
def test_a_reply_that_is_none_is_malformed(reply: bytes, rpc_path: str) -> None:
    with serving(rpc_path, lambda _: [frame(reply)]) as (address, _), pytest.raises(MalformedFrame):
        Client(address).close_session(KEY)


# --- NativeClient ---------------------------------------------------------------------------------


def test_many_requests_on_one_connection(rpc_where: str, no_descriptor_leaks: None) -> None:
    with serving(rpc_where, answer_native) as (address, server), NativeClient(address) as client:
        assert client.request(Ping()) == Pong("1.2.3")
        assert client.request(Allocate(KEY, Side.FROM, "127.0.0.1", (AUDIO,))).media == (
            RelayMedia("127.0.0.1", 5004, 2),
        )
        assert client.request(Activate(KEY)).created
        assert client.request(Close(KEY)).sessions == 2
        assert client.request(GetStats()).values == {"totals": {"calls": 1}}
        assert client.request(Extension("extra", ({"now": True},))).value == [{"now": True}]
        assert server.connections == 1


def test_pipelined_results_come_in_the_order_of_their_commands(rpc_where: str) -> None:
    commands = [ListCalls(b"call %d" % number) for number in range(500)]
    commands_and_one: list[Command] = [*commands, CloseCall(b"gone"), Ping()]
    with serving(rpc_where, answer_native) as (address, _), NativeClient(address) as client:
        results = client.request_all(commands_and_one)
        assert client.request_all([]) == []
    found = [result.calls[0].call_id for result in results if isinstance(result, CallList)]
    assert found == [command.contains for command in commands]
    assert results[-2:] == [Failure("not_found", "no such call"), Pong("1.2.3")]


def test_replies_in_any_order_find_their_commands(rpc_path: str) -> None:
    held: list[bytes] = []

    def reverse(payload: bytes) -> Iterable[bytes]:
        held.extend(answer_native(payload))
        return reversed(held) if len(held) == 10 else ()

    commands = [ListCalls(b"%d" % number) for number in range(10)]
    with serving(rpc_path, reverse) as (address, _), NativeClient(address) as client:
        results = client.request_all(commands)
    assert [result.calls[0].call_id for result in results if isinstance(result, CallList)] == [
        command.contains for command in commands
    ]


def test_long_requests_and_long_replies_do_not_wait_for_each_other(rpc_where: str) -> None:
    commands = [ListCalls(b"x" * 16_000) for _ in range(200)]
    summary = CallSummary(b"y" * 16_000, 0, 1.0, 1.0, 1, 4, 0, 0)

    def answer(payload: bytes) -> Iterable[bytes]:
        request_id, _ = native.decode_request(payload)
        yield frame(native.encode_result(request_id, CallList((summary,) * 10)))

    with serving(rpc_where, answer) as (address, _), NativeClient(address) as client:
        assert client.request_all(commands) == [CallList((summary,) * 10)] * 200


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("not_found", UnknownCall),
        ("limit", LimitReached),
        ("draining", Draining),
        ("bad_address", AddressUnavailable),
        ("bad_request", MalformedRequest),
        ("unknown_command", UnknownCommand),
        ("unavailable", Unavailable),
        ("timeout", CommandTimeout),
        ("internal", NhError),
        ("of a newer version", NhError),
    ],
)
def test_an_error_code_is_raised_as_its_class(code: str, error: type[NhError], rpc_path: str) -> None:
    with serving(rpc_path, lambda _: [frame(native.encode_result(1, Failure(code, "why")))]) as (address, _):
        with NativeClient(address) as client, pytest.raises(error, match="why") as raised:
            client.request(Ping())
        assert type(raised.value) is error


@pytest.mark.parametrize("code", ERRORS_BY_CODE)
def test_every_error_code_is_known_to_the_client(code: str, rpc_path: str) -> None:
    with serving(rpc_path, lambda _: [frame(native.encode_result(1, Failure(code, "why")))]) as (address, _):
        with NativeClient(address) as client, pytest.raises(NhError) as raised:
            client.request(Ping())
        assert raised.value.code == code


def test_a_refused_command_leaves_the_connection_as_it_is(rpc_path: str) -> None:
    with serving(rpc_path, answer_native) as (address, server), NativeClient(address) as client:
        with pytest.raises(UnknownCall):
            client.request(CloseCall(b"gone"))
        assert client.request(Ping()) == Pong("1.2.3")
        assert server.connections == 1


def test_a_failed_exchange_is_followed_by_a_new_connection(rpc_path: str, no_descriptor_leaks: None) -> None:
    answers = iter([[], [frame(native.encode_result(2, Pong("second")))]])
    with (
        serving(rpc_path, lambda _: next(answers)) as (address, server),
        NativeClient(address, 0.2) as client,
    ):
        with pytest.raises(CommandTimeout):
            client.request(Ping())
        client._timeout_s = 20.0  # a busy host answers late
        assert client.request(Ping()) == Pong("second")
        assert server.connections == 2


def test_a_connection_that_the_server_has_closed_meanwhile_is_made_anew(
    rpc_path: str, no_descriptor_leaks: None
) -> None:
    def answer_and_hang_up(payload: bytes) -> Iterable[bytes]:
        yield from answer_native(payload)
        raise HangUp

    with serving(rpc_path, answer_and_hang_up) as (address, server), NativeClient(address) as client:
        client.request(Ping())
        with NativeClient(address) as next_one:  # it is served once the first connection is closed
            next_one.request(Ping())
        assert client.request(Ping()) == Pong("1.2.3")
        assert server.connections == 3


def test_an_error_without_an_id_is_raised(rpc_path: str) -> None:
    error_reply = frame(native.encode_result(None, Failure("bad_request", "id: cannot be read")))
    with (
        serving(rpc_path, lambda _: [error_reply]) as (address, _),
        NativeClient(address) as client,
        pytest.raises(ProtocolError, match="cannot be read"),
    ):
        client.request(Ping())


def test_a_reply_to_no_request_is_malformed(rpc_path: str) -> None:
    unasked = frame(native.encode_result(77, Pong("1")))
    with (
        serving(rpc_path, lambda _: [unasked]) as (address, _),
        NativeClient(address) as client,
        pytest.raises(MalformedFrame, match="77"),
    ):
        client.request(Ping())


@pytest.mark.parametrize(
    "command",
    [ListCalls(b"x" * MAX_FRAME_BYTES), Extension("extra", (5,)), Extension("extra", ({"x": object()},))],
)
def test_a_request_that_cannot_be_sent_is_refused(command: Any, rpc_path: str) -> None:
    with NativeClient(rpc_path) as client, pytest.raises(MalformedRequest):
        client.request(command)
