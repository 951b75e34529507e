"""nh.verdict: the verdict on each direction of a call."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.drop import Drop
from nh.calls.media_state import SILENT_S
from nh.results import CallDetail, IceDetail, LegDetail, PairDetail, SessionDetail, StreamDetail
from nh.verdict import RULES, State, Verdict, judge_call

ALICE, BOB, STRANGER = "198.51.100.2:4000", "203.0.113.9:5000", "192.0.2.77:9"
NEAR, FAR = "192.0.2.1:12000", "192.0.2.1:12002"
PUBLIC = "192.0.2.99:12000"
PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "one-way-audio.md"


def leg(
    *,
    local: str = NEAR,
    announced: str | None = ALICE,
    source: str | None = ALICE,
    packets: int = 1000,
    idle_s: float | None = 0.02,
    refused_from: str | None = None,
    lost: float = 0.0,
    reported: float | None = None,
    said: Mapping[str, object] = {},
    **dropped: int,
) -> LegDetail:
    """Where the relay receives from Alice; `said`: further fields."""
    speech = StreamDetail(
        1, 0, "PCMU", packets, int(lost * packets), 0, 0, lost, 1.0, 4.4, reported_loss=reported
    )
    detail = LegDetail(
        local,
        announced,
        source if packets else None,
        True,
        packets,
        172 * packets,
        dropped,
        idle_s if packets else None,
        (speech,) if packets else (),
        refused_from=refused_from,
    )
    return msgspec.structs.replace(detail, **said)


def bob(**fields: object) -> LegDetail:
    """Where the relay receives from Bob."""
    return leg(**{"local": FAR, "announced": BOB, "source": BOB, **fields})  # type: ignore[arg-type]


def verdicts(
    from_: LegDetail,
    to: LegDetail,
    state: str = "active",
    component: int = 0,
    *,
    rtcp: LegDetail | None = None,
    age_s: float | None = 60.0,
    carried_by: int | None = None,
) -> tuple[Verdict, ...]:
    """`rtcp`: where the relay receives Alice's RTCP; None: it does not look. Others: see SessionDetail."""
    pairs = [PairDetail(0, component, "audio", from_, to)]
    if rtcp is not None:
        pairs.append(PairDetail(0, 1, "audio", rtcp, bob(packets=0)))
    session = SessionDetail(
        sessionid=7, cseq=0, id_from=b"a", id_to=b"b", from_="", to="", bytes_from=0, bytes_to=0, created=0.0,
        param={}, state=state, pairs=tuple(pairs), age_s=age_s, carried_by=carried_by,
    )  # fmt: skip
    return judge_call(CallDetail(b"call", 0, 1.0, 1.0, (), (session,))).verdicts


RTCP = leg(local="192.0.2.1:12001", packets=3)
"""Where the relay receives Alice's RTCP."""


def ice(
    *, expected: bool = True, checks: int = 0, checked_s: float | None = None, **fields: object
) -> IceDetail:
    """The ICE of an end."""
    return msgspec.structs.replace(IceDetail(expected, checks, checked_s, None, checks), **fields)


