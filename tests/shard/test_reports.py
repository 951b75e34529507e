"""nh.shard.reports: list and show, page by page and in full."""

from collections.abc import Iterator

import msgspec
import pytest

from nh.calls.media import Media, RelayMedia, Side
from nh.calls.settings import RelayConfig
from nh.commands import MAX_LIST, Activate, Allocate, ListCalls, ShowCall, TransactionKey
from nh.ipc.link_messages import MAX_MESSAGE_BYTES, Executed, encode
from nh.results import CallDetail, CallList
from nh.shard.relay import Relay
from tests.shard.conftest import MakePeer
from tests.shard.testbed import PACKET, V4, RelayTestbed


@pytest.fixture
def relay(ports: range) -> Iterator[Relay]:
    relay = Relay(RelayConfig(ports=(ports[0], ports[-1]), shard=3, shards=4))
    yield relay
    relay.close()


def add_calls(relay: Relay, *call_ids: bytes) -> None:
    for call_id in call_ids:
        relay.execute(Allocate(TransactionKey(call_id, 1, b"alice"), Side.FROM, V4, ()))


def page(relay: Relay, *, contains: bytes = b"", after: bytes = b"", limit: int = 100) -> CallList:
    result = relay.execute(ListCalls(contains, after, limit))
    assert isinstance(result, CallList)
    return result


def all_pages(relay: Relay, limit: int, contains: bytes = b"") -> list[list[bytes]]:
    pages, after = [], b""
    while True:
        found = page(relay, contains=contains, after=after, limit=limit)
        pages.append([call.call_id for call in found.calls])
        after = found.next
        if not after:
            return pages


# --- list -------------------------------------------------------------------------------------------


def test_calls_are_listed_in_the_order_of_their_ids(relay: Relay) -> None:
    add_calls(relay, b"c", b"a", b"\xff", b"b\0", b"b")
    assert all_pages(relay, 100) == [[b"a", b"b", b"b\0", b"c", b"\xff"]]


def test_no_calls_are_an_empty_list(relay: Relay) -> None:
    assert page(relay) == CallList(())


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7])
def test_every_call_is_on_one_page(relay: Relay, limit: int) -> None:
    ids = [b"%d" % number for number in range(6)]
    add_calls(relay, *ids)
    pages = all_pages(relay, limit)
    assert [call_id for found in pages for call_id in found] == ids
    assert all(0 < len(found) <= limit for found in pages)


def test_only_what_contains_the_text_is_listed(relay: Relay) -> None:
    add_calls(relay, b"one@a", b"two@b", b"three@a")
    assert all_pages(relay, 1, b"@a") == [[b"one@a"], [b"three@a"]]
    assert all_pages(relay, 10, b"@c") == [[]]


def test_pages_go_on_where_they_were_although_calls_end(relay: Relay) -> None:
    add_calls(relay, b"a", b"b", b"c")
    first = page(relay, limit=2)
    relay.close_call(b"b")
    assert [call.call_id for call in page(relay, after=first.next).calls] == [b"c"]


@pytest.mark.parametrize("id_bytes", [10, 40, 100, 1000, 16_384])
def test_a_page_of_any_calls_fits_into_one_message(relay: Relay, id_bytes: int) -> None:
    count = min(MAX_LIST, 2_000_000 // id_bytes)
    add_calls(relay, *(b"%0*d" % (id_bytes, number) for number in range(count)))
    listed, after = 0, b""
    while True:
        found = page(relay, after=after, limit=MAX_LIST)
        assert len(encode(Executed(2**63, _grown(found)))) <= MAX_MESSAGE_BYTES
        listed += len(found.calls)
        after = found.next
        if not after:
            break
    assert listed == count


def _grown(found: CallList) -> CallList:
    """The page as it would be with counters as high as they may get."""
    return CallList(
        tuple(
            msgspec.structs.replace(
                line, shard=255, sessions=2**16, sockets=2**16, packets=2**62, bytes=2**62
            )
            for line in found.calls
        ),
        found.next,
    )


def test_a_line_of_the_list_says_what_the_call_amounts_to(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    (line,) = page(testbed.relay).calls
    assert line.call_id == call.key.call_id
    assert (line.shard, line.sessions, line.sockets) == (0, 1, 4)
    assert (line.packets, line.bytes) == (4, 4 * len(PACKET))
    assert 0 <= line.idle_s <= line.age_s < 60


# --- show -------------------------------------------------------------------------------------------


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
    add_calls(relay, b"call")
    shown = relay.execute(ShowCall(b"call"))
    assert isinstance(shown, CallDetail)
    assert [group.used for group in shown.groups] == [False]
    assert shown.sessions == ()
