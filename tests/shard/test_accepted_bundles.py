"""A bundle that the relay has offered and that is taken: ports that nothing comes to any more are closed."""

import pytest
from msgspec.structs import replace

from nh.calls.offer_answer.participants import Participants
from nh.calls.snapshots.codec import decode_snapshot, encode_snapshot
from nh.commands import BundleOptions, SessionOptions, Update
from nh.shard.recovery.checkpoints import Checkpointer
from tests.shard.bundled_call import OFFER, BundledCall, plain_sdp
from tests.shard.conftest import MakeNg, MakePeer
from tests.shard.ng_testbed import CALL, places
from tests.shard.test_checkpoints import Saved
from tests.webrtc.bundle_phone import AUDIO, VIDEO, BundlePhone, plain_packet
from tools.harness.media_peer import RTP, MediaPeer

ONE_PORT = 2 + 4
"""Sockets of a call of two media that come to one port at one end, and to two at the other; with RTCP."""

TWO_PORTS = 4 + 4


class WithoutRounds(Checkpointer):
    """It saves what changes, and no call whose turn it is."""

    def housekeeping(self, now: float) -> None:
        """See CallObserver."""


def begin(make_ng: MakeNg, phone: BundlePhone, plain: list[MediaPeer], **settings: float) -> BundledCall:
    call = BundledCall(make_ng(**settings), phone, plain)
    call.begin_by_plain()
    return call


def sockets_of(call: BundledCall) -> int:
    return call.testbed.relay.table.resources.sockets


def test_they_are_closed_when_no_other_end_can_answer_the_offer(
    make_ng: MakeNg, phone: BundlePhone, plain: list[MediaPeer]
) -> None:
    call = begin(make_ng, phone, plain, unused_s=1, replaced_s=0)
    call.goes_both_ways()
    call.testbed.turn_until(lambda: sockets_of(call) == ONE_PORT, "the ports are closed")
    call.goes_both_ways()
    call.testbed.delete()
    assert sockets_of(call) == 0


def test_a_successor_does_not_open_them_again(
    make_ng: MakeNg, phone: BundlePhone, plain: list[MediaPeer]
) -> None:
    """Its snapshot had them until the next refresh."""
    call = begin(make_ng, phone, plain, unused_s=1, replaced_s=0)
    relay, saved = call.testbed.relay, Saved()
    checkpointer = WithoutRounds(relay.table, saved)
    checkpointer.attach(call.testbed.loop)
    relay.observe(checkpointer)
    call.goes_both_ways()
    call.testbed.turn_until(lambda: sockets_of(call) == ONE_PORT, "the ports are closed")

    def is_saved() -> bool:
        snapshot = saved.snapshots.get(CALL, b"")
        return bool(snapshot) and decode_snapshot(snapshot).offers == call.testbed.snapshots()[0].offers

    call.testbed.turn_until(is_saved, "the next shard knows")


def test_within_a_dialog_they_are_closed_at_once(
    make_ng: MakeNg, phone: BundlePhone, plain: list[MediaPeer]
) -> None:
    call = begin(make_ng, phone, plain, unused_s=1, replaced_s=0)
    call.testbed.turn_until(lambda: sockets_of(call) == ONE_PORT, "no other end can answer")
    sdp = plain_sdp(plain).encode()
    call.testbed.offer(sdp, to=b"bob", bundle=BundleOptions(reject=True))
    to_plain = call.testbed.answer(phone.sdp().replace("a=group:BUNDLE a v\r\n", "").encode())
    assert sockets_of(call) == TWO_PORTS
    to_phone = call.testbed.offer(sdp, to=b"bob", bundle=OFFER)
    call.phone_sends_to, call.plain_sends_to = places(to_phone), places(to_plain)
    call.testbed.answer(phone.sdp().encode())
    call.testbed.turn_until(lambda: sockets_of(call) == ONE_PORT, "the port is closed")
    call.goes_both_ways()


def test_an_end_with_a_bundle_may_offer_one_medium_by_rtpproxys_protocol(
    make_ng: MakeNg, phone: BundlePhone, plain: list[MediaPeer]
) -> None:
    call = begin(make_ng, phone, plain)
    where = (phone.peer.address, phone.peer.port)
    call.testbed.relay.execute(Update(CALL, b"bob", b"alice", 0, *where, SessionOptions()))
    answer = call.testbed.answer(plain_sdp(plain, media=1).encode(), tag=b"alice", to=b"bob")
    assert [line for line in answer.decode().splitlines() if "mid" in line or "group" in line] == [
        "a=group:BUNDLE a",
        "a=mid:a",
    ]


