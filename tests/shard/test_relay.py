"""nh.shard.relay: commands in, results out, everything counted."""

import gc
import time
from collections.abc import Callable, Iterator

import pytest
from msgspec import structs

from nh.calls.leg import Leg
from nh.calls.media import Media, Side
from nh.calls.rtp.quality import INTERVAL_PACKETS
from nh.calls.session import Session
from nh.calls.settings import RelayConfig, RelaySettings
from nh.calls.sockets.group import SocketGroup
from nh.commands import (
    Activate,
    Allocate,
    Close,
    CloseCall,
    ListCalls,
    RelayCommand,
    ShowCall,
    TransactionKey,
)
from nh.errors import (
    AddressUnavailable,
    LimitReached,
    MalformedRequest,
    NhError,
    NotAllocated,
    PortsExhausted,
    SocketCountMismatch,
    StaleTransaction,
    UnknownCall,
)
from nh.results import Activated, Allocated, Closed
from nh.shard.relay import Relay
from nh.stats import ShardStats
from tests.shard.conftest import MakePeer, MakeTestbed
from tests.shard.testbed import PACKET, V4, RelayTestbed, audio

AUDIO = (Media("127.0.0.11", 4000, 2, "RTP/AVP", "audio"),)
KEY = TransactionKey(b"call", 1, b"alice", b"bob", b"sip:alice@example.org", b"sip:bob\xff@example.org")


@pytest.fixture
def relay(ports: range) -> Iterator[Relay]:
    """A relay that is not attached to any loop: its rules need none."""
    relay = Relay(RelayConfig(ports=(ports[0], ports[-1])))
    yield relay
    relay.close()


def set_up(relay: Relay, key: TransactionKey = KEY) -> None:
    relay.execute(Allocate(key, Side.FROM, V4, AUDIO))
    relay.execute(Allocate(key, Side.TO, V4, AUDIO))
    relay.execute(Activate(key))


# --- commands ---------------------------------------------------------------------------------------


def test_a_call_from_its_offer_to_its_end(relay: Relay) -> None:
    offered = relay.execute(Allocate(KEY, Side.FROM, V4, AUDIO))
    assert isinstance(offered, Allocated)
    assert offered.media[0].port % 2 == 0
    relay.execute(Allocate(KEY, Side.TO, V4, AUDIO))
    assert relay.execute(Activate(KEY)) == Activated(created=True)
    assert relay.execute(Activate(KEY)) == Activated(created=False)
    assert relay.execute(Close(KEY)) == Closed(1)
    with pytest.raises(UnknownCall):
        relay.execute(Close(KEY))


def test_closing_before_activation_ends_no_session_and_frees_the_ports(relay: Relay) -> None:
    relay.execute(Allocate(KEY, Side.FROM, V4, AUDIO))
    assert relay.execute(Close(KEY)) == Closed(0)
    relay.update_stats()
    assert relay.stats.ports_free == relay.stats.ports_total


def test_a_whole_call_can_be_closed(relay: Relay) -> None:
    for cseq in (1, 2):
        set_up(relay, TransactionKey(b"call", cseq, b"alice", b"callee %d" % cseq))
    assert relay.execute(CloseCall(b"call")) == Closed(2)


def test_an_ipv4_address_that_is_mapped_to_ipv6_is_one_of_ipv4(relay: Relay) -> None:
    """A socket at the mapped one receives nothing."""
    allocated = relay.execute(Allocate(KEY, Side.FROM, f"::ffff:{V4}", AUDIO))
    assert isinstance(allocated, Allocated)
    [address] = {medium.address for medium in allocated.media}
    assert address == V4


