"""ICE that ends at the relay: phones with ICE and without, their checks, media, and restarts."""

from typing import Any

import pytest

from nh.calls.media import Endpoint
from nh.commands import BundleOptions, IceHandling, ShowCall
from nh.ice.agent import CheckResult
from nh.results import CallDetail
from nh.verdict import judge_call
from tests.calls.rtp import rtp_packet
from tests.ice.phone import IcePhone
from tests.shard.conftest import MakeNg, MakePeer
from tests.shard.ng_testbed import CALL, NgTestbed, Savings, line, places, streams
from tests.shard.secure_calls import IceCall
from tests.shard.testbed import PACKET
from tests.sip.sdp import MediaLine, read_sdp, write_sdp
from tools.harness.media_peer import RTCP, RTP, MediaPeer

FORCE, REMOVE, RELAY = IceHandling.FORCE, IceHandling.REMOVE, IceHandling.FORCE_RELAY
MUXES = ("rtcp-mux",)


def attributes(sdp: bytes, name: str | tuple[str, ...] = "") -> list[str]:
    (medium,) = read_sdp(sdp.decode())
    return [each for each in medium.attributes if each.startswith(name)]


def relayed(sdp: bytes) -> tuple[str, int]:
    """Where an SDP has the RTP of a relayed candidate."""
    candidates = [each.split() for each in attributes(sdp, "candidate")]
    [(address, port)] = [
        (each[4], int(each[5])) for each in candidates if each[1] == "1" and each[7] == "relay"
    ]
    return address, port


@pytest.fixture
def testbed(make_ng: MakeNg) -> NgTestbed:
    return make_ng()


