"""What becomes of SDPs: interfaces, ICE, rtcp-mux, loops, and those that are refused."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from nh.calls.interfaces import Interface
from nh.calls.snapshots.call import CallSnapshot
from nh.commands import Answer, DtlsOptions, Feature, IceHandling, Offer, OfferOptions, SdesOptions
from nh.errors import IncompleteSdp, NhError, Unsupported, UnusableSdp
from nh.results import Rewritten
from tests.calls.snapshots import written
from tests.sdp import samples
from tests.shard.conftest import MakeNg, MakePeer
from tests.shard.ng_testbed import CALL, NgTalk, NgTestbed, line, places, rtcp, streams
from tests.shard.testbed import V4, V6
from tests.sip.sdp import MediaLine, read_sdp, write_sdp
from tools.harness.media_peer import RTCP, RTP, MediaPeer

NEAR, FAR = "127.0.0.41", "127.0.0.42"
CROSSED = (Interface("near", NEAR, NEAR), Interface("far", FAR, FAR))

ICE = ("ice-ufrag:abcd", "ice-pwd:0123456789012345678901", "candidate:1 1 UDP 1 192.0.2.7 4000 typ host")


@pytest.fixture
def alice(make_peer: MakePeer) -> MediaPeer:
    return make_peer("127.0.0.11")


@pytest.fixture
def bob(make_peer: MakePeer) -> MediaPeer:
    return make_peer("127.0.0.22")


def attributes(sdp: bytes, name: str, medium: int = 0) -> list[str]:
    """A medium's attributes of that name."""
    return [each for each in read_sdp(sdp.decode())[medium].attributes if each.partition(":")[0] == name]


# --- interfaces -----------------------------------------------------------------------------------------


def test_direction_chooses_the_interface_of_each_side(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer
) -> None:
    ng = make_ng(*CROSSED)
    call = ng.connect(alice, bob, direction=("near", "far"))
    assert (call.alice_sends_to[0][0], call.bob_sends_to[0][0]) == (NEAR, FAR)
    ng.talk(alice, bob, call)


def test_the_direction_of_the_first_offer_is_remembered(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer
) -> None:
    ng = make_ng(*CROSSED)
    before = NgTalk(to_bob=ng.offer(alice, direction=("near", "far")), to_alice=ng.answer(bob))
    turned: dict[str, Any] = {"direction": ("far", "near")}
    for options in ({}, turned):
        assert places(ng.offer(bob, tag=b"bob", to=b"alice", **options)) == before.alice_sends_to
        assert places(ng.answer(alice, tag=b"alice", to=b"bob", **options)) == before.bob_sends_to


def test_without_a_direction_the_first_interface_of_the_family_is_taken(
    make_ng: MakeNg, alice: MediaPeer, ipv6: None
) -> None:
    ng = make_ng(Interface("six", V6, V6), *CROSSED)
    assert places(ng.offer(alice))[0][0] == NEAR


@pytest.mark.parametrize(
    "direction", [("far",), ("far", ""), ("", "far")], ids=["direction", "from-interface", "to-interface"]
)
def test_an_end_whose_interface_the_client_does_not_name_is_met_at_the_default_one(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer, direction: tuple[str, ...]
) -> None:
    """As in rtpengine; later offers of either end change nothing."""
    ng = make_ng(*CROSSED)
    sdp = write_sdp([line(alice)]).encode()
    result = ng.relay.execute(Offer(CALL, b"alice", b"", b"", sdp, OfferOptions(direction=direction)))
    assert isinstance(result, Rewritten)
    assert not result.warning
    to_bob, to_alice = places(result.sdp), places(ng.answer(bob))
    met_at = tuple(FAR if name else NEAR for name in (*direction, "")[:2])
    assert (to_alice[0][0], to_bob[0][0]) == met_at
    assert places(ng.offer(alice, to=b"bob", direction=direction)) == to_bob
    assert places(ng.offer(bob, tag=b"bob", to=b"alice")) == to_alice


@pytest.mark.parametrize(
    ("direction", "met_at"),
    [(("near", "nowhere"), (NEAR, NEAR)), (("nowhere", "far"), (NEAR, FAR)), (("",), (NEAR, NEAR))],
)
def test_for_an_interface_that_is_not_there_the_default_is_taken(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer, direction: tuple[str, ...], met_at: tuple[str, str]
) -> None:
    ng = make_ng(*CROSSED)
    to_bob, to_alice = ng.offer(alice, direction=direction), ng.answer(bob)
    assert (places(to_alice)[0][0], places(to_bob)[0][0]) == met_at


