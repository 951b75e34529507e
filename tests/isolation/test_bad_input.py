"""Bad input to a running relay: its sender gets the protocol's own refusal, other clients notice nothing."""

import contextlib
import json
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from nh.errors import ERRORS_BY_CODE
from nh.wire.framing import frame
from tests.isolation.rpc_stream import (
    RpcStream,
    activate,
    allocate,
    ask_json,
    ask_perl,
    assert_calls_are_served,
    bye,
    json_request,
    medium,
    nat_basic,
    perl_request,
)
from tools.harness.relay import Relay, running_relay
from tools.harness.waiting import eventually

VECTORS = Path(__file__).parents[1] / "wire" / "vectors" / "storable-nfreeze.jsonl"
HOSTILE = {
    vector["name"]: bytes.fromhex(vector["frozen_hex"])
    for vector in map(json.loads, VECTORS.read_text().splitlines())
    if vector["kind"] == "hostile"
}

NETWORK_ORDER = b"\x05\x0b"
ARRAY = b"\x02"
REFERENCE = b"\x04"


def deep(levels: int) -> bytes:
    return NETWORK_ORDER + (ARRAY + b"\0\0\0\1" + REFERENCE) * levels + ARRAY + b"\0\0\0\0"


def in_allocate(**medium_changes: object) -> bytes:
    return allocate(b"bad", 0, medium(**medium_changes))


# --- what cannot be followed: the connection is closed ------------------------------------------------

