"""nh.sdp.rewrite: what a plan changes, and that nothing else does."""

import difflib

import pytest

from nh.sdp.description import SessionDescription
from nh.sdp.media import to_media
from nh.sdp.parse import parse
from nh.sdp.rewrite import MediumPlan, MuxAction, RewritePlan, rewrite
from tests.sdp import samples
from tests.sdp.samples import crlf

RELAY = "203.0.113.9"
RELAY6 = "2001:db8:9::9"


def plan_of(
    *media: MediumPlan | None, connection: str | None = RELAY, origin: str | None = None
) -> RewritePlan:
    return RewritePlan(media, connection=connection, origin=origin)


def changes(body: bytes, plan: RewritePlan) -> list[str]:
    """The lines that went (-) and came (+), in their order."""
    before = body.decode().splitlines()
    after = rewrite(parse(body), plan).decode().splitlines()
    return [line for line in difflib.ndiff(before, after) if line[0] in "+-"]


def reparse(body: bytes, plan: RewritePlan) -> SessionDescription:
    return parse(rewrite(parse(body), plan))


@pytest.mark.parametrize("name", samples.ALL)
def test_nothing_planned_changes_nothing(name: str) -> None:
    description = parse(samples.ALL[name])
    assert rewrite(description, RewritePlan((None,) * len(description.media))) == samples.ALL[name]


def test_a_plan_has_as_many_media_as_the_sdp() -> None:
    with pytest.raises(ValueError, match="zip"):
        rewrite(parse(samples.RFC3264_OFFER), plan_of(MediumPlan(RELAY, 30000)))


# --- ports and addresses --------------------------------------------------------------------------


def test_an_offer_through_the_relay() -> None:
    plan = plan_of(*(MediumPlan(RELAY, port, port + 1) for port in (30000, 30002, 30004)))
    assert changes(samples.RFC3264_OFFER, plan) == [
        "- c=IN IP4 192.0.2.10",
        f"+ c=IN IP4 {RELAY}",
        "- m=audio 49170 RTP/AVP 0",
        "+ m=audio 30000 RTP/AVP 0",
        "- m=video 51372 RTP/AVP 31",
        "+ m=video 30002 RTP/AVP 31",
        "- m=video 53000 RTP/AVP 32",
        "+ m=video 30004 RTP/AVP 32",
    ]


def test_the_origin_changes_when_asked() -> None:
    assert changes(samples.T38, plan_of(None, connection=None, origin=RELAY)) == [
        "- o=CiscoSystemsSIP-GW-UserAgent 5645 3455 IN IP4 192.0.2.30",
        f"+ o=CiscoSystemsSIP-GW-UserAgent 5645 3455 IN IP4 {RELAY}",
    ]


def test_the_other_address_family() -> None:
    plan = plan_of(MediumPlan(RELAY6, 30000, 30001), connection=RELAY6, origin=RELAY6)
    description = reparse(samples.ASTERISK_LF, plan)
    assert b"c=IN IP6 2001:db8:9::9\n" in rewrite(parse(samples.ASTERISK_LF), plan)
    assert (description.origin, description.media[0].connection) == (RELAY6, RELAY6)
    back = plan_of(MediumPlan(RELAY, 30000, 30001), origin=RELAY)
    assert b"o=- 3724394400 3724394400 IN IP4 203.0.113.9\r\n" in rewrite(parse(samples.IPV6), back)


def test_a_rejected_medium_stays_rejected() -> None:
    plan = plan_of(*(MediumPlan(RELAY, port, port + 1) for port in (30000, 30002, 30004)))
    assert [m.port for m in reparse(samples.RFC3264_ANSWER, plan).media] == [30000, 0, 30004]


def test_the_relay_can_reject_a_medium() -> None:
    description = reparse(
        samples.T38_BESIDE_AUDIO, plan_of(MediumPlan(RELAY, 30000), MediumPlan(RELAY, 0), None)
    )
    assert [m.rejected for m in description.media] == [False, True, False]