CASES = {
    "not_answered": (
        leg(), bob(packets=0), "offered", State.WAITING, "not answered yet; 1000 packets came from",
    ),
    "carried": (
        leg(packets=0, said={"ice": ice()}), bob(), "active", State.WAITING,
        "the ends bundle it: its packets use the ports of session 3",
    ),
    "on_hold": (leg(packets=0), bob(), "hold", State.WAITING, "on hold; no packet came"),
    "sends_nothing": (
        leg(packets=0, said={"direction": "recvonly"}), bob(), "active", State.WAITING,
        "the SDP of this end says recvonly, so it sends nothing; no packet came",
    ),
    "hears_nothing": (
        leg(), bob(said={"direction": "inactive"}), "active", State.WAITING,
        f"the SDP of the other end says inactive, so it plays nothing; 1000 packets came from {ALICE}",
    ),
    "sender_unchecked": (
        leg(packets=0, source_mismatch=3, said={"ice": ice()}), bob(), "active", State.PROBLEM,
        f"ICE: no check has arrived at {NEAR}",
    ),
    "no_keys": (
        leg(packets=0), bob(said={"dtls": "fingerprint differs from the SDP"}), "active", State.PROBLEM,
        "nothing can be sent to the other end: there are no keys of SRTP. DTLS: fingerprint differs from the"
        " SDP",
    ),
    "not_authentic": (
        leg(packets=0, srtp_authentication=9, srtp_no_key=3, said={"srtp": "AEAD_AES_128_GCM"}), bob(),
        "active", State.PROBLEM,
        f"12 packets came to {NEAR} that are not protected with the key of this end's SDP (AEAD_AES_128_GCM);"
        " no packet came",
    ),
    "key_used_up": (
        leg(srtp_exhausted=300), bob(), "active", State.PROBLEM,
        f"300 packets came to {NEAR} that the SRTP key of this end may not protect",
    ),
    "refused": (
        leg(packets=0, source_mismatch=312, refused_from=STRANGER), bob(), "active", State.PROBLEM,
        f"312 packets came to {NEAR} from other addresses and were turned away, the latest from {STRANGER};"
        f" none came from {ALICE}",
    ),
    "begins": (
        leg(packets=0), bob(), "active", State.WAITING,
        f"nothing has come to {NEAR} yet, 3 s after the answer",
    ),
    "rtcp_alone": (
        leg(packets=0, said={"advertised": PUBLIC}), bob(), "active", State.PROBLEM,
        f"nothing came to {NEAR} from {ALICE}, although its RTCP comes to 192.0.2.1:12001 from {ALICE}",
    ),
    "no_rtp": (
        leg(said={"streams": (), "allowed": (0,)}), bob(), "active", State.PROBLEM,
        f"1000 packets came to {NEAR}, and none of them is RTP",
    ),
    "advertised_private": (
        leg(local="10.0.0.5:12000", announced="8.8.8.8:4000", packets=0), bob(), "active", State.PROBLEM,
        "nothing came to 10.0.0.5:12000 from 8.8.8.8:4000; its SDP from nh names 10.0.0.5:12000, a private"
        " address, and the phone has a public one",
    ),
    "advertised_elsewhere": (
        leg(packets=0, said={"advertised": PUBLIC}), bob(), "active", State.PROBLEM,
        f"nothing came to {NEAR} from {ALICE}; its SDP from nh names {PUBLIC} in place of that",
    ),
    "nothing_came": (
        leg(packets=0), bob(), "active", State.PROBLEM, f"nothing came to {NEAR} from {ALICE}",
    ),
    "unreachable": (
        leg(), bob(said={"unreachable": 7, "unreachable_s": 1.2}), "active", State.PROBLEM,
        f"1000 packets were sent to {BOB}; ICMP said 7 times that it cannot be reached, the latest time 1 s"
        " ago",
    ),
    "not_sent": (
        leg(send_failed=900), bob(), "active", State.PROBLEM,
        f"900 packets of 1000 could not be sent to {BOB}",
    ),
    "not_protected": (
        leg(srtp_unsent_index_used=500), bob(), "active", State.PROBLEM,
        "500 packets of 1000 were not sent on: the SRTP key of the other end has protected",
    ),
    "receiver_unchecked": (
        leg(no_target=500), bob(packets=0, said={"ice": ice(refused={"wrong_password": 7})}), "active",
        State.PROBLEM, f"ICE: checks have a wrong password (7 came to {FAR})",
    ),
    "no_target": (
        leg(no_target=500), bob(), "active", State.PROBLEM, "500 packets of 1000 were not sent on",
    ),
    "checks_stopped": (
        leg(idle_s=31, said={"ice": ice(checks=9, checked_s=30.0)}), bob(), "active", State.PROBLEM,
        "ICE: the last check came 30 s ago, and no media since",
    ),
    "fell_silent": (
        leg(idle_s=42.0), bob(), "active", State.PROBLEM,
        f"came from {ALICE} until 42 s ago, and none since",
    ),
    "overflowed": (
        leg(overflow=100), bob(), "active", State.PROBLEM, "did not fit into the receive buffer",
    ),
    "other_payload_type": (
        leg(said={"payload_type": 8, "allowed": (0, 101)}), bob(), "active", State.PROBLEM,
        "RTP came with payload type 8, the SDP of the other end allows 0, 101",
    ),
    "to_private_address": (
        leg(local="8.8.8.8:12000"),
        bob(local="8.8.8.8:12002", announced="192.168.1.9:5000", packets=0), "active",
        State.PROBLEM, "1000 packets were for 192.168.1.9:5000, a private address",
    ),
    "not_received": (
        leg(said={"deaf_reports": 3}), bob(), "active", State.PROBLEM,
        f"1000 packets were sent to {BOB}, and the latest 3 RTCP reports of that end say that it receives"
        " nothing",
    ),
    "lossy": (
        leg(lost=0.08), bob(), "active", State.PROBLEM, "80 RTP packets (8.0%) were lost before the relay",
    ),
    "lossy_beyond": (
        leg(reported=0.12), bob(), "active", State.PROBLEM,
        f"1000 packets were sent to {BOB}, whose latest RTCP report says that 12.0% were lost",
    ),
    "well": (
        leg(), bob(), "active", State.OK, f"came from {ALICE} and go to {BOB}, 0.0% lost, MOS 4.4",
    ),
}  # fmt: skip


