"""a= lines that a client adds, removes and substitutes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.commands import AttributeEdit
from nh.errors import SdpTooLong
from nh.sdp.attributes import edit_attributes
from nh.sdp.lines import Edits
from nh.sdp.parse import parse
from tests.sdp import samples

SDP = samples.crlf("""
v=0
o=- 1 1 IN IP4 192.0.2.1
s=-
c=IN IP4 192.0.2.1
t=0 0
a=tool:phone 1.0 beta
a=sendrecv
m=audio 4000 RTP/AVP 0 101
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
m=VIDEO 4002 RTP/AVP 96
a=ptime:20
""")


def lines(sdp: bytes) -> list[str]:
    return sdp.decode().splitlines()


def difference(*edits: tuple[str, bytes, bytes]) -> tuple[list[str], list[str]]:
    """What the edits remove from the SDP, and what they add."""
    before, after = lines(SDP), lines(edit_attributes(SDP, [AttributeEdit(*edit) for edit in edits]))
    return [line for line in before if line not in after], [line for line in after if line not in before]


@pytest.mark.parametrize("match", [b"fmtp", b"fmtp:101", b"fmtp:101 0-16", b"FMTP:101", b"Fmtp"])
def test_a_line_is_named_by_its_name_its_first_word_or_all_of_it(match: bytes) -> None:
    assert difference(("audio", match, b"")) == (["a=fmtp:101 0-16"], [])
    assert difference(("audio", match, b"fmtp:101 0-15")) == (["a=fmtp:101 0-16"], ["a=fmtp:101 0-15"])


@pytest.mark.parametrize("match", [b"fmtp:10", b"fmtp:101 0", b"fm", b"0-16", b"rtpmap:101 telephone-event"])
def test_a_part_of_a_name_or_word_names_nothing(match: bytes) -> None:
    assert edit_attributes(SDP, [AttributeEdit("audio", match, b"")]) == SDP


@pytest.mark.parametrize(
    ("kind", "left"), [("audio", ["VIDEO"]), ("video", ["audio"]), ("text", ["audio", "VIDEO"])]
)
def test_an_edit_concerns_the_media_of_its_type(kind: str, left: list[str]) -> None:
    edited = edit_attributes(SDP, [AttributeEdit(kind, b"ptime", b"")])
    assert [medium.kind for medium in parse(edited).media if medium.has("ptime")] == left


def test_the_session_section_is_a_type_of_its_own() -> None:
    assert difference(("", b"tool", b""), ("", b"ptime", b"")) == (["a=tool:phone 1.0 beta"], [])


def test_a_line_is_added_to_the_end_of_each_section_of_its_type() -> None:
    edited = edit_attributes(SDP, [AttributeEdit("", b"", b"one"), AttributeEdit("audio", b"", b"two:2 3")])
    assert lines(edited).index("a=one") == lines(edited).index("m=audio 4000 RTP/AVP 0 101") - 1
    assert lines(edited).index("a=two:2 3") == lines(edited).index("m=VIDEO 4002 RTP/AVP 96") - 1


def test_a_line_that_is_there_is_not_added_again() -> None:
    assert edit_attributes(SDP, [AttributeEdit("audio", b"", b"ptime:20")]) == SDP
    twice = [AttributeEdit("audio", b"", b"new"), AttributeEdit("audio", b"", b"new")]
    assert lines(edit_attributes(SDP, twice)).count("a=new") == 1


def test_a_line_that_is_removed_may_be_added_in_another_form() -> None:
    assert difference(("audio", b"ptime", b""), ("audio", b"", b"ptime:40"))[1] == ["a=ptime:40"]


def test_a_text_that_would_replace_thousands_of_lines_is_refused_before_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long = SDP + b"a=x\r\n" * 4000
    edits = [AttributeEdit("video", b"x", b"y" * 14)]
    assert len(edit_attributes(long, edits)) > 60_000
    monkeypatch.setattr(Edits, "render", None)
    with pytest.raises(SdpTooLong, match="80000 bytes"):
        edit_attributes(long, [AttributeEdit("video", b"x", b"y" * 18)])


TEXTS = st.sampled_from([b"", b"ptime:20", b"ptime", b"fmtp:101", b"rtcp:1", b"sendrecv", b"x y"])
EDITS = st.builds(AttributeEdit, st.sampled_from(["", "audio", "video"]), TEXTS, TEXTS)


@given(st.lists(EDITS, max_size=6), st.sampled_from(sorted(samples.ALL.values())))
def test_all_other_lines_stay_byte_for_byte(edits: list[AttributeEdit], sdp: bytes) -> None:
    edits = [edit for edit in edits if edit.match or edit.text]
    edited = edit_attributes(sdp, edits)
    others = [line.text + line.end for line in parse(sdp).lines if not line.text.startswith(b"a=")]
    assert [
        line.text + line.end for line in parse(edited).lines if not line.text.startswith(b"a=")
    ] == others or not sdp.endswith((b"\r", b"\n"))
