"""What a client may ask for beside ports and addresses: a=mid, a=extmap, a=rtcp, media on hold."""

import pytest

from nh.commands import RtcpAttribute, SdpText
from nh.sdp.parse import parse
from nh.sdp.rewrite import MediumPlan, RewritePlan, rewrite
from tests.sdp import samples

RELAY = "203.0.113.1"


def body(*media: str, session: str = "") -> bytes:
    head = f"v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n{session}"
    return samples.crlf(head + "\n".join(media))


def rewritten(sdp: bytes, text: SdpText, *, rtcp_port: int | None = 5001) -> str:
    description = parse(sdp)
    plans = tuple(MediumPlan(RELAY, 5000, rtcp_port) for _ in description.media)
    return rewrite(description, RewritePlan(plans, connection=RELAY, text=text)).decode()


def mids(sdp: str) -> list[str | None]:
    return [medium.find_value("mid") for medium in parse(sdp.encode()).media]


# --- a=mid ----------------------------------------------------------------------------------------


def test_media_without_a_mid_are_named_by_their_number_those_with_port_0_too() -> None:
    sdp = body("m=audio 4000 RTP/AVP 0", "m=video 0 RTP/AVP 96", "a=mid:v", "m=text 0 RTP/AVP 98")
    assert mids(rewritten(sdp, SdpText(generate_mid=True))) == ["1", "v", "3"]


def test_a_number_that_another_medium_has_as_its_mid_is_not_taken() -> None:
    sdp = body("m=audio 4000 RTP/AVP 0", "m=video 4002 RTP/AVP 96", "a=mid:1")
    assert mids(rewritten(sdp, SdpText(generate_mid=True))) == ["2", "1"]


def test_a_medium_with_several_mids_that_gets_another_has_that_one_alone() -> None:
    sdp = body("m=audio 4000 RTP/AVP 0", "a=mid:1", "a=ptime:20", "a=mid:2")
    named = rewrite(parse(sdp), RewritePlan((MediumPlan(RELAY, 5000, 5001),), connection=RELAY, mids=("a",)))
    assert named.decode().partition("m=")[2].splitlines()[1:] == ["a=mid:a", "a=ptime:20"]


# --- a=rtcp -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["", "a=rtcp:4001", "a=rtcp:53020 IN IP4 192.0.2.7"])
def test_a_full_rtcp_attribute_names_the_address(line: str) -> None:
    sdp = body("m=audio 4000 RTP/AVP 0", *([line] if line else []), "a=sendrecv")
    full = rewritten(sdp, SdpText(rtcp_attribute=RtcpAttribute.FULL))
    assert full.count(f"a=rtcp:5001 IN IP4 {RELAY}\r\n") == full.count("a=rtcp") == 1


def test_a_full_rtcp_attribute_of_a_muxed_medium_has_its_only_port() -> None:
    sdp = body("m=audio 4000 RTP/AVP 0", "a=rtcp-mux")
    full = rewritten(sdp, SdpText(rtcp_attribute=RtcpAttribute.FULL), rtcp_port=None)
    assert f"a=rtcp:5000 IN IP4 {RELAY}\r\n" in full


@pytest.mark.parametrize("medium", ["audio 0 RTP/AVP 0", "image 4000 udptl t38", "audio 4000/2 RTP/AVP 0"])
def test_media_without_one_port_of_rtcp_get_no_rtcp_attribute(medium: str) -> None:
    assert "a=rtcp" not in rewritten(body(f"m={medium}"), SdpText(rtcp_attribute=RtcpAttribute.FULL))


@pytest.mark.parametrize("rtcp_port", [5001, 5011])
def test_no_rtcp_attribute_is_left_or_added(rtcp_port: int) -> None:
    sdp = body("m=audio 4000 RTP/AVP 0", "a=rtcp:4001", "m=audio 4002 RTP/AVP 0")
    assert "a=rtcp" not in rewritten(sdp, SdpText(rtcp_attribute=RtcpAttribute.NONE), rtcp_port=rtcp_port)


# --- header extensions --------------------------------------------------------------------------------

EXTENSIONS = body(
    "m=audio 4000 RTP/AVP 0",
    "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "a=extmap:2/sendonly urn:ietf:params:rtp-hdrext:toffset x",
    "a=extmap:",
    session="a=extmap-allow-mixed\na=extmap:3 urn:three\n",
)


def extensions(sdp: str) -> list[str]:
    return [line.partition(":")[2] for line in sdp.splitlines() if line.startswith("a=extmap")]