def test_each_rule_has_its_case() -> None:
    assert [rule.__name__ for rule in RULES] == list(CASES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.__name__))
def test_a_direction_is_judged_by_the_first_rule_that_applies(rule: object) -> None:
    name = getattr(rule, "__name__", "")
    from_, to, state, judged, found = CASES[name]
    rtcp, age_s = RTCP if name == "rtcp_alone" else None, 3.0 if name == "begins" else 60.0
    carried_by = 3 if name == "carried" else None
    verdict = verdicts(from_, to, state, rtcp=rtcp, age_s=age_s, carried_by=carried_by)[0]
    assert (verdict.sender, verdict.state) == ("from", judged)
    assert found in verdict.found
    assert bool(verdict.cause) is bool(verdict.remedy) is (judged is State.PROBLEM)


@pytest.mark.parametrize("age_s", [SILENT_S, None], ids=["5 s", "ended"])
def test_media_that_have_had_their_time_to_begin_are_a_problem(age_s: float | None) -> None:
    assert verdicts(leg(packets=0), bob(), age_s=age_s)[0].state is State.PROBLEM


@pytest.mark.parametrize(
    "from_",
    [
        leg(packets=0, source_mismatch=1, refused_from=STRANGER),
        leg(packets=0, srtp_authentication=1),
        leg(packets=0, said={"ice": ice(refused={"wrong_password": 2})}),
        leg(packets=0, said={"dtls": "fingerprint differs from the SDP"}),
    ],
    ids=["source", "key", "check", "fingerprint"],
)
def test_what_is_turned_away_is_a_problem_at_once(from_: LegDetail) -> None:
    assert verdicts(from_, bob(), age_s=1.0)[0].state is State.PROBLEM


STARTING = {
    "no check": (leg(packets=0, said={"ice": ice()}), bob(), "ICE: no check has arrived at"),
    "no check of the other end": (
        leg(no_target=100), bob(packets=0, said={"ice": ice()}), "ICE: no check has arrived at",
    ),
    "no handshake": (
        leg(packets=0, said={"dtls": "waiting for the end to begin"}), bob(), "there are no keys of SRTP",
    ),
    "no keys of the other end": (
        leg(srtp_unsent_no_key=100), bob(packets=0, said={"dtls": "the handshake goes on"}),
        "there are no keys of SRTP",
    ),
}  # fmt: skip
"""What holds in the first moments of a call, as with a browser: both ends, and what is told of the first."""


@pytest.mark.parametrize(("from_", "to", "found"), STARTING.values(), ids=STARTING)
def test_what_a_call_needs_before_its_media_may_take_as_long_as_they(
    from_: LegDetail, to: LegDetail, found: str
) -> None:
    verdict = verdicts(from_, to, age_s=1.0)[0]
    assert verdict.state is State.WAITING
    assert found in verdict.found
    assert "yet, 1 s after the answer" in verdict.found
    assert [verdicts(from_, to, age_s=age_s)[0].state for age_s in (SILENT_S, None)] == [State.PROBLEM] * 2


@pytest.mark.parametrize(
    ("early", "many"),
    [(leg(no_target=100), leg(no_target=300)), (leg(srtp_unsent_no_key=100), leg(srtp_unsent_no_key=300))],
    ids=["address", "key"],
)
def test_what_came_before_the_other_end_was_ready_is_no_problem_once_that_end_is_heard(
    early: LegDetail, many: LegDetail
) -> None:
    assert verdicts(early, bob())[0].state is State.OK
    assert verdicts(early, bob(packets=0))[0].state is State.PROBLEM
    assert verdicts(many, bob())[0].state is State.PROBLEM


@pytest.mark.parametrize(
    "from_",
    [leg(idle_s=9.0), leg(idle_s=31, said={"ice": ice(checks=9, checked_s=30.0)})],
    ids=["media", "checks"],
)
def test_of_a_call_that_has_ended_times_are_counted_from_its_end(from_: LegDetail) -> None:
    assert re.search(r"\d s ago,", verdicts(from_, bob())[0].found)
    assert re.search(r"\d s before the end,", verdicts(from_, bob(), age_s=None)[0].found)