def test_an_interface_that_is_not_there_is_told_of_each_time_and_logged_once(
    make_ng: MakeNg, alice: MediaPeer, caplog: pytest.LogCaptureFixture
) -> None:
    ng = make_ng(*CROSSED)
    sdp = write_sdp([line(alice)]).encode()
    for call_id in (b"one", b"two"):
        offer = Offer(call_id, b"alice", b"", b"", sdp, OfferOptions(direction=("nowhere", "near")))
        result = ng.relay.execute(offer)
        assert isinstance(result, Rewritten)
        assert "named 'nowhere', the default is taken; nh has only: near, far" in result.warning
    (logged,) = caplog.messages
    assert logged.startswith("call 'one': direction: no interface is named 'nowhere'")


@pytest.mark.parametrize(
    ("address", "rtcp_at"), [("239.255.77.77/16", ()), ("127.0.0.11", ("rtcp:4001 IN IP4 239.255.77.77",))]
)
def test_media_announced_at_an_address_of_many_are_awaited(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer, address: str, rtcp_at: tuple[str, ...]
) -> None:
    ng = make_ng(*CROSSED)
    call = ng.connect([MediaLine(address, alice.port, attributes=rtcp_at)], bob)
    assert streams(ng.query(), b"alice", RTCP + 1)[0].announced is None
    assert ng.stats().media_multicast == 1
    ng.talk(alice, bob, call)


def test_the_advertised_address_is_written_and_the_other_one_is_bound(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer
) -> None:
    ng = make_ng(Interface("nat", V4, "198.51.100.200"))
    to_bob = ng.offer(alice, replace_origin=True)
    assert b"c=IN IP4 198.51.100.200" in to_bob
    assert b"o=phone 1 1 IN IP4 198.51.100.200" in to_bob
    for_bob = (V4, places(to_bob)[0][1])
    for_alice = (V4, places(ng.answer(bob))[0][1])
    ng.passes(alice, for_alice, bob)
    ng.passes(bob, for_bob, alice)


def test_an_interface_may_have_ports_of_its_own(
    ports: range, make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer
) -> None:
    ng = make_ng(
        Interface("near", NEAR, NEAR, (ports[100], ports[103])),
        Interface("far", FAR, FAR, (ports[120], ports[121])),
    )
    call = ng.connect(alice, bob, direction=("near", "far"))
    assert call.alice_sends_to[0][1] in range(ports[100], ports[103])
    assert call.bob_sends_to[0] == (FAR, ports[120])
    ng.talk(alice, bob, call)


def test_media_are_bridged_between_ipv4_and_ipv6(
    make_ng: MakeNg, make_peer: MakePeer, alice: MediaPeer, ipv6: None
) -> None:
    ng = make_ng(Interface("four", V4, V4), Interface("six", V6, V6))
    bob = make_peer(V6)
    to_bob = ng.offer(alice, family=6)
    assert b"c=IN IP6 ::1" in to_bob
    to_alice = ng.answer(bob)
    assert b"c=IN IP4 127.0.0.1" in to_alice
    ng.talk(alice, bob, NgTalk(to_alice, to_bob))


def test_an_interface_of_both_families_has_the_address_that_is_wanted(
    make_ng: MakeNg, make_peer: MakePeer, alice: MediaPeer, ipv6: None
) -> None:
    ng = make_ng(
        Interface("in", NEAR, NEAR),
        Interface("in", V6, V6),
        Interface("out", FAR, FAR),
        Interface("out", V6, V6),
    )
    assert places(ng.offer(alice, direction=("in", "out")))[0][0] == FAR
    ng.delete()
    assert places(ng.offer(alice, direction=("in", "out"), family=6))[0][0] == V6
    assert places(ng.answer(make_peer(V6)))[0][0] == NEAR
    ng.delete()
    six = make_peer(V6)
    assert places(ng.offer(six, direction=("in", "out")))[0][0] == V6
    assert places(ng.answer(alice))[0][0] == V6


@pytest.mark.parametrize("names", [("both", "both"), ("four", "six")])
@pytest.mark.parametrize("named", [False, True])
def test_an_end_that_moves_to_another_address_family_is_met_there(
    make_ng: MakeNg, make_peer: MakePeer, ipv6: None, *, names: tuple[str, str], named: bool
) -> None:
    """A phone that leaves the Wi-Fi for a network of IPv6 alone: nh answered it with an address of IPv4."""
    ng = make_ng(Interface(names[0], V4, V4), Interface(names[1], V6, V6))
    four, six, bob = make_peer(V4), make_peer(V6), make_peer(V4)
    direction = (names[0], names[0]) if named else ()
    ng.offer(four, direction=direction)
    ng.answer(bob)
    to_bob = ng.offer(six, to=b"bob", direction=direction)
    to_alice = ng.answer(bob)
    met = not named or names[0] == names[1]
    assert (places(to_bob)[0][0], places(to_alice)[0][0]) == (V4, V6 if met else V4)
    if met:
        ng.talk(six, bob, NgTalk(to_alice, to_bob))
    assert places(ng.offer(bob, tag=b"bob", to=b"alice", direction=direction)) == places(to_alice)


