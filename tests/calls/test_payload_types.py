"""What payload types mean: RFC 3551's table, a=rtpmap, and what two ends make of each other's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.media import Media, interned
from nh.calls.rtp.payload_types import MAX_CLOCK_HZ, PayloadFormat, agreed, read_rtpmaps

OPUS = PayloadFormat(111, "opus", 48_000)
DTMF = PayloadFormat(101, "telephone-event", 8000)


def test_an_rtpmap_tells_name_and_clock() -> None:
    assert read_rtpmaps(["111 opus/48000/2", "101 telephone-event/8000", "96  VP8/90000 "]) == (
        PayloadFormat(96, "VP8", 90_000),
        DTMF,
        OPUS,
    )


def test_the_last_word_on_a_payload_type_counts() -> None:
    assert read_rtpmaps(["111 iLBC/8000", "111 opus/48000/2"]) == (OPUS,)


@pytest.mark.parametrize(
    "value",
    ["", "111", "111 opus", "opus/48000", "128 opus/48000", "111 opus/0", "111 opus/x", "-1 opus/8000",
     f"111 opus/{MAX_CLOCK_HZ + 1}", "111 op us/48000", "111 /48000", f"111 {'x' * 65}/8000", "٣ opus/8000"],
)  # fmt: skip
def test_what_cannot_be_read_is_left_out(value: str) -> None:
    assert read_rtpmaps([value, "101 telephone-event/8000"]) == (DTMF,)


LIKE_RTPMAPS = st.builds("{} {}/{}".format, st.integers(-1, 200), st.text(max_size=9), st.integers(-1, 2**33))


@given(st.lists(LIKE_RTPMAPS | st.text(max_size=40)))
def test_any_text_can_be_tried(values: list[str]) -> None:
    for each in read_rtpmaps(values):
        assert 0 <= each.payload_type <= 127
        assert 1 <= each.clock_hz <= MAX_CLOCK_HZ


def test_static_payload_types_are_known_without_a_word() -> None:
    types = agreed((), ())
    assert [types.clocks[number] for number in (0, 3, 8, 9, 10, 18, 34)] == [
        *(8000, 8000, 8000, 8000, 44_100, 8000, 90_000)
    ]
    assert types.encodings[9] == "G722"


@pytest.mark.parametrize("encoding", ["telephone-event", "CN", "red", "rtx", "ulpfec", "Telephone-Event"])
def test_what_is_sent_at_other_times_than_its_timestamps_say_has_no_clock(encoding: str) -> None:
    types = agreed((PayloadFormat(101, encoding, 8000),), ())
    assert 101 not in types.clocks
    assert types.encodings[101] == encoding
    assert 13 not in types.clocks, "static comfort noise"


def test_the_receivers_numbers_count_more_than_the_senders() -> None:
    speex = PayloadFormat(111, "speex", 16_000)
    assert agreed((OPUS,), ()).clocks[111] == 48_000
    assert agreed((OPUS,), (speex,)).clocks[111] == 16_000
    assert 111 not in agreed((OPUS,), (PayloadFormat(111, "telephone-event", 8000),)).clocks


def test_what_all_say_alike_is_kept_once() -> None:
    one, other = ([PayloadFormat(111, "opus", 48_000)] for _ in range(2))
    assert agreed(tuple(one), ()) is agreed(tuple(other), ())
    media = [interned(Media("192.0.2.1", 4000, 2, formats=tuple(each))) for each in (one, other)]
    assert media[0].formats is media[1].formats