@pytest.fixture
def call(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> IceCall:
    call = IceCall(testbed, IcePhone(alice), bob)
    call.offered_by_phone()
    return call


# --- SDP ------------------------------------------------------------------------------------------


def test_the_answer_has_the_relays_ice(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    phone = IcePhone(alice, "them", "x-other:1")
    testbed.offer(phone.sdp(), ice=REMOVE)
    answer = testbed.answer(bob)
    ((address, port),) = places(answer)
    assert phone.learn(answer) == [(address, port), (address, port + 1)]
    assert b"a=ice-lite\r\n" in answer.split(b"m=")[0]
    [rtp, rtcp] = attributes(answer, "candidate")
    assert rtp.split()[1:4] == ["1", "UDP", "2130706431"]
    assert rtcp.split()[1:4] == ["2", "UDP", "2130706430"]
    assert phone.ours[0] not in ("", phone.ufrag)


def test_ice_can_be_offered_for_an_end_without(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    offer = testbed.offer(alice, ice=FORCE, trickle=True, ice2=True)
    phone = IcePhone(bob)
    assert len(phone.learn(offer)) == 2
    assert "ice-options:trickle ice2" in attributes(offer)
    assert "end-of-candidates" in attributes(offer)
    assert not attributes(testbed.answer(phone.sdp()), "ice")


@pytest.mark.parametrize(
    ("said", "repeated"),
    [
        ("trickle", ["ice-options:trickle", "end-of-candidates"]),
        ("ice2", ["ice-options:ice2"]),
        ("ice2 renomination trickle", ["ice-options:trickle ice2", "end-of-candidates"]),
        ("renomination", []),
    ],
)
@pytest.mark.parametrize("of_session", [False, True], ids=["medium", "session"])
def test_an_end_hears_which_of_its_options_of_ice_the_relay_supports(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, *, said: str, repeated: list[str], of_session: bool
) -> None:
    """In each SDP, also of a process that goes on with the call; the plain end hears nothing of it."""
    sdp = IcePhone(alice, "them", f"ice-options:{said}").sdp()
    if of_session:
        option = f"a=ice-options:{said}\r\n".encode()
        sdp = sdp.replace(option, b"").replace(b"t=0 0\r\n", b"t=0 0\r\n" + option)
    assert b"ice-options" not in testbed.offer(sdp, ice=REMOVE)
    testbed.restore()
    for to_phone in (testbed.answer(bob), testbed.offer(bob, tag=b"bob", to=b"alice")):
        found = [each for each in attributes(to_phone) if each.startswith(("ice-options", "end-of"))]
        assert found == repeated


def test_muxed_rtcp_has_no_candidate(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    phone = IcePhone(alice, "them", "rtcp-mux")
    testbed.offer(phone.sdp(), ice=REMOVE, mux_demux=True)
    answer = testbed.answer(bob)
    assert phone.learn(answer) == places(answer)


@pytest.mark.parametrize("wanted", [IceHandling.DEFAULT, IceHandling.OPTIONAL, IceHandling.FORCE_RELAY])
def test_ice_passes_through_where_both_ends_have_it(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, wanted: IceHandling
) -> None:
    caller, callee = IcePhone(alice, "caller"), IcePhone(bob, "callee")
    callee.learn(testbed.offer(caller.sdp(), ice=wanted))
    assert callee.ours == (caller.ufrag, caller.password)
    caller.learn(testbed.answer(callee.sdp(), ice=wanted))
    assert caller.ours == (callee.ufrag, callee.password)


@pytest.mark.parametrize(
    ("caller", "options"),
    [
        (MUXES, {"mux_demux": True}),
        (MUXES, {"mux_accept": True}),
        (MUXES, {"mux_reject": True}),
        ((), {"mux_offer": True}),
    ],
)
def test_ends_of_which_one_alone_may_multiplex_have_ice_with_the_relay(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, caller: tuple[str, ...], options: dict[str, Any]
) -> None:
    """Each would check another number of components: with each other, their ICE failed."""
    phones = IcePhone(alice, "caller", *caller), IcePhone(bob, "callee", *(() if caller else MUXES))
    offer = testbed.offer(phones[0].sdp(), **options)
    answer = testbed.answer(phones[1].sdp())
    (to_bob,), (to_alice,) = places(offer), places(answer)
    for phone, sdp, to in zip(phones, (answer, offer), (to_alice, to_bob), strict=True):
        phone.learn(sdp)
        phone.check(to)
        phone.read(testbed.receive(phone.peer)[0])
    assert not {phone.ufrag for phone in phones}.intersection(phone.ours[0] for phone in phones)
    testbed.passes(alice, to_alice, bob)
    testbed.passes(bob, to_bob, alice)


def test_ice_of_ends_that_multiplex_alike_passes_through_and_goes_on(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    caller, callee = IcePhone(alice, "caller", *MUXES), IcePhone(bob, "callee", *MUXES)
    for to, accept in ((b"", False), (b"bob", True)):  # the ends have checked before the second
        callee.learn(testbed.offer(caller.sdp(), to=to, mux_offer=True, mux_accept=accept))
        assert callee.ours == (caller.ufrag, caller.password)
        caller.learn(testbed.answer(callee.sdp()))
        assert caller.ours == (callee.ufrag, callee.password)
        testbed.restore()


@pytest.mark.parametrize("before", ["an end without ICE", "ICE that has been turned off"])
def test_ends_that_begin_with_ice_later_have_it_with_the_relay_if_one_alone_multiplexes(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, before: str
) -> None:
    """As where a proxy has another end go on with the call; it says nothing of rtcp-mux again."""
    caller, callee = IcePhone(alice, "caller", *MUXES), IcePhone(bob, "callee")
    muxing = write_sdp([MediaLine(alice.address, alice.port, attributes=MUXES)]).encode()
    if before == "ICE that has been turned off":
        testbed.offer(caller.sdp())
        testbed.answer(IcePhone(bob, "callee", *MUXES).sdp())
        testbed.offer(muxing, to=b"bob", mux_demux=True)
    else:
        testbed.offer(muxing, mux_demux=True)
    testbed.answer(bob)
    caller.learn(testbed.offer(callee.sdp(), tag=b"bob", to=b"alice"))
    callee.learn(testbed.answer(caller.sdp(), tag=b"alice", to=b"bob"))
    assert len(caller.candidates) == 1
    assert len(callee.candidates) == 2
    assert not {caller.ours[0], callee.ours[0]}.intersection((caller.ufrag, callee.ufrag))


def test_ends_meet_at_a_relay_that_is_one_candidate_of_theirs(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    offer = testbed.offer(IcePhone(alice, "caller").sdp(), ice=RELAY)
    answer = testbed.answer(IcePhone(bob, "callee").sdp(), ice=RELAY)
    assert places(offer) == [(alice.address, alice.port)]
    assert places(answer) == [(bob.address, bob.port)]
    to_bob, to_alice = relayed(offer), relayed(answer)
    testbed.passes(alice, to_alice, bob)
    testbed.passes(bob, to_bob, alice)


@pytest.mark.parametrize("ice", [IceHandling.DEFAULT, FORCE])
def test_an_end_that_muxes_is_offered_no_candidate_of_rtcp_again(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, ice: IceHandling
) -> None:
    """A new medium has one: its receiver may refuse to multiplex it."""
    caller, callee = IcePhone(alice, "caller", "rtcp-mux"), IcePhone(bob, "callee", "rtcp-mux")

    def components(sdp: bytes) -> list[list[str]]:
        media = [medium.attributes for medium in read_sdp(sdp.decode())]
        return [[each.split()[1] for each in medium if each.startswith("candidate:")] for medium in media]

    assert components(testbed.offer(caller.sdp(), ice=ice)) == [["1", "2"]]
    testbed.answer(callee.sdp(), ice=ice)
    testbed.restore()
    assert components(testbed.offer(caller.sdp(), to=b"bob")) == [["1"]]
    testbed.answer(callee.sdp())
    assert components(testbed.offer(callee.sdp(), tag=b"bob", to=b"alice")) == [["1"]]
    testbed.answer(caller.sdp(), tag=b"alice", to=b"bob")
    audio = caller.sdp()
    added = audio + audio[audio.index(b"m=") :].replace(b"m=audio", b"m=video")
    assert components(testbed.offer(added, to=b"bob")) == [["1"], ["1", "2"]]


def test_ice_with_the_relay_outlasts_an_sdp_without_media(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """The phone with ICE was offered none again, and the plain one some."""
    phone = IcePhone(alice)
    offer, rejected = phone.sdp(), [MediaLine(alice.address, 0)]
    testbed.offer(offer, ice=REMOVE)
    testbed.answer(bob)
    testbed.offer(rejected, to=b"bob")
    testbed.answer([MediaLine(bob.address, 0)])
    testbed.restore()
    assert not attributes(testbed.offer(offer, to=b"bob"), "candidate")
    testbed.answer([MediaLine(bob.address, 0)])
    assert phone.learn(testbed.offer(bob, tag=b"bob", to=b"alice"))
    answer = testbed.answer(offer, tag=b"alice", to=b"bob")
    assert not attributes(answer, "candidate")


def test_ice_with_the_relay_is_offered_again_to_an_end_that_first_rejected_all_media(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """As in rtpengine: a script says ICE=force of the first offer alone."""
    assert attributes(testbed.offer(alice, ice=FORCE), "candidate")
    testbed.answer([MediaLine(bob.address, 0)])
    testbed.restore()
    assert attributes(testbed.offer(alice, to=b"bob"), "candidate")


@pytest.mark.parametrize("required", [False, True])
def test_mux_is_offered_again_to_an_end_that_first_rejected_all_media(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, required: bool
) -> None:
    """As in rtpengine. It has not agreed yet, so RTCP has a port of its own, too (RFC 5761 5.1.1)."""
    testbed.offer(alice, ice=FORCE, mux_offer=True, mux_require=required)
    testbed.answer([MediaLine(bob.address, 0)])
    testbed.restore()
    assert offered_components(testbed.offer(alice, to=b"bob")) == {1, 2}
    testbed.answer(IcePhone(bob, "callee", *MUXES).sdp())
    assert offered_components(testbed.offer(alice, to=b"bob")) == {1}


def offered_components(sdp: bytes) -> set[int]:
    """The components of ICE that an SDP with a=rtcp-mux has."""
    assert attributes(sdp, MUXES)
    return {int(each.split()[1]) for each in attributes(sdp, "candidate")}


def test_an_end_that_multiplexes_is_offered_that_where_its_own_first_offer_was_rejected(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """A browser takes no offer without (RFC 8829 4.1.1)."""
    testbed.offer([line(alice, *MUXES)], mux_demux=True)
    testbed.answer([MediaLine(bob.address, 0)])
    testbed.restore()
    assert attributes(testbed.offer(bob, tag=b"bob", to=b"alice"), MUXES)


def test_an_end_whose_mux_the_client_refused_is_not_offered_it_where_its_own_first_offer_was_rejected(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed.offer([line(alice, *MUXES)], mux_reject=True)
    testbed.answer([MediaLine(bob.address, 0)])
    testbed.restore()
    assert not attributes(testbed.offer(bob, tag=b"bob", to=b"alice"), MUXES)


def test_a_relay_is_no_further_candidate_where_it_is_an_end_itself(
    testbed: NgTestbed, alice: MediaPeer
) -> None:
    offer = testbed.offer(IcePhone(alice).sdp(), ice=RELAY, transport_protocol="RTP/SAVP")
    assert places(offer) != [(alice.address, alice.port)]
    assert {each.split()[7] for each in attributes(offer, "candidate")} == {"host"}


@pytest.mark.parametrize("ice", [IceHandling.OPTIONAL, IceHandling.FORCE_RELAY])
def test_no_path_goes_around_a_relay_that_bundles_for_one_end(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, ice: IceHandling
) -> None:
    bundle = BundleOptions(offer=True)
    offer = testbed.offer(IcePhone(alice, "caller").sdp(), ice=ice, bundle=bundle)
    bundled = offer.replace(b"%d RTP" % places(offer)[0][1], b"%d RTP" % bob.port)
    answer = testbed.answer(bundled.replace(b"ufrag:caller", b"ufrag:callee"), ice=ice)
    for sdp in (offer, answer):
        first, *_ = (each.split() for each in attributes(sdp, "candidate"))
        assert (first[3], first[7]) == ("2130706431", "host")
        assert places(sdp) == [(first[4], int(first[5]))]


def test_forced_ice_is_the_relays_for_both_ends(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    caller, callee = IcePhone(alice, "caller"), IcePhone(bob, "callee")
    offer = testbed.offer(caller.sdp(), ice=FORCE)
    callee.learn(offer)
    answer = testbed.answer(callee.sdp(), ice=FORCE)
    caller.learn(answer)
    assert len({caller.ours[0], callee.ours[0], caller.ufrag, callee.ufrag}) == 4
    (to_bob,), (to_alice,) = places(offer), places(answer)
    caller.check(to_alice)
    caller.read(testbed.receive(alice)[0])
    callee.check(to_bob)
    callee.read(testbed.receive(bob)[0])
    testbed.passes(alice, to_alice, bob)
    testbed.passes(bob, to_bob, alice)


FINGERPRINT = "fingerprint:sha-256 " + ":".join(["AB"] * 32)
DTLS_13 = b"\x2f\0\1\0\x20" + bytes(32)
"""An encrypted record of DTLS 1.3."""
DTLS, ZRTP = b"\x16\xfe\xfd" + bytes(10), b"\x10\0\0\1ZRTP" + bytes(8)


@pytest.mark.parametrize(
    ("proto", "attribute"),
    [
        ("UDP/TLS/RTP/SAVPF", FINGERPRINT),
        ("RTP/SAVPF", FINGERPRINT),
        ("RTP/AVP", "zrtp-hash:1.10 " + "ab" * 32),
    ],
)
def test_handshakes_of_the_ends_with_each_other_pass_where_ice_of_both_ends_here(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, proto: str, attribute: str
) -> None:
    handshakes = [ZRTP] if attribute.startswith("zrtp") else [DTLS, DTLS_13]
    caller, callee = (
        IcePhone(peer, "them", "setup:actpass", attribute, proto=proto) for peer in (alice, bob)
    )
    callee.learn(offer := testbed.offer(caller.sdp(), ice=FORCE))
    caller.learn(answer := testbed.answer(callee.sdp()))
    (to_alice,), (to_bob,) = places(answer), places(offer)
    for nominates in (False, True, True):
        for phone, to in ((caller, to_alice), (callee, to_bob)):
            phone.check(to, nominates=nominates)
            phone.read(testbed.receive(phone.peer)[0])
        for sender, to, listener in ((alice, to_alice, bob), (bob, to_bob, alice)):
            for handshake in handshakes:
                testbed.carries(sender, to, listener, handshake)
            testbed.passes(sender, to, listener)
    with MediaPeer("127.0.0.66") as mallory:
        mallory.send_raw(handshakes[-1], to_bob)
        testbed.turn_until(lambda: testbed.stats().drop_source_mismatch == 1, "a stranger's is refused")


@pytest.mark.parametrize("where", ["offer", "answer"])
def test_a_client_can_turn_down_the_ice_of_an_offerer(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, where: str
) -> None:
    phone = IcePhone(alice)
    testbed.offer(phone.sdp(), ice=REMOVE, reject_ice=where == "offer")
    answer = testbed.answer(bob, ice=REMOVE)
    assert b"ice" not in answer and b"candidate" not in answer
    testbed.passes(alice, places(answer)[0], bob)


def test_an_answerer_without_ice_is_a_plain_one(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    talk = testbed.connect([line(alice)], [line(bob)], ice=FORCE)
    testbed.talk(alice, bob, talk)


def test_a_call_without_ice_costs_no_credentials(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise AssertionError("no end has ICE")

    monkeypatch.setattr("nh.shard.ng.ice.new_credentials", refuse)
    offer = testbed.offer(alice, ice=REMOVE)
    answer = testbed.answer(bob, ice=REMOVE)

    assert b"ice" not in offer and b"ice" not in answer


def test_two_lite_ends_are_where_their_sdps_say(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    call = IceCall(testbed, IcePhone(alice), bob)
    call.phone.lite = True
    call.offered_by_phone()
    assert call.phone.ours[0]
    call.reaches_phone()
    call.reaches_plain()


def test_further_candidates_of_a_peer_change_nothing(call: IceCall) -> None:
    fragment = b"a=ice-ufrag:them\r\na=ice-pwd:themthemthemthemthemthem\r\nm=audio 9 RTP/AVP 0\r\n"
    assert call.testbed.offer(fragment, to=b"bob", fragment=True) == b""
    assert call.testbed.answer(fragment, tag=b"alice", to=b"bob", fragment=True) == b""
    call.checks()
    call.reaches_plain()


@pytest.mark.parametrize(("port", "direction"), [(9, []), (4000, ["sendonly"])])
def test_a_hold_by_a_zero_address_of_an_end_with_ice_is_told(
    testbed: NgTestbed, alice: MediaPeer, port: int, direction: list[str]
) -> None:
    """Port 9 is that of an end that has no candidate yet (RFC 8840 4.1.1)."""
    held = [MediaLine("0.0.0.0", port, attributes=IcePhone(alice).attributes)]
    assert attributes(testbed.offer(held, ice=REMOVE), "sendonly") == direction


# --- media ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("caller", ["phone", "plain"])
@pytest.mark.parametrize("nominates", [True, False])
def test_media_flow_after_checks_and_not_before(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, caller: str, nominates: bool
) -> None:
    call = IceCall(testbed, IcePhone(alice), bob)
    call.offered_by_phone() if caller == "phone" else call.offered_by_plain()
    alice.send_raw(PACKET, call.phone_sends_to)
    bob.send_raw(PACKET, call.plain_sends_to)
    stats = testbed.relay.stats
    testbed.turn_until(lambda: stats.drop_source_mismatch == 1 and stats.drop_no_target == 1, "both wait")
    for component in (RTP, RTCP):
        call.checks(component, nominates=nominates)
    for _ in range(3):
        call.goes_both_ways()
    assert alice.pending() == bob.pending() == []


def test_what_a_check_shows_is_saved_before_it_is_answered(call: IceCall) -> None:
    phone = call.phone.peer
    savings = Savings(lambda leg: (leg.source, phone.has_waiting()))
    call.testbed.relay.observe(savings)
    call.checks(nominates=True)
    assert savings.each[0] == (Endpoint(phone.address, phone.port), False)


def test_a_stranger_reaches_no_end_and_a_forged_check_gets_an_error(
    call: IceCall, make_peer: MakePeer
) -> None:
    call.checks(nominates=True)
    mallory = make_peer("127.0.0.66")
    mallory.send_raw(PACKET, call.phone_sends_to)
    mallory.send_raw(b"\0\1" + bytes(26), call.phone_sends_to)
    call.phone.check(call.phone_sends_to, password="guessed" * 4, nominates=True, peer=mallory)
    response, _ = call.testbed.receive(mallory)
    assert response[:2] == b"\x01\x11"
    assert call.refused(CheckResult.WRONG_PASSWORD) == call.refused(CheckResult.NOT_STUN) == 1
    assert call.testbed.stats().drop_source_mismatch == 1
    call.reaches_phone()
    assert call.plain.pending() == mallory.pending() == []


def test_a_phone_that_changes_its_network_is_followed_at_once(call: IceCall, make_peer: MakePeer) -> None:
    mobile = make_peer("127.0.0.44")
    for component in (RTP, RTCP):
        call.checks(component, nominates=True)
    call.goes_both_ways()
    call.checks(peer=mobile)
    call.reaches_phone()
    call.reaches_plain(peer=mobile)
    for component in (RTP, RTCP):
        call.checks(component, nominates=True, peer=mobile)
    for _ in range(2):
        call.goes_both_ways(mobile)
    call.reaches_plain()


def test_checks_are_answered_at_a_socket_that_is_connected(call: IceCall, make_peer: MakePeer) -> None:
    for _ in range(3):
        call.checks(nominates=True)
        call.reaches_plain()
    call.checks(peer=make_peer("127.0.0.44"))


def test_many_checks_cost_no_memory_and_media_go_on(call: IceCall, make_peer: MakePeer) -> None:
    call.checks(nominates=True)
    mallory = make_peer("127.0.0.66")
    for _ in range(200):
        call.phone.check(call.phone_sends_to, password="guessed" * 4, peer=mallory)
    call.testbed.turn_until(lambda: call.refused(CheckResult.WRONG_PASSWORD) == 200, "all are counted")
    assert len(mallory.pending()) <= 40
    call.reaches_phone()
    call.reaches_plain()


# --- restarts and forks ---------------------------------------------------------------------------


def test_a_restart_has_new_credentials_beside_the_old_ones(call: IceCall) -> None:
    call.checks(nominates=True)
    before = call.phone.ours
    again = call.testbed.offer(call.phone.sdp(), to=b"bob", ice=REMOVE)
    assert places(again) == [call.plain_sends_to]
    call.phone.learn(call.testbed.answer(call.plain))
    assert call.phone.ours == before, "the same user fragment is no restart"
    call.phone.restart("again")
    call.testbed.offer(call.phone.sdp(), to=b"bob", ice=REMOVE)
    call.reaches_phone()
    answer = call.testbed.answer(call.plain)
    assert places(answer) == [call.phone_sends_to]
    call.phone.ufrag = "them"
    call.checks()
    call.reaches_plain()
    call.phone.ufrag = "again"
    call.phone.learn(answer)
    assert call.phone.ours[0] != before[0] and call.phone.ours[1] != before[1]
    call.checks(nominates=True)
    call.reaches_phone()
    call.phone.ours = before
    call.checks()


def test_the_plain_end_may_offer_again(call: IceCall) -> None:
    for component in (RTP, RTCP):
        call.checks(component, nominates=True)
    before = call.phone.ours
    offer = call.testbed.offer(call.plain, tag=b"bob", to=b"alice", ice=FORCE)
    call.phone.learn(offer)
    assert call.phone.ours == before
    call.testbed.answer(call.phone.sdp(), tag=b"alice", to=b"bob")
    call.goes_both_ways()


def test_an_end_with_ice_keeps_its_sockets_though_the_other_one_has_moved(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    """What it has checked is good until a restart; `no-port-latching` is one (RFC 8839 4.4.1.1.1)."""
    call = IceCall(testbed, IcePhone(alice), bob)
    call.offered_by_plain()
    before = call.phone.ours
    for component in (RTP, RTCP):
        call.checks(component, nominates=True)
    call.plain = make_peer()
    offer = testbed.offer(call.plain, to=b"bob", ice=FORCE)
    call.phone.learn(offer)
    assert (places(offer), call.phone.ours) == ([call.phone_sends_to], before)
    (call.plain_sends_to,) = places(testbed.answer(call.phone.sdp()))
    call.goes_both_ways()
    call.plain = make_peer()
    offer = testbed.offer(call.plain, to=b"bob", ice=FORCE, port_latching=False)
    call.phone.learn(offer)
    assert places(offer) != [call.phone_sends_to]
    assert call.phone.ours[0] != before[0] and call.phone.ours[1] != before[1]
    (call.phone_sends_to,), (call.plain_sends_to,) = places(offer), places(testbed.answer(call.phone.sdp()))
    for component in (RTP, RTCP):
        call.checks(component, nominates=True)
    call.goes_both_ways()


def credentials(sdp: bytes) -> tuple[tuple[str, int], list[str]]:
    """Where an SDP has the relay, and with which credentials."""
    (place,) = places(sdp)
    return place, attributes(sdp, ("ice-ufrag", "ice-pwd"))


FAX = b"\0\1\3fax\0\0"
"""UDPTL: its number, its length, and no packet again. It begins as STUN may."""


class FaxCall:
    """The two phones of a call with ICE on one side, which may offer a fax in the place of their audio."""

    def __init__(self, call: IceCall) -> None:
        self.call = call
        self.testbed = call.testbed
        for component in (RTP, RTCP):
            call.checks(component, nominates=True)

    def sdp_of(self, name: bytes, *, fax: bool) -> MediaLine:
        phone = self.call.phone
        kind, proto = ("image", "udptl") if fax else ("audio", "RTP/AVP")
        if name == b"alice":
            return line(phone.peer, *phone.attributes, kind=kind, proto=proto)
        return line(self.call.plain, kind=kind, proto=proto)

    def offers(self, name: bytes, *, fax: bool) -> bytes:
        """An end offers; returns what the other one gets."""
        other = b"bob" if name == b"alice" else b"alice"
        return self.testbed.offer([self.sdp_of(name, fax=fax)], tag=name, to=other)

    def answers(self, name: bytes, *, fax: bool) -> bytes:
        """An end answers; returns what the other one gets."""
        other = b"bob" if name == b"alice" else b"alice"
        return self.testbed.answer([self.sdp_of(name, fax=fax)], tag=name, to=other)

    def faxes_both_ways(self) -> None:
        self.testbed.carries(self.call.phone.peer, self.call.phone_sends_to, self.call.plain, FAX)
        self.testbed.carries(self.call.plain, self.call.plain_sends_to, self.call.phone.peer, FAX)


@pytest.mark.parametrize("offerer", [b"alice", b"bob"], ids=["with ICE", "without"])
def test_a_fax_and_the_audio_after_it_have_the_candidates_of_the_audio_before(
    call: IceCall, offerer: bytes
) -> None:
    """The end with ICE has restarted nothing, so its candidates stay (RFC 8839 4.4.1.1.1)."""
    fax, other = FaxCall(call), b"bob" if offerer == b"alice" else b"alice"
    before = credentials(fax.testbed.offer(call.plain, tag=b"bob", to=b"alice"))
    fax.testbed.answer(call.phone.sdp(), tag=b"alice", to=b"bob")
    for is_fax in (True, False):
        offer = fax.offers(offerer, fax=is_fax)
        assert offer == fax.offers(offerer, fax=is_fax), "the same again"
        answer = fax.answers(other, fax=is_fax)
        for_phone, for_plain = (answer, offer) if offerer == b"alice" else (offer, answer)
        assert credentials(for_phone) == before
        assert len(attributes(for_phone, "candidate")) == (1 if is_fax else 2)
        assert places(for_plain) == [call.plain_sends_to]
        fax.faxes_both_ways() if is_fax else call.goes_both_ways()


@pytest.mark.parametrize("caller", [b"alice", b"bob"], ids=["with ICE", "without"])
@pytest.mark.parametrize("offerer", [b"alice", b"bob"], ids=["the end with ICE", "the end without"])
def test_audio_has_the_candidates_of_the_fax_with_which_its_call_began(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, caller: bytes, offerer: bytes
) -> None:
    """The end with ICE has restarted nothing, and found the same credentials at other ports."""
    phone = IcePhone(alice, "them")

    def agree(author: bytes, kind: str, proto: str, **options: Any) -> dict[bytes, bytes]:
        """What each end gets, as one of them offers and the other one answers."""
        other = b"bob" if author == b"alice" else b"alice"
        described = {
            b"alice": line(alice, *phone.attributes, kind=kind, proto=proto),
            b"bob": line(bob, kind=kind, proto=proto),
        }
        offer = testbed.offer([described[author]], tag=author, to=b"" if options else other, **options)
        return {other: offer, author: testbed.answer([described[other]], tag=other, to=author)}

    fax = agree(caller, "image", "udptl", ice=REMOVE if caller == b"alice" else FORCE)
    assert len(attributes(fax[b"alice"], "candidate")) == 1
    audio = agree(offerer, "audio", "RTP/AVP")
    assert credentials(audio[b"alice"]) == credentials(fax[b"alice"])
    assert len(attributes(audio[b"alice"], "candidate")) == 2
    assert places(audio[b"bob"]) == places(fax[b"bob"])


class PassingIceCall:
    """A call between two phones whose ICE passes through; Alice offers."""

    def __init__(self, testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
        self.testbed = testbed
        self.alice, self.bob = alice, bob
        self._phones = [IcePhone(alice, "alice"), IcePhone(bob, "bob")]
        self.ports = self.agree()

    def agree(self, *, fax: bool = False) -> list[tuple[str, int]]:
        """Where Bob, then Alice is told to send now."""
        kind, proto = ("image", "udptl") if fax else ("audio", "RTP/AVP")
        alice, bob = [[line(each.peer, *each.attributes, kind=kind, proto=proto)] for each in self._phones]
        return [*places(self.testbed.offer(alice, to=b"bob")), *places(self.testbed.answer(bob))]

    def passes(self, payload: bytes) -> None:
        """A packet goes both ways."""
        to_alice, to_bob = self.ports
        self.testbed.passes(self.alice, to_bob, self.bob, RTP, payload)
        self.testbed.passes(self.bob, to_alice, self.alice, RTP, payload)


def test_a_fax_is_relayed_with_ice_that_passes_through(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = PassingIceCall(testbed, alice, bob)
    assert call.agree(fax=True) == call.ports
    call.passes(FAX)
    assert call.agree() == call.ports


@pytest.mark.parametrize("restored", [False, True])
def test_rtp_is_measured_before_and_after_a_fax_and_the_fax_is_not(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, restored: bool
) -> None:
    """In either path: a flow in the kernel goes on at the same sockets."""
    call = PassingIceCall(testbed, alice, bob)
    for number in range(3):
        call.passes(rtp_packet(number))
    call.agree(fax=True)
    for number in range(3):
        call.passes(b"\x80" + bytes([number]) + b"\5sent as a fax")  # RTP, by its first byte
    if restored:
        testbed.restore()
    call.agree()
    for number in range(3, 6):
        call.passes(rtp_packet(number))
    for tag in (b"alice", b"bob"):
        (stream,) = streams(testbed.query(), tag)[0].rtp
        assert (stream.packets, stream.lost) == (3, 0)


@pytest.mark.parametrize("offerer", [b"alice", b"bob"], ids=["with ICE", "without"])
def test_audio_goes_on_while_a_fax_is_offered_and_after_its_refusal(call: IceCall, offerer: bytes) -> None:
    fax = FaxCall(call)
    before = credentials(fax.testbed.offer(call.plain, tag=b"bob", to=b"alice"))
    fax.testbed.answer(call.phone.sdp(), tag=b"alice", to=b"bob")
    fax.offers(offerer, fax=True)
    for _ in range(3):
        call.goes_both_ways()
    assert credentials(fax.offers(b"bob", fax=False)) == before
    fax.answers(b"alice", fax=False)
    call.goes_both_ways()


def test_a_fax_at_other_ports_is_a_restart_of_ice(call: IceCall, make_peer: MakePeer) -> None:
    testbed, fax = call.testbed, [line(make_peer(), kind="image", proto="udptl")]
    before = credentials(testbed.offer(call.plain, tag=b"bob", to=b"alice"))
    testbed.answer(call.phone.sdp(), tag=b"alice", to=b"bob")
    image = credentials(testbed.offer(fax, tag=b"bob", to=b"alice", port_latching=False))
    assert image[0] != before[0] and image[1] != before[1]


def test_checks_may_come_before_the_answer(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    call = IceCall(testbed, IcePhone(alice), bob)
    offer = testbed.offer(bob, ice=FORCE)
    call.phone.learn(offer)
    (call.phone_sends_to,) = places(offer)
    call.checks(nominates=True)
    call.reaches_plain()
    (call.plain_sends_to,) = places(testbed.answer(call.phone.sdp()))
    call.reaches_phone()
    call.reaches_plain()


def test_of_two_answerers_each_has_checks_of_its_own(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    offer = testbed.offer(alice, ice=FORCE)
    phones = {b"bob": IcePhone(bob, "bobs"), b"carol": IcePhone(make_peer("127.0.0.33"), "carols")}
    calls = []
    for tag, phone in phones.items():
        phone.learn(offer)
        call = IceCall(testbed, phone, alice)
        (call.phone_sends_to,) = places(offer)
        (call.plain_sends_to,) = places(testbed.answer(phone.sdp(), tag=tag))
        calls.append(call)
    for call in calls:
        call.checks(nominates=True)
        call.reaches_phone()
        call.reaches_plain()
    assert calls[0].refused(CheckResult.WRONG_UFRAG) == 0


# --- what is shown --------------------------------------------------------------------------------


def test_what_is_missing_is_told(call: IceCall) -> None:
    def found() -> str:
        shown = call.testbed.relay.execute(ShowCall(CALL))
        assert isinstance(shown, CallDetail)
        return judge_call(shown).verdicts[0].found

    assert found().startswith(f"ICE: no check has arrived at {Endpoint(*call.phone_sends_to)} yet, 0 s after")
    call.phone.check(call.phone_sends_to, password="guessed" * 4)
    call.testbed.receive(call.phone.peer)
    assert "ICE: checks have a wrong password (1 came" in found()
    call.checks(nominates=True)
    call.reaches_plain()
    assert "1 packet came" in found()
    stats = call.testbed.stats()
    assert (stats.ice_checks, stats.ice_wrong_password) == (1, 1)
    assert call.phone.ours[1] not in str(call.testbed.relay.execute(ShowCall(CALL)))