def test_all_header_extensions_are_stripped() -> None:
    assert extensions(rewritten(EXTENSIONS, SdpText(extensions=("all",)))) == []


def test_header_extensions_are_stripped_by_name() -> None:
    names = ("urn:ietf:params:rtp-hdrext:toffset", "urn:three")
    left = extensions(rewritten(EXTENSIONS, SdpText(extensions=names)))
    assert left == ["", "1 urn:ietf:params:rtp-hdrext:ssrc-audio-level", ""]


class ComparedName(str):
    """A name of a header extension that counts with how many others it is compared."""

    __slots__ = ()
    __hash__ = str.__hash__
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        ComparedName.comparisons += 1
        return super().__eq__(other)


def test_a_name_of_many_is_found_without_comparing_it_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ComparedName, "comparisons", 0)
    names = tuple(ComparedName(f"urn:{number}") for number in range(1000))
    left = extensions(rewritten(EXTENSIONS, SdpText(extensions=(*names, "urn:three"))))
    assert len(left) == 4
    assert ComparedName.comparisons < len(names)


# --- media on hold by their address ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("sendrecv", "sendonly"),
        ("recvonly", "inactive"),
        ("sendonly", "sendonly"),
        ("inactive", "inactive"),
        ("", "sendonly"),
    ],
)
@pytest.mark.parametrize("zero", ["c=IN IP4 0.0.0.0", "c=IN IP6 ::"])
def test_a_zero_address_becomes_the_relays_and_the_direction_says_the_hold(
    said: str, says: str, zero: str
) -> None:
    sdp = body("m=audio 4000 RTP/AVP 0", zero, *([f"a={said}"] if said else []))
    held = rewritten(sdp, SdpText(zero_address=True))
    assert f"c=IN IP4 {RELAY}\r\n" in held.partition("m=")[2]
    assert parse(held.encode()).media[0].direction == says
    kept = rewritten(sdp, SdpText())
    assert "c=IN IP4 0.0.0.0\r\n" in kept
    assert parse(kept.encode()).media[0].direction == says
    original = rewritten(sdp, SdpText(original_direction=True))
    assert parse(original.encode()).media[0].own_direction == (said or None)


@pytest.mark.parametrize(
    "said", [("sendrecv", "sendrecv"), ("recvonly", "sendrecv"), ("sendrecv", "inactive")]
)
def test_a_medium_on_hold_that_says_several_directions_has_one_then(said: tuple[str, str]) -> None:
    sdp = body("m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0", f"a={said[0]}", "a=ptime:20", f"a={said[1]}")
    held = rewritten(sdp, SdpText(zero_address=True)).partition("m=")[2]
    assert held.splitlines()[2:] == ["a=sendonly", "a=ptime:20"]


def test_a_zero_address_of_the_session_is_replaced_for_each_medium() -> None:
    sdp = body("m=audio 4000 RTP/AVP 0", "m=video 4002 RTP/AVP 96", "c=IN IP4 192.0.2.7").replace(
        b"c=IN IP4 192.0.2.1", b"c=IN IP4 0.0.0.0"
    )
    audio, video = parse(rewritten(sdp, SdpText(zero_address=True)).encode()).media
    assert (audio.connection, audio.direction) == (RELAY, "sendonly")
    assert (video.connection, video.direction) == (RELAY, "sendrecv")


def test_a_medium_that_waits_for_its_candidates_is_not_on_hold() -> None:
    sdp = body("m=audio 9 RTP/AVP 0", "c=IN IP4 0.0.0.0", "a=ice-ufrag:abcd", "a=sendrecv")
    assert "a=sendrecv" in rewritten(sdp, SdpText(zero_address=True))


# --- media that are left out ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "media",
    [
        ("m=video 4002 RTP/AVP 96", "", "a=sendrecv", "junk", "m=audio 4000 RTP/AVP 0"),
        ("m=video 4002 RTP/AVP 96", "", "a=sendrecv", "m=audio 4000 RTP/AVP 0", "junk"),
    ],
    ids=["behind it", "behind another one"],
)
def test_an_sdp_with_junk_can_be_read_without_a_medium_that_is_left_out(media: tuple[str, ...]) -> None:
    description = parse(body(*media))
    plan = RewritePlan((None, MediumPlan(RELAY, 5000)), connection=RELAY, hidden=frozenset({0}))
    after = parse(rewrite(description, plan))
    assert [(medium.kind, medium.port) for medium in after.media] == [("audio", 5000)]
