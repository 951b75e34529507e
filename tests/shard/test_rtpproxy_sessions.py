"""nh.shard.rtpproxy: rtpproxy's commands over real sockets: who hears whom, on which ports."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nh.calls.interfaces import Interface
from nh.errors import Draining, LimitReached, Refused, Unsupported
from nh.shard.rtpproxy.sessions import DISCARD_PORT
from tests.profiles import examples
from tests.shard.conftest import LOOPBACK, MakeKernelPath, MakePeer, makes
from tests.shard.rtpproxy_testbed import RtpproxyTestbed
from tests.shard.testbed import PACKET, V4, V6
from tools.harness.media_peer import MediaPeer

FAR = "127.0.0.2"
CAROL = "127.0.0.33"

MakeRtpproxy = Callable[..., RtpproxyTestbed]


@pytest.fixture
def make_relay(
    ports: range, make_kernel_path: MakeKernelPath, caplog: pytest.LogCaptureFixture
) -> Iterator[MakeRtpproxy]:
    with makes(RtpproxyTestbed, ports, make_kernel_path, caplog, (LOOPBACK,)) as make:
        yield make


@pytest.fixture
def relay(make_relay: MakeRtpproxy) -> RtpproxyTestbed:
    return make_relay()


# --- U and L --------------------------------------------------------------------------------------


def test_a_call_relays_both_ways_and_leaves_nothing(
    relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    relay.talk(alice, bob, relay.connect(alice, bob))
    stats = relay.stats()
    assert (stats.calls, stats.sessions, stats.sockets) == (1, 1, 4)
    assert relay.delete("alice", "bob") == 1
    stats = relay.stats()
    assert (stats.calls, stats.sessions, stats.sockets) == (0, 0, 0)
    assert stats.ports_free == stats.ports_total
    assert (stats.offer_ok, stats.answer_ok, stats.delete_ok) == (1, 1, 1)


def test_each_medium_is_a_command_of_its_own(relay: RtpproxyTestbed, make_peer: MakePeer) -> None:
    alices, bobs = [make_peer(), make_peer()], [make_peer(), make_peer()]
    for_bob = [relay.update(peer, f"alice;{number}") for number, peer in enumerate(alices, 1)]
    for_alice = [relay.look_up(peer, f"alice;{number} bob;{number}") for number, peer in enumerate(bobs, 1)]
    assert len({*for_bob, *for_alice}) == 4
    for number in range(2):
        relay.talk(alices[number], bobs[number], (for_alice[number], for_bob[number]))
    relay.delete("bob", "alice")
    assert relay.stats().sockets == 0


@pytest.mark.parametrize("again", ["alice;1 bob;1", "bob;1 alice;1"])
def test_a_phone_that_moves_is_heard_on_the_same_ports(
    again: str, relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    for_alice, for_bob = relay.connect(alice, bob)
    relay.talk(alice, bob, (for_alice, for_bob))
    moved = make_peer()
    mover_is_alice = again.startswith("alice")
    other = bob if mover_is_alice else alice
    assert relay.update(moved, again) == (for_bob if mover_is_alice else for_alice)
    assert relay.look_up(other, again) == (for_alice if mover_is_alice else for_bob)
    relay.talk(*((moved, bob) if mover_is_alice else (alice, moved)), (for_alice, for_bob))


def test_a_reinvite_of_one_medium_leaves_the_other_alone(relay: RtpproxyTestbed, make_peer: MakePeer) -> None:
    alices, bobs = [make_peer(), make_peer()], [make_peer(), make_peer()]
    for number in (1, 2):
        relay.update(alices[number - 1], f"alice;{number}")
    places = []
    for number in (1, 2):
        for_alice = relay.look_up(bobs[number - 1], f"alice;{number} bob;{number}")
        places.append((for_alice, relay.update(alices[number - 1], f"alice;{number} bob;{number}")))
    relay.talk(alices[1], bobs[1], places[1])
    moved = make_peer()
    assert relay.update(moved, "alice;1 bob;1") == places[0][1]
    relay.talk(alices[1], bobs[1], places[1])


def test_the_reply_to_l_of_an_unknown_call_is_no_port(relay: RtpproxyTestbed, bob: MediaPeer) -> None:
    with pytest.raises(Refused, match="unknown"):
        relay.look_up(bob, "alice;1 bob;1")


def test_a_phone_behind_a_nat_is_found_by_its_packets(
    relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    for_bob = relay.port(f"U call 192.168.1.99 {alice.port} alice;1")
    for_alice = relay.look_up(bob, "alice;1 bob;1")
    relay.passes(alice, for_alice, bob)
    relay.passes(bob, for_bob, alice)


def test_an_asymmetric_end_gets_its_media_where_it_said(
    relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    gateway = make_peer()
    for_bob = relay.update(alice, "alice;1", mods="A")
    for_alice = relay.look_up(bob, "alice;1 bob;1")
    relay.passes(gateway, for_alice, bob)
    relay.passes(bob, for_bob, alice)


def test_t38_in_the_place_of_rtp_is_relayed(relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    """The commands do not say what a medium is: a fax machine behind a NAT is heard, too."""
    for_bob = relay.port(f"U call 192.168.1.99 {alice.port} alice;1")
    for_alice = relay.look_up(bob, "alice;1 bob;1")
    fax = bytes((0, 0, 2, 1, 2, 0, 0))
    alice.send_raw(fax, for_alice)
    assert relay.receive(bob)[0] == fax
    bob.send_raw(fax, for_bob)
    assert relay.receive(alice)[0] == fax


def test_two_phones_that_answer_are_both_heard(
    relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    carol = make_peer(CAROL)
    for_bob = relay.update(alice, "alice;1")
    early = relay.look_up(bob, "alice;1 bob;1")
    relay.passes(bob, for_bob, alice)
    assert relay.look_up(carol, "alice;1 carol;1") != early
    relay.passes(carol, for_bob, alice)
    relay.delete("alice", "carol")
    assert relay.stats().sockets == 0


def test_a_held_end_gets_nothing_until_it_is_back(
    relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    places = relay.connect(alice, bob)
    relay.talk(alice, bob, places)
    assert relay.port(f"U call 0.0.0.0 {alice.port} alice;1 bob;1") == places[1]
    relay.look_up(bob, "alice;1 bob;1")
    bob.send(PACKET, places[1])
    relay.turn_until(lambda: relay.stats().drop_no_target, "nothing is sent to an end on hold")
    assert relay.update(alice, "alice;1 bob;1") == places[1]
    relay.look_up(bob, "alice;1 bob;1")
    relay.talk(alice, bob, places)


def test_a_rejected_medium_has_no_sockets(make_relay: MakeRtpproxy, alice: MediaPeer, bob: MediaPeer) -> None:
    relay = make_relay(replaced_s=0)
    relay.update(alice, "alice;1")
    assert relay.port(f"U call {V4} 0 alice;2")[1] == DISCARD_PORT
    relay.update(alice, "alice;3")
    relay.look_up(bob, "alice;1 bob;1")
    assert relay.port(f"L call {V4} 0 alice;2 bob;2")[1] == DISCARD_PORT
    assert relay.stats().sockets == 8
    assert relay.port(f"L call {V4} 0 alice;3 bob;3")[1] == DISCARD_PORT
    assert relay.stats().sockets < 8, "the medium that Bob rejects has no ports for Alice"


def test_u_of_the_other_end_is_an_answer(
    relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    """Sippy's B2BUA knows both tags from the start, and has no L."""
    for_bob = relay.update(alice, "alice bob", call="call-0")
    for_alice = relay.update(bob, "bob alice", call="call-0")
    relay.talk(alice, bob, (for_alice, for_bob))
    moved = make_peer()
    assert relay.update(moved, "alice bob", call="call-0") == for_bob
    assert relay.update(bob, "bob alice", call="call-0") == for_alice
    relay.talk(moved, bob, (for_alice, for_bob))
    relay.delete("alice", "bob", call="call-0")
    assert relay.stats().sockets == 0