def test_of_a_call_that_has_ended_the_latest_icmp_is_counted_from_its_end() -> None:
    said = {"unreachable": 7, "unreachable_s": 1.2}
    assert "the latest time 1 s before the end" in verdicts(leg(), bob(said=said), age_s=None)[0].found


def test_a_direction_that_is_well_has_its_quality_and_what_rtcp_says_of_it() -> None:
    heard = leg(packets=1, reported=0.012)
    stream = msgspec.structs.replace(heard.streams[0], round_trip_ms=41.3)
    verdict = verdicts(msgspec.structs.replace(heard, streams=(stream,)), bob())[0]
    assert verdict.found == (
        f"1 packet came from {ALICE} and goes to {BOB}, 0.0% lost, MOS 4.4, jitter 1 ms; the receiver reports"
        " 1.2% lost, round trip 41 ms (RTCP)"
    )


def test_both_directions_have_a_verdict_and_one_filter_shows_both() -> None:
    one, other = verdicts(leg(), bob(packets=0))
    assert (one.sender, one.state) == ("from", State.OK)
    assert (other.sender, other.state) == ("to", State.PROBLEM)
    assert f"nothing came to {FAR} from {BOB}" in other.found
    assert one.filter == other.filter == "udp and (port 12000 or port 12002)"


def test_a_phone_behind_a_nat_is_well_and_its_announced_address_is_told() -> None:
    verdict, _ = verdicts(leg(announced="192.168.1.2:4000"), bob())
    assert f"came from {ALICE} (announced 192.168.1.2:4000)" in verdict.found


@pytest.mark.parametrize(
    ("sender", "found"),
    [
        (leg(srtp_unsent_no_key=500, srtp_unsent_index_used=20), "the other end was not agreed on yet"),
        (
            leg(srtp_unsent_exhausted=500, srtp_unsent_no_key=20),
            "has protected as many streams or packets as",
        ),
        (leg(srtp_unsent_not_media=500), "they are neither RTP nor RTCP"),
    ],
)
def test_of_packets_that_are_not_protected_the_most_frequent_reason_is_told(
    sender: LegDetail, found: str
) -> None:
    verdict, _ = verdicts(sender, bob())
    assert "500 packets of 1000 were not sent on: " in verdict.found
    assert found in verdict.found


def test_refused_packets_of_a_phone_that_fell_silent_hint_at_a_nat() -> None:
    verdict, _ = verdicts(leg(idle_s=9.0, source_mismatch=5, refused_from=STRANGER), bob())
    assert f"5 packets of other addresses were turned away, the latest from {STRANGER}" in verdict.found
    assert "NAT" in verdict.cause


def test_replays_of_a_phone_that_fell_silent_hint_at_a_stream_that_began_again() -> None:
    verdict, _ = verdicts(leg(idle_s=9.0, srtp_replay=400), bob())
    assert "400 packets of SRTP had come before, or are too late" in verdict.found
    assert "earlier sequence numbers" in verdict.cause


def test_some_refused_or_lost_packets_are_no_problem() -> None:
    one, _ = verdicts(leg(source_mismatch=5, refused_from=STRANGER, send_failed=2, lost=0.01), bob())
    assert one.state is State.OK


@pytest.mark.parametrize(
    "said",
    [
        {"payload_type": 8, "allowed": ()},
        {"payload_type": 0, "allowed": (0, 101)},
        {"payload_type": 13, "allowed": (0,)},
        {"payload_type": None, "allowed": (0,)},
    ],
    ids=["not known", "allowed", "comfort noise", "no RTP"],
)
def test_payload_types_that_are_no_problem(said: dict[str, object]) -> None:
    assert verdicts(leg(said=said), bob())[0].state is State.OK


def test_what_icmp_said_long_before_the_latest_packet_is_over() -> None:
    said = {"unreachable": 7, "unreachable_s": 60.0}
    assert verdicts(leg(), bob(said=said))[0].state is State.OK
    assert "ICMP said" in verdicts(leg(idle_s=58.0), bob(said=said))[0].found


def test_a_hold_says_which_end_asked_for_it() -> None:
    _, verdict = verdicts(
        leg(said={"direction": "sendonly"}), bob(packets=0, said={"direction": "recvonly"}), "hold"
    )
    assert "on hold (its SDP says recvonly, that of the other end sendonly); no packet came" in verdict.found


def test_one_deaf_report_may_be_an_accident() -> None:
    assert verdicts(leg(said={"deaf_reports": 1}), bob())[0].state is State.OK


