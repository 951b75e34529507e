"""nh.shard.ng.signalling: calls of ng over real sockets: who hears whom, and from where."""

from typing import Any

import pytest

from nh.calls.interfaces import Interface
from nh.commands import Answer, BlockMedia, IceHandling, OfferOptions, ShowCall, TransactionKey
from nh.errors import LimitReached, PortsExhausted, Refused, UnknownCall
from nh.results import CallDetail, Rewritten
from nh.shard.ng.signalling import UNKNOWN_FROM_TAG
from tests.calls.rtp import DTMF, OPUS, PCMA, PCMU, rtp_packet
from tests.shard.conftest import MakeNg, MakePeer
from tests.shard.ng_testbed import CALL, NgTalk, NgTestbed, line, places, rtcp, streams
from tests.shard.offering_ends import KEY, SUITE
from tests.shard.testbed import PACKET, V4, shuts_out
from tests.sip.sdp import MediaLine, write_sdp
from tools.harness.media_peer import RTCP, RTP, MediaPeer

ALICE = "127.0.0.11"
BOB = "127.0.0.22"
CAROL = "127.0.0.33"
MALLORY = "127.0.0.66"

NO_ADDRESS = b"v=0\r\no=- 1 1 IN IP4 127.0.0.22\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
SECURE = NO_ADDRESS.replace(b"RTP/AVP", b"RTP/SAVP") + b"c=IN IP4 127.0.0.22\r\n"
"""SRTP without a key, which cannot be converted."""
Phones = tuple[NgTestbed, MediaPeer, MediaPeer]

NG_INTERFACES = (Interface("default", V4, V4),)


@pytest.fixture
def alice(make_peer: MakePeer) -> MediaPeer:
    return make_peer(ALICE)


@pytest.fixture
def bob(make_peer: MakePeer) -> MediaPeer:
    return make_peer(BOB)


