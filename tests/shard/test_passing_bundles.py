"""Bundles that pass through a relay (RFC 9143): the ends bundle with each other."""

import time
from collections.abc import Sequence
from typing import Any

import pytest

from nh.calls.snapshots.codec import decode_snapshot, encode_snapshot
from nh.commands import BundleOptions, CodecChoice, IceHandling, SdpText, ShowCall
from nh.errors import Unsupported
from nh.results import CallDetail
from nh.verdict import State, judge_call
from tests.shard.bundled_call import media_of
from tests.shard.conftest import MakePeer
from tests.shard.ng_testbed import CALL, NgTestbed, places, rtcp
from tests.shard.testbed import Where
from tests.webrtc.bundle_phone import AUDIO, VIDEO, BundlePhone, write_media
from tools.harness.media_peer import RTP, MediaPeer

NO_AUDIO = CodecChoice(strip=("PCMU",), reject_empty=True)
ICE = (
    "ice-ufrag:abcd",
    "ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
    "candidate:1 1 UDP 2130706431 192.0.2.1 4000 typ host",
)


@pytest.fixture
def alice(make_peer: MakePeer) -> BundlePhone:
    return BundlePhone(make_peer("127.0.0.11"))


@pytest.fixture
def bob(make_peer: MakePeer) -> BundlePhone:
    return BundlePhone(make_peer("127.0.0.22"))


def video_passes(ng: NgTestbed, sender: BundlePhone, to: Where, receiver: BundlePhone) -> None:
    ng.passes(sender.peer, to, receiver.peer, RTP, sender.packet(VIDEO, b"video"))


class PassingCall:
    """A call of two ends that bundle with each other, and where each of them sends."""

    def __init__(self, ng: NgTestbed, alice: BundlePhone, bob: BundlePhone) -> None:
        self.ng = ng
        self.ends = {b"alice": alice, b"bob": bob}
        (to_bob,) = set(places(ng.offer(alice.sdp(media=1).encode())))
        (to_alice,) = set(places(ng.answer(bob.sdp(media=1).encode())))
        self.sends_to = {b"alice": to_alice, b"bob": to_bob}

    def reinvite(self, by: bytes, media: Sequence[int] = (AUDIO, VIDEO), **options: Any) -> list[list[Where]]:
        """One end offers its bundle with some of its media; where the other, and then it, are to send."""
        (to,) = self.ends.keys() - {by}
        offer = self.ng.offer(self.sdp(by, media), tag=by, to=to, **options)
        self.passes_both_ways(media[0])
        answer = self.ng.answer(self.sdp(to, media), tag=to, to=by)
        self.passes_both_ways(media[0])
        return [[place for place in places(sdp) if place[1]] for sdp in (offer, answer)]

    def passes_both_ways(self, medium: int) -> None:
        """Media of the bundle arrive, each from where its receiver sends to."""
        for tag, to in ((b"alice", b"bob"), (b"bob", b"alice")):
            packet = self.ends[tag].packet(medium, b"bundled")
            source = self.ng.passes(self.ends[tag].peer, self.sends_to[tag], self.ends[to].peer, RTP, packet)
            assert source == self.sends_to[to]

    def sdp(self, tag: bytes, media: Sequence[int]) -> bytes:
        """What an end says that has some of its media, in its bundle."""
        end = self.ends[tag]
        own = [["rtcp-mux", f"mid:{end.mids[medium]}"] for medium in (AUDIO, VIDEO)]
        ports = [end.peer.port if medium in media else 0 for medium in (AUDIO, VIDEO)]
        group = " ".join(["BUNDLE", *[end.mids[medium] for medium in media]])
        return write_media(ports, own, address=end.peer.address, group=group).encode()

    def sdp_with_another(self, tag: bytes, other: MediaPeer) -> bytes:
        """The same of its video alone, with a medium of its own in the place of the audio."""
        end = self.ends[tag]
        own = [["rtcp-mux", "mid:new"], ["rtcp-mux", f"mid:{end.mids[VIDEO]}"]]
        group = f"BUNDLE {end.mids[VIDEO]}"
        return write_media([other.port, end.peer.port], own, address=end.peer.address, group=group).encode()


@pytest.fixture
def call(ng: NgTestbed, alice: BundlePhone, bob: BundlePhone) -> PassingCall:
    return PassingCall(ng, alice, bob)


