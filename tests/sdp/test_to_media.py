"""to_media: an SDP's media as the relay core knows them."""

import pytest

from nh.calls.media import Endpoint, Media
from nh.calls.rtp.payload_types import PayloadFormat
from nh.errors import MalformedRequest
from nh.sdp.media import UNKNOWN_HOST, to_media
from nh.sdp.parse import parse
from tests.sdp import samples
from tests.sdp.samples import crlf


def media_of(body: bytes) -> list[Media]:
    return [to_media(medium) for medium in parse(body).media]


def medium_of(*lines: str, connection: str = "IN IP4 192.0.2.1") -> bytes:
    return crlf("\n".join(("v=0", f"c={connection}", *lines)))


def test_rtp_has_pairs_of_ports_and_a_fax_one() -> None:
    assert media_of(samples.T38_BESIDE_AUDIO) == [
        Media("192.0.2.31", 4000, 2, "RTP/AVP", "audio", payload_types=(8,)),
        Media("192.0.2.31", 4002, 1, "udptl", "image"),
        Media("192.0.2.31", 4004, 1, "tcp", "image"),
    ]


def test_a_number_of_ports_counts_pairs_of_rtp() -> None:
    body = medium_of("m=video 4000/3 RTP/AVP 31", "m=application 5000/3 udp x")
    assert [medium.range for medium in media_of(body)] == [6, 3]
    with pytest.raises(MalformedRequest, match="SDP medium 1: range 66"):
        media_of(medium_of("m=video 4000/33 RTP/AVP 31"))


def test_a_rejected_medium_is_inactive() -> None:
    assert [medium.active for medium in media_of(samples.RFC3264_ANSWER)] == [True, False, True]
    assert media_of(crlf("v=0\nm=audio 0 RTP/AVP 0")) == [
        Media("0.0.0.0", 0, 2, "RTP/AVP", "audio", payload_types=(0,))
    ]


@pytest.mark.parametrize(("connection", "address"), [("IN IP4 0.0.0.0", "0.0.0.0"), ("IN IP6 0::0", "::")])
def test_a_held_medium_is_inactive_from_either_end(connection: str, address: str) -> None:
    (held,) = parse(medium_of("m=audio 4000 RTP/AVP 0", connection=connection)).media
    assert to_media(held) == Media(address, 4000, 2, "RTP/AVP", "audio", payload_types=(0,))
    assert not to_media(held, "198.51.100.7").active


def test_inactive_by_direction_still_has_an_endpoint() -> None:
    audio, video = media_of(samples.POLYCOM)
    assert audio.endpoint(0) == Endpoint("192.0.2.60", 2226)
    assert video.endpoint(0) == Endpoint("192.0.2.60", 2228)


def test_a_medium_needs_an_address_from_somewhere() -> None:
    (medium,) = parse(crlf("v=0\nm=audio 4000 RTP/AVP 0")).media
    with pytest.raises(
        MalformedRequest, match="SDP medium 1: neither the medium nor the session has a c= line"
    ):
        to_media(medium)
    assert to_media(medium, "2001:DB8::1").address == "2001:db8::1"
    with pytest.raises(MalformedRequest, match="received-from"):
        to_media(medium, "phone.example.org")


def test_media_in_only_some_of_which_there_is_a_connection() -> None:
    body = crlf("v=0\nm=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.1\nm=video 4002 RTP/AVP 31")
    audio, video = parse(body).media
    assert to_media(audio).address == "192.0.2.1"
    with pytest.raises(MalformedRequest, match="SDP medium 2"):
        to_media(video)


def test_the_sender_of_the_message_goes_before_the_sdp() -> None:
    (medium,) = parse(medium_of("m=audio 4000 RTP/AVP 0", "a=rtcp:5000 IN IP4 192.0.2.9")).media
    media = to_media(medium, "198.51.100.7")
    assert media.endpoint(0) == Endpoint("198.51.100.7", 4000)
    assert media.endpoint(1) == Endpoint("198.51.100.7", 5000)


@pytest.mark.parametrize(
    ("attribute", "rtcp"),
    [
        ("a=x", Endpoint("192.0.2.1", 4001)),
        ("a=rtcp:4001", Endpoint("192.0.2.1", 4001)),
        ("a=rtcp:5000", Endpoint("192.0.2.1", 5000)),
        ("a=rtcp:5000 IN IP4 192.0.2.9", Endpoint("192.0.2.9", 5000)),
        ("a=rtcp:4000", Endpoint("192.0.2.1", 4000)),
        ("a=rtcp:0", Endpoint("192.0.2.1", 4001)),
        ("a=rtcp:5000 IN IP4 0.0.0.0", Endpoint("192.0.2.1", 5000)),
        ("a=rtcp:5000 IN IP4 a..b", Endpoint("192.0.2.1", 5000)),
        ("a=rtcp-mux", Endpoint("192.0.2.1", 4001)),
        ("a=rtcp-mux-only", Endpoint("192.0.2.1", 4000)),
    ],
)
def test_where_rtcp_goes(attribute: str, rtcp: Endpoint) -> None:
    (media,) = media_of(medium_of("m=audio 4000 RTP/AVP 0", attribute))
    assert media.endpoint(1) == rtcp
    assert media.range == 2