@pytest.mark.parametrize("sdp", [b"c=IN IP4 0.0.0.0", b"c=IN IP4 127.0.0.9\r\na=ice-ufrag:abcd"])
def test_a_hold_and_a_candidate_move_no_end_to_another_address_family(
    make_ng: MakeNg, make_peer: MakePeer, ipv6: None, *, sdp: bytes
) -> None:
    ng = make_ng(Interface("both", V4, V4), Interface("both", V6, V6))
    six, bob = make_peer(V6), make_peer(V4)
    ng.offer(six)
    before = places(ng.answer(bob))
    ng.offer(write_sdp([line(six)]).encode().replace(b"c=IN IP6 ::1", sdp), to=b"bob")
    assert places(ng.answer(bob)) == before


@pytest.mark.parametrize("connection", [b"IN IP4 10.0.0.1", b"IN IP6 phone.example"])
@pytest.mark.parametrize("flags", [{}, {"trust_received": True, "received_from": V6}], ids=["", "source"])
def test_an_end_that_says_the_same_again_stays_where_it_is_met(
    make_ng: MakeNg, bob: MediaPeer, ipv6: None, *, connection: bytes, flags: dict[str, Any]
) -> None:
    """A re-INVITE that changed nothing moved a phone that the client had met at IPv6 to IPv4."""
    ng = make_ng(Interface("four", V4, V4), Interface("six", V6, V6))
    sdp = write_sdp([line(bob)]).encode().replace(b"IN IP4 127.0.0.22", connection)
    assert connection in sdp
    ng.offer(sdp, direction=("six", "four"), **flags)
    before = places(ng.answer(bob))
    assert before[0][0] == V6
    ng.offer(sdp, to=b"bob", **flags)
    assert places(ng.answer(bob)) == before


def hold(sdp: bytes) -> bytes:
    """The SDP of an end of IPv6 that is on hold as phones had it once."""
    return sdp.replace(b"c=IN IP6 ::1", b"c=IN IP4 0.0.0.0")


@pytest.mark.parametrize("restored", [False, True])
def test_an_end_that_comes_back_from_a_hold_in_another_address_family_is_met_there(
    make_ng: MakeNg, make_peer: MakePeer, ipv6: None, *, restored: bool
) -> None:
    """0.0.0.0 counted as an address of IPv4, so nothing had changed when the phone was there."""
    ng = make_ng(Interface("both", V4, V4), Interface("both", V6, V6))
    six, four, bob = make_peer(V6), make_peer(V4), make_peer(V4)
    ng.offer(six, family=4)
    ng.answer(bob)
    ng.offer(hold(write_sdp([line(six)]).encode()), to=b"bob")
    assert places(ng.answer(bob))[0][0] == V6
    if restored:
        ng.restore()
    to_bob = ng.offer(four, to=b"bob")
    to_alice = ng.answer(bob)
    assert places(to_alice)[0][0] == V4
    ng.talk(four, bob, NgTalk(to_alice, to_bob))


def test_an_end_that_answers_on_hold_is_met_in_the_address_family_that_it_says_later(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer, ipv6: None
) -> None:
    ng = make_ng(Interface("both", V4, V4), Interface("both", V6, V6))
    assert places(ng.offer(alice, family=6))[0][0] == V6
    ng.answer([MediaLine("0.0.0.0", bob.port)])
    to_alice = ng.offer(bob, tag=b"bob", to=b"alice")
    to_bob = ng.answer(alice, tag=b"alice", to=b"bob")
    assert places(to_bob)[0][0] == V4
    ng.talk(alice, bob, NgTalk(to_alice, to_bob))


@pytest.mark.parametrize("restored", [False, True])
def test_an_end_that_is_met_in_another_address_family_than_its_sdp_stays_there_over_a_hold(
    make_ng: MakeNg, make_peer: MakePeer, bob: MediaPeer, ipv6: None, *, restored: bool
) -> None:
    ng = make_ng(Interface("four", V4, V4), Interface("six", V6, V6))
    sdp = write_sdp([line(make_peer(V6))]).encode()
    before = ng.connect(sdp, bob, direction=("four", "four")).alice_sends_to
    ng.offer(hold(sdp), to=b"bob")
    ng.answer(bob)
    if restored:
        ng.restore()
    ng.offer(sdp, to=b"bob")
    assert places(ng.answer(bob)) == before


def without_families(snapshot: CallSnapshot) -> CallSnapshot:
    """One of an nh that did not remember the address families of ends."""
    assert snapshot.offers is not None
    replace = msgspec.structs.replace
    parties = [replace(each, family=0) for each in snapshot.offers.parties]
    return replace(snapshot, offers=replace(snapshot.offers, parties=parties))