@pytest.mark.parametrize("by", [b"alice", b"bob"])
def test_what_is_bundled_has_one_port_in_later_offers(call: PassingCall, by: bytes) -> None:
    call.reinvite(b"alice")  # it adds the video
    (to,) = call.ends.keys() - {by}
    offer, answer = call.reinvite(by)
    assert (offer, answer) == ([call.sends_to[to]] * 2, [call.sends_to[by]] * 2)


@pytest.mark.parametrize("by", [b"alice", b"bob"])
def test_a_bundle_stays_at_its_port_when_its_first_medium_leaves(call: PassingCall, by: bytes) -> None:
    """Its ends go on sending there: with ICE they have checked that path, and no other."""
    call.reinvite(b"alice")
    (to,) = call.ends.keys() - {by}
    places_of_bundle = [call.sends_to[to]], [call.sends_to[by]]
    assert tuple(call.reinvite(by, [VIDEO])) == places_of_bundle
    (snapshot,) = call.ng.snapshots()
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot
    assert tuple(call.reinvite(by, [VIDEO])) == places_of_bundle, "nor with an offer after that"
    offer, answer = call.reinvite(by)
    assert (offer, answer) == ([call.sends_to[to]] * 2, [call.sends_to[by]] * 2), "nor if it returns"


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("by", [b"alice", b"bob"])
def test_a_bundle_stays_at_its_port_when_the_place_of_its_first_medium_has_another(
    call: PassingCall, make_peer: MakePeer, by: bytes, *, refused: bool
) -> None:
    """The relay moved the bundle: with ICE, its ends had checked the path before, and lost their media."""
    (to,) = call.ends.keys() - {by}
    call.reinvite(b"alice")
    call.reinvite(by, [VIDEO])
    others = {tag: make_peer(call.ends[tag].peer.address) for tag in (by, to)}

    for number in range(3):
        offer = call.ng.offer(call.sdp_with_another(by, others[by]), tag=by, to=to)
        assert places(offer)[VIDEO] == call.sends_to[to] != places(offer)[AUDIO]
        call.passes_both_ways(VIDEO)
        if refused and number == 0:
            continue
        answer = call.ng.answer(call.sdp_with_another(to, others[to]), tag=to, to=by)
        assert places(answer)[VIDEO] == call.sends_to[by] != places(answer)[AUDIO]
        call.passes_both_ways(VIDEO)
        source = call.ng.passes(others[by], places(answer)[AUDIO], others[to], RTP)
        assert source == places(offer)[AUDIO]
        (snapshot,) = call.ng.snapshots()
        assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


def test_a_bundle_stays_at_its_port_when_its_end_does_not_see_a_medium_before_it(
    ng: NgTestbed, make_peer: MakePeer
) -> None:
    """Bob has other places of media than Alice, and his offer has another medium in that of the first one."""
    hidden = SdpText(removed_media=("video",))

    def sdp(address: str, *media: str, group: str) -> bytes:
        lines = [
            "v=0",
            "o=phone 1 1 IN IP4 127.0.0.1",
            "s=-",
            f"c=IN IP4 {address}",
            "t=0 0",
            f"a=group:{group}",
        ]
        for each in media:
            kind, port, mid = each.split()
            lines += [f"m={kind} {port} RTP/AVP 0", f"a=mid:{mid}", "a=rtcp-mux"]
        return "\r\n".join([*lines, ""]).encode()

    alice, bob, other = (make_peer(f"127.0.0.{number}") for number in (11, 22, 22))
    a, b = alice.port, bob.port
    video = f"video {a + 1000} v"
    ng.offer(
        sdp("127.0.0.11", f"audio {a} x", video, f"audio {a} y", f"audio {a} z", group="BUNDLE x y z"),
        text=hidden,
    )
    ng.answer(sdp("127.0.0.22", f"audio {b} x", f"audio {b} y", f"audio {b} z", group="BUNDLE x y z"))
    again = sdp("127.0.0.11", "audio 0 x", video, f"audio {a} y", f"audio {a} z", group="BUNDLE y z")
    ng.offer(again, to=b"bob", text=hidden)
    answer = ng.answer(sdp("127.0.0.22", "audio 0 x", f"audio {b} y", f"audio {b} z", group="BUNDLE y z"))
    (to_alice,) = set(places(answer)[2:])

    added = f"audio {other.port} n"
    offer = ng.offer(
        sdp("127.0.0.22", added, f"audio {b} y", f"audio {b} z", group="BUNDLE y z"), tag=b"bob", to=b"alice"
    )
    assert places(offer)[2:] == [to_alice] * 2 != [places(offer)[0]] * 2


