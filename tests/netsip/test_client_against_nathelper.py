"""Client against Perl's own server, nathelper.pl of Net::SIP."""

from collections.abc import Iterator

import pytest

from nh.calls.media import Media, Side
from nh.client import Client
from nh.commands import TransactionKey
from nh.errors import Unavailable
from tools.harness.other_relays import running_nathelper
from tools.harness.ports import claim_ports

pytestmark = pytest.mark.perl

OFFER = [{"addr": "127.0.0.1", "port": "30000", "proto": "RTP/AVP", "media": "audio"}]
ANSWER = [Media("127.0.0.1", 31000, 2, "RTP/AVP", "audio")]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of a running nathelper.pl."""
    with claim_ports(1) as [port], running_nathelper(port):
        yield Client(f"127.0.0.1:{port}")


def test_a_call_through_perls_server(client: Client) -> None:
    key = TransactionKey(b"call", 1, b"from\0tag", "t\u00f6\0tag".encode(), b"sip:from", b"sip:to")
    offered = client.allocate_sockets(key, Side.FROM, "127.0.0.1", OFFER)
    answered = client.allocate_sockets(key, Side.TO, "127.0.0.1", ANSWER)
    assert offered is not None
    assert answered is not None
    for address, port, range_ in (*offered, *answered):
        assert (address, range_, port % 2) == ("127.0.0.1", 2, 0)
    assert client.allocate_sockets(key, Side.FROM, "127.0.0.1", OFFER) == offered
    assert client.activate_session(key, {"user": "al\u20ac", "k\u00e9y": ""}) == 1
    assert client.activate_session(key) == -1
    assert client.close_session(["call", None, "from\0tag", "t\u00f6\0tag"]) == 1
    assert client.close_session(key) is None


def test_perls_server_refuses_with_undef(client: Client) -> None:
    key = TransactionKey(b"refused", 2, b"from", b"to")
    assert client.activate_session(key) is None
    assert client.allocate_sockets(key, 0, "192.0.2.1", OFFER) is None
    assert client.allocate_sockets(key, 0, "127.0.0.1", OFFER) is not None
    assert client.allocate_sockets(["refused", 1, "from", "to"], 0, "127.0.0.1", OFFER) is None


def test_a_held_medium_has_port_0(client: Client) -> None:
    held: list[dict[str, object]] = [{**OFFER[0], "addr": "0.0.0.0"}, {**OFFER[0], "port": 0}]
    expected = [("127.0.0.1", 0, 2), ("127.0.0.1", 0, 2)]
    assert client.allocate_sockets(["held", 1, "from", None], 0, "127.0.0.1", held) == expected


def test_a_large_cseq_is_a_number_for_perl(client: Client) -> None:
    large = ["large", 2**32 - 1, "from", "to"]
    assert client.allocate_sockets(large, 0, "127.0.0.1", OFFER) is not None
    assert client.allocate_sockets(["large", 9, "from", "to"], 0, "127.0.0.1", OFFER) is None


def test_perls_server_closes_on_an_unknown_command(client: Client) -> None:
    with pytest.raises(Unavailable, match="without a reply"):
        client.rpc("reboot", 1)