def test_an_end_that_an_earlier_nh_has_met_in_another_address_family_stays_there(
    make_ng: MakeNg, make_peer: MakePeer, bob: MediaPeer, ipv6: None
) -> None:
    ng = make_ng(Interface("four", V4, V4), Interface("six", V6, V6))
    six = make_peer(V6)
    before = ng.connect(six, bob, direction=("four", "four")).alice_sends_to
    ng.restore(without_families)
    ng.offer(six, to=b"bob")
    assert places(ng.answer(bob)) == before


@pytest.mark.parametrize("rtcp", [False, True], ids=["c", "rtcp"])
@pytest.mark.parametrize("caller", [True, False], ids=["caller", "callee"])
def test_a_phone_with_an_ipv4_address_mapped_to_ipv6_is_met_in_ipv4(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer, ipv6: None, *, caller: bool, rtcp: bool
) -> None:
    """Each packet to it failed until one from it came: no socket with an IPv6 address reaches it."""
    ng = make_ng(Interface("both", V6, V6), Interface("both", V4, V4))
    mapped = f"::ffff:{alice.address}"
    attribute = f"rtcp:{alice.port + 1} IN IP6 {mapped}"
    sdp = write_sdp([MediaLine(mapped, alice.port, attributes=(attribute,) if rtcp else ())]).encode()
    talk = ng.connect(*((sdp, bob) if caller else (bob, sdp)))
    places_to_send = (*talk.bob_sends_to, *talk.alice_sends_to)
    bob_sends_to, (address, port) = places_to_send if caller else places_to_send[::-1]
    assert address == V4
    for component in (RTP, RTCP):
        assert ng.passes(bob, bob_sends_to, alice, component) == (address, port + component)


def test_a_medium_on_hold_tells_nothing_of_the_address_family_of_its_end(
    make_ng: MakeNg, make_peer: MakePeer, bob: MediaPeer, ipv6: None
) -> None:
    ng = make_ng(Interface("four", V4, V4), Interface("six", V6, V6))
    six = make_peer(V6)
    audio, video = MediaLine("0.0.0.0", 4000), line(six, kind="video")
    ng.offer([audio, video])
    to_alice = ng.answer([line(bob), line(bob, kind="video")])
    assert {address for address, _ in places(to_alice)} == {V6}


def test_an_end_on_hold_is_met_in_its_address_family_on_another_interface(
    make_ng: MakeNg, make_peer: MakePeer, bob: MediaPeer, ipv6: None
) -> None:
    ng = make_ng(Interface("one", V4, V4), Interface("one", V6, V6), Interface("two", NEAR, NEAR))
    six = make_peer(V6)
    ng.connect(six, bob, direction=("two", "two"))
    ng.offer(hold(write_sdp([line(six)]).encode()), to=b"bob", direction=("one", "two"))
    assert places(ng.answer(bob))[0][0] == V6


BOTH_TWICE = [
    Interface(name, address, address) for name, four in (("x", V4), ("y", NEAR)) for address in (four, V6)
]


def moving_sdp(address: str, *, ice: bool) -> bytes:
    """The SDP of an end at that address, which may have ICE."""
    return write_sdp([MediaLine(address, 4000, attributes=ICE[:2] if ice else ())]).encode()


@pytest.mark.parametrize("ice", [False, True], ids=["", "ice"])
@pytest.mark.parametrize("first", [True, False], ids=["offerer", "answerer"])
def test_an_end_that_gets_another_interface_is_met_in_the_address_family_that_it_has_now(
    make_ng: MakeNg, bob: MediaPeer, ipv6: None, *, first: bool, ice: bool
) -> None:
    """An end with ICE was met in the family that it had at first, as long as it had ICE."""
    ng = make_ng(*BOTH_TWICE)
    four, six = (moving_sdp(address, ice=ice) for address in ("127.0.0.2", V6))
    direct: dict[str, Any] = {"direction": ("x", "x")}
    ng.connect(*((four, bob) if first else (bob, four)), **direct)
    mover, other = (b"alice", b"bob") if first else (b"bob", b"alice")
    ends: dict[str, Any] = {"tag": mover, "to": other}
    for sdp, name, place in ((six, "y", V6), (hold(six), "x", V6), (four, "y", NEAR), (six, "x", V6)):
        ng.offer(sdp, **ends, direction=(name, "x"))
        assert places(ng.answer(bob, tag=other, to=mover))[0][0] == place
    ng.offer(six, **ends)
    assert places(ng.answer(bob, tag=other, to=mover))[0][0] == V6


