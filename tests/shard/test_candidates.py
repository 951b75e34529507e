"""Several candidates of the relay for a medium: media go over the pair that the end nominates."""

import pytest

from nh.calls.interfaces import Interface
from nh.commands import BundleOptions, IceHandling, ShowCall
from nh.results import CallDetail, LegDetail
from tests.ice.phone import IcePhone
from tests.shard.conftest import MakeNg, MakePeer
from tests.shard.ng_testbed import CALL, NgTestbed, line, places
from tests.shard.secure_calls import IceCall
from tests.shard.test_ice import attributes
from tests.shard.test_ice_dtls import WebCall
from tests.shard.testbed import PACKET, V4, V6
from tests.webrtc.bundle_phone import BundlePhone, plain_packet, write_media
from tools.harness.media_peer import RTCP, RTP, MediaPeer

FORCE, REMOVE = IceHandling.FORCE, IceHandling.REMOVE
OTHER = "127.0.0.2"
PUBLIC = tuple(Interface("pub", address, address) for address in (V4, OTHER, V6))
PRIVATE = Interface("priv", "127.0.0.3", "127.0.0.3")

pytestmark = pytest.mark.usefixtures("ipv6")


class RoamingCall(IceCall):
    """A phone with ICE that has a network of each family, a plain one, and a relay with three addresses."""

    def __init__(self, testbed: NgTestbed, home: MediaPeer, mobile: MediaPeer, plain: MediaPeer) -> None:
        super().__init__(testbed, IcePhone(home), plain)
        self.home, self.mobile = home, mobile
        offer = testbed.offer(plain, ice=FORCE)
        self.candidates = dict(self.phone.learn(offer)[::2])
        (self.plain_sends_to,) = places(testbed.answer(self.phone.sdp()))

    def checks_at(self, address: str, *, nominates: bool = False, peer: MediaPeer | None = None) -> None:
        """Both components of one of the relay's candidates answer a check, from where it went."""
        self.phone_sends_to = (address, self.candidates[address])
        for component in (RTP, RTCP):
            self.checks(component, nominates=nominates, peer=peer)

    def goes_over(self, address: str, peer: MediaPeer) -> None:
        """Media of the phone go to that candidate, and those for it come from there."""
        self.phone_sends_to = to = (address, self.candidates[address])
        for _ in range(3):
            self.reaches_plain(peer=peer)
            self.reaches_plain(RTCP, peer=peer)
            for component in (RTP, RTCP):
                source = self.testbed.passes(self.plain, self.plain_sends_to, peer, component)
                assert source == (to[0], to[1] + component)


@pytest.fixture
def testbed(make_ng: MakeNg) -> NgTestbed:
    return make_ng(*PUBLIC, PRIVATE)


@pytest.fixture
def call(testbed: NgTestbed, make_peer: MakePeer) -> RoamingCall:
    return RoamingCall(testbed, make_peer(), make_peer(V6), make_peer("127.0.0.9"))


# --- SDP ------------------------------------------------------------------------------------------


def test_each_address_of_the_interface_is_a_candidate(testbed: NgTestbed, bob: MediaPeer) -> None:
    """In the order of the settings, behind that of c= and m=; addresses of other names are none."""
    offer = testbed.offer(bob, ice=FORCE, direction=("priv", "pub"))
    lines = [each.split() for each in attributes(offer, "candidate")]
    assert [(each[4], each[1]) for each in lines] == [
        (address, component) for address in (V4, OTHER, V6) for component in ("1", "2")
    ]
    assert len({each[0] for each in lines}) == 3, "a foundation for each address (RFC 8445 5.1.1.3)"
    priorities = [int(each[3]) for each in lines if each[1] == "1"]
    assert priorities == sorted(set(priorities), reverse=True)
    assert (lines[0][4], int(lines[0][5])) == places(offer)[0]


def test_a_fax_has_the_candidates_too(testbed: NgTestbed, make_peer: MakePeer, bob: MediaPeer) -> None:
    offer = testbed.offer([line(bob, kind="image", proto="udptl")], ice=FORCE, direction=("priv", "pub"))
    lines = [each.split() for each in attributes(offer, "candidate")]
    assert [(each[4], each[1]) for each in lines] == [(address, "1") for address in (V4, OTHER, V6)]
    phone, peer = IcePhone(make_peer(V6)), make_peer(V6)
    to = phone.learn(offer)[2]
    phone.check(to, nominates=True, peer=peer)
    phone.read(testbed.receive(peer)[0])
    testbed.answer([line(phone.peer, *phone.attributes, kind="image", proto="udptl")])
    testbed.passes(peer, to, bob, RTP, b"\0\1\5fax\0\0")


