"""Details of a call: one call in full."""

from collections.abc import Iterator

import pytest

from nh.calls.media import Media, RelayMedia, Side
from nh.calls.settings import RelayConfig
from nh.commands import Activate, Allocate, ShowCall, TransactionKey
from nh.results import CallDetail
from nh.shard.relay import Relay
from tests.shard.testbed import V4


@pytest.fixture
def relay(ports: range) -> Iterator[Relay]:
    relay = Relay(RelayConfig(ports=(ports[0], ports[-1]), shard=3, shards=4))
    yield relay
    relay.close()


def test_a_call_is_shown_with_everything_in_it(relay: Relay) -> None:
    key = TransactionKey(b"call\0\xff", 7, b"alice\0", b"bob\0")
    offered = (
        Media("127.0.0.11", 4000, 2, "RTP/AVP", "audio"),
        Media("0.0.0.0", 4002, 2, "RTP/AVP", "video"),
    )
    answered = (
        Media("127.0.0.22", 6000, 2, "RTP/AVP", "audio"),
        Media("phone.example.org", 6002, 2, "RTP/AVP", "video"),
    )
    relay.execute(Allocate(key, Side.FROM, V4, offered))
    relay.execute(Allocate(key, Side.TO, V4, answered))
    relay.execute(Activate(key, {"tenant": "blue"}))
    shown = relay.execute(ShowCall(b"call\0\xff"))
    assert isinstance(shown, CallDetail)
    assert (shown.call_id, shown.shard) == (b"call\0\xff", 3)
    of_alice, of_bob = shown.groups
    assert (of_alice.cseq, of_alice.id, of_alice.side, of_alice.used) == (7, b"alice\0", Side.FROM, True)
    assert of_alice.media == (
        RelayMedia(V4, of_alice.local_ports[0], 2),
        RelayMedia(V4, 0, 2),
    )
    assert len(of_alice.local_ports) == len(of_bob.local_ports) == 4
    (session,) = shown.sessions
    assert (session.cseq, session.id_from, session.id_to) == (7, b"alice\0", b"bob\0")
    assert session.from_ == "127.0.0.11:4000/2,0.0.0.0:4002/2"
    assert session.to == "127.0.0.22:6000/2,phone.example.org:6002/2"
    assert session.param["tenant"] == "blue"
    assert session.state == "active"
    assert [(pair.medium, pair.component, pair.kind) for pair in session.pairs] == [
        (0, 0, "audio"),
        (0, 1, "audio"),
        (1, 0, "video"),
        (1, 1, "video"),
    ]
    rtp = session.pairs[0]
    assert (rtp.from_.announced, rtp.to.announced) == ("127.0.0.11:4000", "127.0.0.22:6000")
    assert rtp.from_.local == f"{V4}:{of_bob.local_ports[0]}"
    assert rtp.to.local == f"{V4}:{of_alice.local_ports[0]}"
    assert (rtp.from_.source, rtp.from_.latched, rtp.from_.dropped) == (None, False, {})
    assert session.pairs[2].from_.announced is session.pairs[2].to.announced is None


def test_ports_that_no_session_uses_are_shown(relay: Relay) -> None:
    relay.execute(Allocate(TransactionKey(b"call", 1, b"alice"), Side.FROM, V4, ()))
    shown = relay.execute(ShowCall(b"call"))
    assert isinstance(shown, CallDetail)
    assert [group.used for group in shown.groups] == [False]
    assert shown.sessions == ()