def test_the_media_in_use_tell_the_address_family_of_an_end_that_gets_another_interface(
    make_ng: MakeNg, bob: MediaPeer, ipv6: None
) -> None:
    ng = make_ng(*BOTH_TWICE)
    ng.connect([line(bob)] * 2, [line(bob)] * 2, direction=("x", "x"))
    rejected, used = MediaLine("127.0.0.2", 0), MediaLine(V6, 4000)
    ng.offer([rejected, used], to=b"bob", direction=("y", "x"))
    to_alice = ng.answer([MediaLine(V4, 0), line(bob)])
    assert places(to_alice)[1][0] == V6


def test_an_end_is_met_where_it_was_last_answered(make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer) -> None:
    """An offer that names no other end goes to where the last dialog has gone, as in rtpengine."""
    ng = make_ng(*CROSSED)
    ng.connect(alice, bob, direction=("near", "near"))
    ng.offer(alice, to=b"bob", direction=("far", "near"))
    assert places(ng.answer(bob))[0][0] == FAR
    assert places(ng.offer([line(bob), line(bob, kind="video")], tag=b"bob"))[0][0] == FAR


def test_an_end_is_met_in_its_address_family_on_another_interface_of_the_other_ones_choice(
    make_ng: MakeNg, make_peer: MakePeer, alice: MediaPeer, ipv6: None
) -> None:
    """The address family of the offerer decided, so an end of IPv6 had an address of IPv4 to send to."""
    ng = make_ng(
        Interface("one", V4, V4),
        Interface("one", V6, V6),
        Interface("two", NEAR, NEAR),
        Interface("two", V6, V6),
    )
    ng.offer(alice, direction=("one", "one"), family=6)
    ng.answer(make_peer(V6))
    assert places(ng.offer(alice, to=b"bob", direction=("one", "two")))[0][0] == V6


def test_an_end_is_met_in_the_address_family_of_its_sip_if_that_counts(
    make_ng: MakeNg, make_peer: MakePeer, bob: MediaPeer, ipv6: None
) -> None:
    ng = make_ng(Interface("four", V4, V4), Interface("six", V6, V6))
    six = make_peer(V6)
    sdp = write_sdp([line(six)]).encode().replace(b"IN IP6 ::1", b"IN IP4 10.0.0.1")
    to_bob = ng.offer(sdp, family=4, trust_received=True, received_from=V6)
    to_alice = ng.answer(bob)
    assert (places(to_bob)[0][0], places(to_alice)[0][0]) == (V4, V6)
    ng.talk(six, bob, NgTalk(to_alice, to_bob))


@pytest.mark.parametrize("names", [("both", "both"), ("four", "six")])
def test_an_answer_says_in_which_address_family_the_end_is_met_that_gets_it(
    make_ng: MakeNg, make_peer: MakePeer, bob: MediaPeer, ipv6: None, names: tuple[str, str]
) -> None:
    """As in rtpengine, of an end whose SDP has another address than it is reached at."""
    ng = make_ng(Interface(names[0], V4, V4), Interface(names[1], V6, V6))
    six = make_peer(V6)
    sdp = write_sdp([line(six)]).encode().replace(b"IN IP6 ::1", b"IN IP4 10.0.0.1")
    to_bob = ng.offer(sdp, family=4)
    to_alice = ng.answer(bob, family=6)
    assert (places(to_bob)[0][0], places(to_alice)[0][0]) == (V4, V6)
    ng.talk(six, bob, NgTalk(to_alice, to_bob))
    assert places(ng.offer(bob, tag=b"bob", to=b"alice")) == places(to_alice)
    assert ng.stats().sockets == 4


