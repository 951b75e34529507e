"""What a client has changed in the text of SDPs, over a call: what each end got before counts."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from nh.calls.bundle import MAX_MID_BYTES
from nh.calls.interfaces import Interface
from nh.calls.snapshots.bundle import check_bundles
from nh.calls.snapshots.call import CallSnapshot
from nh.commands import (
    MAX_FORWARDED_BYTES,
    AttributeEdit,
    BundleOptions,
    CodecChoice,
    Feature,
    Offer,
    OfferOptions,
    RtcpAttribute,
    SdpText,
)
from nh.errors import SdpTooLong, SnapshotUnreadable, Unsupported, UnusableSdp
from nh.results import Rewritten
from nh.sdp.parse import MAX_LINES
from tests.sdp.samples import crlf
from tests.shard.conftest import MakeNg, MakePeer
from tests.shard.ng_testbed import CALL, NgTalk, NgTestbed, places
from tests.shard.testbed import PACKET, V4
from tools.harness.media_peer import RTP, MediaPeer

WHOLE = SdpText(whole_origin=True)
COUNTED = SdpText(version=True)


@pytest.fixture
def ng(make_ng: MakeNg) -> NgTestbed:
    return make_ng(Interface("default", V4, V4))


def sdp(user: str = "alice", version: int = 1, port: int = 4000, *more: str) -> bytes:
    head = f"v=0\no={user} 154 {version} IN IP4 192.0.2.1\ns={user}'s\nc=IN IP4 192.0.2.1\nt=0 0"
    return crlf("\n".join([head, f"m=audio {port} RTP/AVP 0", *more]))


def origin(forwarded: bytes) -> str:
    """User name and version that an end got."""
    found = re.search(rb"^o=(.*?) 154 (\d+) ", forwarded, re.MULTILINE)
    assert found
    return b" ".join(found.groups()).decode()


def test_each_end_has_a_count_of_its_own(ng: NgTestbed) -> None:
    assert origin(ng.offer(sdp("alice", 7), text=COUNTED)) == "alice 7"
    assert origin(ng.answer(sdp("bob", 30), text=COUNTED)) == "bob 30"
    assert origin(ng.offer(sdp("alice", 9), to=b"bob", text=COUNTED)) == "alice 7"
    assert origin(ng.answer(sdp("bob", 31, 4444), text=COUNTED)) == "bob 31"
    again = ng.offer(sdp("bob", 40, 4446), tag=b"bob", to=b"alice", text=COUNTED)
    assert origin(again) == "bob 32"
    assert origin(ng.answer(sdp("alice", 9, 4010), tag=b"alice", to=b"bob", text=COUNTED)) == "alice 8"


def test_an_end_sees_one_session_although_others_answer(ng: NgTestbed) -> None:
    ng.offer(sdp("alice"), branch=b"one")
    assert origin(ng.answer(sdp("bob", 5), text=WHOLE)) == "bob 5"
    assert origin(ng.answer(sdp("carol", 900, 4444), tag=b"carol", text=WHOLE)) == "bob 6"


def test_the_count_goes_on_at_each_fork_of_an_offer(ng: NgTestbed) -> None:
    ng.offer(sdp("alice", 3), text=WHOLE)
    ng.answer(sdp("bob"), text=WHOLE)
    ng.answer(sdp("carol"), tag=b"carol", text=WHOLE)
    for fork in (b"bob", b"carol"):
        assert origin(ng.offer(sdp("al", 1, 4008), to=fork, text=WHOLE)) == "alice 4"


def test_another_branch_gets_the_origin_of_the_one_before(ng: NgTestbed) -> None:
    for number, branch in enumerate((b"one", b"two"), start=3):
        assert (
            origin(ng.offer(sdp(f"alice {branch!r}"[:5], 3), branch=branch, text=WHOLE)) == f"alice {number}"
        )
        ng.answer(sdp("bob"), branch=branch, tag=branch)


def test_the_relays_ports_count_as_a_change(ng: NgTestbed) -> None:
    first = ng.offer(sdp("alice", 1, 4000), text=COUNTED)
    assert ng.offer(sdp("alice", 2, 4000), text=COUNTED) == first
    assert origin(ng.offer(sdp("alice", 2, 4002), text=COUNTED)) == "alice 2"


def test_a_command_that_asks_for_nothing_tells_the_count_all_the_same(ng: NgTestbed) -> None:
    ng.offer(sdp("alice", 1), text=COUNTED)
    assert origin(ng.offer(sdp("alice", 50, 4002))) == "alice 50"
    assert origin(ng.offer(sdp("alice", 1, 4004), text=COUNTED)) == "alice 51"


def test_an_origin_that_is_to_stay_has_to_be_readable(ng: NgTestbed) -> None:
    odd = sdp().replace(b"o=alice 154 1 IN IP4 192.0.2.1", b"o=x y")
    assert b"o=x y\r\n" in ng.offer(odd)
    with pytest.raises(UnusableSdp):
        ng.offer(odd, text=COUNTED)


def test_attributes_of_the_relays_own_can_be_edited_too(ng: NgTestbed) -> None:
    text = SdpText(
        rtcp_attribute=RtcpAttribute.FULL,
        generate_mid=True,
        attributes=(AttributeEdit("audio", b"rtcp", b""), AttributeEdit("audio", b"mid:1", b"mid:a")),
    )
    lines = ng.offer(sdp(), text=text).decode().splitlines()
    assert "a=mid:a" in lines
    assert not any(line.startswith("a=rtcp") for line in lines)


def test_names_that_the_relay_gave_media_are_not_those_of_the_end_that_offered_them(ng: NgTestbed) -> None:
    """The media of an answer have the names that the offer gave them (RFC 5888 9.1)."""
    named = media(
        "audio 5000 RTP/AVP 0",
        "video 5002 RTP/AVP 96",
        session="c=IN IP4 192.0.2.1\na=group:LS 1 v\n",
        mids="1v",
    )
    ng.offer(media(*CALLER[:2], mids=["", "v"]), text=SdpText(generate_mid=True))
    answer = ng.answer(named)
    assert re.findall(rb"a=mid:.*|a=group:.*", answer) == [b"a=group:LS v\r", b"a=mid:v\r"]
    assert b"a=mid:1\r\n" in ng.answer(named, text=SdpText(generate_mid=True))


def mids(forwarded: bytes) -> list[bytes]:
    return re.findall(rb"a=mid:(.*?)\r", forwarded)


@pytest.mark.parametrize("restored", [False, True])
def test_names_that_the_relay_gave_media_stay_with_them(ng: NgTestbed, restored: bool) -> None:
    """A script says generate-mid once, and an end finds its media by their names (RFC 8829 5.10)."""
    two = CALLER[:2]
    assert mids(ng.offer(media(*two), text=SdpText(generate_mid=True))) == [b"1", b"2"]
    ng.answer(media(*BOB, mids="12"))
    if restored:
        ng.restore()
    assert mids(ng.offer(media(*CALLER), to=b"bob")) == [b"1", b"2"]
    assert mids(ng.answer(media(*BOB, "text 5004 RTP/AVP 98", mids=["1", "2", ""]))) == []
    assert mids(ng.offer(media(*BOB, mids="12"), tag=b"bob", to=b"alice")) == [b"1", b"2"]
    ng.answer(media(*two, mids="12"), tag=b"alice", to=b"bob")
    assert mids(ng.offer(media(*two), to=b"bob")) == [b"1", b"2"]


@pytest.mark.parametrize("generated", [False, True])
@pytest.mark.parametrize("of_offerer", [False, True])
@pytest.mark.parametrize("rejected", [False, True])
def test_an_end_finds_the_names_by_which_it_knows_its_media_where_a_later_offer_has_none(
    ng: NgTestbed, *, rejected: bool, of_offerer: bool, generated: bool
) -> None:
    """As after a transfer to a phone that knows no names; generate-mid gave the media of a browser others."""
    two = CALLER[:2]
    ng.offer(media(*two, mids="01"))
    ng.answer(media(*(REJECTED if rejected else BOB), mids="01"))
    ng.restore()
    text = SdpText(generate_mid=generated)
    if of_offerer:
        assert mids(ng.offer(media(*BOB), tag=b"bob", to=b"alice", text=text)) == [b"0", b"1"]
        answer = ng.answer(media(*two, mids="01"), tag=b"alice", to=b"bob")
    else:
        assert mids(ng.offer(media(*two), to=b"bob", text=text)) == [b"0", b"1"]
        answer = ng.answer(media(*BOB, mids="01"))
    assert mids(answer) == [], "the offer has named none"


def test_an_end_keeps_the_names_by_which_it_knows_its_media_where_its_own_offer_has_none(
    ng: NgTestbed,
) -> None:
    two = CALLER[:2]
    for names in ("ab", ""):
        ng.offer(media(*two, mids=names), to=b"" if names else b"bob")
        ng.answer(media(*BOB, mids=names))
    ng.restore()
    assert mids(ng.offer(media(*BOB), tag=b"bob", to=b"alice")) == [b"a", b"b"]


@pytest.mark.parametrize("rejected", [False, True])
def test_an_end_that_has_bundled_nothing_is_offered_a_bundle_by_the_names_that_it_knows(
    ng: NgTestbed, *, rejected: bool
) -> None:
    """The relay named the media of the bundle anew."""
    two = CALLER[:2]
    ng.offer(media(*two, mids="ab"))
    ng.answer(media(*(REJECTED if rejected else BOB), mids="ab"))
    ng.restore()
    offer = ng.offer(media(*two), to=b"bob", bundle=BundleOptions(offer=True))
    assert re.findall(rb"a=mid:.*|a=group:.*", offer) == [b"a=group:BUNDLE a b\r", b"a=mid:a\r", b"a=mid:b\r"]
    assert mids(ng.answer(media(*BOB, mids="ab"))) == [], "the offer has named none"


@pytest.mark.parametrize("names", [["", "1"], ["a", ""], ["2", "1"]], ids="/".join)
def test_a_name_that_the_relay_gave_a_medium_stays(ng: NgTestbed, names: list[str]) -> None:
    """No two media have one name (RFC 5888 4)."""
    ng.offer(media(*CALLER[:2]), text=SdpText(generate_mid=True))
    ng.answer(media("audio 5000 RTP/AVP 0", "video 5002 RTP/AVP 96", mids="12"))
    assert mids(ng.offer(media(*CALLER[:2], mids=names), to=b"bob")) == [b"1", b"2"]


def test_a_name_that_the_relay_gave_a_medium_gives_way_to_those_of_a_group(ng: NgTestbed) -> None:
    """No two media have one name (RFC 5888 4)."""
    ng.offer(media(*CALLER[:2]), text=SdpText(generate_mid=True))
    ng.answer(media("audio 5000 RTP/AVP 0", "video 5002 RTP/AVP 96", mids="12"))
    grouped = media(*CALLER[:2], mids=["", "1"]).replace(b"m=audio", b"a=group:LS 1\r\nm=audio", 1)
    assert mids(ng.offer(grouped, to=b"bob")) == [b"1"]


def test_an_end_that_has_left_out_the_names_of_media_gets_none_later(ng: NgTestbed) -> None:
    """It does not know a=mid (RFC 5888 9.4.2)."""
    ng.offer(media(*CALLER[:2]), text=SdpText(generate_mid=True))
    ng.answer(media("audio 5000 RTP/AVP 0", "video 5002 RTP/AVP 96"))
    assert mids(ng.offer(media(*CALLER[:2]), to=b"bob")) == []


@pytest.mark.parametrize("length", [MAX_MID_BYTES, MAX_MID_BYTES + 1])
def test_an_offerer_finds_its_own_names_of_media_in_the_answer_however_long(
    ng: NgTestbed, length: int
) -> None:
    own = f"a=mid:{'m' * length}"
    assert own in ng.offer(sdp("alice", 1, 4000, own)).decode().splitlines()
    assert own in ng.answer(sdp("bob", 1, 5000, own)).decode().splitlines()


def test_names_of_media_that_are_no_ascii_pass_unchanged(ng: NgTestbed) -> None:
    """In all that the relay writes: bundles, media that it adds, and what is left of a group.

    The bytes 0x85 and 0xa0 are no white space of an SDP.
    """

    def named(port: int) -> bytes:
        return (
            b"v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\na=group:BUNDLE \x85a \xe9\xa0\n"
            b"m=audio %d RTP/AVP 0\na=rtcp-mux\na=mid:\x85a\n"
            b"m=video %d RTP/AVP 96\na=rtcp-mux\na=mid:\xe9\xa0\n"
        ) % (port, port)

    names = [b"BUNDLE \x85a \xe9\xa0", b"\x85a", b"\xe9\xa0"]

    def found(body: bytes) -> list[bytes]:
        return re.findall(rb"a=(?:mid|group):(.*)\n", body)

    assert found(ng.offer(named(4000), branch=b"z1")) == names
    assert found(ng.offer(named(4000), branch=b"z2", bundle=BundleOptions(require=True))) == names
    assert found(ng.answer(named(5000))) == names
    rejecting = named(5000).replace(b"m=video 5000", b"m=video 0")
    assert found(ng.answer(rejecting)) == [names[0].removesuffix(b" \xe9\xa0"), *names[1:]]
    lacking = named(5000).partition(b"m=video")[0].replace(b" \xe9\xa0", b"")
    assert found(ng.answer(lacking)) == [b"BUNDLE \x85a", *names[1:]]


def test_a_saved_call_with_a_name_of_a_medium_that_no_sdp_can_have_is_refused(ng: NgTestbed) -> None:
    """Else its first answer behind the restore would fail where the name is written."""

    def renamed(snapshot: CallSnapshot) -> CallSnapshot:
        assert snapshot.offers is not None
        parties = [
            msgspec.structs.replace(
                each, offered=tuple([medium._replace(mid="\u4e2d") for medium in each.offered])
            )
            for each in snapshot.offers.parties
        ]
        return msgspec.structs.replace(
            snapshot, offers=msgspec.structs.replace(snapshot.offers, parties=parties)
        )

    ng.offer(sdp())
    with pytest.raises(SnapshotUnreadable):
        ng.restore(renamed)
    with pytest.raises(SnapshotUnreadable):
        check_bundles([([(0, "\u4e2d", [])], 0)])


# --- SDPs that become too long ----------------------------------------------------------------------------


def grown(size: int, byte: bytes = b"y") -> SdpText:
    """A line of `size` bytes more."""
    return SdpText(attributes=(AttributeEdit("audio", b"", byte * (size - len(b"a=\r\n"))),))


def test_an_sdp_as_long_as_a_reply_has_room_for_is_passed_on(ng: NgTestbed) -> None:
    plain = len(ng.offer(sdp()))
    whole = ng.offer(sdp(), branch=b"x", text=grown(MAX_FORWARDED_BYTES - plain))
    assert len(whole) == MAX_FORWARDED_BYTES
    with pytest.raises(SdpTooLong, match=str(MAX_FORWARDED_BYTES + 1)):
        ng.offer(sdp(), branch=b"y", text=grown(MAX_FORWARDED_BYTES - plain + 1))


@pytest.mark.parametrize(
    "options",
    [
        {"text": grown(MAX_FORWARDED_BYTES)},
        {"text": grown(11_000, b"\x01"), "escaped": True},
        {"text": grown(14_000, b"\xff"), "escaped": True},
    ],
)
def test_what_would_be_too_long_is_refused_and_changes_nothing(
    ng: NgTestbed, options: dict[str, Any]
) -> None:
    def refused(command: Callable[..., bytes], *arguments: Any, **fields: Any) -> None:
        before = ng.snapshots(), ng.stats().sockets
        with pytest.raises(SdpTooLong):
            command(*arguments, **fields, **options)
        assert (ng.snapshots(), ng.stats().sockets) == before

    refused(ng.offer, sdp())
    ng.offer(sdp(), text=COUNTED)
    refused(ng.offer, sdp(port=4010))
    refused(ng.offer, sdp(), branch=b"another")
    refused(ng.answer, sdp("bob"))
    ng.answer(sdp("bob"))
    refused(ng.answer, sdp("carol", port=4012), tag=b"carol")
    refused(ng.offer, sdp(version=2, port=4020), to=b"bob")


def test_lines_beyond_those_that_may_come_can_be_added(ng: NgTestbed) -> None:
    many = sdp("alice", 1, 4000, *["a=x"] * (MAX_LINES - 7))
    added = [AttributeEdit("audio", b"", b"y:%d" % number) for number in range(9)]
    assert ng.offer(many, text=SdpText(attributes=tuple(added))).count(b"a=y:") == 9


# --- media that one end does not see ----------------------------------------------------------------------

NO_VIDEO = SdpText(removed_media=("video",))
CALLER = ("audio 4000 RTP/AVP 0", "video 4002 RTP/AVP 96", "text 4004 RTP/AVP 98")
BOB = ("audio 5000 RTP/AVP 0", "video 5002 RTP/AVP 96")
REJECTED = ("audio 0 RTP/AVP 0", "video 0 RTP/AVP 96")


def media(*described: str, session: str = "c=IN IP4 192.0.2.1\n", mids: Sequence[str] = "") -> bytes:
    sections = [
        f"m={line}\n" + (f"a=mid:{mid}\n" if mid else "")
        for line, mid in zip(described, mids or [""] * len(described), strict=True)
    ]
    return crlf(f"v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\n{session}t=0 0\n" + "".join(sections))


def seen(sdp: bytes) -> list[str]:
    """The media of an SDP: type, and whether it is rejected."""
    found = re.findall(rb"^m=(\w+) (\d+)", sdp, re.MULTILINE)
    return [f"no {kind.decode()}" if port == b"0" else kind.decode() for kind, port in found]


def test_removed_media_are_hidden_from_the_callee_and_rejected_for_the_caller(ng: NgTestbed) -> None:
    assert seen(ng.offer(media(*CALLER), text=NO_VIDEO)) == ["audio", "text"]
    answer = ng.answer(media("audio 5000 RTP/AVP 0", "text 5004 RTP/AVP 98"))
    assert seen(answer) == ["audio", "no video", "text"]
    assert b"m=video 0 RTP/AVP 96\r\n" in answer


def test_removed_media_have_their_place_in_an_answer_that_lacks_those_before(ng: NgTestbed) -> None:
    ng.offer(media("audio 4000 RTP/AVP 0", "text 4004 RTP/AVP 98", "video 4002 RTP/AVP 96"), text=NO_VIDEO)
    answer = ng.answer(media("audio 5000 RTP/AVP 0"))
    assert seen(answer) == ["audio", "no text", "no video"]


def test_each_end_keeps_its_count_of_media_when_the_callee_offers(ng: NgTestbed) -> None:
    ng.offer(media(*CALLER), text=NO_VIDEO)
    ng.answer(media("audio 5000 RTP/AVP 0", "text 5004 RTP/AVP 98"))
    again = ng.offer(media("audio 5000 RTP/AVP 0", "text 5004 RTP/AVP 98"), tag=b"bob", to=b"alice")
    assert seen(again) == ["audio", "no video", "text"]
    answered = media("audio 4000 RTP/AVP 0", "video 0 RTP/AVP 96", "text 4004 RTP/AVP 98")
    assert seen(ng.answer(answered, tag=b"alice", to=b"bob")) == ["audio", "text"]


def test_media_flow_beside_those_that_are_hidden(ng: NgTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer("127.0.0.11"), make_peer("127.0.0.22")
    to_bob = ng.offer(flowing(alice, "video 4002 RTP/AVP 96"), text=NO_VIDEO)
    to_alice = ng.answer(flowing(bob))
    ng.talk(alice, bob, NgTalk(to_alice.replace(b"m=video 0", b"m=video 9"), to_bob), medium=-1)


def flowing(peer: MediaPeer, *before: str) -> bytes:
    return media(*before, f"audio {peer.port} RTP/AVP 0", session=f"c=IN IP4 {peer.address}\n")


def test_a_hidden_medium_leaves_its_bundle(ng: NgTestbed) -> None:
    group = "c=IN IP4 192.0.2.1\na=group:BUNDLE a v t\na=group:LS a t\n"
    to_bob = ng.offer(media(*CALLER, session=group, mids="avt"), text=NO_VIDEO)
    assert b"a=group:BUNDLE a t\r\na=group:LS a t\r\n" in to_bob
    assert b"a=mid:v" not in to_bob
    answer = ng.answer(media("audio 5000 RTP/AVP 0", "text 5004 RTP/AVP 98", mids="at"))
    assert re.findall(rb"a=mid:(.)", answer) == [b"a", b"v", b"t"]


@pytest.mark.parametrize(
    ("removed", "left"),
    [
        (("audio", "text"), ["video", "foobar"]),
        (("other",), ["audio", "video", "text"]),
        (("audio", "video", "text", "other"), []),
        (("image",), ["audio", "video", "text", "foobar"]),
    ],
)
def test_media_are_removed_by_type(ng: NgTestbed, removed: tuple[str, ...], left: list[str]) -> None:
    text = SdpText(removed_media=removed, generate_mid=True)
    assert seen(ng.offer(media(*CALLER, "foobar 4006 RTP/AVP 10"), text=text)) == left
    five = [f"{kind} 5000 RTP/AVP 0" for kind in left]
    assert len(seen(ng.answer(media(*five)))) == 4


def test_media_that_an_end_knows_are_rejected_for_it_and_not_hidden(ng: NgTestbed) -> None:
    """Its SDPs have no fewer media than before (RFC 3264 8), also if it refuses the offer."""
    ng.offer(media(*CALLER))
    ng.answer(media("audio 5000 RTP/AVP 0", "video 5002 RTP/AVP 96", "text 5004 RTP/AVP 98"))
    offer = ng.offer(media(*CALLER), to=b"bob", text=NO_VIDEO)
    assert [port for _, port in places(offer)][1] == 0 and len(seen(offer)) == len(CALLER)
    back = ng.offer(media(*CALLER), tag=b"bob", to=b"alice")
    assert len(seen(back)) == len(CALLER) and all(port for _, port in places(back))


def test_media_that_an_end_has_been_shown_are_rejected_for_it_although_it_offered_without_them_before(
    ng: NgTestbed,
) -> None:
    """What it offered then, when they were hidden, does not count any more."""
    shown, of_bob = CALLER[:2], "audio 5000 RTP/AVP 0"
    ng.offer(media(*shown), text=NO_VIDEO)
    ng.answer(media(of_bob))
    ng.offer(media(of_bob), tag=b"bob", to=b"alice")
    ng.answer(media(CALLER[0], "video 0 RTP/AVP 96"), tag=b"alice", to=b"bob")
    ng.offer(media(*shown), to=b"bob")
    ng.answer(media(of_bob, "video 5002 RTP/AVP 96"))
    offer = ng.offer(media(*shown), to=b"bob", text=NO_VIDEO)
    assert [port != 0 for _, port in places(offer)] == [True, False]


def test_media_that_an_end_has_not_seen_may_have_the_names_that_it_gives_its_own(ng: NgTestbed) -> None:
    ng.offer(media(*CALLER, mids="avt"), text=NO_VIDEO)
    ng.answer(media("audio 5000 RTP/AVP 0", "text 5004 RTP/AVP 98", mids="at"))
    more = media("audio 5000 RTP/AVP 0", "text 5004 RTP/AVP 98", "audio 5006 RTP/AVP 8", mids="atv")
    offer = ng.offer(more, tag=b"bob", to=b"alice", bundle=BundleOptions(offer=True))
    assert re.findall(rb"a=mid:(.)", offer).count(b"v") == 1


def test_an_offer_that_hides_nothing_shows_all_media_again(ng: NgTestbed) -> None:
    ng.offer(media(*CALLER), text=NO_VIDEO)
    ng.offer(media(*CALLER))
    assert seen(ng.answer(media("audio 5000 RTP/AVP 0"))) == ["audio", "no video", "no text"]


# --- codecs -----------------------------------------------------------------------------------------------

GATEWAY = CodecChoice(mask=("all",), transcode=("PCMA", "PCMU"))
"""What a script has for a gateway that knows G.711 alone."""


def codecs(sdp: bytes) -> bytes:
    [formats] = re.findall(rb"^m=audio \d+ RTP/AVP (.*)\r", sdp, re.MULTILINE)
    return bytes(formats)


def speaking(peer: MediaPeer, formats: str) -> bytes:
    return media(f"audio {peer.port} RTP/AVP {formats}", session=f"c=IN IP4 {peer.address}\n")


def test_a_gateway_sees_the_codecs_that_it_has_and_the_media_flow(ng: NgTestbed, make_peer: MakePeer) -> None:
    alice, gateway = make_peer("127.0.0.11"), make_peer("127.0.0.22")
    to_gateway = ng.offer(speaking(alice, "9 0 18"), codecs=GATEWAY)
    assert codecs(to_gateway) == b"0"
    to_alice = ng.answer(speaking(gateway, "0"), codecs=GATEWAY)
    assert codecs(to_alice) == b"0"
    ng.talk(alice, gateway, NgTalk(to_alice, to_gateway))
    assert codecs(ng.offer(speaking(alice, "9 0 18"), to=b"bob")) == b"9 0 18"


def test_an_answer_of_many_codecs_may_be_one_of_one(ng: NgTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer("127.0.0.11"), make_peer("127.0.0.22")
    ng.offer(speaking(alice, "0 8"))
    assert codecs(ng.answer(speaking(bob, "8 0"), codecs=CodecChoice(single=True))) == b"8"


NO_VP8 = CodecChoice(strip=("VP8",), reject_empty=True)


def in_a_bundle(phone: MediaPeer, camera: MediaPeer) -> bytes:
    """Audio and video that their end bundles with the other one."""
    return media(
        f"audio {phone.port} UDP/TLS/RTP/SAVPF 0\na=mid:a\na=rtcp-mux",
        f"video {camera.port} UDP/TLS/RTP/SAVPF 96\na=rtpmap:96 VP8/90000\na=mid:v\na=rtcp-mux",
        session=f"c=IN IP4 {phone.address}\na=group:BUNDLE a v\n",
    )


def test_a_medium_without_codecs_has_no_sockets(ng: NgTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer("127.0.0.11"), make_peer("127.0.0.22")
    to_bob = ng.offer(in_a_bundle(alice, alice), codecs=NO_VP8)
    assert ng.stats().sockets == 4
    assert [port for _, port in places(to_bob)][1] == 0
    assert b"a=group:BUNDLE a\r\n" in to_bob
    rejected = in_a_bundle(bob, bob).replace(b"m=video %d" % bob.port, b"m=video 0")
    to_alice = ng.answer(rejected.replace(b"BUNDLE a v", b"BUNDLE a"), codecs=NO_VP8)
    assert b"a=group:BUNDLE a\r\n" in to_alice
    ng.talk(alice, bob, NgTalk(to_alice, to_bob), components=(RTP,))


def test_a_medium_whose_answer_has_no_codec_left_ends(ng: NgTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer("127.0.0.11"), make_peer("127.0.0.22")
    camera, screen = make_peer("127.0.0.11"), make_peer("127.0.0.22")
    to_bob = ng.offer(in_a_bundle(alice, camera))
    to_alice = ng.answer(in_a_bundle(bob, screen), codecs=NO_VP8)
    assert [port for _, port in places(to_alice)][1] == 0
    assert b"a=group:BUNDLE a\r\n" in to_alice
    ng.talk(alice, bob, NgTalk(to_alice, to_bob), components=(RTP,))
    before = ng.dropped()
    screen.send(PACKET, places(to_bob)[1])
    ng.turn_until(lambda: ng.dropped() == before + 1, "a packet of rejected video is dropped")


def test_branches_have_codecs_of_their_own(ng: NgTestbed, make_peer: MakePeer) -> None:
    alice = make_peer("127.0.0.11")
    assert codecs(ng.offer(speaking(alice, "9 8"), branch=b"phone")) == b"9 8"
    assert codecs(ng.offer(speaking(alice, "9 8"), branch=b"gateway", codecs=GATEWAY)) == b"8"


def test_an_offer_that_would_need_transcoding_changes_nothing(ng: NgTestbed, make_peer: MakePeer) -> None:
    alice = make_peer("127.0.0.11")
    with pytest.raises(Unsupported, match="codec-transcode=PCMA, PCMU"):
        ng.offer(speaking(alice, "9 18"), codecs=GATEWAY)
    assert not list(ng.relay.table)


@pytest.mark.parametrize(
    ("formats", "lenient", "warning", "left_out"),
    [
        (
            "9 0",
            (),
            "Ignored by nh: codec-transcode=PCMA (nh does not transcode, and the offer lacks it)",
            "",
        ),
        (
            "9 18",
            (Feature.CODECS,),
            "",
            "codec-transcode=PCMA, PCMU (nh does not transcode, and the offer lacks it)",
        ),
    ],
)
def test_what_is_not_transcoded_is_named(
    ng: NgTestbed, formats: str, lenient: tuple[Feature, ...], warning: str, left_out: str
) -> None:
    options = OfferOptions(codecs=GATEWAY, lenient=frozenset(lenient))
    told = ng.relay.execute(Offer(CALL, b"alice", b"", b"", media(f"audio 4000 RTP/AVP {formats}"), options))
    assert isinstance(told, Rewritten)
    assert (told.warning, told.left_out) == (warning, left_out)


# --- rejected media -----------------------------------------------------------------------------------------


def test_media_that_an_answer_lacks_have_an_address_and_their_names(ng: NgTestbed) -> None:
    ng.offer(media(*CALLER, mids="avt"))
    without = media("audio 5000 RTP/AVP 0\nc=IN IP4 192.0.2.9", session="", mids="a")
    answer = ng.answer(without).decode()
    assert answer.endswith(
        "m=video 0 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\na=mid:v\r\n"
        "m=text 0 RTP/AVP 98\r\nc=IN IP4 0.0.0.0\r\na=mid:t\r\n"
    )
    assert ng.answer(media("audio 5000 RTP/AVP 0")).count(b"c=IN") == 1