REFUSALS: list[tuple[RelayCommand, type[NhError]]] = [
    (Allocate(TransactionKey(b"call", None, b"alice"), Side.FROM, V4, AUDIO), MalformedRequest),
    (Allocate(KEY, Side.FROM, "here", AUDIO), MalformedRequest),
    (Allocate(KEY, Side.FROM, "203.0.113.200", AUDIO), AddressUnavailable),
    (Allocate(KEY, Side.FROM, "0.0.0.0", AUDIO), AddressUnavailable),
    (Allocate(KEY, Side.FROM, V4, AUDIO * 3), LimitReached),
    (Allocate(TransactionKey(b"active", 1, b"alice"), Side.FROM, V4, AUDIO), StaleTransaction),
    (Activate(TransactionKey(b"call", None, b"alice")), MalformedRequest),
    (Activate(KEY), UnknownCall),
    (Activate(TransactionKey(b"active", 2, b"alice", b"carol")), NotAllocated),
    (Close(KEY), UnknownCall),
    (CloseCall(b"call"), UnknownCall),
    (ShowCall(b"call"), UnknownCall),
]


@pytest.mark.parametrize(("command", "error"), REFUSALS, ids=lambda case: type(case).__name__)
def test_what_the_rules_turn_down_is_counted_as_refused_and_keeps_nothing(
    ports: range, command: RelayCommand, error: type[NhError]
) -> None:
    relay = Relay(RelayConfig(RelaySettings(max_sockets_in_group=4), ports=(ports[0], ports[-1])))
    set_up(relay, TransactionKey(b"active", 2, b"alice", b"bob"))
    with pytest.raises(error):
        relay.execute(command)
    kind = type(command).__name__.lower().removesuffix("call")
    assert getattr(relay.stats, f"{kind}_refused") == 1
    relay.update_stats()
    assert (relay.stats.calls, relay.stats.sessions, relay.stats.sockets) == (1, 1, 4)
    relay.close()


def test_commands_are_counted_by_kind_and_outcome(relay: Relay) -> None:
    set_up(relay)
    relay.execute(ListCalls())
    relay.execute(ShowCall(b"call"))
    relay.execute(CloseCall(b"call"))
    stats = relay.stats
    assert (stats.allocate_ok, stats.activate_ok, stats.close_ok, stats.list_ok, stats.show_ok) == (
        2,
        1,
        1,
        1,
        1,
    )
    assert stats.allocate_refused == stats.allocate_failed == 0
    assert (stats.sessions_started, stats.sessions_ended) == (1, 1)