GROUPED = """v=0
c=IN IP4 192.0.2.1
a=group:BUNDLE a v
a=group:LS a v
m=audio 4000 RTP/AVP 0
a=mid:a
m=video 4002 RTP/AVP 96
a=mid:v
"""


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (GROUPED, ["a=group:BUNDLE a", "a=group:LS a"]),
        (GROUPED.replace("4002", "0"), ["a=group:BUNDLE a", "a=group:LS a"]),
        (GROUPED.replace("mid:v", "mid:v\na=bundle-only"), ["a=group:BUNDLE a", "a=group:LS a"]),
        (GROUPED.replace("BUNDLE a v", "BUNDLE v"), ["a=group:LS a"]),
        (GROUPED.replace("mid:a", "mid:v"), ["a=group:BUNDLE a v", "a=group:LS a v"]),
    ],
    ids=[
        "by the relay",
        "by its sender",
        "without a port of its own",
        "the only one",
        "with a mid of another",
    ],
)
def test_no_group_names_a_medium_that_is_rejected(body: str, left: list[str]) -> None:
    port = 0 if "4002" in body else 30002
    plan = plan_of(MediumPlan(RELAY, 30000, 30001), MediumPlan(RELAY, port), connection=RELAY)
    rewritten = rewrite(parse(crlf(body)), plan)
    lines = rewritten.decode().splitlines()
    assert [line for line in lines if line.startswith("a=group")] == left
    assert [medium.rejected for medium in parse(rewritten).media] == [False, True]
    assert rewrite(parse(rewritten), plan) == rewritten


def test_no_group_of_a_further_session_names_a_medium_that_is_rejected() -> None:
    plan = plan_of(*[MediumPlan(RELAY, port) for port in (30000, 30002, 30004, 0)], connection=RELAY)
    lines = rewrite(parse(crlf(GROUPED + GROUPED)), plan).decode().splitlines()
    groups = ["a=group:BUNDLE a v", "a=group:LS a v", "a=group:BUNDLE a", "a=group:LS a"]
    assert [line for line in lines if line.startswith("a=group")] == groups


def test_no_group_names_a_rejected_medium_that_the_relay_adds() -> None:
    media, _ = GROUPED.split("m=video")
    rejection = (b"m=video 0 RTP/AVP 96", b"a=mid:v")
    plan = RewritePlan((MediumPlan(RELAY, 30000, 30001),), RELAY, appended=rejection)
    lines = rewrite(parse(crlf(media)), plan).decode().splitlines()
    assert [line for line in lines if line.startswith("a=group")] == ["a=group:BUNDLE a", "a=group:LS a"]


def test_a_bundle_only_medium_keeps_port_0() -> None:
    plan = plan_of(MediumPlan(RELAY6, 30000, 30001), MediumPlan(RELAY6, 30000, 30001), connection=RELAY6)
    assert changes(samples.BUNDLE_ONLY, plan) == [
        "- c=IN IP6 2001:db8::3",
        f"+ c=IN IP6 {RELAY6}",
        "- m=audio 10000 RTP/AVP 0 8 97",
        "+ m=audio 30000 RTP/AVP 0 8 97",
    ]


def test_a_number_of_ports_stays() -> None:
    plan = plan_of(MediumPlan(RELAY, 30000, 30001), MediumPlan(RELAY, 30002, 30003))
    body = rewrite(parse(samples.MULTICAST), plan)
    assert b"m=video 30002/2 RTP/AVP 99\r\nc=IN IP4 203.0.113.9\r\n" in body
    assert b"224.2" not in body


def test_an_untouched_medium_keeps_the_connection_that_it_inherited() -> None:
    assert changes(samples.MSRP_AND_SDES, plan_of(None, MediumPlan(RELAY, 30000, 30001))) == [
        "- c=IN IP4 192.0.2.40",
        f"+ c=IN IP4 {RELAY}",
        "+ c=IN IP4 192.0.2.40",
        "- m=audio 49170 RTP/SAVP 0",
        "+ m=audio 30000 RTP/SAVP 0",
    ]
    description = reparse(samples.MSRP_AND_SDES, plan_of(None, MediumPlan(RELAY, 30000, 30001)))
    assert [m.connection for m in description.media] == ["192.0.2.40", RELAY]


def test_an_untouched_medium_that_was_rejected_needs_no_connection() -> None:
    body = crlf("v=0\nc=IN IP4 192.0.2.1\nm=message 0 TCP/MSRP *")
    assert rewrite(parse(body), plan_of(None)) == crlf(f"v=0\nc=IN IP4 {RELAY}\nm=message 0 TCP/MSRP *")


