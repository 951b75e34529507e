"""nh.rpc.framed, nh.rpc.ng, nh.rpc.cookies: bytes in, events out, without a socket."""

import logging
from collections.abc import Callable

import pytest

from nh.commands import Close, Delete, Ping, TransactionKey
from nh.errors import MalformedFrame, UnknownCommand
from nh.logs.throttle import RateLimitedLogger
from nh.results import Closed, Failure, Result
from nh.rpc.cookies import CookieHandler, CookieRequest
from nh.rpc.events import (
    CookieMessage,
    Event,
    Rejected,
    Request,
    RequestCounter,
    RequestOrigin,
    StreamProtocol,
    Unreadable,
)
from nh.rpc.framed import FramedProtocol
from nh.rpc.ng import NgProtocol
from nh.stats import SupervisorStats
from nh.wire import native, netsip
from nh.wire.framing import frame
from nh.wire.netsip.storable import freeze_array

CLOSE = Close(TransactionKey(b"call", 1, b"from", b"to"))
NETSIP_CLOSE = frame(netsip.encode_request(CLOSE))
NATIVE_PING = frame(native.encode_request(7, Ping()))
NG_PING = b"cookie d7:command4:pinge"


def events(protocol: StreamProtocol, data: bytes) -> list[Event]:
    protocol.receive_data(data)
    return list(iter(protocol.next_event, None))


def test_a_request_is_its_command_and_its_encoder() -> None:
    (event,) = events(FramedProtocol(), NATIVE_PING)
    assert isinstance(event, Request)
    assert (event.protocol, event.command) == ("native", Ping())
    assert native.decode_reply(event.encode(Closed(3))[4:], Closed) == (7, Closed(3))


def test_bytes_may_come_one_by_one() -> None:
    protocol = FramedProtocol()
    found = [event for byte in NATIVE_PING for event in events(protocol, bytes([byte]))]
    assert len(found) == 1
    assert protocol.pending_bytes == 0


def test_a_request_of_net_sip_is_the_last_of_its_connection() -> None:
    protocol = FramedProtocol()
    first, second = events(protocol, NATIVE_PING + NETSIP_CLOSE + NETSIP_CLOSE + NATIVE_PING + b"junk")
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    assert (first.protocol, second.protocol) == ("native", "netsip")
    assert netsip.decode_reply(second.encode(Closed(1))[4:]) == 1
    assert protocol.complete
    assert protocol.pending_bytes == 0
    assert events(protocol, NATIVE_PING) == []


@pytest.mark.parametrize(("minor", "replied"), [(4, 4), (5, 5), (9, 9), (11, 11), (12, 11)])
def test_a_reply_of_net_sip_has_the_clients_minor_version(minor: int, replied: int) -> None:
    for request in (freeze_array([b"close", [b"call", 1, b"from"]]), freeze_array([b"close", 1])):
        (event,) = events(FramedProtocol(), frame(bytes((5, minor)) + request[2:]))
        assert isinstance(event, Request | Rejected)
        reply = event.reply if isinstance(event, Rejected) else event.encode(Closed(1))
        assert reply[4:6] == bytes((5, replied))


def test_the_native_protocol_is_never_complete() -> None:
    protocol = FramedProtocol()
    assert len(events(protocol, NATIVE_PING * 3)) == 3
    assert not protocol.complete


def test_a_rejected_request_has_a_reply_and_natives_next_one_is_read() -> None:
    first, second = events(FramedProtocol(), frame(b'{"id": 1, "command": "close"}') + NATIVE_PING)
    assert isinstance(first, Rejected)
    assert isinstance(second, Request)
    assert (first.protocol, first.reply_has_reason) == ("native", True)


def test_a_rejected_request_of_net_sip_gets_undef_and_is_the_last() -> None:
    protocol = FramedProtocol()
    (event,) = events(protocol, frame(freeze_array([b"close", 1])) + NETSIP_CLOSE)
    assert isinstance(event, Rejected)
    assert (event.protocol, event.reply_has_reason) == ("netsip", False)
    assert netsip.decode_reply(event.reply[4:]) is None
    assert protocol.complete


@pytest.mark.parametrize(
    ("protocol", "data", "error"),
    [
        (FramedProtocol, frame(b"?"), MalformedFrame),
        (FramedProtocol, b"\xff\xff\xff\xff", MalformedFrame),
        (FramedProtocol, frame(freeze_array([b"dance"])), UnknownCommand),
        (NgProtocol, b" d", MalformedFrame),
    ],
)
def test_nothing_follows_what_is_unreadable(
    protocol: Callable[[], StreamProtocol], data: bytes, error: type[Exception]
) -> None:
    stream = protocol()
    (event,) = events(stream, data + NATIVE_PING)
    assert isinstance(event, Unreadable)
    assert isinstance(event.error, error)
    assert events(stream, b"") == []


def test_ng_gives_messages() -> None:
    protocol = NgProtocol()
    assert events(protocol, NG_PING * 2 + NG_PING[:10]) == [CookieMessage(NG_PING)] * 2
    assert protocol.pending_bytes == 10
    assert events(protocol, NG_PING[10:]) == [CookieMessage(NG_PING)]


# --- cookies of a protocol that is not ng ---------------------------------------------------------


class LineCodec:
    """`COOKIE CALL-ID` deletes a call; the reply is `COOKIE RESULT`."""

    name = "lines"

    def split(self, message: bytes) -> tuple[bytes, bytes] | None:
        cookie, space, rest = message.partition(b" ")
        return (cookie, rest) if space else None

    def decode(self, cookie: bytes, payload: bytes) -> CookieRequest:
        command = Delete(payload) if payload else Failure("bad_request", "no call-id")
        return CookieRequest(command, lambda result: cookie + b" " + type(result).__name__.encode())


class Exchange:
    def __init__(self) -> None:
        self.commands: list[object] = []
        self.held: list[Callable[[Result], None]] = []
        self.replies: list[tuple[str, bytes]] = []
        self.stats = SupervisorStats()
        log = RateLimitedLogger(logging.getLogger("test"), lambda: 0.0)
        counter = RequestCounter(self.stats)
        self._handler = CookieHandler(
            LineCodec(), lambda: 0.0, self._dispatch, counter=counter, limited_log=log
        )

    def _dispatch(self, command: object, reply: Callable[[Result], None], origin: RequestOrigin) -> None:
        self.commands.append(command)
        self.held.append(reply)

    def send(self, sender: str, data: bytes) -> bool:
        return self._handler.serve(
            CookieMessage(data), sender, lambda reply: self.replies.append((sender, reply))
        )


def test_a_retransmission_waits_for_the_reply_and_then_gets_it_again() -> None:
    exchange = Exchange()
    assert exchange.send("alice", b"1 call")
    assert exchange.send("alice", b"1 call")
    assert exchange.send("bob", b"1 call")
    exchange.held[0](Closed(1))
    assert exchange.send("carol", b"1 call")
    assert exchange.replies == [(name, b"1 Closed") for name in ("alice", "bob", "carol")]
    assert exchange.commands == [Delete(b"call")]
    assert exchange.stats.rpc_retransmissions == 3


def test_a_rejected_request_gets_its_error_and_one_without_a_cookie_nothing() -> None:
    exchange = Exchange()
    assert exchange.send("alice", b"1 ")
    assert not exchange.send("alice", b"what")
    assert exchange.replies == [("alice", b"1 Failure")]
    assert (exchange.commands, exchange.stats.rpc_malformed) == ([], 2)
