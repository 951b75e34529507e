"""Bundles: which medium a packet is of that comes to the one port of several (RFC 9143 9.2)."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.bundle import MAX_SSRCS, Bundle, BundledMedium, Demultiplexer, read_extension
from nh.calls.bundled_rtcp import split_compound
from tests.calls.rtp import rtp_packet
from tests.rtcp import bye, receiver_report, report_block, sender_report

AUDIO, VIDEO = "audio", "video"
"""What stands for the two media."""

OPUS, VP8 = 111, 96
MIC, CAMERA = 0xA0, 0xB0
"""SSRCs that the end sends with."""
SPEAKER, SCREEN = 0xC0, 0xD0
"""SSRCs that it is sent."""
MID = 4


def demultiplexer(*, ssrcs: bool = False, mid_extension: int = MID) -> Demultiplexer[str]:
    media = [
        (BundledMedium(0, "a", (MIC,) if ssrcs else ()), AUDIO),
        (BundledMedium(1, "v", (CAMERA,) if ssrcs else ()), VIDEO),
    ]
    return Demultiplexer(media, [[OPUS], [VP8]], mid_extension)


def rtp(ssrc: int, payload_type: int, mid: bytes | None = None, *, two_bytes: bool = False) -> memoryview:
    plain = bytearray(rtp_packet(1, ssrc=ssrc, payload_type=payload_type))
    if mid is None:
        return memoryview(plain)
    other = bytes([7, 1, 0xFF]) if two_bytes else bytes([7 << 4, 0xFF])
    own = bytes([MID, len(mid)]) if two_bytes else bytes([MID << 4 | len(mid) - 1])
    elements = other + b"\0" + own + mid
    elements += bytes(-len(elements) % 4)
    plain[0] |= 0x10
    head = struct.pack("!HH", 0x1000 if two_bytes else 0xBEDE, len(elements) // 4)
    return memoryview(bytes(plain[:12]) + head + elements + bytes(plain[12:]))


def test_a_payload_type_of_one_medium_tells_it_and_teaches_the_ssrc() -> None:
    bundle = demultiplexer()
    assert bundle.find(rtp(MIC, OPUS)) == AUDIO
    assert bundle.find(rtp(CAMERA, VP8)) == VIDEO
    assert bundle.learned
    assert (bundle.find_sender(MIC), bundle.find_sender(CAMERA)) == (AUDIO, VIDEO)


def test_an_announced_ssrc_tells_its_medium_and_teaches_nothing() -> None:
    bundle = demultiplexer(ssrcs=True)
    assert bundle.find(rtp(CAMERA, VP8)) == VIDEO
    assert not bundle.learned


@pytest.mark.parametrize("two_bytes", [False, True])
def test_a_mid_goes_before_the_ssrc_and_moves_it(two_bytes: bool) -> None:
    media = [(BundledMedium(0, "a", (MIC,)), AUDIO), (BundledMedium(1, "v"), VIDEO)]
    bundle = Demultiplexer(media, [[], []], MID)
    assert bundle.find(rtp(MIC, OPUS, b"v", two_bytes=two_bytes)) == VIDEO
    assert bundle.find(rtp(MIC, OPUS)) == VIDEO


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(rtp(MIC, OPUS, b"x"), id="a mid of no medium"),
        pytest.param(rtp(MIC, VP8, b"a"), id="the payload type of another medium than the mid's"),
        pytest.param(rtp(MIC, VP8), id="the payload type of another medium than the SSRC's"),
        pytest.param(rtp(7, 12), id="a payload type of no medium"),
        pytest.param(memoryview(b"\x80" + bytes(10)), id="too short"),
    ],
)
def test_what_contradicts_itself_is_of_no_medium(packet: memoryview) -> None:
    assert demultiplexer(ssrcs=True).find(packet) is None


def test_payload_types_that_clash_tell_nothing_but_mids_and_ssrcs_do() -> None:
    media = [(BundledMedium(0, "a"), AUDIO), (BundledMedium(1, "v", (CAMERA,)), VIDEO)]
    bundle = Demultiplexer(media, [[VP8], [VP8]], MID)
    assert bundle.find(rtp(MIC, VP8)) is None
    assert bundle.find(rtp(CAMERA, VP8)) == VIDEO
    assert bundle.find(rtp(MIC, VP8, b"a")) == AUDIO


def test_ssrcs_without_end_take_no_memory_without_end() -> None:
    bundle = demultiplexer()
    for ssrc in range(3 * MAX_SSRCS):
        assert bundle.find(rtp(ssrc, OPUS)) == AUDIO
    assert bundle.find_sender(0) is None
    assert bundle.find_sender(3 * MAX_SSRCS - 1) == AUDIO
    assert bundle.find(rtp(0, OPUS)) == AUDIO


def test_without_its_tagged_medium_the_next_one_is_tagged() -> None:
    bundle = Bundle((BundledMedium(0, "a"), BundledMedium(1, "v")), MID)
    assert [each.mid for each in bundle.without([0]).media] == ["v"]


@given(packet=st.binary(max_size=80), number=st.integers(1, 255))
def test_any_bytes_are_read(packet: bytes, number: int) -> None:
    bundle = demultiplexer()
    bundle.find(memoryview(packet))
    if len(packet) >= 12:
        read_extension(memoryview(b"\x90" + packet[1:]), number)


# --- RTCP ---------------------------------------------------------------------------------------------


def split(packet: bytes) -> dict[str, bytes]:
    senders, sent = {MIC: AUDIO, CAMERA: VIDEO}, {SPEAKER: AUDIO, SCREEN: VIDEO}
    parts = split_compound(memoryview(packet), [AUDIO, VIDEO], senders.get, sent.get)
    return {member: bytes(part) for member, part in parts}


def sdes(ssrc: int) -> bytes:
    chunk = struct.pack("!IBB", ssrc, 1, 1) + b"c\0"
    return struct.pack("!BBH", 0x81, 202, 2) + chunk


def feedback(kind: int, sender: int, about: int, rest: bytes = b"") -> bytes:
    return struct.pack("!BBHII", 0x80 | (15 if rest else 1), kind, 2 + len(rest) // 4, sender, about) + rest


def test_reports_of_one_medium_pass_as_they_are() -> None:
    packet = sender_report(MIC, 1, report_block(SPEAKER, lsr=1)) + sdes(MIC)
    assert split(packet) == {AUDIO: packet}


def test_each_sender_report_goes_with_its_medium() -> None:
    audio, video = sender_report(MIC, 1) + sdes(MIC), sender_report(CAMERA, 2) + sdes(CAMERA)
    assert split(audio + video) == {AUDIO: audio, VIDEO: video}


def test_what_has_no_ssrc_goes_with_the_first_part_and_ends_nothing() -> None:
    audio, video = sender_report(MIC, 1), sender_report(CAMERA, 2)
    assert split(audio + bye() + video) == {AUDIO: audio + bye(), VIDEO: video}
    assert split(audio + video + bye()) == {AUDIO: audio + bye(), VIDEO: video}


def test_blocks_go_to_the_media_that_they_are_about() -> None:
    heard, seen = report_block(SPEAKER, lsr=1), report_block(SCREEN, lsr=2)
    parts = split(sender_report(MIC, 1, heard, seen) + sdes(MIC))
    assert parts == {
        AUDIO: sender_report(MIC, 1, heard) + sdes(MIC),
        VIDEO: receiver_report(MIC, seen),
    }
    parts = split(receiver_report(1, heard, seen))
    assert parts == {AUDIO: receiver_report(1, heard), VIDEO: receiver_report(1, seen)}


@pytest.mark.parametrize(
    ("packet", "kind"),
    [
        pytest.param(feedback(206, 1, SCREEN), VIDEO, id="a picture is lost"),
        pytest.param(feedback(205, 1, SPEAKER), AUDIO, id="a packet is lost"),
        pytest.param(
            feedback(206, 1, 0, b"REMB" + b"\x01\0\0\0" + struct.pack("!I", SCREEN)), VIDEO, id="REMB"
        ),
        pytest.param(feedback(206, 1, 0, b"REMB"), AUDIO, id="REMB that ends before its number of streams"),
        pytest.param(
            feedback(206, 1, 0, b"REMB\0\0\0\0" + struct.pack("!I", SCREEN)), AUDIO, id="REMB of no stream"
        ),
        pytest.param(
            feedback(206, 1, 0, b"what\x01\0\0\0" + struct.pack("!I", SCREEN)), AUDIO, id="of an application"
        ),
        pytest.param(feedback(206, CAMERA, 99), VIDEO, id="about an unknown stream"),
        pytest.param(feedback(206, 1, 99), AUDIO, id="of unknown streams"),
        pytest.param(b"\x80\xc9", AUDIO, id="too short"),
    ],
)
def test_feedback_goes_to_the_medium_that_it_is_about(packet: bytes, kind: str) -> None:
    assert split(packet) == {kind: packet}


def test_feedback_of_another_medium_gets_a_report_before_it() -> None:
    lost = feedback(206, MIC, SCREEN)
    parts = split(sender_report(MIC, 1) + lost)
    assert parts == {AUDIO: sender_report(MIC, 1), VIDEO: receiver_report(MIC) + lost}


@given(packet=st.binary(max_size=200))
def test_any_bytes_are_split(packet: bytes) -> None:
    assert 1 <= len(split(packet)) <= 2


@given(
    st.lists(
        st.builds(
            lambda kind, count, body: struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body,
            st.integers(200, 207),
            st.integers(0, 31),
            st.binary(min_size=4, max_size=120).map(lambda body: body[: len(body) // 4 * 4]),
        ),
        max_size=6,
    )
)
def test_any_compound_packets_are_split(packets: list[bytes]) -> None:
    assert 1 <= len(split(b"".join(packets))) <= 2