def test_media_at_different_addresses_get_a_connection_each() -> None:
    plan = plan_of(MediumPlan(RELAY, 30000, 30001), MediumPlan("203.0.113.10", 30002, 30003))
    assert changes(samples.LINPHONE, plan)[4:] == [
        "- m=video 9078 RTP/AVPF 96",
        "+ m=video 30002 RTP/AVPF 96",
        "+ c=IN IP4 203.0.113.10",
    ]


def test_a_connection_that_was_missing_is_written_behind_the_title() -> None:
    body = crlf("v=0\ns=-\nm=audio 4000 RTP/AVP 0\ni=title\nb=AS:64\na=sendrecv")
    assert rewrite(parse(body), plan_of(MediumPlan(RELAY, 30000, 30001))) == crlf(
        f"v=0\ns=-\nm=audio 30000 RTP/AVP 0\ni=title\nc=IN IP4 {RELAY}\nb=AS:64\na=sendrecv"
    )


def test_every_connection_of_a_section_is_rewritten() -> None:
    session = "v=0\nc=IN IP4 192.0.2.1\nc=IN IP4 192.0.2.2\n"
    body = crlf(session + "m=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.3\nc=IN IP4 192.0.2.4")
    assert b"192.0.2" not in rewrite(parse(body), plan_of(MediumPlan(RELAY, 30000, 30001)))


def test_an_address_that_is_the_same_is_not_spelled_anew() -> None:
    plan = plan_of(MediumPlan("2001:db8::10", 6000, 6001), connection="2001:db8::10")
    assert rewrite(parse(samples.IPV6), plan) == samples.IPV6


# --- hold -----------------------------------------------------------------------------------------


def test_a_held_medium_stays_held() -> None:
    assert changes(samples.CISCO_HOLD, plan_of(MediumPlan(RELAY, 30000, 30001))) == [
        "- m=audio 16384 RTP/AVP 0 8 18 101",
        "+ m=audio 30000 RTP/AVP 0 8 18 101",
    ]


def test_a_held_medium_stays_held_in_the_other_family() -> None:
    body = rewrite(parse(samples.CISCO_HOLD), plan_of(MediumPlan(RELAY6, 30000, 30001), connection=RELAY6))
    assert b"c=IN IP6 ::\r\n" in body


@pytest.mark.parametrize(
    ("zero", "relay", "held"), [("IP4 0.0.0.0", RELAY6, "::"), ("IP6 ::", RELAY, "0.0.0.0")]
)
def test_a_held_session_stays_held(zero: str, relay: str, held: str) -> None:
    body = crlf(f"v=0\nc=IN {zero}\nm=audio 4000 RTP/AVP 0\nm=video 4002 RTP/AVP 31\nc=IN IP4 192.0.2.1")
    plan = plan_of(MediumPlan(relay, 30000, 30001), MediumPlan(relay, 30002, 30003), connection=relay)
    description = reparse(body, plan)
    assert [m.connection for m in description.media] == [held, relay]
    assert [m.own_connection for m in description.media] == [None, relay]


def test_directions_are_left_untouched() -> None:
    plan = plan_of(
        MediumPlan("192.0.2.60", 30000, 30001), MediumPlan("192.0.2.60", 30002, 30003), connection=None
    )
    assert [line[2:4] for line in changes(samples.POLYCOM, plan)] == ["m=", "m=", "m=", "m="]


# --- RTCP -----------------------------------------------------------------------------------------


def test_rtcp_is_rewritten_where_it_was_announced() -> None:
    plan = plan_of(*(MediumPlan(RELAY, port, port + 1) for port in (30000, 30002, 30004)))
    assert [line for line in changes(samples.RFC3605_RTCP, plan) if "rtcp" in line] == [
        "- a=rtcp:53020",
        "+ a=rtcp:30001",
        "- a=rtcp:53022 IN IP4 126.16.64.4",
        f"+ a=rtcp:30003 IN IP4 {RELAY}",
        "- a=rtcp:53024 IN IP6 2001:DB8::4",
        f"+ a=rtcp:30005 IN IP4 {RELAY}",
    ]


def test_rtcp_is_announced_where_it_is_not_the_next_port() -> None:
    plan = plan_of(MediumPlan(RELAY, 30000, 40000))
    assert rewrite(parse(samples.ASTERISK_LF), plan).endswith(b"\na=ptime:20\na=rtcp:40000")
    assert to_media(reparse(samples.ASTERISK_LF, plan).media[0]).rtcp is not None


def test_rtcp_of_several_pairs_is_not_announced() -> None:
    body = crlf("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000/2 RTP/AVP 0")
    assert b"a=rtcp" not in rewrite(parse(body), plan_of(MediumPlan(RELAY, 30000, 40000)))