def test_what_is_under_way_to_them_arrives(
    make_ng: MakeNg, phone: BundlePhone, plain: list[MediaPeer]
) -> None:
    """Early media of a browser come to the ports of the offer, before it knows of its bundle."""
    testbed = make_ng()
    call = BundledCall(testbed, phone, plain)
    call.phone_sends_to = places(testbed.offer(plain_sdp(plain).encode(), bundle=OFFER))
    early = phone.packet(VIDEO, b"early")
    testbed.passes(phone.peer, call.phone_sends_to[VIDEO], plain[VIDEO], RTP, early)
    call.plain_sends_to = places(testbed.answer(phone.sdp().encode()))
    late = phone.packet(VIDEO, b"late")
    testbed.passes(phone.peer, call.phone_sends_to[VIDEO], plain[VIDEO], RTP, late)
    call.goes_both_ways()


def test_an_end_that_answers_without_the_bundle_has_its_ports(
    make_ng: MakeNg, phone: BundlePhone, plain: list[MediaPeer], make_peer: MakePeer
) -> None:
    call = begin(make_ng, phone, plain)
    carol = [make_peer("127.0.0.33"), make_peer("127.0.0.33")]
    to_plain = places(call.testbed.answer(plain_sdp(carol).encode(), tag=b"carol"))
    for medium in (AUDIO, VIDEO):
        packet = plain_packet(medium, 1, b"to carol")
        source = call.testbed.passes(plain[medium], to_plain[medium], carol[medium], RTP, packet)
        assert source == call.phone_sends_to[medium]
        packet = plain_packet(medium, 2, b"of carol")
        call.testbed.passes(carol[medium], call.phone_sends_to[medium], plain[medium], RTP, packet)
    call.goes_both_ways()


def test_dialogs_of_one_offer_that_go_on_by_themselves_survive_the_shard(
    make_ng: MakeNg,
    phone: BundlePhone,
    plain: list[MediaPeer],
    make_peer: MakePeer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = begin(make_ng, phone, plain)
    carol = [make_peer("127.0.0.33"), make_peer("127.0.0.33")]
    call.testbed.answer(plain_sdp(carol).encode(), tag=b"carol")
    call.goes_both_ways()
    # no further end may answer the offer
    monkeypatch.setattr(Participants, "answerable_until", lambda *_: 0.0)
    call.testbed.offer(plain_sdp(plain).encode(), to=b"carol")
    (snapshot,) = call.testbed.snapshots()
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot
    offers = snapshot.offers
    assert offers is not None
    callers = [index for index, party in enumerate(offers.parties) if party.tag == b"alice"]
    assert [offers.parties[index].split_from for index in callers] == [None, None]
    # as nh wrote it once
    offers.parties[callers[1]] = replace(offers.parties[callers[1]], split_from=callers[0])
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


def test_without_room_for_a_party_more_the_ports_stay_for_other_ends(
    make_ng: MakeNg,
    phone: BundlePhone,
    plain: list[MediaPeer],
    make_peer: MakePeer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nh.calls.offer_answer.participants.MAX_PARTIES", 2)
    call = begin(make_ng, phone, plain)
    call.goes_both_ways()
    monkeypatch.undo()
    carol = [make_peer("127.0.0.33"), make_peer("127.0.0.33")]
    call.testbed.answer(plain_sdp(carol).encode(), tag=b"carol")
    for medium in (AUDIO, VIDEO):
        packet = plain_packet(medium, 2, b"of carol")
        call.testbed.passes(carol[medium], call.phone_sends_to[medium], plain[medium], RTP, packet)
    call.goes_both_ways()


def test_a_later_offer_may_end_the_bundle(
    make_ng: MakeNg, phone: BundlePhone, plain: list[MediaPeer], make_peer: MakePeer
) -> None:
    call = begin(make_ng, phone, plain, unused_s=1, replaced_s=0)
    call.testbed.turn_until(lambda: sockets_of(call) == ONE_PORT, "the port is closed")
    offer = call.testbed.offer(plain_sdp(plain).encode(), to=b"bob", bundle=BundleOptions(reject=True))
    apart = [make_peer("127.0.0.11"), make_peer("127.0.0.11")]
    answer = call.testbed.answer(plain_sdp(apart).encode())
    assert len(set(places(offer))) == 2
    for medium in (AUDIO, VIDEO):
        packet = plain_packet(medium, 1, b"there")
        call.testbed.passes(plain[medium], places(answer)[medium], apart[medium], RTP, packet)
        packet = plain_packet(medium, 2, b"back")
        call.testbed.passes(apart[medium], places(offer)[medium], plain[medium], RTP, packet)
    call.testbed.turn_until(lambda: sockets_of(call) == TWO_PORTS, "what was before is closed")
