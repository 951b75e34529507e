"""Which codecs the receiver of an SDP sees (ng's `codec`): no packet changes, so no codec is added."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.commands import CodecChoice
from nh.sdp.codecs import choose_codecs
from nh.sdp.parse import parse
from tests.sdp import generator, samples

PHONE = (
    "m=audio 4000 RTP/AVP 8 0 96 97 98 13",
    "a=rtpmap:96 opus/48000/2",
    "a=fmtp:96 useinbandfec=1",
    "a=rtpmap:97 telephone-event/8000",
    "a=fmtp:97 0-15",
    "a=rtpmap:98 telephone-event/48000",
    "a=ptime:20",
)
"""PCMA, PCMU, Opus, events at both clock rates, and comfort noise."""

CAMERA = (
    "m=video 4002 RTP/AVPF 100 101 102",
    "a=rtpmap:100 VP8/90000",
    "a=rtpmap:101 rtx/90000",
    "a=fmtp:101 apt=100",
    "a=rtpmap:102 H264/90000",
    "a=rtcp-fb:* ccm fir",
    "a=rtcp-fb:100 nack pli",
)


def body(*lines: str) -> bytes:
    return samples.crlf(
        "\n".join(["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0", *lines])
    )


def seen(choice: CodecChoice, *lines: str, offer: bool = True) -> str:
    """The medium as its receiver sees it."""
    chosen = choose_codecs(parse(body(*lines)), choice, offer=offer).description
    text = b"\r\n".join(line.text for line in chosen.lines).decode()
    return text[text.index("m=") :].replace("\r\n", "\n").strip()


def types(choice: CodecChoice, *lines: str, offer: bool = True) -> str:
    """The payload types of its m= line."""
    return " ".join(seen(choice, *(lines or PHONE), offer=offer).splitlines()[0].split()[3:])


@pytest.mark.parametrize(
    ("choice", "left"),
    [
        pytest.param(CodecChoice(strip=("PCMA",)), "0 96 97 98 13", id="one codec, by its name"),
        pytest.param(CodecChoice(strip=("pcmu", "Opus")), "8 97 13", id="in any letter case"),
        pytest.param(CodecChoice(strip=("PCMU/8000",)), "8 96 97 98 13", id="with its clock rate"),
        pytest.param(CodecChoice(strip=("PCMU/16000",)), "8 0 96 97 98 13", id="with another clock rate"),
        pytest.param(CodecChoice(strip=("opus/48000/2",)), "8 0 97 13", id="with its channels"),
        pytest.param(CodecChoice(strip=("opus/48000",)), "8 0 96 97 98 13", id="which are one by default"),
        pytest.param(CodecChoice(strip=("96",)), "8 0 97 13", id="by its payload type"),
        pytest.param(CodecChoice(strip=("G729",)), "8 0 96 97 98 13", id="one that is not there"),
        pytest.param(CodecChoice(strip=("all",), keep=("PCMU", "CN")), "0 13", id="all but some"),
        pytest.param(CodecChoice(strip=("all",), offer=("PCMU", "PCMA")), "0 8", id="in the order of offer"),
        pytest.param(CodecChoice(offer=("PCMU",)), "8 0 96 97 98 13", id="offer alone changes nothing"),
        pytest.param(
            CodecChoice(mask=("all",), transcode=("PCMU",)), "0", id="what it has need not be coded"
        ),
        pytest.param(CodecChoice(transcode=("PCMU",)), "8 0 96 97 98 13", id="nor moved"),
        pytest.param(CodecChoice(strip=("all",)), "8 0 96 97 98 13", id="nothing left: all stay"),
        pytest.param(
            CodecChoice(strip=("PCMA", "PCMU", "opus")), "8 0 96 97 98 13", id="events are no codec"
        ),
        pytest.param(
            CodecChoice(strip=("PCMA", "PCMU")), "96 98 13", id="events of the clock rate that is left"
        ),
    ],
)
def test_the_receiver_sees_the_codecs_that_the_client_has_left(choice: CodecChoice, left: str) -> None:
    assert types(choice) == left


def test_events_stay_where_they_have_another_clock_rate_than_the_codec() -> None:
    phone = (PHONE[0].replace(" 98", ""), *PHONE[1:5])
    assert types(CodecChoice(strip=("PCMA", "PCMU")), *phone) == "96 97 13"


def test_what_describes_a_codec_goes_with_it() -> None:
    assert seen(CodecChoice(strip=("opus", "telephone-event", "CN")), *PHONE) == (
        "m=audio 4000 RTP/AVP 8 0\na=ptime:20"
    )


def test_retransmissions_go_with_the_codec_that_they_repair() -> None:
    assert seen(CodecChoice(strip=("VP8",)), *CAMERA) == (
        "m=video 4002 RTP/AVPF 102\na=rtpmap:102 H264/90000\na=rtcp-fb:* ccm fir"
    )
    assert types(CodecChoice(strip=("VP8", "H264")), *CAMERA) == "100 101 102"


BROWSER = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 0 8 126",
    "a=rtpmap:111 opus/48000/2",
    "a=rtpmap:63 red/48000/2",
    "a=fmtp:63 111/111",
    "a=rtpmap:126 telephone-event/8000",
)
"""Opus with redundancy, and events at another clock rate only."""


def test_redundancy_goes_with_the_codec_that_it_repeats() -> None:
    assert types(CodecChoice(strip=("opus",)), *BROWSER) == "0 8 126"
    assert types(CodecChoice(strip=("PCMU",)), *BROWSER) == "111 63 8 126"
    assert types(CodecChoice(single=True), *BROWSER, offer=False) == "111 63 126"
    assert types(CodecChoice(strip=("111",), single=True), *BROWSER, offer=False) == "0 126"


def test_repair_alone_is_no_codec() -> None:
    lines = (
        "m=video 4002 RTP/AVPF 100 101 102 103",
        "a=rtpmap:100 VP8/90000",
        "a=rtpmap:101 red/90000",
        "a=rtpmap:102 rtx/90000",
        "a=fmtp:102 apt=101",
        "a=rtpmap:103 ulpfec/90000",
    )
    assert types(CodecChoice(strip=("VP8",)), *lines) == "100 101 102 103"
    assert types(CodecChoice(strip=("red",)), *lines) == "100 103"


def test_a_medium_without_codecs_is_rejected_if_the_client_wants_it_so() -> None:
    choice = CodecChoice(strip=("all",), keep=("PCMA",), reject_empty=True)
    assert seen(choice, *PHONE[:1], *CAMERA[:2]) == (
        "m=audio 4000 RTP/AVP 8\nm=video 0 RTP/AVPF 100 101 102\na=rtpmap:100 VP8/90000"
    )


def test_media_without_codecs_and_rejected_ones_stay_as_they_are() -> None:
    lines = (
        "m=image 4000 udptl t38",
        "m=audio 0 RTP/AVP 0 8",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    )
    assert seen(CodecChoice(strip=("all",), keep=("PCMA",), reject_empty=True), *lines) == "\n".join(lines)


def test_a_medium_without_a_port_of_its_own_can_be_rejected_too() -> None:
    choice = CodecChoice(strip=("VP8",), reject_empty=True)
    lines = ("m=video 0 RTP/AVP 96", "a=rtpmap:96 VP8/90000", "a=bundle-only")
    assert seen(choice, *lines) == "\n".join(lines[:2])


def test_an_answer_has_no_masks() -> None:
    choice = CodecChoice(strip=("PCMA",), mask=("PCMU",), transcode=("G729",))
    assert types(choice, offer=False) == "0 96 97 98 13"
    assert not choose_codecs(parse(body(*PHONE)), choice, offer=False).missing


def test_a_single_codec_is_the_first_with_its_events() -> None:
    single = CodecChoice(single=True)
    assert types(single, offer=False) == "8 97 13"
    assert types(single, "m=audio 4000 RTP/AVP 97 96 98", *PHONE[1:6], offer=False) == "96 98"
    assert types(single) == "8 0 96 97 98 13"  # of an offer it says nothing


@pytest.mark.parametrize(
    ("choice", "missing", "transcoded"),
    [
        (CodecChoice(mask=("all",), transcode=("G729", "PCMA")), ("G729",), False),
        (CodecChoice(mask=("all",), transcode=("G729", "speex")), ("G729", "speex"), True),
        (CodecChoice(mask=("full",), transcode=("PCMA",)), ("PCMA",), True),
        (CodecChoice(mask=("PCMA",), transcode=("PCMA",)), ("PCMA",), True),
    ],
)
def test_an_offer_without_any_codec_of_the_receiver_needs_transcoding(
    choice: CodecChoice, missing: tuple[str, ...], transcoded: bool
) -> None:
    chosen = choose_codecs(parse(body(*PHONE)), choice, offer=True)
    assert (chosen.missing, chosen.transcoded) == (missing, transcoded)


def test_media_without_audio_need_no_transcoding() -> None:
    chosen = choose_codecs(parse(body(*CAMERA)), CodecChoice(mask=("all",), transcode=("PCMA",)), offer=True)
    assert (chosen.missing, chosen.transcoded) == ((), False)


class CountedName(str):
    """A name of a codec that counts how often its letters are looked at."""

    __slots__ = ()
    readings = 0

    def lower(self) -> str:
        CountedName.readings += 1
        return super().lower()


def test_the_names_of_a_client_are_read_for_each_medium_and_not_for_each_codec(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CountedName, "readings", 0)
    names = tuple(CountedName(f"codec{number}") for number in range(60))
    choice = CodecChoice(strip=(*names, "PCMA"), mask=("all",), keep=names, offer=names, transcode=names)
    media = ["m=audio 4000 RTP/AVP " + " ".join(map(str, range(128)))] * 10
    choose_codecs(parse(body(*media)), choice, offer=True)
    uses_of_a_name = 10
    assert 0 < CountedName.readings <= uses_of_a_name * len(names) * len(media)


@given(generator.bodies(), generator.codec_choices, st.booleans())
def test_a_choice_adds_no_codec_and_ends_no_medium(sdp: bytes, choice: CodecChoice, offer: bool) -> None:
    before = parse(sdp)
    after = choose_codecs(before, choice, offer=offer).description
    assert len(after.media) == len(before.media)
    for had, has in zip(before.media, after.media, strict=True):
        assert has.field.formats
        assert set(has.field.formats) <= set(had.field.formats)
        assert (has.kind, has.proto, has.connection) == (had.kind, had.proto, had.connection)
        assert has.port == had.port or (choice.reject_empty and has.port == 0)
    kept = set(after.lines)
    assert all(line in kept for line in before.lines if not line.text.startswith((b"m=", b"a=rtpmap")))