def test_a_bug_is_counted_as_a_failure_and_not_hidden(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(relay.table, "allocate", fail)
    with pytest.raises(ZeroDivisionError):
        relay.execute(Allocate(KEY, Side.FROM, V4, AUDIO))
    assert relay.stats.allocate_failed == 1
    assert relay.stats.allocate_refused == 0


def test_different_numbers_of_sockets_are_refused_and_the_next_call_is_served(relay: Relay) -> None:
    relay.execute(Allocate(KEY, Side.FROM, V4, AUDIO))
    relay.execute(Allocate(KEY, Side.TO, V4, AUDIO * 2))
    with pytest.raises(SocketCountMismatch):
        relay.execute(Activate(KEY))
    set_up(relay, TransactionKey(b"another", 1, b"alice", b"bob"))


def test_ports_run_out_and_come_back(ports: range) -> None:
    relay = Relay(RelayConfig(ports=(ports[0], ports[7])))
    for number in range(4):
        relay.execute(Allocate(TransactionKey(b"%d" % number, 1, b"alice"), Side.FROM, V4, AUDIO))
    with pytest.raises(PortsExhausted):
        relay.execute(Allocate(KEY, Side.FROM, V4, AUDIO))
    relay.update_stats()
    assert (relay.stats.ports_free, relay.stats.ports_total) == (0, 8)
    relay.execute(CloseCall(b"2"))
    relay.execute(Allocate(KEY, Side.FROM, V4, AUDIO))
    relay.close()


def test_ports_are_used_in_pairs_from_the_first_even_one_on(ports: range) -> None:
    relay = Relay(RelayConfig(ports=(ports[1], ports[6])))
    relay.update_stats()
    assert relay.stats.ports_total == 4
    used = []
    for call_id in (b"1", b"2"):
        result = relay.execute(Allocate(structs.replace(KEY, call_id=call_id), Side.FROM, V4, AUDIO))
        assert isinstance(result, Allocated)
        used.append(result.media[0].port)
    relay.close()
    assert sorted(used) == [ports[2], ports[4]]


def test_shards_number_their_sessions_apart(ports: range) -> None:
    numbers = []
    for shard in (0, 1):
        relay = Relay(RelayConfig(ports=(ports[0], ports[-1]), shard=shard, shards=2))
        set_up(relay)
        numbers += [info.sessionid for info in relay.close_session(KEY)]
        relay.close()
    assert numbers == [1, 2]


# --- session information ----------------------------------------------------------------------------


def test_the_session_information_has_the_uris_and_what_the_proxy_added(relay: Relay) -> None:
    relay.execute(Allocate(KEY, Side.FROM, V4, AUDIO))
    relay.execute(Allocate(KEY, Side.TO, V4, AUDIO))
    relay.execute(Activate(KEY, {"tenant": "blue", "uri_from": "overridden"}))
    (info,) = relay.close_session(KEY)
    assert info.param == {"uri_from": "overridden", "uri_to": "sip:bob\\xff@example.org", "tenant": "blue"}
    assert abs(info.created - time.time()) < 60


# --- statistics -------------------------------------------------------------------------------------


def test_counters_go_on_from_what_an_earlier_process_left(ports: range, make_peer: MakePeer) -> None:
    left = ShardStats(packets_in=100, bytes_in=1000, packets_out=90, drop_no_target=10, allocate_ok=7)
    testbed = RelayTestbed(ports, stats=left)
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    testbed.bye(call.key)
    stats = testbed.stats()
    assert (stats.packets_in, stats.packets_out, stats.drop_no_target) == (104, 94, 10)
    assert stats.bytes_in == 1000 + 4 * len(PACKET)
    assert stats.allocate_ok == 9
    testbed.close()


def test_a_tick_brings_the_statistics_up_to_date(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    stats = testbed.relay.stats
    testbed.turn_until(lambda: stats.packets_out == 4, "the packets are counted")
    assert (stats.packets_in, stats.bytes_in, stats.bytes_out) == (4, 4 * len(PACKET), 4 * len(PACKET))
    assert (stats.calls, stats.sessions, stats.sockets) == (1, 1, 4)


def test_packets_are_counted_once_although_their_call_ends_between_two_ticks(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(), make_peer()
    for _ in range(3):
        call = testbed.call(alice, bob)
        testbed.converse(alice, bob, call)
        testbed.bye(call.key)
    stats = testbed.stats()
    assert (stats.packets_in, stats.packets_out) == (12, 12)


def test_a_call_that_ends_within_a_round_of_polls_does_not_stop_the_round(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    """Its last packets end an interval of quality that nothing has noted."""
    plane, ended, others = testbed.relay.plane, testbed.new_key(), make_peer()
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob, key=ended)
    for _ in range(40):
        testbed.call(others, others)
    plane.watch(since_s=1e-6, now=time.monotonic())  # a long round, the first call at its end
    for _ in range(INTERVAL_PACKETS):
        testbed.passes(alice, call.for_caller, bob)
    testbed.bye(ended)
    for _ in range(41):
        plane.watch(since_s=1e-6, now=time.monotonic())


# --- expiry -----------------------------------------------------------------------------------------


def ended(testbed: RelayTestbed, counter: Callable[[ShardStats], int]) -> Callable[[], bool]:
    return lambda: counter(testbed.relay.stats) == 1 and testbed.stats().sockets == 0


def test_a_silent_session_ends_by_itself(make_testbed: MakeTestbed, make_peer: MakePeer) -> None:
    testbed = make_testbed(silent_s=1)
    testbed.call(make_peer(), make_peer())
    testbed.turn_until(ended(testbed, lambda stats: stats.expired_silent), "it expires")
    assert testbed.relay.stats.sessions_ended == 1


def test_unused_ports_are_freed_by_themselves(make_testbed: MakeTestbed, make_peer: MakePeer) -> None:
    testbed = make_testbed(unused_s=1)
    testbed.allocate(testbed.new_key(), Side.FROM, [audio(make_peer())])
    testbed.turn_until(ended(testbed, lambda stats: stats.expired_unused), "it expires")


def test_a_session_on_hold_outlives_a_silent_one(make_testbed: MakeTestbed, make_peer: MakePeer) -> None:
    testbed = make_testbed(silent_s=1, hold_s=1.2)
    testbed.call(make_peer(), make_peer())
    testbed.call(Media("0.0.0.0", 4000, 2), make_peer())
    testbed.turn_until(lambda: testbed.relay.stats.expired_silent == 1, "the silent one expires")
    testbed.turn_until(ended(testbed, lambda stats: stats.expired_hold), "the held one, too")


def test_the_ports_of_a_replaced_session_are_freed_by_themselves(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(), make_peer()
    first = testbed.call(alice, bob).key
    testbed.call(alice, bob, key=TransactionKey(first.call_id, 2, first.id_from, first.id_to))
    testbed.turn_until(lambda: testbed.stats().sockets == 4, "the first one's ports are closed")
    assert testbed.relay.stats.expired_replaced == 1
    assert testbed.stats().sessions == 1


def test_every_session_that_was_started_is_closed_in_the_end(ports: range, make_peer: MakePeer) -> None:
    testbed = RelayTestbed(ports)
    alice, bob = make_peer(), make_peer()
    first = testbed.call(alice, bob).key
    testbed.call(alice, bob, key=TransactionKey(first.call_id, 2, first.id_from, first.id_to))
    testbed.close()
    stats = testbed.relay.stats
    assert stats.sessions_started == stats.sessions_ended == 2
    assert (stats.calls, stats.sessions, stats.sockets) == (0, 0, 0)
    assert stats.ports_free == stats.ports_total


def test_expiry_can_be_told_the_time(relay: Relay) -> None:
    set_up(relay)
    relay.expire()
    assert relay.calls == 1
    relay.expire(now=time.monotonic() + 31)
    assert relay.calls == 0
    assert relay.stats.expired_silent == 1


def test_settings_that_change_hold_for_calls_that_there_are(relay: Relay) -> None:
    now = time.monotonic()
    set_up(relay)
    relay.expire(now=now + 20)
    assert relay.calls == 1
    relay.change_settings(RelaySettings(silent_s=10.0, max_calls=1))
    with pytest.raises(LimitReached, match="max_calls is reached: this shard has its share of it, 1"):
        relay.execute(Allocate(TransactionKey(b"another", 1, b"alice"), Side.FROM, V4, AUDIO))
    relay.expire(now=now + 20)
    assert relay.calls == 0


def test_a_relay_counts_on_from_the_counters_of_the_process_before(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    relay, alice, bob = testbed.relay, make_peer(), make_peer()
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    before = {
        "allocate_ok": 5,
        "packets_in": 100,
        "bytes_in": 9000,
        "kernel_packets": 60,  # of those
        "kernel_bytes": 6000,
        "drop_no_target": 7,
        "calls": 3,  # of the moment
        "only_another_version_has_it": 1,
    }
    names = [name for name in before if hasattr(relay.stats, name)]

    def counted() -> dict[str, int]:
        relay.update_stats()
        return {name: getattr(relay.stats, name) for name in names}

    own = counted()
    relay.continue_counters(before, kernel_has_them=False)
    assert counted() == {name: own[name] + (before[name] if name != "calls" else 0) for name in names}


def test_a_relay_goes_on_relaying_with_changed_settings(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    testbed.relay.change_settings(RelaySettings(coalesce_s=0.0, dscp=46))
    testbed.converse(alice, bob, call)


def test_closing_twice_does_no_harm(ports: range) -> None:
    testbed = RelayTestbed(ports)
    testbed.relay.close()
    testbed.close()


def test_a_closed_call_is_freed_without_a_collection_of_cycles(relay: Relay) -> None:
    def there() -> list[object]:
        return [thing for thing in gc.get_objects() if isinstance(thing, Leg | Session | SocketGroup)]

    gc.collect()
    others = there()  # of earlier tests: as they are held here, none of them goes meanwhile
    known = {id(thing) for thing in others}
    gc.disable()
    try:
        set_up(relay)
        assert len(there()) == len(others) + 4 + 1 + 2
        relay.close_session(KEY)
        assert [thing for thing in there() if id(thing) not in known] == []
    finally:
        gc.enable()