def test_the_address_family_chooses_the_default_one(testbed: NgTestbed, bob: MediaPeer) -> None:
    offer = testbed.offer(bob, ice=FORCE, family=6)
    assert places(offer)[0][0] == V6
    assert [each.split()[4] for each in attributes(offer, "candidate")][::2] == [V6, V4, OTHER]


def test_a_candidate_has_the_advertised_address(make_ng: MakeNg, bob: MediaPeer) -> None:
    testbed = make_ng(PUBLIC[0], Interface("pub", OTHER, "203.0.113.7"))
    lines = attributes(testbed.offer(bob, ice=FORCE), "candidate")
    assert [each.split()[4] for each in lines][::2] == [V4, "203.0.113.7"]


def test_a_client_that_names_the_address_gets_that_alone(testbed: NgTestbed, bob: MediaPeer) -> None:
    offer = testbed.offer(bob, ice=FORCE, media_address="203.0.113.7")
    assert {each.split()[4] for each in attributes(offer, "candidate")} == {"203.0.113.7"}


def test_the_offerer_has_a_choice_too(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    phone = IcePhone(alice, "them", "rtcp-mux")
    testbed.offer(phone.sdp(), ice=REMOVE, mux_demux=True)
    answer = testbed.answer(bob)
    found = phone.learn(answer)
    assert [address for address, _ in found] == [V4, OTHER, V6], "muxed RTCP has none of its own"
    phone.check(found[1], nominates=True)
    phone.read(testbed.receive(alice)[0])
    testbed.passes(alice, found[1], bob)


def test_a_re_invite_keeps_the_candidates(call: RoamingCall) -> None:
    call.checks_at(V6, nominates=True, peer=call.mobile)
    offer = call.testbed.offer(call.plain, to=b"bob", ice=FORCE)
    assert dict(call.phone.learn(offer)[::2]) == call.candidates
    call.testbed.answer(call.phone.sdp())
    call.goes_over(V6, call.mobile)


def test_without_ice_there_are_no_further_sockets(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed.connect([line(alice)], [line(bob)])
    assert testbed.relay.table.resources.sockets == 4


# --- checks and media -----------------------------------------------------------------------------


def test_media_go_over_the_pair_that_the_phone_nominates(call: RoamingCall) -> None:
    call.checks_at(V4)
    call.checks_at(V6, nominates=True, peer=call.mobile)
    call.goes_over(V6, call.mobile)
    call.checks_at(V4, nominates=True)
    call.goes_over(V4, call.home)
    call.checks_at(V6, peer=call.mobile)
    call.goes_over(V4, call.home)


def test_of_two_addresses_of_one_family_the_phone_chooses_one(call: RoamingCall) -> None:
    """It checks both from one socket: the pairs differ in the relay's end alone."""
    for address in (V4, OTHER, V4, OTHER):
        call.checks_at(address, nominates=True)
        call.goes_over(address, call.home)


def test_before_a_nomination_media_go_over_the_latest_check(call: RoamingCall) -> None:
    call.checks_at(V6, peer=call.mobile)
    call.goes_over(V6, call.mobile)
    call.checks_at(OTHER)
    call.goes_over(OTHER, call.home)


def test_a_stranger_reaches_no_candidate(call: RoamingCall, make_peer: MakePeer) -> None:
    call.checks_at(V6, nominates=True, peer=call.mobile)
    mallory = make_peer(V6)
    for address, peer in ((V4, make_peer("127.0.0.66")), (V6, mallory)):
        peer.send_raw(PACKET, (address, call.candidates[address]))
    call.testbed.turn_until(lambda: call.testbed.stats().drop_source_mismatch == 2, "both are refused")
    call.goes_over(V6, call.mobile)
    assert call.plain.pending() == mallory.pending() == []


def test_the_list_shows_the_selected_pair(call: RoamingCall) -> None:
    call.checks_at(V6, nominates=True, peer=call.mobile)
    call.goes_over(V6, call.mobile)
    found = call.testbed.relay.execute(ShowCall(CALL))
    assert isinstance(found, CallDetail)
    leg = _phone_leg(found)
    assert leg.local == f"[::1]:{call.candidates[V6]}"
    assert leg.source == leg.ice.selected == f"[::1]:{call.mobile.port}"  # type: ignore[union-attr]
    (group,) = [each for each in found.groups if each.further]
    assert group.further == (f"{OTHER}:{call.candidates[OTHER]}", f"[::1]:{call.candidates[V6]}")


def _phone_leg(found: CallDetail) -> LegDetail:
    (session,) = found.sessions
    return next(leg for pair in session.pairs[:1] for leg in (pair.from_, pair.to) if leg.ice is not None)


def test_an_answer_without_ice_uses_the_default_alone(testbed: NgTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(), make_peer("127.0.0.9")
    phone = IcePhone(bob)
    candidates = dict(phone.learn(testbed.offer(alice, ice=FORCE))[::2])
    testbed.answer(bob)
    bob.send_raw(PACKET, (OTHER, candidates[OTHER]))
    testbed.turn_until(lambda: testbed.stats().drop_no_session == 1, "no leg receives there")
    testbed.passes(bob, (V4, candidates[V4]), alice)


def test_a_bundle_goes_over_the_nominated_pair(testbed: NgTestbed, make_peer: MakePeer) -> None:
    """Audio and video of the phone share each candidate."""
    home, mobile = make_peer(), make_peer(V6)
    plain = [make_peer("127.0.0.9"), make_peer("127.0.0.9")]
    ice, phone = IcePhone(home), BundlePhone(home)
    offer = testbed.offer(phone.sdp(*ice.attributes).encode(), ice=REMOVE, bundle=BundleOptions(accept=True))
    answer = testbed.answer(
        write_media([each.port for each in plain], [[], []], address="127.0.0.9").encode()
    )
    ice.learn(answer[: answer.index(b"m=video")])
    to_v6 = dict(ice.candidates)[V6]
    ice.check((V6, to_v6), nominates=True, peer=mobile)
    ice.read(testbed.receive(mobile)[0])
    for medium, (to, peer) in enumerate(zip(places(offer), plain, strict=True)):
        testbed.passes(mobile, (V6, to_v6), peer, RTP, phone.packet(medium, b"from the bundle"))
        source = testbed.passes(peer, to, mobile, RTP, plain_packet(medium, 1, b"to the bundle"))
        assert source == (V6, to_v6)


def test_a_browser_may_do_its_handshake_over_any_candidate(make_ng: MakeNg, make_peer: MakePeer) -> None:
    call = WebCall(make_ng(*PUBLIC), make_peer(), make_peer("127.0.0.9"))
    role = call.offered_by_web()
    call.phone.sends_to = (OTHER, dict(call.ice.candidates)[OTHER])
    call.checks()
    call.phone.begin(client=role == "passive")
    call.agrees()
    call.goes_both_ways()
    call.checks(nominates=True)
    for _ in range(3):
        call.goes_both_ways()


# --- limits ---------------------------------------------------------------------------------------


def test_an_address_that_cannot_be_bound_is_left_out(make_ng: MakeNg, alice: MediaPeer) -> None:
    testbed = make_ng(PUBLIC[0], Interface("pub", "203.0.113.7", "203.0.113.7"), PUBLIC[1])
    lines = attributes(testbed.offer(alice, ice=FORCE), "candidate")
    assert [each.split()[4] for each in lines][::2] == [V4, OTHER]


@pytest.mark.parametrize(("limit", "expected"), [(4, [V4]), (6, [V4, OTHER]), (8, [V4, OTHER, V6])])
def test_candidates_near_the_limit_on_sockets_are_left_out(
    make_ng: MakeNg, alice: MediaPeer, limit: int, expected: list[str]
) -> None:
    """The call itself is let in: it needs two for each end."""
    testbed = make_ng(*PUBLIC, max_sockets=limit)
    lines = attributes(testbed.offer(alice, ice=FORCE), "candidate")
    assert [each.split()[4] for each in lines][::2] == expected


def test_candidates_take_no_ports_that_calls_need(make_ng: MakeNg, alice: MediaPeer, ports: range) -> None:
    """The last quarter of the ports of an address is for calls."""
    few = (ports[0], ports[0] + 7)
    testbed = make_ng(Interface("pub", V4, V4), Interface("pub", OTHER, OTHER, few))
    found = [
        len(attributes(testbed.offer(alice, ice=FORCE, call_id=b"%d" % number), "candidate"))
        for number in range(5)
    ]
    assert found == [4, 4, 4, 2, 2]


def test_nothing_of_them_is_left_behind(call: RoamingCall) -> None:
    free = call.testbed.relay.table.resources.ports.free
    call.checks_at(V6, nominates=True, peer=call.mobile)
    call.testbed.delete()
    resources = call.testbed.relay.table.resources
    assert resources.sockets == 0 and resources.ports.free > free
