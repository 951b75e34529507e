"""nh.cli.calls.call_view: the RTP streams of a leg, as people read them."""

import pytest

from nh.calls.media import RelayMedia, Side
from nh.cli.calls.call_view import call_lines
from nh.results import (
    CallDetail,
    GroupDetail,
    IceDetail,
    LegDetail,
    PairDetail,
    SessionDetail,
    StreamDetail,
)

SPEECH = StreamDetail(0xBEEF, 0, "PCMU", 12_345, 0, 0, 0, 0.0, 1.26, 4.41)
POOR = StreamDetail(0xDEADBEEF, 8, "PCMA", 9_000, 1_000, 3, 2, 0.1, 31.0, 3.38)
UNKNOWN = StreamDetail(1, 96, "", 10, 1, 0, 0, 0.090909, None, None)


def shown(*streams: StreamDetail) -> list[str]:
    """The lines that tell of streams."""
    leg = LegDetail("127.0.0.1:2", None, None, False, 0, 0, {}, None, streams)
    silent = LegDetail("127.0.0.1:4", None, None, False, 0, 0, {}, None)
    session = SessionDetail(
        sessionid=1, cseq=1, id_from=b"a", id_to=b"b", from_="", to="", bytes_from=0, bytes_to=0,
        created=0.0, param={}, state="active", pairs=(PairDetail(0, 0, "audio", leg, silent),),
    )  # fmt: skip
    call = CallDetail(b"call", 0, 1.0, 1.0, (), (session,))
    return [line.plain.strip() for line in call_lines(call) if "SSRC" in line.plain]


@pytest.mark.parametrize(
    ("stream", "line"),
    [
        (SPEECH, "SSRC 0000beef PCMU: 12.3k packets, none lost, jitter 1.3 ms, MOS 4.4"),
        (
            POOR,
            "SSRC deadbeef PCMA: 9000 packets, 1000 lost (10.00%), 3 reordered, 2 duplicated,"
            " jitter 31.0 ms, MOS 3.4",
        ),
        (UNKNOWN, "SSRC 00000001 payload type 96: 10 packets, 1 lost (9.09%)"),
    ],
    ids=["good", "poor", "of unknown kind"],
)
def test_a_stream_is_one_line(stream: StreamDetail, line: str) -> None:
    assert shown(stream) == [line]


def test_every_stream_has_its_line_and_a_silent_leg_none() -> None:
    assert len(shown(SPEECH, POOR)) == 2
    assert shown() == []


def test_names_of_encodings_cannot_command_the_terminal() -> None:
    (line,) = shown(StreamDetail(1, 96, "\x1b[2J", 10, 0, 0, 0, 0.0, None, None))
    assert "\x1b" not in line


def test_a_ringing_call_says_what_is_known_and_whose_ports_are_whose() -> None:
    leg = LegDetail("127.0.0.1:45764", "127.0.0.1:4000", "127.0.0.1:4000", False, 1, 80, {}, 0.5)
    silent = LegDetail("127.0.0.1:45766", None, None, False, 0, 0, {}, None)
    session = SessionDetail(
        sessionid=1, cseq=0, id_from=b"a", id_to=b"", from_="127.0.0.1:4000/2", to="", bytes_from=80,
        bytes_to=0, created=0.0, param={"uri_from": "", "uri_to": "", "tenant": "blue"}, state="offered",
        pairs=(PairDetail(0, 0, "audio", leg, silent),),
    )  # fmt: skip
    groups = (
        GroupDetail(0, b"a", Side.FROM, True, 1.0, (RelayMedia("127.0.0.1", 45766, 2),), (45766, 45767)),
        GroupDetail(0, b"", Side.TO, True, 1.0, (RelayMedia("127.0.0.1", 45764, 1),), (45764,)),
        GroupDetail(0, b"", Side.TO, False, 1.0, (RelayMedia("127.0.0.1", 0, 2),), (45768, 45769)),
    )
    lines = [line.plain for line in call_lines(CallDetail(b"call", 0, 1.0, 1.0, groups, (session,)))]
    assert lines[2:4] == [
        "  audio 0, from → to: waiting: the call is not answered yet; 1 packet came from 127.0.0.1:4000",
        "  audio 0, to → from: waiting: the call is not answered yet; no packet came",
    ]
    assert "session 1 · offered" in lines[5]
    assert "  from 127.0.0.1:4000/2  id a" in lines
    assert "  to   not answered yet" in lines
    assert "  received 80 B from, 0 B to" in lines
    assert "  param tenant=blue" in lines
    assert any(
        line.startswith("    from sends to 127.0.0.1:45764, announced 127.0.0.1:4000") for line in lines
    )
    assert any("1 packet, 80 B, idle 0.5s" in line for line in lines)
    assert lines[lines.index("ports announced in place of") + 1 :] == [
        "  from in a session · age 1.0s  id a\n"
        "       announced to the other end, in from's place: 127.0.0.1:45766 (2 ports)",
        "  to   in a session · age 1.0s\n"
        "       announced to the other end, in to's place: 127.0.0.1:45764 (1 port)",
        "  to   unused · age 1.0s\n       not announced to the other end: 45768 45769",
    ]


def test_ipv6_addresses_are_in_brackets_so_that_their_ports_are_plain() -> None:
    session = SessionDetail(
        sessionid=1, cseq=0, id_from=b"a", id_to=b"b", from_="2001:db8::1:4000/2,192.0.2.1:6000/1",
        to="2001:db8::2:4002/2", bytes_from=0, bytes_to=0, created=0.0, param={}, state="active", pairs=(),
    )  # fmt: skip
    group = GroupDetail(0, b"a", Side.FROM, True, 1.0, (RelayMedia("2001:db8::9", 45766, 2),), (45766, 45767))
    text = "\n".join(
        line.plain for line in call_lines(CallDetail(b"call", 0, 1.0, 1.0, (group,), (session,)))
    )
    assert "  from [2001:db8::1]:4000/2, 192.0.2.1:6000/1  id a" in text
    assert "  to   [2001:db8::2]:4002/2  id b" in text
    assert "announced to the other end, in from's place: [2001:db8::9]:45766 (2 ports)" in text


@pytest.mark.parametrize(("age_s", "when"), [(60.0, "ago"), (None, "before the end")])
def test_the_last_check_of_ice_was_so_long_ago_or_before_the_end_of_the_call(
    age_s: float | None, when: str
) -> None:
    ice = IceDetail(expected=True, checks=3, checked_s=9.0, selected="127.0.0.1:4000", sources=1)
    leg = LegDetail("127.0.0.1:2", None, None, False, 0, 0, {}, None, ice=ice)
    session = SessionDetail(
        sessionid=1, cseq=1, id_from=b"a", id_to=b"b", from_="", to="", bytes_from=0, bytes_to=0,
        created=0.0, param={}, state="active", pairs=(PairDetail(0, 0, "audio", leg, leg),), age_s=age_s,
    )  # fmt: skip
    lines = [line.plain for line in call_lines(CallDetail(b"call", 0, 1.0, 1.0, (), (session,)))]
    assert f"         ICE: 3 checks, the last 9.0s {when}, nominated 127.0.0.1:4000" in lines
