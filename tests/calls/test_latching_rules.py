"""nh.calls.latching.rules: every row of RULES and of POLICIES, one by one."""

from collections.abc import Callable
from typing import Final, NamedTuple

import pytest

from nh.calls.latching.claims import Carried, read_claim
from nh.calls.latching.earlier import EarlierSender
from nh.calls.latching.rules import ELSEWHERE_S, MOMENT_S, POLICIES, RULES, Decision, Facts
from nh.calls.latching.source import SourcePolicy
from nh.calls.latching.terms import leg_terms
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from tests.calls.fakes import START
from tests.calls.legs import (
    ANNOUNCED,
    ANY,
    ANY_2,
    BY_IP,
    EXACT,
    FIRST,
    HEURISTIC,
    SAME_IP,
    SAME_IP_2,
    SAME_PORT,
    SAME_PORT_2,
    SIGNALLED,
    STRICT,
    hear,
    make_leg,
)
from tests.calls.rtp import SSRC, empty_report, rtp_packet, voice

LEARNED, HANDOVER, ASYMMETRIC = SourcePolicy.LEARNED, SourcePolicy.HANDOVER, SourcePolicy.ASYMMETRIC
DELAYED = SourcePolicy.DELAYED

RELATCH_S = 2.0
NO_PORT = Endpoint(ANY.address, 0)
CRLF = b"\r\n\r\n"
BINDING_REQUEST = b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)

Step = Callable[[Leg], None]
"""Something that happens to a leg before the packet in question."""


def heard(at_s: float, source: Endpoint, packet: bytes) -> Step:
    """A packet came, and the leg was asked whether its source is silent."""

    def happen(leg: Leg) -> None:
        hear(leg, source, packet, now=START + at_s)
        leg.silence_s(now=START + at_s)

    return happen


def signalled(
    *, announced: Endpoint = ANNOUNCED, policy: SourcePolicy = HEURISTIC, signalled_from: str = ""
) -> Step:
    """A re-INVITE came at START + 1."""

    def happen(leg: Leg) -> None:
        leg.renew(
            announced=announced,
            terms=leg_terms(policy, leg.terms.carried, leg.terms.relatch_s, True),
            signalled_from=signalled_from,
            window_ends=START + 4,
        )

    return happen


def had_before(source: Endpoint, *ssrcs: int) -> Step:
    """The port was of another call a moment ago."""

    def happen(leg: Leg) -> None:
        leg.earlier = (EarlierSender(source, frozenset(ssrcs), START + 60),)

    return happen


def after_session(source: Endpoint) -> Step:
    """The end had `source` in the session that this leg's replaces, and has said the same again."""

    def happen(leg: Leg) -> None:
        before = make_leg(leg.terms.policy, carried=leg.terms.carried)
        for number in range(10):
            hear(before, source, voice(number), now=START - 5)
        before.close_window(now=START)
        leg.inherit(before)

    return happen


def third_session_at(announced: Endpoint) -> Step:
    """The end announced `announced` in the session before, and again in this one, and was not heard since."""

    def happen(leg: Leg) -> None:
        first = make_leg(leg.terms.policy, carried=leg.terms.carried)
        hear(first, EXACT, voice(1), now=START)
        second = make_leg(leg.terms.policy, announced, carried=leg.terms.carried)
        second.inherit(first)
        leg.announced = announced
        leg.inherit(second)

    return happen


def sends_rtp(leg: Leg) -> None:
    """The RTP of the same end is known."""
    leg.rtp = make_leg(carried=Carried.RTP)
    hear(leg.rtp, EXACT, voice(1), now=START)


class Example(NamedTuple):
    """A packet for which one rule decides.

    Attributes:
        what: what it shows.
        decides: the rule.
        packet: the packet `at_s` seconds after activation, from `source`.
        before: what happened before.
        policy, signalled_from, carried: of the leg.
    """

    what: str
    decides: Callable[[Facts], bool]
    at_s: float
    source: Endpoint
    packet: bytes
    before: tuple[Step, ...] = ()
    policy: SourcePolicy = HEURISTIC
    signalled_from: str = ""
    carried: Carried = Carried.RTP | Carried.PADDED

    def leg(self) -> Leg:
        """The leg before the packet."""
        leg = make_leg(
            self.policy, signalled_from=self.signalled_from, relatch_s=RELATCH_S, carried=self.carried
        )
        for happen in self.before:
            happen(leg)
        return leg


