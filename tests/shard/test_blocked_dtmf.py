"""block DTMF: the DTMF events of an end are dropped and counted; its audio, and all else, goes on."""

import struct

import pytest

from nh.calls.media import Block, Side
from nh.calls.rtp.payload_types import agreed, read_rtpmaps
from nh.commands import ShowCall
from nh.results import CallDetail, LegDetail
from tests.shard.ng_testbed import CALL, NgTalk, NgTestbed, line
from tools.harness.media_peer import MediaPeer

EVENT, AUDIO = 126, 0
EVENTS = f"rtpmap:{EVENT} telephone-event/8000"


def rtp(payload_type: int, sequence: int, *, marker: bool = False) -> bytes:
    second = payload_type | 0x80 * marker
    return struct.pack("!BBHII", 0x80, second, sequence, sequence * 160, 0xA1) + b"digit"


@pytest.fixture
def talk(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> NgTalk:
    """A call with DTMF events, both ends of which have latched."""
    talk = ng.connect([line(alice, EVENTS)], [line(bob, EVENTS)])
    for sequence in (1, 2):
        ng.passes(alice, talk.alice_sends_to[0], bob, 0, rtp(AUDIO, sequence))
        ng.passes(bob, talk.bob_sends_to[0], alice, 0, rtp(EVENT, sequence))
    return talk


def leg(ng: NgTestbed, side: Side) -> LegDetail:
    """The RTP leg of one end."""
    detail = ng.relay.execute(ShowCall(CALL))
    assert isinstance(detail, CallDetail)
    pair = detail.sessions[0].pairs[0]
    return pair.from_ if side is Side.FROM else pair.to


@pytest.mark.parametrize("author", [b"alice", b"bob"])
def test_an_offer_or_answer_may_block_the_events_of_its_author(
    author: bytes, ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    to_bob = ng.offer([line(alice, EVENTS)], block_dtmf=author == b"alice")
    to_alice = ng.answer([line(bob, EVENTS)], block_dtmf=author == b"bob")
    talk = NgTalk(to_alice, to_bob)
    blocked, other = (alice, bob) if author == b"alice" else (bob, alice)
    to, back = talk.alice_sends_to[0], talk.bob_sends_to[0]
    to, back = (to, back) if author == b"alice" else (back, to)
    blocked.send_raw(rtp(EVENT, 1), to)
    ng.passes(blocked, to, other, 0, rtp(AUDIO, 2))
    ng.passes(other, back, blocked, 0, rtp(EVENT, 1))
    assert ng.stats().drop_dtmf_blocked == 1


def test_events_are_dropped_and_the_rest_goes_on(
    ng: NgTestbed, talk: NgTalk, alice: MediaPeer, bob: MediaPeer
) -> None:
    to = talk.alice_sends_to[0]
    ng.block(b"alice", Block.DTMF)
    alice.send_raw(rtp(EVENT, 3, marker=True), to)
    alice.send_raw(rtp(EVENT, 4), to)
    ng.passes(alice, to, bob, 0, rtp(AUDIO, 5))
    # the second byte of a DTLS record is that of a packet with this payload type
    ng.passes(alice, to, bob, 0, b"\x16\xfe\xfd" + bytes(20))
    ng.passes(bob, talk.bob_sends_to[0], alice, 0, rtp(EVENT, 3))
    sent = leg(ng, Side.FROM)
    assert (sent.dropped, sent.packets) == ({"dtmf_blocked": 2}, 6)
    assert (ng.stats().drop_dtmf_blocked, ng.stats().packets_in - ng.stats().packets_out) == (2, 2)
    assert sent.streams[0].lost == 0
    assert sent.kernel is False
    if leg(ng, Side.TO).kernel:
        assert sent.user_space_because == "DTMF of its end is blocked"


def test_events_pass_again_when_they_are_unblocked(
    ng: NgTestbed, talk: NgTalk, alice: MediaPeer, bob: MediaPeer
) -> None:
    before = leg(ng, Side.FROM).kernel
    ng.block(what=Block.DTMF)
    ng.block(b"bob", Block.DTMF, blocked=False)
    ng.passes(bob, talk.bob_sends_to[0], alice, 0, rtp(EVENT, 3))
    ng.block(what=Block.DTMF, blocked=False)
    ng.passes(alice, talk.alice_sends_to[0], bob, 0, rtp(EVENT, 3))
    assert leg(ng, Side.FROM).kernel is before


def test_a_call_without_events_is_relayed_as_before(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    talk = ng.connect([line(alice)], [line(bob)])
    ng.passes(alice, talk.alice_sends_to[0], bob, 0, rtp(AUDIO, 1))
    before = leg(ng, Side.FROM).kernel
    ng.block(what=Block.DTMF)
    ng.passes(alice, talk.alice_sends_to[0], bob, 0, rtp(EVENT, 2))
    assert leg(ng, Side.FROM).kernel is before


def test_events_are_what_either_sdp_calls_so() -> None:
    sender = read_rtpmaps(["101 telephone-event/8000", "100 opus/48000/2"])
    receiver = read_rtpmaps(["96 Telephone-Event/48000"])
    assert agreed(sender, receiver).events == {96, 101}