def test_a_new_port_is_given_where_it_is_asked_for(
    relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    for_alice, for_bob = relay.connect(alice, bob)
    fresh = relay.update(alice, "alice;1 bob;1", mods="N")
    assert fresh != for_bob
    assert relay.look_up(bob, "alice;1 bob;1") == for_alice
    relay.talk(alice, bob, (for_alice, fresh))


def test_branches_are_calls_of_their_own(relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    """The client sets `;BRANCH` behind the Call-ID."""
    first = relay.update(alice, "alice;1", call="call;z9hG4bK-1")
    assert relay.update(alice, "alice;1", call="call;z9hG4bK-2") != first
    relay.delete("alice", call="call;z9hG4bK-1")
    for_alice = relay.look_up(bob, "alice;1 bob;1", call="call;z9hG4bK-2")
    relay.passes(alice, for_alice, bob)


def test_tags_without_a_number_are_one_medium(
    relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    for_bob = relay.update(alice, "alice")
    relay.talk(alice, bob, (relay.look_up(bob, "alice bob"), for_bob))


# --- interfaces -----------------------------------------------------------------------------------

INSIDE, OUTSIDE = Interface("inside", V4, V4), Interface("outside", FAR, FAR)


@pytest.mark.parametrize(
    ("mods", "for_bob", "for_alice"),
    [("IE", FAR, V4), ("EI", V4, FAR), ("EE", FAR, FAR), ("I", V4, V4), ("E", V4, FAR), ("", V4, V4)],
)
def test_i_and_e_name_the_interfaces_of_sender_and_receiver(
    mods: str, for_bob: str, for_alice: str, make_relay: MakeRtpproxy, make_peer: MakePeer
) -> None:
    relay = make_relay(INSIDE, OUTSIDE)
    alice, bob = make_peer(), make_peer()
    places = relay.update(alice, "alice;1", mods=mods), relay.look_up(bob, "alice;1 bob;1", mods=mods[::-1])
    assert [place[0] for place in places] == [for_bob, for_alice]
    relay.passes(alice, places[1], bob)
    relay.passes(bob, places[0], alice)


@pytest.mark.parametrize("mods", [f"L{V4}", "L{inside}", "R127.0.0.9"])
def test_an_interface_is_named_by_address_name_or_route(
    mods: str, make_relay: MakeRtpproxy, alice: MediaPeer, bob: MediaPeer
) -> None:
    relay = make_relay(OUTSIDE, Interface("inside", V4, "198.51.100.7"))
    address, port = relay.update(alice, "alice;1", mods=mods)
    assert address == "198.51.100.7"
    for_alice = relay.look_up(bob, "alice;1 bob;1", mods=f"L{FAR}")
    assert for_alice[0] == FAR
    assert relay.update(bob, "bob;1 alice;1") == for_alice, "as no interface is named"
    relay.passes(alice, for_alice, bob)
    relay.passes(bob, (V4, port), alice)


@pytest.mark.parametrize("mods", ["IE", "L192.0.2.77", "L{nowhere}", "R192.0.2.77"])
def test_an_interface_that_is_not_there_is_refused(
    mods: str, make_relay: MakeRtpproxy, alice: MediaPeer
) -> None:
    relay = make_relay(Interface("default", FAR, FAR))
    with pytest.raises(Unsupported):
        relay.update(alice, "alice;1", mods=mods)
    assert relay.stats().sockets == 0


def test_a_call_between_ipv4_and_ipv6(make_relay: MakeRtpproxy, make_peer: MakePeer) -> None:
    relay = make_relay(Interface("four", V4, V4), Interface("six", V6, V6))
    alice, bob = make_peer(), make_peer(V6)
    for_bob = relay.update(alice, "alice;1", mods="IE")
    for_alice = relay.look_up(bob, "alice;1 bob;1", mods="6EI")
    assert (for_bob[0], for_alice[0]) == (V6, V4)
    relay.talk(alice, bob, (for_alice, for_bob))


# --- D, X and Q -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tags", [("alice",), ("alice", "bob"), ("bob", "alice"), ("alice", "carol")])
def test_d_ends_what_either_tag_has_offered(
    tags: tuple[str, ...], relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    relay.connect(alice, bob)
    assert relay.delete(*tags) == 1
    assert relay.stats().calls == 0


@pytest.mark.parametrize("tags", [("bob",), ("carol", "bob"), ("alic",)])
def test_d_of_others_ends_nothing(
    tags: tuple[str, ...], relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    places = relay.connect(alice, bob)
    with pytest.raises(Refused):
        relay.delete(*tags)
    relay.talk(alice, bob, places)


def test_d_ends_the_offers_of_one_end_only(
    relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    """Two dialogs of a proxy that keeps one Call-ID."""
    relay.connect(alice, bob)
    carol = make_peer(CAROL)
    for_bob = relay.update(carol, "carol;1")
    for_carol = relay.look_up(bob, "carol;1 bob;1")
    relay.delete("alice", "bob")
    relay.passes(carol, for_carol, bob)
    relay.passes(bob, for_bob, carol)
    assert relay.stats().sockets == 4


def test_a_weak_reference_keeps_the_call_when_the_strong_one_goes(
    relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    for_bob = relay.update(alice, "alice;1")
    for_alice = relay.look_up(bob, "alice;1 bob;1", mods="W")
    assert relay.delete("alice", "bob") == 0
    relay.talk(alice, bob, (for_alice, for_bob))
    assert relay.delete("alice", "bob", weak=True) == 1
    assert relay.stats().sockets == 0


def test_x_ends_the_calls_of_this_protocol_only(
    relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    relay.connect(alice, bob)
    relay.update(alice, "alice;1", call="another")
    others = relay.call(alice, bob)
    relay.delete_all()
    assert relay.stats().calls == 1
    relay.converse(alice, bob, others)


def test_q_counts_the_packets_of_both_ends(relay: RtpproxyTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    places = relay.connect(alice, bob)
    relay.talk(alice, bob, places)
    for sequence in (2, 4):
        packet = b"\x80\0" + sequence.to_bytes(2, "big") + bytes(4) + b"ssrc" + bytes(160)
        relay.passes(alice, places[0], bob, payload=packet)
    counted = relay.query()
    assert (counted.from_packets, counted.to_packets, counted.relayed, counted.dropped) == (3, 1, 4, 0)
    assert counted.unique == 3
    assert counted.lost == 1
    assert 25 <= counted.ttl_s <= 30
    assert relay.query("bob", "alice").from_packets == 1
    assert relay.query("alice", "").from_packets == 3
    with pytest.raises(Refused):
        relay.query(medium=2)


# --- limits ---------------------------------------------------------------------------------------


def test_limits_and_draining_refuse_new_calls_only(
    make_relay: MakeRtpproxy, alice: MediaPeer, bob: MediaPeer
) -> None:
    relay = make_relay(max_calls=1)
    places = relay.connect(alice, bob)
    with pytest.raises(LimitReached):
        relay.update(alice, "alice;1", call="second")
    relay.relay.draining = True
    with pytest.raises(Draining):
        relay.update(alice, "alice;1", call="third")
    assert relay.update(alice, "alice;1 bob;1") == places[1]
    relay.talk(alice, bob, places)


# --- whatever comes -------------------------------------------------------------------------------

_TAGS = st.sampled_from(["alice;1", "bob;1", "alice;2", "bob;2", "carol;1", "alice", "alice;0"])
_PLACES = st.sampled_from(["127.0.0.1 4000", "127.0.0.1 0", "0.0.0.0 4000", "::1 4000", "phone.example 4000"])
_MODS = st.sampled_from(["", "A", "W", "N", "IE", "E", "6", "c0,8Z20", "L{inside}"])
_LINES = st.one_of(
    st.builds(lambda mods, place, tag: f"U{mods} call {place} {tag}", _MODS, _PLACES, _TAGS),
    st.builds(
        lambda name, mods, place, one, other: f"{name}{mods} call {place} {one} {other}",
        st.sampled_from("UL"),
        _MODS,
        _PLACES,
        _TAGS,
        _TAGS,
    ),
    st.builds(
        lambda mods, one, other: f"D{mods} call {one} {other}",
        st.sampled_from(["", "w"]),
        *[st.sampled_from(["alice", "bob", "carol"])] * 2,
    ),
    st.builds(lambda one, other: f"Q call {one} {other}", _TAGS, _TAGS),
)


@settings(
    deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(_LINES, max_size=25))
def test_whatever_is_asked_nothing_breaks_and_x_leaves_nothing(ports: range, lines: list[str]) -> None:
    relay = RtpproxyTestbed(ports, interfaces=(INSIDE, OUTSIDE))
    try:
        for line in lines:
            with contextlib.suppress(Refused):
                relay.ask(line)
        relay.delete_all()
        stats = relay.stats()
        assert (stats.calls, stats.sessions, stats.sockets) == (0, 0, 0)
    finally:
        relay.close()