UNREADABLE = {
    "a frame of 32769 bytes": struct.pack("!I", 32_769) + bytes(32_769),
    "a frame of 4 GB": b"\xff\xff\xff\xff",
    "a frame of 0 bytes": bytes(4),
    "no protocol": frame(b"GET / HTTP/1.1\r\n\r\n"),
    "not Storable": frame(b"\x05garbage"),
    "a short array": frame(NETWORK_ORDER + ARRAY + b"\0\0\0\2\x0a\x01x"),
    "two billion items": frame(NETWORK_ORDER + ARRAY + b"\x7f\xff\xff\xff"),
    "a string of 2 GB": frame(NETWORK_ORDER + ARRAY + b"\0\0\0\1\x01\x7f\xff\xff\xff"),
    "2000 levels": frame(deep(2000)),
    "no array": frame(NETWORK_ORDER + b"\x0a\x08allocate"),
    "an empty array": perl_request(),
    "a nameless command": perl_request(None, 1),
    "an unknown command": perl_request(b"transmogrify", nat_basic(b"bad")),
    **{name: frame(payload) for name, payload in HOSTILE.items()},
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_what_cannot_be_read_closes_the_connection(relay: Relay, transport: str, data: bytes) -> None:
    address = relay.unix_address if transport == "unix" else relay.tcp_address
    with RpcStream(address) as stream:
        # the rest of a frame that is too long may find the connection closed already
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            stream.send(data)
        assert stream.receive() is None


# --- what can be read and makes no sense: undef -------------------------------------------------------

REFUSED = {
    "allocate: no arguments": perl_request(b"allocate"),
    "allocate: no media": perl_request(b"allocate", nat_basic(b"bad"), 0, b"127.0.0.1"),
    "allocate: media is a hash": perl_request(b"allocate", nat_basic(b"bad"), 0, b"127.0.0.1", {}),
    "allocate: media of numbers": perl_request(b"allocate", nat_basic(b"bad"), 0, b"127.0.0.1", [1]),
    "allocate: nat_basic is a string": perl_request(b"allocate", b"bad", 0, b"127.0.0.1", [medium()]),
    "allocate: nat_basic is short": perl_request(b"allocate", [b"bad"], 0, b"127.0.0.1", [medium()]),
    "allocate: empty call-id": allocate(b""),
    "allocate: no cseq": perl_request(b"allocate", nat_basic(b"bad", None), 0, b"127.0.0.1", [medium()]),
    "allocate: cseq of letters": perl_request(
        b"allocate", nat_basic(b"bad", b"one"), 0, b"127.0.0.1", [medium()]
    ),
    "allocate: negative cseq": perl_request(b"allocate", nat_basic(b"bad", -1), 0, b"127.0.0.1", [medium()]),
    "allocate: side 2": allocate(b"bad", 2),
    "allocate: side undef": allocate(b"bad", None),
    "allocate: side is a list": allocate(b"bad", [0]),
    "allocate: another host's address": perl_request(
        b"allocate", nat_basic(b"bad"), 0, b"192.0.2.1", [medium()]
    ),
    "allocate: listen on a name": perl_request(b"allocate", nat_basic(b"bad"), 0, b"localhost", [medium()]),
    "allocate: listen on undef": perl_request(b"allocate", nat_basic(b"bad"), 0, None, [medium()]),
    "medium: no address": in_allocate(addr=...),
    "medium: bad address": in_allocate(addr=b"1.2.3.999"),
    "medium: address of 30 kB": in_allocate(addr=b"a" * 30_000),
    "medium: address is not text": in_allocate(addr=b"\xff\xfe"),
    "medium: no port": in_allocate(port=...),
    "medium: port 65536": in_allocate(port=65_536),
    "medium: port -1": in_allocate(port=-1),
    "medium: port of letters": in_allocate(port=b"http"),
    "medium: port 1e3": in_allocate(port=b"1e3"),
    "medium: range 0": in_allocate(range=0),
    "medium: range 1000": in_allocate(range=1000),
    "medium: range -2": in_allocate(range=-2),
    "65 media": allocate(b"bad", 0, *[medium(range=1)] * 65),
    "activate: no arguments": perl_request(b"activate"),
    "activate: unknown call": activate(b"unknown"),
    "activate: param is a list": perl_request(b"activate", nat_basic(b"bad"), [1, 2]),
    "close: no arguments": perl_request(b"close"),
    "close: unknown call": bye(b"unknown"),
    "close: nat_basic is undef": perl_request(b"close", None),
}


@pytest.mark.parametrize("request_frame", REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_answered_with_undef(relay: Relay, request_frame: bytes) -> None:
    assert ask_perl(relay.unix_address, request_frame) is None
    assert not relay.calls(b"bad").calls


def test_different_numbers_of_sockets_cannot_be_activated(relay: Relay) -> None:
    assert ask_perl(relay.unix_address, allocate(b"mismatch", 0, medium(range=2)))
    assert ask_perl(relay.unix_address, allocate(b"mismatch", 1, medium(range=4)))
    assert ask_perl(relay.unix_address, activate(b"mismatch")) is None


# --- the native protocol says what and where ----------------------------------------------------------

KEY = {"call_id": "bad", "cseq": 1, "id_from": "a", "id_to": "b"}
NATIVE_MEDIUM = {"address": "127.0.0.1", "port": 30_000, "range": 2}


def native_allocate(**changes: Any) -> bytes:
    fields = {**KEY, "side": "from", "address": "127.0.0.1", "media": [NATIVE_MEDIUM], **changes}
    return json_request(id=7, command="allocate", **fields)


def native_medium(**changes: Any) -> bytes:
    return native_allocate(media=[NATIVE_MEDIUM, NATIVE_MEDIUM | changes])


NATIVE = {
    "no JSON": (frame(b"{nonsense"), "bad_request", ""),
    "no id": (frame(b'{"command": "ping"}'), "bad_request", "id"),
    "no command": (json_request(id=7), "bad_request", "command"),
    "unknown command": (json_request(id=7, command="transmogrify"), "unknown_command", "transmogrify"),
    "unknown field": (json_request(id=7, command="ping", louder=True), "bad_request", "louder"),
    "missing field": (json_request(id=7, command="show"), "bad_request", "call_id"),
    "wrong type": (native_allocate(cseq="one"), "bad_request", "cseq"),
    "negative cseq": (native_allocate(cseq=-1), "bad_request", "cseq"),
    "side": (native_allocate(side="left"), "bad_request", "side"),
    "no list of media": (native_allocate(media={}), "bad_request", "media"),
    "port 65536": (native_medium(port=65_536), "bad_request", "media[1]"),
    "range 0": (native_medium(range=0), "bad_request", "media[1]"),
    "range 1000": (native_medium(range=1000), "bad_request", "media[1]"),
    "bad address": (native_medium(address="1.2.3.999"), "bad_request", "media[1]"),
    "another host's address": (native_allocate(address="192.0.2.1"), "bad_address", "192.0.2.1"),
    "unknown call": (json_request(id=7, command="show", call_id="unknown"), "not_found", ""),
    "unknown session": (json_request(id=7, command="activate", **KEY), "not_found", ""),
    "deep": (frame(b'{"id": 7, "command": ' + b"[" * 20_000), "bad_request", ""),
}


@pytest.mark.parametrize(("request_frame", "code", "where"), NATIVE.values(), ids=NATIVE)
def test_the_native_protocol_says_what_is_wrong(
    relay: Relay, request_frame: bytes, code: str, where: str
) -> None:
    error = ask_json(relay.unix_address, request_frame)["error"]
    assert error["code"] == code
    assert error["code"] in ERRORS_BY_CODE
    assert where in error["message"]


def test_a_refusal_leaves_the_connection_open(relay: Relay) -> None:
    with RpcStream(relay.unix_address) as stream:
        stream.send(native_allocate(cseq="one") + json_request(id=8, command="ping"))
        replies = {reply["id"]: reply for reply in (json.loads(stream.receive() or b"") for _ in range(2))}
        assert "error" in replies[7]
        assert "result" in replies[8]


# --- it is counted ------------------------------------------------------------------------------------


def test_bad_input_is_counted() -> None:
    with running_relay() as relay:
        for name in ("not Storable", "an unknown command"):
            with RpcStream(relay.unix_address) as stream:
                stream.send(UNREADABLE[name])
                assert stream.receive() is None
        for name in ("medium: range 1000", "allocate: another host's address", "close: unknown call"):
            assert ask_perl(relay.unix_address, REFUSED[name]) is None

        def is_counted() -> bool:
            stats = relay.stats()
            return (
                stats.supervisor.rpc_malformed == 2
                and stats.supervisor.rpc_unknown_commands == 1
                and stats.totals.allocate_refused == 1
                and stats.totals.close_ok + stats.totals.close_refused == 1
            )

        eventually(is_counted, "every refusal is counted once")


# --- odd call-ids are no bad input --------------------------------------------------------------------

ODD_CALL_IDS = {
    "10 kB": b"x" * 10_000,
    "NUL": b"\0call\0",
    "not UTF-8": b"\xff\xfe\x80",
    "every byte": bytes(range(256)),
    "a quote and a line feed": b'"\n',
}


@pytest.mark.parametrize("call_id", ODD_CALL_IDS.values(), ids=ODD_CALL_IDS)
def test_odd_call_ids_are_served(relay: Relay, call_id: bytes) -> None:
    assert ask_perl(relay.unix_address, allocate(call_id))
    assert relay.call(call_id).call_id == call_id
    assert call_id in [call.call_id for call in relay.calls(call_id[:100]).calls]
    ask_perl(relay.unix_address, bye(call_id))
    assert call_id not in [call.call_id for call in relay.calls().calls]
    assert_calls_are_served(relay.unix_address, call_id)


# --- clients without manners --------------------------------------------------------------------------


def test_clients_that_leave_before_their_reply(relay: Relay) -> None:
    descriptors = relay.descriptors()
    for number in range(200):
        address = relay.tcp_address if number % 2 else relay.unix_address
        with RpcStream(address) as stream:
            stream.send(allocate(b"leaver-%d" % number))
            if number % 4 == 1:  # a reset instead of an orderly end
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert_calls_are_served(relay.unix_address)
    relay.wait_until_idle(descriptors)


def test_frames_that_never_end_delay_no_other_client(relay: Relay) -> None:
    descriptors = relay.descriptors()
    with contextlib.ExitStack() as streams:
        for size in range(1, 200):
            stream = streams.enter_context(RpcStream(relay.unix_address))
            stream.send(allocate(b"half")[:size])
        assert_calls_are_served(relay.unix_address)
        assert_calls_are_served(relay.tcp_address)
    relay.wait_until_idle(descriptors)


def test_a_client_that_never_reads_delays_no_other_client(relay: Relay) -> None:
    descriptors = relay.descriptors()
    with RpcStream(relay.unix_address) as stream:
        stream.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                stream.socket.send(json_request(id=1, command="stats") * 50)
        assert_calls_are_served(relay.unix_address)
    relay.wait_until_idle(descriptors)


def test_2000_idle_connections_delay_no_other_client(relay: Relay, many_descriptors: None) -> None:
    descriptors = relay.descriptors()
    with contextlib.ExitStack() as streams:
        for number in range(2000):
            streams.enter_context(RpcStream(relay.tcp_address if number % 2 else relay.unix_address))
        assert_calls_are_served(relay.unix_address)
        assert_calls_are_served(relay.tcp_address)
    relay.wait_until_idle(descriptors)


def test_the_longest_idle_client_makes_room() -> None:
    with running_relay(max_clients=20) as relay, contextlib.ExitStack() as streams:
        clients = [streams.enter_context(RpcStream(relay.unix_address)) for _ in range(20)]
        clients[0].send(json_request(id=1, command="ping"))
        assert clients[0].receive() is not None
        assert_calls_are_served(relay.unix_address)
        assert clients[1].receive() is None, "the longest idle client is still connected"
        clients[0].send(json_request(id=2, command="ping"))
        assert clients[0].receive() is not None