def test_an_offer_that_is_refused_leaves_the_media_of_a_bundle_in_their_places(
    call: PassingCall, make_peer: MakePeer
) -> None:
    call.reinvite(b"alice")
    call.reinvite(b"alice", [VIDEO])
    sdp = call.sdp_with_another(b"alice", make_peer("127.0.0.11"))
    before = call.ng.snapshots()
    with pytest.raises(Unsupported, match="IPv6"):
        call.ng.offer(sdp, to=b"bob", family=6)
    assert call.ng.snapshots() == before
    call.passes_both_ways(VIDEO)


def test_a_medium_that_is_not_bundled_any_more_passes_at_the_port_that_was_offered_for_it(
    call: PassingCall,
) -> None:
    """Its first medium has left, and who answers leaves out the bundle, which has one medium only."""
    call.reinvite(b"alice")
    bob = call.ends[b"bob"].peer
    offer = call.ng.offer(call.sdp(b"alice", [VIDEO]), to=b"bob")
    answer = call.ng.answer(write_media([0, bob.port], [[], ["rtcp-mux"]], address=bob.address).encode())
    call.ng.relay.table.expire(now=time.monotonic() + 2)  # what the answer replaced relays no more
    call.sends_to = {b"alice": places(answer)[VIDEO], b"bob": places(offer)[VIDEO]}
    call.passes_both_ways(VIDEO)


def test_reports_of_a_bundle_whose_first_medium_has_left_come_to_its_port(call: PassingCall) -> None:
    call.reinvite(b"alice")
    call.reinvite(b"alice", [VIDEO])
    alice, bob = (call.ends[tag].peer for tag in (b"alice", b"bob"))
    assert call.ng.passes(alice, call.sends_to[b"alice"], bob, RTP, rtcp()) == call.sends_to[b"bob"]


@pytest.mark.parametrize("removal", [{"codecs": NO_AUDIO}, {"text": SdpText(removed_media=("audio",))}])
def test_a_first_medium_that_the_receiver_does_not_see_leaves_the_port_to_the_bundle(
    call: PassingCall, removal: dict[str, Any]
) -> None:
    call.reinvite(b"alice")
    offer = call.ng.offer(call.ends[b"alice"].sdp().encode(), to=b"bob", **removal)
    assert [medium.port for medium in media_of(offer)] == [0, call.sends_to[b"bob"][1]]
    answer = call.ng.answer(call.sdp(b"bob", [VIDEO]))
    assert places(answer)[VIDEO] == call.sends_to[b"alice"]
    call.passes_both_ways(VIDEO)


def test_media_that_are_not_bundled_any_more_have_their_own_ports(
    call: PassingCall, make_peer: MakePeer
) -> None:
    call.reinvite(b"alice")
    ports = [call.ends[b"alice"].peer.port, make_peer("127.0.0.11").port]
    apart = write_media(ports, [["rtcp-mux", "mid:a"], ["rtcp-mux", "mid:v"]], address="127.0.0.11")
    assert len(set(places(call.ng.offer(apart.encode(), to=b"bob")))) == 2


def test_a_bundle_that_is_not_agreed_on_has_a_port_for_each_medium(
    ng: NgTestbed, alice: BundlePhone, bob: BundlePhone
) -> None:
    assert len(set(places(ng.offer(alice.sdp().encode())))) == 2
    apart = write_media([bob.peer.port, bob.peer.port + 2], [[], []], address=bob.peer.address)
    ng.answer(apart.encode())
    assert len(set(places(ng.offer(alice.sdp().encode(), to=b"bob")))) == 2


@pytest.mark.parametrize("removal", ["by codec", "by type"])
def test_the_next_medium_has_the_transport_of_a_tagged_one_that_leaves_an_offer(
    ng: NgTestbed, alice: BundlePhone, bob: BundlePhone, removal: str
) -> None:
    text = SdpText(removed_media=("audio",) if removal == "by type" else ())
    codecs = NO_AUDIO if removal == "by codec" else CodecChoice()
    offer = ng.offer(alice.sdp(bundle_only=True).encode(), codecs=codecs, text=text)
    assert b"a=group:BUNDLE v\r\n" in offer and b"bundle-only" not in offer
    *rejected, video = media_of(offer)
    assert [medium.port for medium in rejected] == [0] * len(rejected)
    bundled = write_media([0, bob.peer.port], [["mid:a"], ["rtcp-mux", "mid:v"]], address=bob.peer.address)
    if removal == "by type":
        bundled = bundled[: bundled.index("m=audio")] + bundled[bundled.index("m=video") :]
    answer = ng.answer(bundled.replace("t=0 0", "t=0 0\r\na=group:BUNDLE v").encode())
    assert [medium.port != 0 for medium in media_of(answer)] == [False, True]
    video_passes(ng, alice, places(answer)[VIDEO], bob)
    video_passes(ng, bob, video.target, alice)


