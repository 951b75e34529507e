"""Connections and texts of Net::SIP's protocol: the same holds for nh and for Perl's own server."""

import socket
from typing import Any

import pytest

from nh.address import UnixAddress, parse_rpc_address
from nh.wire.framing import Framer, frame
from nh.wire.netsip.storable import freeze_array, thaw
from tests.netsip.perl_calls import AUDIO, REQUEST, RESPONSE, basic, new_call
from tests.netsip.perl_helper import PerlHelperClient
from tools.harness.relay import Relay
from tools.harness.waiting import TIMEOUT_S

pytestmark = pytest.mark.perl

MEDIUM = {b"addr": b"127.0.0.1", b"port": 30_000, b"proto": b"RTP/AVP", b"range": 2, b"media": b"audio"}


@pytest.fixture(params=["nh, Unix", "nh, TCP", "nathelper.pl"])
def address(request: pytest.FixtureRequest) -> str:
    """Of nh and of Perl's server."""
    if request.param == "nathelper.pl":
        return str(request.getfixturevalue("nathelper"))
    relay: Relay = request.getfixturevalue("relay")
    return relay.unix_address if request.param == "nh, Unix" else relay.tcp_address


def replies(address: str, *requests: list[Any]) -> list[Any]:
    """All replies until the server closes the connection on which `requests` were sent at once."""
    where = parse_rpc_address(address)
    with socket.socket(socket.AF_UNIX if isinstance(where, UnixAddress) else socket.AF_INET) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.connect(where.path if isinstance(where, UnixAddress) else (where.host, where.port))
        sock.sendall(b"".join(frame(freeze_array(request)) for request in requests))
        framer = Framer()
        while chunk := sock.recv(65_536):
            framer.feed(chunk)
    return [thaw(payload) for payload in iter(framer.next_frame, None)]


def nat_basic(call_id: object, id_from: object = b"from", id_to: object = b"to") -> list[object]:
    return [call_id, b"1", id_from, id_to, b"sip:a@example", b"sip:b@example"]


@pytest.fixture
def call_id() -> bytes:
    return new_call().encode()


def test_the_server_closes_the_connection_behind_its_reply(address: str, call_id: bytes) -> None:
    assert replies(address, [b"close", nat_basic(call_id)]) == [None]


def test_of_several_requests_on_a_connection_the_first_is_served(address: str, call_id: bytes) -> None:
    allocate = [b"allocate", nat_basic(call_id), 0, b"127.0.0.1", [MEDIUM]]
    activate = [b"activate", nat_basic(call_id)]
    [[[host, port, number]]] = replies(address, allocate, activate, allocate)
    assert (host, number) == (b"127.0.0.1", 2)
    assert port


@pytest.mark.parametrize("where", ["callid", "idfrom", "idto"])
def test_a_string_with_the_utf8_flag_is_the_equal_string_without_it(
    address: str, call_id: bytes, where: str
) -> None:
    text = f"caf\u00e9-{new_call()}"

    def basic_with(value: object) -> list[object]:
        items = {"callid": call_id, "idfrom": b"from", "idto": b"to"} | {where: value}
        return nat_basic(items["callid"], items["idfrom"], items["idto"])

    latin, flagged, utf8 = (basic_with(value) for value in (text.encode("latin-1"), text, text.encode()))
    for side, key in ((REQUEST, latin), (RESPONSE, flagged)):
        assert replies(address, [b"allocate", key, side, b"127.0.0.1", [MEDIUM]]) != [None]
    assert replies(address, [b"activate", utf8]) == [None]
    assert replies(address, [b"activate", flagged]) == [1]
    assert replies(address, [b"activate", latin]) == [-1]
    assert replies(address, [b"close", latin]) == [1]


def test_a_param_may_hold_nested_plain_data(helper: PerlHelperClient) -> None:
    call = basic(new_call())
    helper.allocate(call, REQUEST, AUDIO)
    helper.allocate(call, RESPONSE, AUDIO)
    param = {"leg": {"codecs": ["PCMA", "G729"], "port": 1}, "user": "alice", "empty": None}
    assert helper.rpc("activate", call, param) == 1
    assert helper.rpc("activate", call, param) == -1
