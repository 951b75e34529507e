"""silence media: an end whose sound goes on as silence, in user space, until it is heard again."""

import struct

from nh.calls.media import Block, Side
from nh.commands import ShowCall
from nh.results import CallDetail, LegDetail
from tests.shard.ng_testbed import CALL, NgTestbed, line, rtcp
from tools.harness.media_peer import MediaPeer

SILENCE = b"\xff" * 160


def rtp(sequence: int, payload: bytes = bytes(range(160)), payload_type: int = 0) -> bytes:
    return struct.pack("!BBHII", 0x80, payload_type, sequence, sequence * 160, 0xA1) + payload


def leg(ng: NgTestbed, side: Side, medium: int = 0) -> LegDetail:
    """The RTP leg of one end."""
    detail = ng.relay.execute(ShowCall(CALL))
    assert isinstance(detail, CallDetail)
    pair = detail.sessions[medium].pairs[0]
    return pair.from_ if side is Side.FROM else pair.to


def test_an_end_is_silenced_and_heard_again(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    talk = ng.connect(alice, bob)
    to_bob, to_alice = talk.alice_sends_to[0], talk.bob_sends_to[0]
    for sequence in (1, 2):
        ng.passes(alice, to_bob, bob, 0, rtp(sequence))
        ng.passes(bob, to_alice, alice, 0, rtp(sequence))
    before = leg(ng, Side.FROM).kernel
    ng.block(b"alice", Block.SOUND)
    for sequence in (3, 4):
        alice.send_raw(rtp(sequence), to_bob)
        assert ng.receive(bob)[0] == rtp(sequence, SILENCE)
    assert leg(ng, Side.FROM).kernel is False
    if leg(ng, Side.TO).kernel:
        assert leg(ng, Side.FROM).user_space_because == "its end is silenced"
    ng.passes(bob, to_alice, alice, 0, rtp(3))
    ng.passes(alice, to_bob, bob, 1, rtcp())
    ng.block(blocked=False, what=Block.SOUND)
    ng.passes(alice, to_bob, bob, 0, rtp(5))
    assert leg(ng, Side.FROM).kernel is before
    assert leg(ng, Side.FROM).streams[0].lost == 0


def test_a_codec_without_silence_is_dropped(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    talk = ng.connect([line(alice, "rtpmap:111 opus/48000/2")], [line(bob, "rtpmap:111 opus/48000/2")])
    ng.block(b"alice", Block.SOUND)
    alice.send_raw(rtp(1, payload_type=111), talk.alice_sends_to[0])
    ng.turn_until(lambda: ng.stats().drop_no_target == 1, "the packet is dropped")
    ng.passes(bob, talk.bob_sends_to[0], alice, 0, rtp(1, payload_type=111))
    assert leg(ng, Side.FROM).dropped == {"no_target": 1}


def test_video_of_a_silenced_end_goes_on(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    talk = ng.connect([line(alice, kind="video")], [line(bob, kind="video")])
    ng.block(what=Block.SOUND)
    ng.passes(alice, talk.alice_sends_to[0], bob, 0, rtp(1, payload_type=96))


def test_sound_of_srtp_is_dropped(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    secure = [line(alice, proto="RTP/SAVP")], [line(bob, proto="RTP/SAVP")]
    talk = ng.connect(*secure)
    ng.block(b"alice", Block.SOUND)
    alice.send_raw(rtp(1), talk.alice_sends_to[0])
    ng.turn_until(lambda: ng.stats().drop_no_target == 1, "the packet is dropped")
