"""ICE that passes through the relay, of ends whose SDP has no address (trickle ICE, RFC 8840)."""

import pytest

from tests.shard.conftest import MakePeer
from tests.shard.ng_testbed import NgTestbed, places
from tests.shard.testbed import Where
from tests.sip.sdp import MediaLine, write_sdp
from tools.harness.media_peer import RTP, MediaPeer

CHECK = b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)


def sdp(ufrag: str) -> bytes:
    attributes = ("rtcp-mux", f"ice-ufrag:{ufrag}", "ice-pwd:0123456789012345678901")
    return write_sdp([MediaLine("0.0.0.0", 9, attributes=attributes)]).encode()


class Browsers:
    """Two ends that send and check through the relay."""

    def __init__(self, testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
        self.testbed, self.alice, self.bob = testbed, alice, bob
        offer = testbed.offer(sdp("alice"))
        answer = testbed.answer(sdp("bobbob"))
        (self.alice_sends_to,), (self.bob_sends_to,) = places(answer), places(offer)
        alice.send_raw(CHECK, self.alice_sends_to)
        self.check(bob, self.bob_sends_to, alice)
        self.check(alice, self.alice_sends_to, bob)

    def check(self, sender: MediaPeer, to: Where, receiver: MediaPeer) -> None:
        self.testbed.passes(sender, to, receiver, RTP, CHECK)

    def reinvites(self, ufrag: str) -> None:
        self.testbed.offer(sdp(ufrag), to=b"bob")
        self.testbed.answer(sdp("bobbob"))


@pytest.fixture
def browsers(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> Browsers:
    return Browsers(ng, alice, bob)


@pytest.mark.parametrize("restored", [False, True], ids=["same process", "restored"])
def test_an_end_that_restarts_ice_is_found_elsewhere(
    browsers: Browsers, make_peer: MakePeer, restored: bool
) -> None:
    """Its former network is gone, so nothing comes from there."""
    if restored:
        browsers.testbed.restore()
    browsers.reinvites("again")
    elsewhere = make_peer()
    browsers.check(elsewhere, browsers.alice_sends_to, browsers.bob)
    browsers.check(browsers.bob, browsers.bob_sends_to, elsewhere)


def test_a_refresh_opens_nothing(browsers: Browsers, make_peer: MakePeer) -> None:
    browsers.reinvites("alice")
    stranger = make_peer()
    stranger.send_raw(CHECK, browsers.alice_sends_to)
    browsers.testbed.turn_until(lambda: browsers.testbed.stats().drop_source_mismatch == 1, "it is dropped")
    browsers.check(browsers.bob, browsers.bob_sends_to, browsers.alice)