def test_rtcp_where_it_is_by_default_is_not_mentioned() -> None:
    assert media_of(medium_of("m=audio 4000 RTP/AVP 0", "a=rtcp:4001 IN IP4 192.0.2.1"))[0].rtcp is None


def test_rtcp_goes_to_rtps_port_once_mux_is_agreed() -> None:
    (medium,) = parse(medium_of("m=audio 4000 RTP/AVP 0", "a=rtcp-mux", "a=rtcp:5000")).media
    assert to_media(medium).endpoint(1) == Endpoint("192.0.2.1", 5000)
    assert to_media(medium, muxed=True).endpoint(1) == Endpoint("192.0.2.1", 4000)


def test_mux_is_nothing_to_a_medium_that_does_not_want_it() -> None:
    (medium,) = parse(medium_of("m=audio 4000 RTP/AVP 0")).media
    assert to_media(medium, muxed=True).endpoint(1) == Endpoint("192.0.2.1", 4001)


def test_one_rtcp_attribute_cannot_tell_the_ports_of_several_pairs() -> None:
    (media,) = media_of(medium_of("m=audio 4000/2 RTP/AVP 0", "a=rtcp:5000"))
    assert media.endpoint(1) == Endpoint("192.0.2.1", 4001)


def test_a_fax_has_no_rtcp() -> None:
    (media,) = media_of(medium_of("m=image 4000 udptl t38", "a=rtcp:5000", "a=rtcp-mux-only"))
    assert media.rtcp is None


def test_ice_without_an_address_yet_is_learned() -> None:
    audio, video = parse(samples.CHROME).media
    assert to_media(audio).endpoint(0) == Endpoint("203.0.113.141", 54609)
    assert to_media(video).address == UNKNOWN_HOST
    assert to_media(video).active
    assert to_media(video).endpoint(0) is None
    assert to_media(video, muxed=True).endpoint(1) is None
    assert to_media(video, "198.51.100.7").endpoint(0) == Endpoint("198.51.100.7", 9)


def test_a_host_names_media_are_learned() -> None:
    (media,) = media_of(medium_of("m=audio 4000 RTP/AVP 0", "a=rtcp:5000", connection="IN IP4 a.example"))
    assert (media.endpoint(0), media.endpoint(1)) == (None, None)


def test_the_last_port_leaves_none_for_rtcp() -> None:
    (media,) = media_of(medium_of("m=audio 65535 RTP/AVP 0"))
    assert media.endpoint(1) is None


def test_payload_types_are_those_of_the_mediums_own_rtpmaps() -> None:
    body = medium_of(
        *("m=audio 4000 RTP/AVP 0 111", "a=rtpmap:111 opus/48000/2", "a=rtpmap:7 \xff/y"),
        *("m=video 4002 RTP/AVP 96", "a=rtpmap: 96 VP8/90000"),
        *("m=image 4004 udptl t38", "a=rtpmap:0 PCMU/8000"),
    )
    assert [medium.formats for medium in media_of(body)] == [
        (PayloadFormat(111, "opus", 48_000),),
        (PayloadFormat(96, "VP8", 90_000),),
        (),
    ]


@pytest.mark.parametrize("direction", ["sendrecv", "sendonly", "recvonly", "inactive"])
def test_an_end_that_does_not_send_is_mute(direction: str) -> None:
    (medium,) = media_of(medium_of("m=audio 4000 RTP/AVP 0", f"a={direction}"))
    assert medium.mute is (direction in ("recvonly", "inactive"))


@pytest.mark.parametrize(
    ("formats", "payload_types"),
    [("0 8 101 8", (0, 8, 101)), ("128 999 x 0", (0,)), ("", ())],
)
def test_the_payload_types_are_those_of_the_m_line(formats: str, payload_types: tuple[int, ...]) -> None:
    (medium,) = media_of(medium_of(f"m=audio 4000 RTP/AVP {formats}".rstrip()))
    assert medium.payload_types == payload_types


@pytest.mark.parametrize("digits", [1, 100])
def test_formats_are_read_however_long_their_lines_are(digits: int) -> None:
    numbers = range(96, 128)
    lines = "\n".join(f"a=rtpmap:{number} x/8000/{number:0{digits}}" for number in numbers)
    (medium,) = media_of(
        medium_of(f"m=audio 4000 RTP/AVP {' '.join(map(str, numbers))} {'x' * 600}\n{lines}")
    )
    assert [each.payload_type for each in medium.formats] == list(numbers)
    assert medium.payload_types == tuple(numbers)


def test_media_that_share_a_port_may_have_the_payload_types_of_each_other() -> None:
    media = ("m=audio 4000 RTP/AVP 0", "a=mid:1", "m=video 4000 RTP/AVP 31", "a=mid:2")
    assert [each.payload_types for each in media_of(medium_of(*media))] == [(0,), (31,)]
    bundled = medium_of("a=group:BUNDLE 1 2", *media)
    assert [each.payload_types for each in media_of(bundled)] == [(), ()]
    assert media_of(medium_of("a=group:BUNDLE 1", *media[:2]))[0].payload_types == (0,)


def test_what_is_no_rtp_has_no_payload_types() -> None:
    assert media_of(medium_of("m=image 4000 udptl 0"))[0].payload_types == ()