def test_an_answer_says_a_family_in_vain_that_no_interface_has(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    to_bob = ng.offer(alice)
    ng.talk(alice, bob, NgTalk(ng.answer(bob, family=6), to_bob))


def test_a_family_that_no_interface_has_is_refused(ng: NgTestbed, alice: MediaPeer) -> None:
    with pytest.raises(Unsupported, match="IPv6"):
        ng.offer(alice, family=6)
    assert ng.stats().calls == 0


def test_without_interfaces_offers_are_refused(ports: range, alice: MediaPeer) -> None:
    ng = NgTestbed(ports)
    with pytest.raises(Unsupported, match="--address"):
        ng.offer(alice)
    ng.close()


# --- addresses ------------------------------------------------------------------------------------------


def test_another_address_may_be_written(ng: NgTestbed, alice: MediaPeer) -> None:
    to_bob = ng.offer(alice, media_address="203.0.113.200", replace_origin=True)
    assert b"c=IN IP4 203.0.113.200" in to_bob
    assert b"o=phone 1 1 IN IP4 203.0.113.200" in to_bob


def test_the_origin_stays_unless_it_is_to_be_replaced(ng: NgTestbed, alice: MediaPeer) -> None:
    assert b"o=phone 1 1 IN IP4 127.0.0.1" in ng.offer(alice)


def test_every_other_byte_stays(ng: NgTestbed) -> None:
    before = samples.POLYCOM.splitlines()
    after = ng.offer(samples.POLYCOM).splitlines()
    changed = [old[:2] for old, new in zip(before, after, strict=True) if old != new]
    assert set(changed) <= {b"c=", b"m="}


# --- ICE ------------------------------------------------------------------------------------------------


def test_candidates_are_replaced_by_the_relays(ng: NgTestbed, alice: MediaPeer) -> None:
    to_bob = ng.offer([line(alice, *ICE)])
    ((address, port),) = places(to_bob)
    rtp, reports = (candidate.split() for candidate in attributes(to_bob, "candidate"))
    assert (rtp[1], rtp[4], rtp[5]) == ("1", address, str(port))
    assert (reports[1], reports[4], reports[5]) == ("2", address, str(port + 1))
    assert attributes(to_bob, "ice-ufrag") == ["ice-ufrag:abcd"]


def test_ice_is_removed(ng: NgTestbed, alice: MediaPeer) -> None:
    to_bob = ng.offer([line(alice, *ICE)], ice=IceHandling.REMOVE)
    assert not [name for name in ("candidate", "ice-ufrag", "ice-pwd") if attributes(to_bob, name)]


def test_the_relays_candidates_may_join_the_others(ng: NgTestbed, alice: MediaPeer) -> None:
    candidates = attributes(ng.offer([line(alice, *ICE)], ice=IceHandling.OPTIONAL), "candidate")
    assert len(candidates) == 3
    assert ICE[2] in candidates


def test_an_end_with_ice_keeps_its_ports_wherever_it_moves(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    before = ng.connect([line(alice, *ICE)], bob)
    moved = make_peer("127.0.0.12")
    assert places(ng.offer([line(moved, *ICE)], to=b"bob")) == before.bob_sends_to


# --- rtcp-mux and BUNDLE ----------------------------------------------------------------------------------


def test_both_ends_may_have_rtcp_on_their_rtp_ports(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    call = ng.connect([line(alice, "rtcp-mux")], [line(bob, "rtcp-mux")])
    for sender, to, receiver in (
        (alice, call.alice_sends_to[0], bob),
        (bob, call.bob_sends_to[0], alice),
    ):
        ng.passes(sender, to, receiver)
        ng.passes(sender, to, receiver, payload=rtcp())


def test_an_end_that_muxes_is_offered_mux_again_after_a_fax(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    ng.offer([line(alice, "rtcp-mux")], mux_demux=True)
    ng.answer(bob)
    ng.offer([line(bob, kind="image", proto="udptl")], tag=b"bob", to=b"alice")
    ng.answer([line(alice, kind="image", proto="udptl")], tag=b"alice", to=b"bob")
    assert attributes(ng.offer(bob, tag=b"bob", to=b"alice"), "rtcp-mux") == ["rtcp-mux"]


def test_an_end_that_muxes_is_offered_mux_again_after_a_restart(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    ng.offer([line(alice, "rtcp-mux")], mux_demux=True)
    ng.answer(bob)
    ng.restore()
    assert attributes(ng.offer(bob, tag=b"bob", to=b"alice"), "rtcp-mux") == ["rtcp-mux"]


def test_media_that_are_added_are_offered_mux_where_the_others_have_it(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """And not where the end has taken another medium without."""
    ng.offer([line(alice, "rtcp-mux"), line(alice, kind="video")], mux_demux=True)
    ng.answer([line(bob), line(bob, kind="video")])
    more = [line(bob), line(bob, kind="video"), line(bob, kind="video")]
    offer = read_sdp(ng.offer(more, tag=b"bob", to=b"alice").decode())
    assert ["rtcp-mux" in each.attributes for each in offer] == [True, False, True]


def test_an_answer_that_muxes_says_so_and_has_no_rtcp_port(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    to_bob = ng.offer([line(alice, "rtcp-mux", f"rtcp:{alice.port}")])
    assert attributes(to_bob, "rtcp-mux") == ["rtcp-mux"]
    assert attributes(to_bob, "rtcp") == [f"rtcp:{places(to_bob)[0][1] + 1}"]
    to_alice = ng.answer([line(bob, "rtcp-mux", f"rtcp:{bob.port}")])
    assert attributes(to_alice, "rtcp-mux") == ["rtcp-mux"]
    assert attributes(to_alice, "rtcp") == []


def test_the_media_of_a_bundle_share_one_port(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    def bundle(peer: MediaPeer, *others: MediaPeer) -> bytes:
        media = [line(peer, "mid:0", "rtcp-mux")]
        media += [line(other, "mid:1", "rtcp-mux", kind="video") for other in others]
        return write_sdp(media).encode().replace(b"t=0 0\r\n", b"t=0 0\r\na=group:BUNDLE 0 1\r\n")

    to_bob = ng.offer(bundle(alice, make_peer("127.0.0.11")))
    assert len(set(places(to_bob))) == 2, "an offer is only a wish"
    to_alice = ng.answer(bundle(bob, bob))
    assert len(set(places(to_alice))) == 1
    ng.talk(alice, bob, NgTalk(to_alice, to_bob), components=(RTP,))


def test_a_data_channel_in_a_bundle_shares_the_port_and_keeps_its_protocol(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    def bundle(peer: MediaPeer) -> bytes:
        audio = line(peer, "mid:0", "rtcp-mux", proto="UDP/TLS/RTP/SAVPF")
        data = MediaLine(peer.address, peer.port, "application", "UDP/DTLS/SCTP", attributes=("mid:1",))
        return write_sdp([audio, data]).encode().replace(b"t=0 0\r\n", b"t=0 0\r\na=group:BUNDLE 0 1\r\n")

    ng.offer(bundle(alice))
    audio, data = read_sdp(ng.answer(bundle(bob)).decode())
    assert data.target == audio.target
    assert (audio.proto, data.proto) == ("UDP/TLS/RTP/SAVPF", "UDP/DTLS/SCTP")
    assert data.attributes == ("mid:1",)


def test_a_bundle_whose_first_medium_is_not_relayed_is_still_relayed(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    def bundle(peer: MediaPeer) -> bytes:
        chat = MediaLine(peer.address, 9, "message", "TCP/MSRP", attributes=("mid:0",))
        media = write_sdp([chat, line(peer, "mid:1")]).encode()
        return media.replace(b"t=0 0\r\n", b"t=0 0\r\na=group:BUNDLE 0 1\r\n")

    call = ng.connect(bundle(alice), bundle(bob))
    ng.talk(alice, bob, call, medium=1)


# --- media that are not relayed ----------------------------------------------------------------------------


def test_media_over_tcp_are_left_alone(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    chat = MediaLine("192.0.2.7", 9, "message", "TCP/MSRP", attributes=("path:msrp://192.0.2.7:9/x;tcp",))
    to_bob = read_sdp(ng.offer([line(alice), chat]).decode())
    assert to_bob[1] == chat
    assert read_sdp(ng.answer([line(bob), chat]).decode())[1] == chat
    assert ng.stats().sockets == 4


def test_a_call_without_any_relayed_medium_is_still_a_call(ng: NgTestbed) -> None:
    chat = MediaLine("192.0.2.7", 9, "message", "TCP/MSRP")
    ng.connect([chat], [chat])
    stats = ng.stats()
    assert (stats.calls, stats.sessions, stats.sockets) == (1, 0, 0)
    ng.delete(b"bob")
    assert ng.stats().calls == 0


def test_a_conversion_of_transports_is_refused(ng: NgTestbed, alice: MediaPeer) -> None:
    with pytest.raises(Unsupported, match="UDP/TLS/RTP/SAVP"):
        ng.offer(alice, transport_protocol="UDP/TLS/RTP/SAVP", dtls=DtlsOptions(off=True))
    ng.offer(alice, transport_protocol="RTP/AVP")


@pytest.mark.parametrize(
    ("options", "left_out"),
    [
        (
            {"transport_protocol": "UDP/TLS/RTP/SAVP", "dtls": DtlsOptions(off=True)},
            "transport-protocol: nh passes RTP/AVP on as it is, not as ",
        ),
        (
            {
                "transport_protocol": "RTP/SAVP",
                "sdes": SdesOptions(off=True),
                "dtls": DtlsOptions(off=True),
            },
            "transport-protocol: nh passes RTP/AVP on as it is, not as ",
        ),
    ],
)
def test_what_may_be_left_out_is_named_and_the_media_go_as_they_are(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, options: dict[str, Any], left_out: str
) -> None:
    parsed = OfferOptions(lenient=frozenset({Feature.SRTP}), **options)
    offered = ng.relay.execute(Offer(CALL, b"alice", b"", b"", write_sdp([line(alice)]).encode(), parsed))
    assert isinstance(offered, Rewritten)
    assert offered.left_out.startswith(left_out)
    assert read_sdp(offered.sdp.decode())[0].proto == "RTP/AVP"
    answered = ng.relay.execute(Answer(CALL, b"alice", b"bob", b"", write_sdp([line(bob)]).encode(), parsed))
    assert isinstance(answered, Rewritten)
    assert read_sdp(answered.sdp.decode())[0].proto == "RTP/AVP"


# --- loops --------------------------------------------------------------------------------------------------


def test_an_sdp_that_was_here_already_is_left_alone(ng: NgTestbed, alice: MediaPeer) -> None:
    once = ng.offer(alice, loop_protect=True)
    assert ng.offer(once, call_id=b"again", loop_protect=True) == once
    assert ng.answer(once, call_id=b"unknown", loop_protect=True) == once
    assert ng.stats().calls == 1
    assert ng.offer(once, call_id=b"unprotected") != once


def test_the_mark_of_another_relay_is_no_loop(make_ng: MakeNg, ng: NgTestbed, alice: MediaPeer) -> None:
    theirs = make_ng(*CROSSED).offer(alice, loop_protect=True)
    assert ng.offer(theirs, loop_protect=True) != theirs


# --- what is refused ----------------------------------------------------------------------------------------

REFUSED: list[tuple[str, bytes, type[NhError]]] = [
    ("junk", b"\x00\xff" * 100, UnusableSdp),
    ("no m= line that can be read", b"v=0\r\nm=audio x RTP/AVP 0\r\n", UnusableSdp),
    ("1,000 media", b"v=0\r\nc=IN IP4 192.0.2.1\r\n" + b"m=audio 4000 RTP/AVP 0\r\n" * 1000, UnusableSdp),
    ("70 kB", b"v=0\r\ns=" + b"x" * 70_000 + b"\r\n", UnusableSdp),
    ("a port beyond all ports", b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 65536 RTP/AVP 0\r\n", UnusableSdp),
    ("no address", b"v=0\r\nm=audio 4000 RTP/AVP 0\r\n", IncompleteSdp),
    ("too many ports", b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000/40 RTP/AVP 0\r\n", IncompleteSdp),
]


@pytest.mark.parametrize(("sdp", "error"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_bad_sdp_is_refused_and_nothing_is_kept(ng: NgTestbed, sdp: bytes, error: type[NhError]) -> None:
    with pytest.raises(error):
        ng.offer(sdp)
    assert ng.stats().calls == ng.stats().sockets == 0
    ng.offer(samples.RFC3264_OFFER)
    sockets = ng.stats().sockets
    with pytest.raises(error):
        ng.answer(sdp)
    with pytest.raises(error):
        ng.offer(sdp, to=b"bob")
    assert ng.stats().sockets == sockets


def test_lines_of_60_kb_are_passed_on(ng: NgTestbed) -> None:
    long = b"a=x:" + b"y" * 60_000 + b"\r\n"
    assert long in ng.offer(samples.RFC3264_OFFER + long)


def test_as_many_media_as_there_may_be_are_relayed(ports: range) -> None:
    ng = NgTestbed(ports, interfaces=CROSSED)
    sdp = b"v=0\r\nc=IN IP4 192.0.2.1\r\n" + b"m=audio 4000 RTP/AVP 0\r\n" * 64
    assert len(set(places(ng.offer(sdp, direction=("near", "far"))))) == 64
    ng.close()
    assert ng.stats().ports_free == ng.stats().ports_total


@pytest.mark.parametrize("name", sorted(samples.ALL))
def test_what_real_peers_write_is_relayed(ng: NgTestbed, name: str) -> None:
    sdp = samples.ALL[name]
    to_bob = ng.offer(sdp)
    to_alice = ng.answer(sdp)
    assert to_bob.count(b"m=") == to_alice.count(b"m=") == sdp.count(b"m=")
    again = ng.offer(sdp, to=b"bob")
    # Bob has agreed on rtcp-mux where Alice offers it
    assert again == (b"".join(_without_rtcp(to_bob)) if b"a=rtcp-mux" in sdp else to_bob)
    ng.delete(b"alice")
    assert ng.stats().sockets == 0


def _without_rtcp(sdp: bytes) -> Iterator[bytes]:
    """The lines of an SDP but those that say where RTCP alone is."""
    for each in sdp.splitlines(keepends=True):
        words = each.split()
        if not each.startswith(b"a=rtcp:") and not (each.startswith(b"a=candidate:") and words[1] == b"2"):
            yield each


@pytest.mark.parametrize(
    ("direction", "stays"), [("sendonly", True), ("inactive", True), ("recvonly", False)]
)
def test_ports_stay_for_media_that_their_sender_does_not_receive(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer, direction: str, stays: bool
) -> None:
    ng = make_ng(*CROSSED)
    call = ng.connect(alice, bob)
    moved = MediaLine(alice.address, alice.port + 10, attributes=(direction,))
    assert (places(ng.offer([moved], to=b"bob")) == call.bob_sends_to) is stays


def test_what_an_sdp_writes_at_length_takes_no_room_of_its_call(ng: NgTestbed) -> None:
    size = 10_000
    sdp = write_sdp([MediaLine(NEAR, 4000)]).replace("RTP/AVP 0", f"RTP/AVP {'9' * size} 0")
    sdp += f"a=mid:{'m' * size}\r\na=label:{'l' * size}\r\na=ice-ufrag:{'u' * size}\r\n"
    for _ in range(2):
        ng.offer(sdp.encode())
        answer = ng.answer(sdp.encode())
        assert len(answer) > size, "it passes all the same"
    assert len(written(ng.relay.table, CALL, now=0.0)) < size