def test_a_verdict_has_the_addresses() -> None:
    one, other = verdicts(leg(announced="192.168.1.2:4000"), bob(packets=0))
    assert (one.announced, one.seen, one.sent_to) == ("192.168.1.2:4000", ALICE, BOB)
    assert (other.announced, other.seen, other.sent_to) == (BOB, None, ALICE)


def test_replaced_sessions_and_rtcp_have_no_verdict() -> None:
    assert verdicts(leg(), bob(), "replaced") == verdicts(leg(), bob(), component=1) == ()


def test_an_end_whose_rtcp_comes_reaches_the_relay_and_sends_no_media() -> None:
    from_alice, from_bob = verdicts(leg(packets=0), bob(packets=0), rtcp=RTCP)
    assert from_alice.cause.startswith("the phone reaches nh and sends no media (muted")
    assert from_bob.found == f"nothing came to {FAR} from {BOB}", "no RTCP comes from Bob"


@pytest.mark.parametrize("said", [{"said": {"deaf_reports": 3}}, {"reported": 0.5}])
def test_of_large_packets_that_do_not_arrive_the_path_mtu_may_be_the_cause(said: dict[str, object]) -> None:
    for size, is_told in ((172, False), (1212, True)):
        large = msgspec.structs.replace(leg(**said), bytes=size * 1000)  # type: ignore[arg-type]
        verdict = verdicts(large, bob())[0]
        assert verdict.state is State.PROBLEM
        assert (f"too small for them ({size} bytes" in verdict.cause) is is_told
        assert verdict.remedy.endswith(f"ping -M do -s {size} {BOB.partition(':')[0]}") is is_told


def test_a_phone_and_a_relay_in_private_networks_may_be_in_the_same_one() -> None:
    here = leg(local="10.0.0.5:12000", announced="10.0.0.7:4000", packets=0)
    assert verdicts(here, bob())[0].found == "nothing came to 10.0.0.5:12000 from 10.0.0.7:4000"


def test_the_address_that_the_sdp_of_an_end_names_is_to_be_compared_with_its_sdp() -> None:
    for advertised, in_sdp in (("", NEAR), (PUBLIC, PUBLIC)):
        silent = leg(packets=0, said={"advertised": advertised})
        verdict = verdicts(silent, bob())[0]
        assert f"names {in_sdp}, and whether" in verdict.remedy
        assert verdict.advertised == in_sdp


@pytest.mark.parametrize(
    ("from_", "said"),
    [
        ({"send_failed": 1000}, {}),
        ({}, {"unreachable": 7, "unreachable_s": 1.2}),
        ({}, {"advertised": "8.8.8.8:12002"}),
    ],
)
def test_a_private_address_is_told_also_where_the_host_or_icmp_refuses_to_send_there(
    from_: dict[str, int], said: dict[str, object]
) -> None:
    private = "192.168.1.9:5000"
    public = "10.0.0.5:12002" if "advertised" in said else "8.8.8.8:12002"
    deaf = bob(local=public, announced=private, packets=0, said=said)
    verdict = verdicts(leg(local="8.8.8.8:12000", **from_), deaf)[0]  # type: ignore[arg-type]
    assert verdict.found.startswith(f"1000 packets were for {private}, a private address")


def test_the_page_has_a_line_for_each_rule() -> None:
    lines = re.findall(r"^\| (ok|waiting|problem) \|", PAGE.read_text(), re.MULTILINE)
    assert lines == [CASES[rule.__name__][3].value for rule in RULES]


ENDPOINTS = st.none() | st.sampled_from([ALICE, "[2001:db8::1]:5000", "10.0.0.1:1", "\x1b[2J:1", "x"])


@given(
    local=st.sampled_from([NEAR, "[::1]:9"]),
    announced=ENDPOINTS,
    source=ENDPOINTS,
    refused_from=ENDPOINTS,
    packets=st.integers(0, 2**40),
    idle_s=st.floats(0, 1e9),
    lost=st.floats(0, 1),
    dropped=st.dictionaries(st.sampled_from([drop.name.lower() for drop in Drop]), st.integers(0, 2**40)),
    state=st.sampled_from(["offered", "active", "hold"]),
)
def test_every_direction_has_a_verdict_of_one_line(
    state: str, dropped: dict[str, int], **fields: object
) -> None:
    for verdict in verdicts(leg(**fields, **dropped), bob(packets=0), state):  # type: ignore[arg-type]
        for text in (verdict.found, verdict.cause, verdict.remedy, verdict.filter):
            assert "\n" not in text