@pytest.fixture
def phones(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> Phones:
    return ng, alice, bob


@pytest.fixture
def carol(make_peer: MakePeer) -> MediaPeer:
    return make_peer(CAROL)


def test_a_call_relays_rtp_and_rtcp_both_ways(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    call = ng.connect(alice, bob)
    ng.talk(alice, bob, call)
    stats = ng.stats()
    assert (stats.calls, stats.sessions, stats.sockets) == (1, 1, 4)
    ng.delete(b"alice")
    stats = ng.stats()
    assert (stats.calls, stats.sessions, stats.sockets) == (0, 0, 0)
    assert stats.ports_free == stats.ports_total


def test_commands_and_sessions_of_ng_are_counted(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    ng.connect(alice, bob)
    ng.query()
    ng.block()
    with pytest.raises(UnknownCall):
        ng.answer(bob, call_id=b"gone")
    ng.delete()
    stats = ng.relay.stats
    assert (stats.offer_ok, stats.answer_ok, stats.answer_refused) == (1, 1, 1)
    assert (stats.query_ok, stats.block_ok, stats.delete_ok) == (1, 1, 1)
    assert (stats.sessions_started, stats.sessions_ended) == (1, 1)


def test_a_ringing_call_is_shown_as_offered(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    def shown() -> list[tuple[str, str, str]]:
        detail = ng.relay.execute(ShowCall(CALL))
        assert isinstance(detail, CallDetail)
        return [(each.state, each.from_, each.to) for each in detail.sessions]

    at_alice, at_bob = f"{alice.address}:{alice.port}/2", f"{bob.address}:{bob.port}/2"
    ng.offer(alice)
    assert shown() == [("offered", at_alice, "")]
    ng.answer(bob)
    assert shown() == [("active", at_alice, at_bob)]
    ng.offer([line(alice, "inactive")], to=b"bob")
    ng.answer([line(bob, "inactive")])
    assert [state for state, _, _ in shown()] == ["hold"]


def test_early_media_are_relayed(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    (for_bob,) = places(ng.offer(alice))
    ng.answer(bob)
    ng.passes(bob, for_bob, alice)
    ng.talk(alice, bob, NgTalk(ng.answer(bob), ng.offer(alice, to=b"bob")))


def test_a_phone_behind_nat_is_answered_where_it_sends_from(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    private = MediaLine("192.168.1.77", 4000)
    call = ng.connect([private], bob)
    ng.talk(alice, bob, call)


def test_after_latching_no_other_source_is_let_in(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    call = ng.connect(alice, bob)
    ng.talk(alice, bob, call)
    assert shuts_out(call.alice_sends_to[0], MALLORY)
    assert shuts_out(call.bob_sends_to[0], MALLORY)


# --- re-offers ------------------------------------------------------------------------------------------


def test_hold_and_resume(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    call = ng.connect(alice, bob)
    ng.talk(alice, bob, call)
    assert b"a=sendonly" in ng.offer([line(alice, "sendonly")], to=b"bob")
    assert b"a=recvonly" in ng.answer([line(bob, "recvonly")])
    ng.passes(alice, call.alice_sends_to[0], bob, payload=b"music on hold")
    assert places(ng.offer(alice, to=b"bob")) == call.bob_sends_to
    assert places(ng.answer(bob)) == call.alice_sends_to
    ng.talk(alice, bob, call)


def test_hold_by_address_stops_media_until_the_resume(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = ng.connect(alice, bob)
    ng.talk(alice, bob, call)
    held = MediaLine("0.0.0.0", alice.port)
    assert places(ng.offer([held], to=b"bob")) == [("0.0.0.0", call.bob_sends_to[0][1])]
    ng.answer(bob)
    bob.send(PACKET, call.bob_sends_to[0])
    ng.turn_until(lambda: ng.stats().drop_no_target == 1, "it is dropped")
    assert alice.pending() == []
    ng.passes(alice, call.alice_sends_to[0], bob, payload=b"music on hold")
    ng.offer(alice, to=b"bob")
    ng.answer(bob)
    ng.talk(alice, bob, call)


def test_a_phone_that_moves_is_heard_from_its_new_place_only(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    before = ng.connect(alice, bob)
    ng.talk(alice, bob, before)
    moved = make_peer("127.0.0.12")
    to_bob = ng.offer(moved, to=b"bob")
    after = NgTalk(ng.answer(bob), to_bob)
    assert after.alice_sends_to == before.alice_sends_to
    assert after.bob_sends_to != before.bob_sends_to
    ng.talk(moved, bob, after)
    assert alice.pending() == []


def test_the_callee_moves_with_an_offer_of_its_own(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    before = ng.connect(alice, bob)
    ng.talk(alice, bob, before)
    moved = make_peer("127.0.0.23")
    to_alice = ng.offer(moved, tag=b"bob", to=b"alice")
    to_bob = ng.answer(alice, tag=b"alice", to=b"bob")
    assert places(to_bob) == before.bob_sends_to
    ng.talk(alice, moved, NgTalk(to_alice, to_bob))


def test_a_latched_phone_moves_and_keeps_the_ports(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    before = ng.connect(alice, bob)
    ng.talk(alice, bob, before)
    moved = make_peer("127.0.0.12")
    assert places(ng.offer(moved, to=b"bob", port_latching=True)) == before.bob_sends_to
    ng.answer(bob)
    ng.passes(bob, before.bob_sends_to[0], moved)
    ng.talk(moved, bob, before)


@pytest.mark.parametrize("address", [BOB, "127.0.0.23"], ids=["port", "address"])
@pytest.mark.parametrize("by_offer", [False, True], ids=["answer", "offer"])
def test_a_packet_that_was_on_its_way_keeps_no_media_from_the_place_that_a_phone_has_moved_to(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer, *, by_offer: bool, address: str
) -> None:
    """It may wait for media there before it sends any: they went to its old place for the whole call."""
    before = ng.connect(alice, bob)
    ng.passes(bob, before.bob_sends_to[0], alice, payload=rtp_packet(1))
    moved = make_peer(address)
    if by_offer:
        to_alice = ng.offer(moved, tag=b"bob", to=b"alice", port_latching=True)
        to_bob = ng.answer(alice, tag=b"alice", to=b"bob")
    else:
        to_bob = ng.offer(alice, to=b"bob")
        to_alice = ng.answer(moved)
    after = NgTalk(to_alice, to_bob)
    assert after.bob_sends_to == before.bob_sends_to
    ng.passes(bob, after.bob_sends_to[0], alice, payload=rtp_packet(2))
    ng.passes(alice, after.alice_sends_to[0], moved)
    ng.passes(moved, after.bob_sends_to[0], alice, payload=rtp_packet(3))
    ng.talk(alice, moved, after)


def test_an_unchanged_reoffer_opens_nothing_for_others(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    ng = make_ng(latch_window_s=0.1)
    private = MediaLine("192.168.1.77", 4000)
    call = ng.connect([private], bob)
    ng.talk(alice, bob, call)
    ng.offer([private], to=b"bob")
    ng.answer(bob)
    mallory = make_peer(MALLORY)
    mallory.send(b"me now", call.alice_sends_to[0])
    ng.turn_until(lambda: ng.stats().drop_source_mismatch == 1, "it is dropped")
    (stream,) = streams(ng.query(), b"alice")
    assert (stream.refused, stream.refused_from) == (1, f"{MALLORY}:{mallory.port}")
    ng.talk(alice, bob, call)
    assert mallory.pending() == []


def test_speech_becomes_a_fax_and_speech_again(make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer) -> None:
    ng = make_ng(unused_s=1.0)
    ng.talk(alice, bob, ng.connect(alice, bob))
    fax = [line(peer, kind="image", proto="udptl") for peer in (alice, bob)]
    to_bob = ng.offer([fax[0]], to=b"bob")
    assert b"m=image" in to_bob
    assert b"a=rtcp" not in to_bob
    ng.talk(alice, bob, NgTalk(ng.answer([fax[1]]), to_bob), components=(RTP,))
    ng.turn_until(lambda: ng.stats().sockets == 2, "the ports of before are closed")
    to_bob = ng.offer(alice, to=b"bob")
    ng.talk(alice, bob, NgTalk(ng.answer(bob), to_bob))


@pytest.mark.parametrize("proto", ["udptl", "RTP/AVP"], ids=["a fax", "another place"])
def test_a_refused_reoffer_leaves_the_media_as_they_were(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer, proto: str
) -> None:
    call = ng.connect(alice, bob)
    ng.talk(alice, bob, call)
    ng.offer([line(make_peer("127.0.0.12"), proto=proto)], to=b"bob")
    for _ in range(2):
        ng.talk(alice, bob, call)
    assert places(ng.offer(alice, to=b"bob")) == call.bob_sends_to
    assert places(ng.answer(bob)) == call.alice_sends_to
    ng.talk(alice, bob, call)
    assert ng.stats().sockets == 4
    assert sum(stream.packets for stream in streams(ng.query(), b"alice")) == 4


@pytest.mark.parametrize("refused", [NO_ADDRESS, SECURE], ids=["no address", "SRTP"])
def test_a_refused_answer_leaves_an_offer_without_its_to_tag_as_it_was(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, carol: MediaPeer, refused: bytes
) -> None:
    ng.connect(alice, bob)
    to_bob = ng.offer(carol, tag=b"alice")
    before = ng.snapshots()
    with pytest.raises(Refused):
        ng.answer(refused, transport_protocol="RTP/AVP")
    assert ng.snapshots() == before
    ng.talk(carol, bob, NgTalk(ng.answer(bob), to_bob))


def test_media_are_added_and_taken_away(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    call = ng.connect(alice, bob)
    ng.talk(alice, bob, call)
    screen, camera = make_peer(ALICE), make_peer(BOB)
    to_bob = ng.offer([line(alice), line(screen, kind="video")], to=b"bob")
    both = NgTalk(ng.answer([line(bob), line(camera, kind="video")]), to_bob)
    assert both.alice_sends_to[:1] == call.alice_sends_to
    ng.talk(alice, bob, both)
    ng.talk(screen, camera, both, medium=1)
    off = MediaLine(ALICE, 0, "video")
    assert places(ng.offer([line(alice), off], to=b"bob"))[1][1] == 0
    assert places(ng.answer([line(bob), off]))[1][1] == 0
    ng.turn_until(lambda: ng.stats().sockets == 4, "the ports of before are closed")
    ng.talk(alice, bob, call)


# --- forks ----------------------------------------------------------------------------------------------


def test_forks_are_told_apart_and_one_may_go(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, carol: MediaPeer
) -> None:
    to_bob, to_carol = ng.offer(alice, branch=b"1"), ng.offer(alice, branch=b"2")
    with_bob = NgTalk(ng.answer(bob, branch=b"1"), to_bob)
    with_carol = NgTalk(ng.answer(carol, tag=b"carol", branch=b"2"), to_carol)
    assert with_bob.bob_sends_to != with_carol.bob_sends_to
    assert with_bob.alice_sends_to != with_carol.alice_sends_to
    for _ in range(2):
        ng.talk(alice, bob, with_bob)
        ng.talk(alice, carol, with_carol)
    ng.delete(b"alice", via_branch=b"1")
    ng.talk(alice, carol, with_carol)
    assert ng.stats().sessions == 1
    ng.delete(b"carol")
    assert ng.stats().sockets == 0


# --- who may send ---------------------------------------------------------------------------------------


def test_asymmetric_media_go_where_the_sdp_says(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    call = NgTalk(to_bob=ng.offer(alice, asymmetric=True), to_alice=ng.answer(bob))
    sender = make_peer("127.0.0.12")
    ng.passes(sender, call.alice_sends_to[0], bob)
    ng.passes(bob, call.bob_sends_to[0], alice)
    ng.passes(alice, call.alice_sends_to[0], bob)
    assert sender.pending() == []


def test_with_media_handover_the_last_sender_is_answered(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    call = ng.connect(alice, bob, media_handover=True)
    for phone in (alice, make_peer("127.0.0.12"), make_peer("127.0.0.13"), alice):
        ng.passes(phone, call.alice_sends_to[0], bob)
        ng.passes(bob, call.bob_sends_to[0], phone)


def test_who_sends_from_where_the_signalling_came_from_wins(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    private = MediaLine("192.168.1.77", 4000)
    call = NgTalk(to_bob=ng.offer([private], received_from=ALICE), to_alice=ng.answer(bob))
    mallory = make_peer(MALLORY)
    mallory.send(PACKET, call.alice_sends_to[0])
    ng.turn_until(lambda: ng.stats().drop_source_mismatch == 1, "it is dropped")
    ng.passes(alice, call.alice_sends_to[0], bob)
    mallory.send(PACKET, call.alice_sends_to[0])
    ng.turn_until(lambda: ng.stats().drop_source_mismatch == 2, "it is dropped")
    ng.passes(bob, call.bob_sends_to[0], alice)


def test_the_address_of_the_signalling_counts_when_it_is_to_be_trusted(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    wrong = MediaLine("192.0.2.77", bob.port)
    ng.offer(alice)
    (for_alice,) = places(ng.answer([wrong], received_from=BOB, trust_received=True))
    ng.passes(alice, for_alice, bob)


def test_rtcp_goes_to_its_explicit_port(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    reports = make_peer(ALICE)
    call = ng.connect([line(alice, f"rtcp:{reports.port}")], bob)
    bob.send(rtcp(), call.bob_sends_to[0], RTCP)
    assert ng.receive(reports, RTP)[0] == rtcp()
    ng.passes(bob, call.bob_sends_to[0], alice)


# --- blocked media --------------------------------------------------------------------------------------


def test_blocked_media_are_not_passed_on_until_they_are_unblocked(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = ng.connect(alice, bob)
    ng.talk(alice, bob, call)
    ng.block(b"alice")
    alice.send(PACKET, call.alice_sends_to[0])
    ng.turn_until(lambda: ng.stats().drop_no_target == 1, "it is dropped")
    ng.passes(bob, call.bob_sends_to[0], alice)
    ng.block(b"alice", blocked=False)
    ng.talk(alice, bob, call)
    assert bob.pending() == []


def test_of_two_ends_with_one_label_the_later_one_is_blocked(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """As in rtpengine."""
    to_bob = ng.offer(alice, label="one")
    call = NgTalk(ng.answer(bob, label="one"), to_bob)
    ng.talk(alice, bob, call)
    ng.relay.execute(BlockMedia(CALL, b"", True, label="one"))
    bob.send(PACKET, call.bob_sends_to[0])
    ng.turn_until(lambda: ng.stats().drop_no_target == 1, "it is dropped")
    ng.passes(alice, call.alice_sends_to[0], bob)


# --- readings -------------------------------------------------------------------------------------------


def test_an_end_keeps_its_label_where_a_later_offer_or_answer_has_none(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    ng.offer(alice, label="caller")
    ng.answer(bob, label="callee")
    ng.offer(alice, to=b"bob")
    ng.answer(bob)
    ng.offer(bob, tag=b"bob", to=b"alice")
    ng.answer(alice, tag=b"alice", to=b"bob")
    assert [end.label for end in ng.query().tags] == ["caller", "callee"]


def test_a_reading_counts_what_each_end_sent(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    ng.offer(alice, label="caller")
    call = NgTalk(ng.answer(bob), ng.offer(alice, to=b"bob"))
    ng.talk(alice, bob, call)
    ng.passes(alice, call.alice_sends_to[0], bob)
    queried = ng.query()
    assert [end.tag for end in queried.tags] == [b"alice", b"bob"]
    assert [end.label for end in queried.tags] == ["caller", ""]
    assert [end.in_dialogue_with for end in queried.tags] == [b"bob", b"alice"]
    (rtp,) = streams(queried, b"alice")
    assert (rtp.packets, rtp.bytes, rtp.errors) == (2, 2 * len(PACKET), 0)
    assert rtp.local_port == call.alice_sends_to[0][1]
    assert rtp.announced == rtp.source == f"{ALICE}:{alice.port}"
    (reports,) = streams(queried, b"bob", component=2)
    assert (reports.packets, reports.local_port) == (1, call.bob_sends_to[0][1] + 1)
    ended = ng.delete(b"bob")
    assert (ended.created, ended.rtp, ended.rtcp) == (queried.created, queried.rtp, queried.rtcp)
    (last,) = streams(ended, b"alice")
    assert (last.packets, last.local_port, last.source) == (2, rtp.local_port, rtp.source)


def test_a_reading_of_one_end_has_those_that_it_talks_to(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, carol: MediaPeer
) -> None:
    ng.connect(alice, bob)
    ng.answer(carol, tag=b"carol")
    assert [end.tag for end in ng.query(b"bob").tags] == [b"alice", b"bob"]
    assert [end.tag for end in ng.query(b"alice").tags] == [b"alice", b"bob", b"carol"]
    assert ng.query(b"dave").tags == ()


def test_an_answer_to_an_unknown_tag_is_one_to_the_only_end_that_has_offered(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """As from a back-to-back user agent that gives the tag of its other side; rtpengine takes it, too."""
    to_bob = ng.offer(alice)
    answer = Answer(CALL, b"changed", b"bob", b"", write_sdp([line(bob)]).encode(), OfferOptions())
    early = ng.relay.execute(answer)
    assert isinstance(early, Rewritten)
    assert early.warning == UNKNOWN_FROM_TAG.format("alice")
    ng.talk(alice, bob, NgTalk(early.sdp, to_bob))
    final = ng.answer(bob, to=b"changed")
    assert places(final) == places(early.sdp)
    to_alice = ng.offer(bob, tag=b"bob", to=b"alice")
    ng.talk(alice, bob, NgTalk(to_alice, ng.answer(alice, tag=b"alice", to=b"changed")))
    assert {end.tag for end in ng.query().tags} == {b"alice", b"bob"}


def test_an_answer_to_an_unknown_tag_is_refused_where_several_ends_wait(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, carol: MediaPeer
) -> None:
    ng.offer(alice)
    ng.offer(carol, tag=b"carol")
    with pytest.raises(UnknownCall):
        ng.answer(bob, to=b"changed")
    ng.answer(bob, to=b"carol")
    ng.answer(bob, to=b"changed")
    assert [end.dialogs_with for end in ng.query(b"bob").tags if end.tag == b"bob"] == [(b"carol", b"alice")]


def test_an_end_answers_no_offer_of_its_own_by_an_unknown_tag(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    ng.offer(alice)
    with pytest.raises(UnknownCall):
        ng.answer(alice, tag=b"alice", to=b"changed")


def test_a_reading_has_what_came_before_a_phone_moved(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    ng.talk(alice, bob, ng.connect(alice, bob))
    moved = make_peer("127.0.0.12")
    to_bob = ng.offer(moved, to=b"bob")
    ng.talk(moved, bob, NgTalk(ng.answer(bob), to_bob))
    queried = ng.query()
    for tag in (b"alice", b"bob"):
        for component in (1, 2):
            assert sum(stream.packets for stream in streams(queried, tag, component)) == 2


def test_a_reading_of_a_fork_has_what_was_sent_to_each(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, carol: MediaPeer
) -> None:
    ng.offer(alice)
    (for_bob,) = places(ng.answer(bob))
    (for_carol,) = places(ng.answer(carol, tag=b"carol"))
    ng.passes(alice, for_bob, bob)
    ng.passes(alice, for_carol, carol)
    ports = {stream.local_port: stream.packets for stream in streams(ng.query(), b"alice")}
    assert ports == {for_bob[1]: 1, for_carol[1]: 1}


def test_a_reading_says_what_has_been_agreed_on(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, carol: MediaPeer
) -> None:
    """As rtpengine's; a reading at the end of the call has the statistics alone, since each call has one."""
    ng.offer([line(alice, "rtcp-mux", "sendonly")], branch=b"first")
    ng.answer([line(bob, "rtcp-mux", "recvonly")], branch=b"first")
    ng.offer([line(alice, "rtcp-mux")], branch=b"second")
    ng.answer(carol, tag=b"carol", branch=b"second")
    queried = ng.query()
    assert {end.tag: (end.dialogs_with, end.branch) for end in queried.tags} == {
        b"alice": ((b"bob", b"carol"), b""),
        b"bob": ((b"alice",), b"first"),
        b"carol": ((b"alice",), b"second"),
    }
    assert [end.media[0].flags for end in queried.tags] == [
        ("recv", "rtcp-mux"),
        ("send", "rtcp-mux"),
        ("send", "recv"),
    ]
    assert {stream.local_address for stream in streams(queried, b"alice")} == {V4}
    ended = ng.delete().tags
    assert {(end.dialogs_with, end.branch, end.media[0].flags) for end in ended} == {((), b"", ())}


@pytest.mark.parametrize("restored", [False, True])
def test_a_reading_says_how_an_end_has_srtp_and_ice_with_the_relay(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, restored: bool
) -> None:
    caller = [
        line(alice, f"crypto:1 {SUITE} {KEY}", "ice-ufrag:abcd", f"ice-pwd:{'a' * 22}", proto="RTP/SAVP")
    ]
    ng.offer(caller, transport_protocol="RTP/AVP", ice=IceHandling.REMOVE)
    ng.answer(bob)
    if restored:
        ng.restore()
    secure, plain = ng.query().tags
    assert secure.media[0].flags == ("send", "recv", "SDES", "ICE")
    assert plain.media[0].flags == ("send", "recv")
    assert {stream.suite for stream in secure.media[0].streams} == {SUITE}
    assert {stream.suite for stream in plain.media[0].streams} == {""}


def test_a_reading_says_which_codec_an_end_sends(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    """Events are no codec."""
    described = ("rtpmap:111 opus/48000/2", "rtpmap:101 telephone-event/8000")
    (to_alice,) = ng.connect([line(alice, *described)], [line(bob, *described)]).alice_sends_to
    assert {end.media[0].codec for end in ng.query().tags} == {""}
    for number, (payload_type, codec) in enumerate(
        ((PCMU, "PCMU/8000"), (PCMA, "PCMA/8000"), (OPUS, "opus/48000/2"))
    ):
        ng.passes(alice, to_alice, bob, RTP, rtp_packet(number, 960 * number, payload_type=payload_type))
        sender, receiver = ng.query().tags
        assert (sender.media[0].codec, receiver.media[0].codec) == (codec, "")
    ng.passes(alice, to_alice, bob, RTP, rtp_packet(3, 2880, payload_type=DTMF))
    assert {end.media[0].codec for end in ng.query().tags} == {""}


@pytest.mark.parametrize(
    ("option", "medium", "stream"),
    [
        ("asymmetric", ("asymmetric", "send", "recv"), ()),
        ("strict_source", ("send", "recv"), ("strict source address",)),
        ("media_handover", ("send", "recv"), ("media handover",)),
    ],
)
def test_a_reading_says_whose_packets_are_taken(
    phones: Phones, option: str, medium: tuple[str, ...], stream: tuple[str, ...]
) -> None:
    ng, alice, bob = phones
    options: dict[str, Any] = {option: True}
    ng.offer(alice, **options)
    ng.answer(bob)
    caller, callee = ng.query().tags
    assert (caller.media[0].flags, caller.media[0].streams[RTP].flags) == (medium, stream)
    assert (callee.media[0].flags, callee.media[0].streams[RTP].flags) == (("send", "recv"), ())


def test_an_offer_without_an_answer_can_be_read(ng: NgTestbed, alice: MediaPeer) -> None:
    ng.offer(alice)
    (end,) = ng.query().tags
    assert (end.tag, end.in_dialogue_with) == (b"alice", b"")
    (medium,) = end.media
    assert (medium.index, medium.kind, medium.proto) == (1, "audio", "RTP/AVP")


# --- ends ---------------------------------------------------------------------------------------------


def test_a_delayed_delete_ends_the_call_by_itself(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    call = ng.connect(alice, bob)
    ng.delete(b"alice", delay_s=1)
    ng.talk(alice, bob, call)
    ng.turn_until(lambda: ng.stats().sockets == 0, "it ends")
    assert ng.relay.stats.sessions_ended == 1


def test_a_silent_call_ends_by_itself(make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer) -> None:
    ng = make_ng(silent_s=1, replaced_s=0)
    ng.talk(alice, bob, ng.connect(alice, bob))
    ng.turn_until(lambda: ng.stats().sockets == 0, "it ends")
    assert ng.relay.stats.expired_silent == 1


def test_an_unanswered_call_that_finds_no_ports_is_destroyed(
    ports: range, alice: MediaPeer, bob: MediaPeer
) -> None:
    ng = NgTestbed(ports[:4], interfaces=NG_INTERFACES)
    ng.offer(alice)
    with pytest.raises(PortsExhausted):
        ng.offer([line(alice), line(bob)])
    assert ng.stats().sockets == 0
    with pytest.raises(UnknownCall):
        ng.query()
    ng.close()


def test_who_talks_talks_on_where_there_are_no_ports_for_one_more_medium(
    ports: range, alice: MediaPeer, bob: MediaPeer
) -> None:
    ng = NgTestbed(ports[:4], interfaces=NG_INTERFACES)
    call = ng.connect(alice, bob)
    ng.talk(alice, bob, call)
    with pytest.raises(PortsExhausted):
        ng.offer([line(alice), line(bob)], to=b"bob")
    ng.talk(alice, bob, call)
    assert ng.stats().sockets == 4
    ng.delete()
    assert ng.stats().sockets == 0
    ng.close()


def test_who_talks_talks_on_where_there_are_no_ports_for_one_more_answer(
    ports: range, alice: MediaPeer, bob: MediaPeer, carol: MediaPeer
) -> None:
    ng = NgTestbed(ports[:4], interfaces=NG_INTERFACES)
    call = ng.connect(alice, bob)
    ng.talk(alice, bob, call)
    with pytest.raises(PortsExhausted):
        ng.answer(carol, tag=b"carol")
    ng.talk(alice, bob, call)
    assert ng.stats().sockets == 4
    ng.close()


def test_known_calls_go_on_where_new_ones_are_refused(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer
) -> None:
    ng = make_ng(max_calls=1)
    ng.offer(alice)
    with pytest.raises(LimitReached):
        ng.offer(alice, call_id=b"another")
    ng.answer(bob)
    ng.talk(alice, bob, NgTalk(ng.answer(bob), ng.offer(alice, to=b"bob")))


# --- beside Net::SIP ------------------------------------------------------------------------------------


def test_net_sips_calls_and_ngs_live_side_by_side(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    dave, erin = make_peer(), make_peer()
    theirs = ng.call(dave, erin, key=TransactionKey(b"ng-call", 1, b"dave", b"erin"))
    ours = ng.connect(alice, bob)
    ng.talk(alice, bob, ours)
    ng.converse(dave, erin, theirs)
    details = ng.show(theirs.key).sessions
    assert sorted((session.cseq, session.id_from) for session in details) == [(0, b"alice"), (1, b"dave")]
    ng.delete(b"alice")
    ng.converse(dave, erin, theirs)
    again = ng.connect(alice, bob)
    assert ng.bye(theirs.key) == 1
    ng.talk(alice, bob, again)


def test_a_call_of_ngs_that_runs_out_of_ports_leaves_net_sips_alone(
    ports: range, alice: MediaPeer, bob: MediaPeer
) -> None:
    ng = NgTestbed(ports[:6], interfaces=NG_INTERFACES)
    theirs = ng.call(alice, bob, key=TransactionKey(b"ng-call", 1, b"dave", b"erin"))
    with pytest.raises(PortsExhausted):
        ng.offer([line(alice), line(bob)])
    ng.converse(alice, bob, theirs)
    ng.close()