STUN_TOO = Carried.RTP | Carried.STUN
LATCHED = (heard(0, EXACT, voice(1)),)
NATTED = (heard(0, ANY, voice(1)),)
MOVED = (*LATCHED, signalled(announced=SAME_IP))
RESTARTED = tuple(heard(7.6 + number / 5, SAME_PORT, voice(number)) for number in range(1, 6))
TWO_WAYS = tuple(
    heard(7 + number / 25, source, voice(number)) for number in range(2, 46) for source in (EXACT, ANY)
)
TALKED = tuple(heard(number / 50, ANY, voice(number)) for number in range(10))

EXAMPLES: Final = (
    Example("the stream of the source", Facts.is_source, 1, ANY, voice(2), NATTED),
    Example("its keep-alive", Facts.is_source, 1, ANY, CRLF, NATTED),
    Example("its next stream", Facts.is_source, 1, ANY, voice(9, 7), NATTED),
    Example(
        "a re-INVITE from elsewhere, and the source goes on",
        Facts.comes_back,
        1,
        SAME_PORT,
        voice(2),
        (heard(0, SAME_PORT, voice(1)), signalled(signalled_from=SIGNALLED.address)),
    ),
    Example(
        "so it does with another stream",
        Facts.comes_back,
        1,
        SAME_PORT,
        voice(9, 7),
        (heard(0, SAME_PORT, voice(1)), signalled(signalled_from=SIGNALLED.address)),
    ),
    Example(
        "a keep-alive does not confirm it",
        Facts.claims_nothing,
        1,
        SAME_PORT,
        CRLF,
        (heard(0, SAME_PORT, voice(1)), signalled(signalled_from=SIGNALLED.address)),
    ),
    Example(
        "the policy is another now",
        Facts.not_permitted,
        1,
        SAME_PORT,
        voice(2),
        (heard(0, SAME_PORT, voice(1)), signalled(policy=STRICT)),
    ),
    Example("on its way since the end was at another port", Facts.lingers, 1, EXACT, voice(2), MOVED),
    Example(
        "on its way since the end was at another address",
        Facts.lingers,
        2.9,
        EXACT,
        voice(3),
        (*LATCHED, signalled(announced=SIGNALLED), heard(2, EXACT, voice(2))),
    ),
    Example(
        "an end that stays where it was",
        Facts.goes_on,
        3.15,
        EXACT,
        voice(12),
        (*MOVED, *(heard(1.9 + number / 10, EXACT, voice(number)) for number in range(2, 12))),
    ),
    Example(
        "an end that says where it is behind its NAT",
        Facts.goes_on,
        2,
        ANY,
        voice(2),
        (*NATTED, signalled(announced=Endpoint("192.168.0.2", 9))),
    ),
    Example(
        "an end whose NAT gives it another port than it says",
        Facts.goes_on,
        2,
        SAME_IP,
        voice(2),
        (heard(0, SAME_IP, voice(1)), signalled(announced=SAME_IP_2)),
    ),
    Example(
        "an end that a NAT has moved to another port",
        Facts.goes_on,
        2,
        SAME_IP,
        voice(3),
        (*LATCHED, heard(0.5, SAME_IP, voice(2)), signalled(announced=SAME_IP_2)),
    ),
    Example(
        "on its way while two sessions replace the first",
        Facts.lingers,
        2,
        EXACT,
        voice(2),
        (third_session_at(SAME_IP),),
    ),
    Example("a keep-alive of the phone", Facts.claims_nothing_where_announced, 1, EXACT, CRLF),
    Example("the same behind a stranger", Facts.claims_nothing_where_announced, 1, EXACT, b"", NATTED),
    Example("a keep-alive of a stranger", Facts.claims_nothing, 1, ANY, CRLF),
    Example("of the phone's IP address", Facts.claims_nothing, 1, SAME_IP, b"\0", LATCHED),
    Example("RTCP on an RTP port", Facts.claims_nothing, 1, ANY, empty_report()),
    Example("RTP on an RTCP port", Facts.claims_nothing, 1, ANY, voice(1), carried=Carried.RTCP),
    Example("STUN that the SDP does not announce", Facts.claims_nothing, 1, ANY, BINDING_REQUEST),
    Example("a phone without a port", Facts.unanswerable, 1, NO_PORT, voice(1)),
    Example("its stream goes on at no port", Facts.unanswerable, 1, NO_PORT, voice(2), LATCHED),
    Example("the latest is at no port", Facts.unanswerable, 1, NO_PORT, voice(1), policy=HANDOVER),
    Example("sent to elsewhere", Facts.never_latches, 1, NO_PORT, voice(1), policy=ASYMMETRIC),
    Example("the latest", Facts.never_latches, 1, ANY, voice(9, 7), LATCHED, HANDOVER),
    Example("any", Facts.never_latches, 1, ANY, voice(9, 7), LATCHED, ASYMMETRIC),
    Example("but media", Facts.claims_nothing, 1, ANY, CRLF, LATCHED, HANDOVER),
    Example("another port", Facts.not_permitted, 1, SAME_IP, voice(1), policy=STRICT),
    Example("although its stream goes on", Facts.not_permitted, 1, ANY, voice(2), LATCHED, STRICT),
    Example("another IP address", Facts.not_permitted, 1, SAME_PORT, voice(1), policy=BY_IP),
    Example("any, until it learns", Facts.waits, 1, ANY, voice(1), policy=DELAYED),
    Example("the announced endpoint, too", Facts.waits, 2.9, EXACT, voice(1), policy=DELAYED),
    Example("then the first", Facts.first, 3, ANY, voice(9, 7), (heard(1, SAME_IP, voice(1)),), DELAYED),
    Example("and no other", Facts.any_other, 3.1, SAME_IP, voice(9, 7), (heard(3, ANY, voice(1)),), DELAYED),
    Example(
        "but the announced", Facts.announced_wins, 9, EXACT, voice(9, 7), (heard(3, ANY, voice(1)),), DELAYED
    ),
    Example("its stream moves", Facts.stays, 1, SAME_IP, voice(2), LATCHED, LEARNED),
    Example("its announced endpoint, too", Facts.stays, 4, EXACT, voice(2), NATTED, LEARNED),
    Example(
        "which may be better in the window", Facts.announced_wins, 1, EXACT, voice(9, 7), NATTED, LEARNED
    ),
    Example("a NAT moves the phone", Facts.goes_on, 9, SAME_IP, voice(2), LATCHED),
    Example("to another network", Facts.goes_on, 9, ANY, voice(2), LATCHED),
    Example("within the window, too", Facts.goes_on, 1, ANY_2, voice(2), NATTED),
    Example("although it is the first for good", Facts.goes_on, 9, ANY, voice(2), LATCHED, FIRST),
    Example("and within the IP address", Facts.goes_on, 9, SAME_IP, voice(2), LATCHED, BY_IP),
    Example("after packets that were lost", Facts.goes_on, 9, ANY, voice(451), LATCHED),
    Example("its reports move", Facts.goes_on, 9, ANY, empty_report(), (sends_rtp,), carried=Carried.RTCP),
    Example("another stream", Facts.any_other, 9, ANY, voice(2, 7), LATCHED),
    Example("a minute of packets ahead", Facts.any_other, 9, ANY, voice(4000), LATCHED),
    Example("another timestamp", Facts.any_other, 9, ANY, rtp_packet(2, 2**31), LATCHED),
    Example(
        "other reports",
        Facts.any_other,
        9,
        ANY,
        empty_report(7),
        (sends_rtp, heard(0, EXACT, empty_report())),
        carried=Carried.RTCP,
    ),
    Example("from before it moved", Facts.is_late, 9, EXACT, voice(1), (*LATCHED, heard(8, ANY, voice(3)))),
    Example("the latest again", Facts.is_late, 9, EXACT, voice(3), (*LATCHED, heard(8, ANY, voice(3)))),
    Example("on another way", Facts.is_late, 1, ANY, voice(1), (heard(0, EXACT, voice(2)),)),
    Example(
        "beside another stream",
        Facts.is_late,
        9,
        ANY,
        voice(1),
        (
            *LATCHED,
            *(
                heard(7.5 + number / 10, source, voice(number, ssrc))
                for number in range(2, 17)
                for source, ssrc in ((EXACT, SSRC), (ANY, 7))
            ),
        ),
    ),
    Example(
        "on another way, all the time",
        Facts.any_other,
        9,
        ANY,
        voice(46),
        (*LATCHED, *TWO_WAYS, heard(8.9, EXACT, voice(46))),
    ),
    Example("the phone speaks late", Facts.announced_wins, 60, EXACT, voice(1, 7), NATTED),
    Example("it is the first", Facts.announced_wins, 1, EXACT, voice(1)),
    Example(
        "the first stays, although the phone speaks", Facts.any_other, 9, EXACT, voice(1, 7), NATTED, FIRST
    ),
    Example("the first is the phone", Facts.announced_wins, 1, EXACT, voice(1), policy=FIRST),
    Example(
        "it had the port before, and is announced",
        Facts.announced_wins,
        1,
        EXACT,
        voice(1),
        (had_before(EXACT, SSRC),),
    ),
    Example("its old stream", Facts.was_here_before, 1, ANY, voice(1), (had_before(ANY, SSRC),)),
    Example(
        "of the same IP address", Facts.was_here_before, 1, SAME_IP, voice(1), (had_before(SAME_IP, SSRC),)
    ),
    Example(
        "its old reports",
        Facts.was_here_before,
        1,
        ANY,
        empty_report(),
        (had_before(ANY, SSRC),),
        carried=Carried.RTCP,
    ),
    Example(
        "a re-INVITE, and its stream begins anew",
        Facts.first,
        9,
        SAME_PORT,
        voice(6),
        (heard(0, ANY, voice(900)), signalled(announced=SAME_IP), *RESTARTED),
    ),
    Example("its new stream", Facts.first, 1, ANY, voice(1), (had_before(ANY, 7),)),
    Example("another with its SSRC", Facts.first, 1, ANY_2, voice(1), (had_before(ANY, SSRC),)),
    Example("a minute later", Facts.first, 61, ANY, voice(1), (had_before(ANY, SSRC),)),
    Example("a phone behind a NAT", Facts.first, 0, ANY, voice(1)),
    Example(
        "where the signalling comes from",
        Facts.first,
        0,
        SIGNALLED,
        voice(1),
        signalled_from=SIGNALLED.address,
    ),
    Example("where the SDP says", Facts.first, 0, SAME_IP, voice(1), signalled_from=SIGNALLED.address),
    Example(
        "the first of all", Facts.first, 0, ANY, voice(1), policy=FIRST, signalled_from=SIGNALLED.address
    ),
    Example(
        "elsewhere, for a while",
        Facts.first,
        ELSEWHERE_S,
        ANY,
        voice(150),
        tuple(heard(number / 50, ANY, voice(number)) for number in range(150)),
        signalled_from=SIGNALLED.address,
    ),
    Example(
        "elsewhere, not long enough",
        Facts.any_other,
        ELSEWHERE_S - 0.02,
        ANY,
        voice(149),
        tuple(heard(number / 50, ANY, voice(number)) for number in range(149)),
        signalled_from=SIGNALLED.address,
    ),
    Example("the same port", Facts.better, 1, SAME_PORT, voice(1, 7), NATTED),
    Example("the same IP address", Facts.better, 1, SAME_IP, voice(1, 7), NATTED),
    Example("after the window", Facts.any_other, 4, SAME_PORT, voice(1, 7), NATTED),
    Example(
        "known, after the window",
        Facts.better,
        4,
        SAME_IP,
        voice(2, 7),
        (*NATTED, heard(3.98, SAME_IP, voice(1, 7))),
    ),
    Example("known, with one packet", Facts.any_other, 4, SAME_IP, voice(2, 7), NATTED),
    Example("the first stays", Facts.any_other, 1, SAME_IP, voice(1, 7), NATTED, FIRST),
    Example(
        "media over checks of ICE",
        Facts.media_over_keepalive,
        9,
        ANY_2,
        voice(2),
        (heard(0, ANY, BINDING_REQUEST), heard(8.98, ANY_2, voice(1))),
        carried=STUN_TOO,
    ),
    Example(
        "of a lower rank",
        Facts.any_other,
        9,
        ANY,
        voice(2),
        (heard(0, SAME_IP, BINDING_REQUEST), heard(8.98, ANY, voice(1))),
        carried=STUN_TOO,
    ),
    Example(
        "checks over checks",
        Facts.any_other,
        1,
        ANY_2,
        BINDING_REQUEST,
        (heard(0, ANY, BINDING_REQUEST), heard(0.98, ANY_2, BINDING_REQUEST)),
        carried=STUN_TOO,
    ),
    Example(
        "a stream over a scan",
        Facts.stream_over_fragment,
        60,
        ANY_2,
        voice(2, 7),
        (*NATTED, heard(59.98, ANY_2, voice(1, 7))),
    ),
    Example(
        "that has only just come",
        Facts.any_other,
        MOMENT_S - 0.02,
        ANY_2,
        voice(2, 7),
        (*NATTED, heard(0.02, ANY_2, voice(1, 7))),
    ),
    Example(
        "of the NAT that the end was behind before its re-INVITE",
        Facts.follows_session,
        9,
        Endpoint(ANY.address, 1234),
        voice(2, 7),
        (after_session(ANY), heard(8.98, Endpoint(ANY.address, 1234), voice(1, 7))),
    ),
    Example(
        "of another address",
        Facts.any_other,
        9,
        ANY_2,
        voice(2, 7),
        (after_session(ANY), heard(8.98, ANY_2, voice(1, 7))),
    ),
    Example(
        "the stream of before its re-INVITE",
        Facts.goes_on,
        9,
        ANY_2,
        voice(60),
        (after_session(ANY),),
        LEARNED,
    ),
    Example("where it was before its re-INVITE", Facts.is_source, 9, ANY, voice(1, 7), (after_session(ANY),)),
    Example(
        "the source has fallen silent",
        Facts.replaces_equal,
        MOMENT_S + 0.21,
        ANY_2,
        voice(2, 7),
        (*TALKED, heard(MOMENT_S + 0.18, ANY_2, voice(1, 7))),
    ),
    Example(
        "it has not",
        Facts.any_other,
        MOMENT_S,
        ANY_2,
        voice(2, 7),
        (*TALKED, heard(MOMENT_S - 0.02, ANY_2, voice(1, 7))),
    ),
    Example(
        "the window is over",
        Facts.any_other,
        3,
        ANY_2,
        voice(2, 7),
        (*TALKED, heard(2.98, ANY_2, voice(1, 7))),
    ),
    Example(
        "another stream of the IP address",
        Facts.relatches,
        RELATCH_S,
        SAME_IP,
        voice(2, 7),
        (*LATCHED, heard(RELATCH_S - 0.02, SAME_IP, voice(1, 7))),
    ),
    Example(
        "a better one",
        Facts.relatches,
        9,
        SAME_IP,
        voice(2, 7),
        (
            *(heard(number / 50, SIGNALLED, voice(number)) for number in range(10)),
            heard(8.98, SAME_IP, voice(1, 7)),
        ),
        signalled_from=SIGNALLED.address,
    ),
    Example(
        "its stream, which begins anew",
        Facts.relatches,
        9,
        SAME_PORT,
        voice(6),
        (*TALKED, *RESTARTED),
    ),
    Example(
        "a stranger at the announced port",
        Facts.any_other,
        9,
        SAME_PORT_2,
        voice(2, 7),
        (*TALKED, heard(8.98, SAME_PORT_2, voice(1, 7))),
    ),
    Example(
        "the first, too, after a silence",
        Facts.relatches,
        9,
        Endpoint(ANY.address, 1234),
        voice(2, 7),
        (*NATTED, heard(8.98, Endpoint(ANY.address, 1234), voice(1, 7))),
        FIRST,
    ),
    Example(
        "one packet only", Facts.any_other, 9, SAME_IP, voice(2, 7), (*LATCHED, heard(0.02, EXACT, voice(2)))
    ),
    Example(
        "another IP address",
        Facts.any_other,
        9,
        ANY,
        voice(2, 7),
        (*LATCHED, heard(8.98, ANY, voice(1, 7))),
    ),
    Example("a stranger beside the phone", Facts.any_other, 1, ANY, voice(9, 7), LATCHED),
    Example("another port of its own", Facts.any_other, 1, SAME_IP_2, voice(9, 7), LATCHED),
)
"""In the order of RULES; where another rule decides, the example is what the one above does not hold for."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: f"{each.decides.__name__}: {each.what}")
def test_which_rule_decides_and_what_follows(example: Example) -> None:
    leg = example.leg()
    packet, now = memoryview(example.packet), START + example.at_s
    facts = Facts(leg, example.source, read_claim(packet, leg.terms.carried), now)
    rule = next(rule for rule in RULES if rule.holds(facts))
    assert rule.holds is example.decides

    twin = example.leg()
    before = twin.source
    assert twin.admit(example.source, packet, now=now) == (rule.decision is not Decision.REFUSE)
    assert twin.source == (example.source if rule.decision is Decision.TAKE else before)


def test_every_rule_has_an_example() -> None:
    assert {rule.holds for rule in RULES} == {example.decides for example in EXAMPLES}


# --- policies -----------------------------------------------------------------------------------------


class Situation(NamedTuple):
    """A packet at a leg whose announced endpoint is EXACT; see Example."""

    what: str
    at_s: float
    source: Endpoint
    packet: bytes
    before: tuple[Step, ...] = ()


SITUATIONS: Final = (
    Situation("first: any source", 0, ANY, voice(1)),
    Situation("first: the announced IP address", 0, SAME_IP, voice(1)),
    Situation("first: the announced endpoint", 0, EXACT, voice(1)),
    Situation("in the window: a better one", 1, SAME_IP, voice(1, 7), NATTED),
    Situation("in the window: the announced endpoint", 1, EXACT, voice(1, 7), (heard(0, SAME_IP, voice(1)),)),
    Situation("later: a better one", 9, SAME_IP, voice(1, 7), NATTED),
    Situation("later: the announced endpoint", 9, EXACT, voice(1, 7), (heard(0, SAME_IP, voice(1)),)),
    Situation("the stream moves to another port", 9, SAME_IP, voice(2), LATCHED),
    Situation("the stream moves to any source", 9, ANY, voice(2), LATCHED),
    Situation(
        "after a silence: another port",
        9,
        SAME_IP,
        voice(2, 7),
        (*LATCHED, heard(8.98, SAME_IP, voice(1, 7))),
    ),
    Situation("after a silence: any source", 9, ANY, voice(2, 7), (*LATCHED, heard(8.98, ANY, voice(1, 7)))),
    Situation("beside the source: another port", 1, SAME_IP, voice(1, 7), LATCHED),
    Situation("beside the source: any source", 1, ANY, voice(1, 7), LATCHED),
)

ADMITTED: Final = {
    #                         first  window later moves silence beside
    SourcePolicy.HEURISTIC: "  yyy    yy    ny    yy     yn     nn",
    SourcePolicy.LEARNED: "    yyy    yy    nn    nn     nn     nn",
    SourcePolicy.FIRST: "      yyy    nn    nn    yy     yn     nn",
    SourcePolicy.DELAYED: "    yyy    yy    yy    yy     yy     yy",
    SourcePolicy.ANNOUNCED: "  nyy    yy    yy    yn     yn     nn",
    SourcePolicy.STRICT: "     nny    ny    ny    nn     nn     nn",
    SourcePolicy.HANDOVER: "   yyy    yy    yy    yy     yy     yy",
    SourcePolicy.ASYMMETRIC: " yyy    yy    yy    yy     yy     yy",
}
"""By policy: whether the packet is admitted, in the order of SITUATIONS."""


@pytest.mark.parametrize("policy", SourcePolicy)
def test_what_each_policy_lets_in(policy: SourcePolicy) -> None:
    admitted = []
    for situation in SITUATIONS:
        leg = make_leg(policy, relatch_s=RELATCH_S, carried=Carried.RTP | Carried.PADDED)
        for happen in situation.before:
            happen(leg)
        if hear(leg, situation.source, situation.packet, now=START + situation.at_s):
            admitted.append(situation.what)
    expected = ADMITTED[policy].replace(" ", "")
    assert admitted == [each.what for each, said in zip(SITUATIONS, expected, strict=True) if said == "y"]


@pytest.mark.parametrize("policy", SourcePolicy)
def test_media_follow_a_stranger_by_handover_only(policy: SourcePolicy) -> None:
    leg = make_leg(policy, carried=Carried.RTP)
    hear(leg, EXACT, voice(1), now=START)
    hear(leg, ANY, voice(1, 7), now=START + 1)
    assert leg.destination == (ANY if policy is HANDOVER else EXACT)


def test_every_policy_has_its_rules_and_its_row() -> None:
    assert set(POLICIES) == set(ADMITTED) == set(SourcePolicy)