def test_the_media_of_an_answer_stay_on_the_transport_of_a_tagged_one_that_its_receiver_does_not_see(
    ng: NgTestbed, alice: BundlePhone, bob: BundlePhone
) -> None:
    offer = ng.offer(alice.sdp(bundle_only=True).encode())
    answer = ng.answer(bob.sdp().encode(), codecs=NO_AUDIO)
    assert b"a=group:BUNDLE v\r\n" in answer
    assert [medium.port != 0 for medium in media_of(answer)] == [False, True]
    video_passes(ng, alice, places(answer)[VIDEO], bob)
    video_passes(ng, bob, places(offer)[AUDIO], alice)


def test_the_transport_goes_along_with_its_ice_and_its_keys(ng: NgTestbed) -> None:
    tagged = ["mid:a", "rtcp-mux", "fingerprint:sha-256 AB", "setup:actpass", *ICE]
    sdp = write_media(
        [4000, 0],
        [tagged, ["mid:v", "bundle-only"]],
        address="192.0.2.1",
        group="BUNDLE a v",
        proto="UDP/TLS/RTP/SAVPF",
    )
    video = media_of(ng.offer(sdp.encode(), codecs=NO_AUDIO))[VIDEO]
    assert {"rtcp-mux", "fingerprint:sha-256 AB", "setup:actpass", *ICE[:2]} <= set(video.attributes)
    (candidate,) = [
        each.split() for each in video.attributes if each.startswith("candidate") and " 1 UDP" in each
    ]
    assert (candidate[4], int(candidate[5])) == video.target


def test_a_bundle_stays_where_it_is_beside_a_relay_that_is_a_candidate(ng: NgTestbed) -> None:
    sdp = write_media(
        [4000, 4000],
        [["mid:a", "rtcp-mux", *ICE], ["mid:v", "rtcp-mux"]],
        address="192.0.2.1",
        group="BUNDLE a v",
    )
    offer = ng.offer(sdp.encode(), ice=IceHandling.FORCE_RELAY)
    assert places(offer) == [("192.0.2.1", 4000)] * 2


@pytest.mark.parametrize("bundle", [BundleOptions(reject=True), BundleOptions(offer=True)])
def test_a_medium_without_a_transport_is_rejected_where_its_bundle_is(
    ng: NgTestbed, alice: BundlePhone, bob: BundlePhone, bundle: BundleOptions
) -> None:
    """It may be accepted in its bundle only (RFC 9143 6)."""
    offer = ng.offer(alice.sdp(bundle_only=True).encode(), bundle=bundle)
    assert [medium.port != 0 for medium in media_of(offer)] == [True, False]
    assert b"bundle-only" not in offer and b"BUNDLE a v" not in offer
    answer = ng.answer(bob.sdp().encode())
    assert [medium.port != 0 for medium in media_of(answer)] == [True, False]


@pytest.mark.parametrize("bundle_only", [False, True])
def test_a_bundle_ends_where_srtp_is_added(ng: NgTestbed, alice: BundlePhone, *, bundle_only: bool) -> None:
    """The other end would have one association, and the relay one for each medium."""
    sdp = alice.sdp(bundle_only=bundle_only).encode()
    offer = ng.offer(sdp, transport_protocol="UDP/TLS/RTP/SAVPF")
    assert b"BUNDLE" not in offer
    assert len(set(places(offer))) == 2
    for medium in media_of(offer):
        assert any(each.startswith("fingerprint") for each in medium.attributes)


def test_a_medium_that_comes_with_another_is_waited_for_at_no_port_of_its_own(call: PassingCall) -> None:
    call.reinvite(b"alice", (AUDIO, VIDEO))
    detail = call.ng.relay.execute(ShowCall(CALL))
    assert isinstance(detail, CallDetail)
    audio, video = detail.sessions
    assert (audio.carried_by, video.carried_by) == (None, audio.sessionid)
    verdicts = judge_call(detail).verdicts
    assert [each.state for each in verdicts if each.session == video.sessionid] == [State.WAITING] * 2
    assert all(f"ports of session {audio.sessionid}" in each.found for each in verdicts[2:])