def test_an_unreadable_rtcp_is_written_anew() -> None:
    body = crlf("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\na=rtcp:none")
    assert rewrite(parse(body), plan_of(MediumPlan(RELAY, 30000, 30001))).endswith(b"a=rtcp:30001\r\n")


def test_without_a_port_of_its_own_rtcp_is_not_announced() -> None:
    plan = plan_of(MediumPlan(RELAY, 30000), MediumPlan(RELAY, 30000))
    lines = changes(samples.CHROME, plan)
    assert [line for line in lines if "rtcp" in line] == ["- a=rtcp:9 IN IP4 0.0.0.0"] * 2


def test_mux_is_added_and_removed() -> None:
    add = plan_of(MediumPlan(RELAY, 30000, 30001, MuxAction.ADD))
    assert changes(samples.CISCO_HOLD, add)[-1] == "+ a=rtcp-mux"
    assert reparse(samples.CISCO_HOLD, add).media[0].rtcp_mux
    remove = MediumPlan(RELAY, 30000, 30001, MuxAction.REMOVE)
    description = reparse(samples.CHROME, plan_of(remove, remove))
    assert [m.rtcp_mux for m in description.media] == [False, False]
    # already as it shall be
    added = MediumPlan(RELAY, 30000, 30001, MuxAction.ADD)
    assert rewrite(parse(samples.CHROME), plan_of(added, added)).count(b"a=rtcp-mux\r\n") == 2


def test_mux_only_goes_with_mux() -> None:
    body = crlf("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\na=rtcp-mux\na=rtcp-mux-only\na=sendrecv")
    plan = plan_of(MediumPlan(RELAY, 30000, 30001, MuxAction.REMOVE))
    assert rewrite(parse(body), plan).endswith(b"m=audio 30000 RTP/AVP 0\r\na=sendrecv\r\n")


def test_a_rejected_medium_gets_no_new_attributes() -> None:
    body = crlf("v=0\nc=IN IP4 192.0.2.1\nm=audio 0 RTP/AVP 0")
    plan = plan_of(MediumPlan(RELAY, 30000, 40000, MuxAction.ADD), connection=None)
    assert rewrite(parse(body), plan) == body


# --- loop protection, form ------------------------------------------------------------------------


def test_the_mark_is_the_last_line_of_the_session() -> None:
    description = parse(samples.POLYCOM)
    marked = rewrite(description, RewritePlan((None, None), mark="b7"))
    assert b"a=sendonly\r\na=nh:b7\r\nm=audio" in marked
    assert parse(marked).marks == {"b7"}
    assert rewrite(parse(marked), RewritePlan((None, None), mark="b7")) == marked


def test_marks_of_other_relays_stay() -> None:
    once = rewrite(parse(samples.T38), RewritePlan((None,), mark="one"))
    assert parse(rewrite(parse(once), RewritePlan((None,), mark="two"))).marks == {"one", "two"}


def test_odd_white_space_stays() -> None:
    plan = plan_of(MediumPlan(RELAY, 30000, 30001), origin=RELAY)
    assert rewrite(parse(samples.ODD_WHITE_SPACE), plan) == (
        b"v=0 \r\no=Jane  Doe\t12  13 in IP4\t203.0.113.9 \r\ns= \r\nc=IN  IP4 203.0.113.9\t\r\nt=0 0\r\n"
        b"m=audio  30000\tRTP/AVP  0 \r\na= rtcp: 30001 \r\na=sendonly \r\n"
    )


def test_line_ends_and_junk_stay() -> None:
    plan = RewritePlan((MediumPlan(RELAY, 30000, 40000),), connection=RELAY, origin=RELAY, mark="x")
    assert rewrite(parse(samples.MIXED_LINE_ENDS_AND_JUNK), plan) == (
        b"\r\nv=0\r\no=- 1 1 IN IP4 203.0.113.9\ns=-\rt=0 0\r\na=nh:x\r\nm=audio 30000 RTP/AVP 0\n"
        b"c=IN IP4 203.0.113.9\r\na=rtcp:40000\r\n\r\n--boundary--\r\n\0\0\0"
    )


def test_a_body_of_one_line_without_an_end() -> None:
    assert rewrite(parse(b"v=0"), RewritePlan((), mark="x")) == b"v=0\r\na=nh:x"
