"""nh.sdp.parse: what a relay reads from the SDPs that are about."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nh.calls.media import MAX_MEDIA
from nh.errors import MalformedRequest
from nh.sdp.media import to_media
from nh.sdp.parse import MAX_BODY_BYTES, MAX_LINES, parse
from nh.sdp.section import Direction
from tests.sdp import samples

SESSION = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"


def refusal(body: bytes) -> str:
    with pytest.raises(MalformedRequest) as refused:
        parse(body)
    message = str(refused.value)
    assert len(message) < 300  # a hostile line is not handed on in full
    return message


# --- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", samples.ALL)
def test_every_byte_is_kept(name: str) -> None:
    body = samples.ALL[name]
    assert b"".join(line.text + line.end for line in parse(body).lines) == body


def test_media_inherit_the_sessions_connection() -> None:
    description = parse(samples.RFC3264_OFFER)
    assert description.origin == "host.anywhere.com"
    assert [(m.kind, m.port, m.proto, m.connection) for m in description.media] == [
        ("audio", 49170, "RTP/AVP", "192.0.2.10"),
        ("video", 51372, "RTP/AVP", "192.0.2.10"),
        ("video", 53000, "RTP/AVP", "192.0.2.10"),
    ]
    assert [m.own_connection for m in description.media] == [None, None, None]
    assert description.media[0].field.formats == (b"0",)


def test_a_mediums_own_connection_goes_before_the_sessions() -> None:
    description = parse(samples.MULTICAST)
    assert [m.connection for m in description.media] == ["224.2.17.12", "224.2.1.1"]
    assert [m.field.count for m in description.media] == [1, 2]


def test_of_several_connections_the_first_counts() -> None:
    body = (
        b"v=0\nc=IN IP4 192.0.2.1\nc=IN IP4 192.0.2.2\no=- 1 1 IN IP4 192.0.2.3\no=- 1 1 IN IP4 192.0.2.4\n"
    )
    description = parse(body)
    assert (description.session.own_connection, description.origin) == ("192.0.2.1", "192.0.2.3")


def test_port_0_is_a_rejection() -> None:
    assert [m.rejected for m in parse(samples.RFC3264_ANSWER).media] == [False, True, False]


def test_port_0_of_a_bundle_only_medium_is_none() -> None:
    description = parse(samples.BUNDLE_ONLY)
    assert [m.rejected for m in description.media] == [False, False]
    assert description.bundles == (("foo", "bar"),)
    assert [m.find_value("mid") for m in description.media] == ["foo", "bar"]


def test_an_ipv6_address_has_one_spelling() -> None:
    description = parse(samples.IPV6)
    assert description.origin == "2001:db8::10"
    assert description.media[0].connection == "2001:db8::10"


def test_rtcp_is_where_it_says() -> None:
    found = [medium.rtcp for medium in parse(samples.RFC3605_RTCP).media]
    assert [(rtcp.port, rtcp.address) for rtcp in found if rtcp] == [
        (53020, None),
        (53022, "126.16.64.4"),
        (53024, "2001:db8::4"),
    ]


@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"65536", b"100000", b" "])
def test_an_unreadable_rtcp_says_nothing(value: bytes) -> None:
    (medium,) = parse(SESSION + b"m=audio 4000 RTP/AVP 0\r\na=rtcp:" + value).media
    assert medium.rtcp is None


def test_a_browsers_offer() -> None:
    description = parse(samples.CHROME)
    audio, video = description.media
    assert description.bundles == (("0", "1"),)
    assert audio.rtp
    assert video.rtp
    assert (audio.rtcp_mux, audio.rtcp_mux_only, audio.ice) == (True, False, True)
    assert audio.has("fingerprint")
    assert len(audio.attributes["candidate"]) == 3
    # an address that is yet to come is no hold
    assert (video.connection, video.held) == ("0.0.0.0", False)


def test_credentials_of_the_session_are_ice_for_all_media() -> None:
    description = parse(samples.ICE_LITE)
    (audio,) = description.media
    assert description.session.has("ice-lite")
    assert audio.ice
    assert audio.has("end-of-candidates")
    assert audio.has("remote-candidates")


@pytest.mark.parametrize("of_session", [False, True])
@pytest.mark.parametrize(
    ("lines", "handshakes"),
    [
        (b"", ()),
        (b"a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\n", ("stun",)),
        (b"a=fingerprint:sha-1 4A:AD\r\n", ("dtls",)),
        (b"a=zrtp-hash:1.10 fe30efd02423cb05\r\n", ("zrtp",)),
    ],
)
def test_what_a_sender_sends_before_its_media_is_known_by_one_attribute(
    lines: bytes, handshakes: tuple[str, ...], of_session: bool
) -> None:
    audio = b"m=audio 4000 RTP/AVP 0\r\n"
    (medium,) = parse(SESSION + (lines + audio if of_session else audio + lines)).media
    assert medium.handshakes == handshakes


def test_candidates_without_credentials_are_no_ice() -> None:
    candidate = b"a=candidate:1 1 UDP 1 192.0.2.1 4000 typ host\r\n"
    (medium,) = parse(SESSION + b"m=audio 4000 RTP/AVP 0\r\n" + candidate).media
    assert not medium.ice


@pytest.mark.parametrize(
    ("proto", "relayable", "rtp"),
    [
        ("RTP/AVP", True, True),
        ("rtp/avp", True, True),
        ("RTP/AVPF", True, True),
        ("RTP/SAVP", True, True),
        ("RTP/SAVPF", True, True),
        ("UDP/TLS/RTP/SAVPF", True, True),
        ("UDP/TLS/RTP/SAVP", True, True),
        ("udptl", True, False),
        ("UDPTL", True, False),
        ("UDP/TLS/UDPTL", True, False),
        ("udp", True, False),
        ("UDP/BFCP", True, False),
        ("UDP/DTLS/SCTP", True, False),
        ("DTLS/SCTP", True, False),
        ("FEC/UDP", True, False),
        ("TCP", False, False),
        ("tcp", False, False),
        ("TCP/MSRP", False, False),
        ("TCP/TLS/MSRP", False, False),
        ("TCP/RTP/AVP", False, False),
        ("TCP/DTLS/RTP/SAVPF", False, False),
        ("DCCP/RTP/AVP", False, False),
        ("ATM/AVP", False, False),
        ("-", False, False),
    ],
)
def test_what_goes_over_udp_can_be_relayed(proto: str, relayable: bool, rtp: bool) -> None:
    (medium,) = parse(SESSION + f"m=audio 4000 {proto} 0\r\n".encode()).media
    assert (medium.relayable, medium.rtp) == (relayable, rtp)
    assert medium.fax == ("udptl" in proto.lower())


def test_the_direction_is_the_mediums_the_sessions_or_both_ways() -> None:
    assert [m.direction for m in parse(samples.POLYCOM).media] == [Direction.SENDONLY, Direction.INACTIVE]
    assert [m.direction for m in parse(samples.LINPHONE).media] == [Direction.SENDRECV] * 2


@pytest.mark.parametrize("address", ["IP4 0.0.0.0", "IP6 ::", "IP6 0:0:0:0:0:0:0:0"])
def test_a_zero_address_is_a_hold(address: str) -> None:
    body = b"v=0\r\nm=audio 4000 RTP/AVP 0\r\nc=IN " + address.encode()
    assert parse(body).media[0].held
    assert parse(samples.CISCO_HOLD).media[0].held


@pytest.mark.parametrize(("port", "held"), [(9, False), (4000, True)])
def test_a_zero_address_with_ice_is_a_hold_unless_no_address_is_known_yet(port: int, held: bool) -> None:
    """RFC 8840 4.1.1: that is said by port 9, too. Other phones with ICE hold as RFC 3264 8.4 has it."""
    body = b"v=0\r\nm=audio %d RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd" % port
    assert parse(body).media[0].held is held


@pytest.mark.parametrize("ice", [b"", b"\r\na=ice-ufrag:abcd"])
def test_a_zero_address_without_a_port_of_its_own_is_no_hold(ice: bytes) -> None:
    """A browser says so of a=bundle-only (RFC 8829 5.2.1): its address is that of the bundle."""
    body = b"v=0\r\nm=video 0 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\na=bundle-only" + ice
    assert not parse(body).media[0].held


def test_odd_white_space_is_read() -> None:
    description = parse(samples.ODD_WHITE_SPACE)
    (audio,) = description.media
    assert description.origin == "192.0.2.90"
    assert (audio.port, audio.proto, audio.connection) == (4000, "RTP/AVP", "192.0.2.90")
    assert audio.rtcp is not None
    assert audio.rtcp.port == 5001
    assert audio.direction is Direction.SENDONLY


def test_all_line_ends_blank_lines_and_junk_are_read_over() -> None:
    (audio,) = parse(samples.MIXED_LINE_ENDS_AND_JUNK).media
    assert (audio.port, audio.connection) == (4000, "192.0.2.91")


def test_media_behind_a_blank_line_count() -> None:
    # some phones would use them: they must not get around the relay
    assert len(parse(SESSION + b"\r\nm=audio 4000 RTP/AVP 0\r\n").media) == 1


def test_a_host_name_is_an_address() -> None:
    (medium,) = parse(b"v=0\nc=IN IP4 phone.example.org\nm=audio 4000 RTP/AVP 0\n").media
    assert medium.connection == "phone.example.org"


def test_a_media_line_may_lack_formats() -> None:
    assert parse(SESSION + b"m=audio 0 RTP/AVP\r\n").media[0].field.formats == ()


def test_marks_of_loop_protection_are_found_anywhere() -> None:
    body = SESSION + b"a=nh:one\r\na=rtpengine:x\r\nm=audio 4000 RTP/AVP 0\r\na=nh:two\r\n"
    assert parse(body).marks == {"one", "two"}
    assert parse(SESSION).marks == frozenset()


def test_labels_and_keys_are_found() -> None:
    message, audio = parse(samples.MSRP_AND_SDES).media
    assert audio.has("crypto")
    assert audio.find_value("label") == "main"
    assert message.find_value("label") is None


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no lines"),
        (b"\r\n\r\n", "no lines"),
        (b"hello", "line 1: .* is not TYPE=VALUE"),
        (b"m=audio 4000 RTP/AVP 0", "line 1: an SDP must start with v=0"),
        (b"v=1\r\n", "line 1: the SDP version is not 0"),
        (b"v=0\r\ns=-\r\njunk\r\n", "line 3: b'junk' is not TYPE=VALUE"),
        (b"v=0\r\ns=-\r\ninline:WVNfX19zZW1j\r\n", "line 3: b'inli' is not TYPE=VALUE"),
        (b"v=0\r\nc=IN IP4\r\n", "line 2: c="),
        (b"v=0\r\nc=TN RFC2543 +1-201-406-4090\r\n", "line 2: c="),
        (b"v=0\r\nc=IN IP4 192.0.2.256\r\n", "line 2: c=.*192.0.2.256"),
        (b"v=0\r\nc=IN IP4 192.168.001.010\r\n", "line 2: c="),
        (b"v=0\r\nc=IN IP6 fe80::1%eth0\r\n", "line 2: c="),
        (b"v=0\r\nc=IN IP4 \xff\r\n", "line 2: c="),
        (b"v=0\r\nc=IN IP4 192.0.2.1\r\nc=IN IP4 ?\r\n", "line 3: c="),
        (b"v=0\r\nm=audio\r\n", "line 2: m="),
        (b"v=0\r\nm=audio 4000\r\n", "line 2: m="),
        (b"v=0\r\nm=audio $ RTP/AVP 0\r\n", "line 2: m="),
        (b"v=0\r\nm=audio -1 RTP/AVP 0\r\n", "line 2: m="),
        (b"v=0\r\nm=audio 65536 RTP/AVP 0\r\n", "line 2: m= .*port"),
        (b"v=0\r\nm=audio " + b"9" * 60_000 + b" RTP/AVP 0\r\n", "line 2: m= .*port"),
        (b"v=0\r\nm=audio 4000/0 RTP/AVP 0\r\n", "line 2: m= .*number of ports"),
        (b"v=0\r\nm=audio 4000/65 RTP/AVP 0\r\n", "line 2: m= .*number of ports"),
        (b"v=0\r\nm=audio 4000/ RTP/AVP 0\r\n", "line 2: m="),
        (b"v=0\r\nm=" + b"x" * 65 + b" 4000 RTP/AVP 0\r\n", "line 2: m= .*64"),
        (b"v=0\r\nm=audio 4000 " + b"x" * 65 + b" 0\r\n", "line 2: m= .*64"),
        (b"v=0\r\nm=audio 4000 RTP/\xc3\xa4 0\r\n", "line 2: m="),
    ],
    ids=range(26),
)
def test_what_cannot_be_read_is_refused_with_its_line(body: bytes, why: str) -> None:
    with pytest.raises(MalformedRequest, match=why):
        parse(body)
    refusal(body)


def test_limits_are_exact() -> None:
    medium = b"m=audio 4000 RTP/AVP 0\r\n"
    assert len(parse(SESSION + medium * MAX_MEDIA).media) == MAX_MEDIA
    assert f"more than {MAX_MEDIA} media" in refusal(SESSION + medium * (MAX_MEDIA + 1))
    assert f"more than {MAX_MEDIA} media" in refusal(SESSION + medium * 1000)
    parse(b"v=0\n" + b"\n" * (MAX_LINES - 1))
    assert f"limit of {MAX_LINES}" in refusal(b"v=0\n" + b"\n" * MAX_LINES)
    parse(b"v=0\na=" + b"x" * (MAX_BODY_BYTES - 6))
    assert f"limit of {MAX_BODY_BYTES}" in refusal(b"v=0\na=" + b"x" * (MAX_BODY_BYTES - 5))


@pytest.mark.parametrize("origin", [b"o=", b"o=x y", b"o=- 1 1 IN IP4", b"o=- 1 1 ATM NSAP 47.0091"])
def test_an_origin_that_cannot_be_read_is_told_and_refuses_nothing(origin: bytes) -> None:
    description = parse(b"v=0\r\n" + origin + b"\r\nc=IN IP4 192.0.2.1\r\n")
    assert description.origin is None
    assert description.bad_origin.startswith("SDP line 2: o=")


def test_media_belong_to_the_session_before_them() -> None:
    second = SESSION.replace(b"192.0.2.1", b"192.0.2.9")
    description = parse(SESSION + b"m=audio 4000 RTP/AVP 0\r\n" + second + b"m=audio 5000 RTP/AVP 0\r\n")
    assert [medium.connection for medium in description.media] == ["192.0.2.1", "192.0.2.9"]
    assert [medium.number for medium in description.media] == [1, 2]


def test_an_address_may_be_in_brackets_as_in_a_uri() -> None:
    description = parse(b"v=0\r\nc=IN IP6 [2001:DB8::1]\r\nm=audio 4000 RTP/AVP 0\r\n")
    assert description.media[0].connection == "2001:db8::1"


@pytest.mark.parametrize(
    "filler", [b" ", b"\t", b"IN ", b"IN IP4 ", b"1", b"/", b"IN IP4 1.1.1.1 ", b"a-", b"."]
)
@pytest.mark.parametrize("start", [b"o=", b"c=", b"c=IN IP4 ", b"m=", b"m=audio ", b"m=a 1 ", b"a=rtcp:"])
def test_long_lines_are_read_or_refused_in_one_pass(start: bytes, filler: bytes) -> None:
    # this ends within a test's lifetime only if nothing is tried in every possible way
    line = start + filler * (60_000 // len(filler))
    for end in (b"", b"!", b" IN IP4 !"):
        body = (
            b"v=0\r\nm=audio 4000 RTP/AVP 0\r\n" + line + end
            if start == b"a=rtcp:"
            else b"v=0\r\n" + line + end
        )
        try:
            parse(body)
        except MalformedRequest as exc:
            assert len(str(exc)) < 300


# --- any bytes ------------------------------------------------------------------------------------

WORDS = b"""v=0 o= c= m= a= s=- i= IN IP4 IP6 192.0.2.1 :: 0.0.0.0 /127 audio 4000 0 99999 RTP/AVP udptl TCP
    rtcp: rtcp-mux candidate: ice-ufrag: ice-pwd: group:BUNDLE mid: nh: sendonly bundle-only"""
fragments = st.sampled_from([b" ", b"\t", b"\r\n", b"\n", b"\r", b"\0", b"\xff", *WORDS.split()])
hostile = st.one_of(
    st.binary(max_size=300),
    st.lists(fragments, max_size=60).map(b"".join),
    st.lists(fragments, max_size=60).map(lambda parts: SESSION + b"".join(parts)),
)


@given(hostile)
@example(b"v=0\na=group:\n")
@example(b"v=0\na=\n")
@example(b"v=0\na=:\n")
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    assert_read_or_refused(body)


@given(
    st.sampled_from(sorted(samples.ALL)), st.integers(0, 3000), st.integers(0, 3000), st.binary(max_size=8)
)
def test_damaged_sdps_are_read_or_refused(name: str, start: int, size: int, instead: bytes) -> None:
    body = samples.ALL[name]
    assert_read_or_refused(body[:start] + instead + body[start + size :])


def assert_read_or_refused(body: bytes) -> None:
    try:
        description = parse(body)
    except MalformedRequest as exc:
        assert str(exc).startswith("SDP")
        return
    assert b"".join(line.text + line.end for line in description.lines) == body
    for group in description.bundles:
        assert isinstance(group, tuple)
    assert isinstance(description.marks, frozenset)
    for medium in description.media:
        assert medium.direction in Direction
        assert medium.relayable >= medium.rtp
        try:
            to_media(medium)
        except MalformedRequest as exc:
            assert str(exc).startswith("SDP medium")


def test_bundles_are_read_once_for_all_media() -> None:
    groups = "".join(f"a=group:BUNDLE {number} x\r\n" for number in range(2500))
    media = "".join(f"m=audio {4000 + number} RTP/AVP 0\r\n" for number in range(60))
    description = parse(f"v=0\r\nc=IN IP4 192.0.2.1\r\n{groups}{media}".encode())
    assert len(description.bundles) == 2500
    assert all(medium.session.bundles is description.bundles for medium in description.media)
    assert description.media[0].payload_types == (), "other media share its port"
