"""nh.calls.latching.latch: the decisions of every policy, packet by packet, with the time as a number."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.latching.claims import Carried
from nh.calls.latching.latch import Admission, admit
from nh.calls.latching.rules import ELSEWHERE_S, POLICIES
from nh.calls.latching.source import Rank, SourcePolicy, rank
from nh.calls.latching.state import GAP_S
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from tests.calls.fakes import START, receive
from tests.calls.legs import (
    ANNOUNCED,
    ANNOUNCED_V6,
    ANY,
    ANY_2,
    BY_IP,
    EXACT,
    FIRST,
    HEURISTIC,
    PACKET,
    PUBLIC,
    SAME_IP,
    SAME_IP_2,
    SAME_PORT,
    SAME_PORT_2,
    STRICT,
    make_leg,
    speaks,
)
from tests.calls.rtp import rtp_packet


class Packet(NamedTuple):
    """A packet `at_s` seconds after activation, and the expected decision."""

    at_s: float
    source: Endpoint
    admitted: bool
    then: Endpoint | None
    latched: bool


class Case(NamedTuple):
    name: str
    policy: SourcePolicy
    announced: Endpoint | None
    packets: list[Packet]


CASES = [
    Case("exact latches at once", HEURISTIC, ANNOUNCED, [Packet(0, EXACT, True, EXACT, True)]),
    Case(
        "no source displaces an exact match",
        HEURISTIC,
        ANNOUNCED,
        [
            Packet(0, EXACT, True, EXACT, True),
            Packet(0.1, SAME_IP, False, EXACT, True),
            Packet(0.1, SAME_PORT, False, EXACT, True),
            Packet(0.1, ANY, False, EXACT, True),
            Packet(9, ANY, False, EXACT, True),
            Packet(9, EXACT, True, EXACT, True),
        ],
    ),
    Case(
        "each better rank takes over, one by one",
        HEURISTIC,
        ANNOUNCED,
        [
            Packet(0, ANY, True, ANY, False),
            Packet(0.5, SAME_PORT, True, SAME_PORT, False),
            Packet(1, SAME_IP, True, SAME_IP, False),
            Packet(2.9, EXACT, True, EXACT, True),
            Packet(2.9, SAME_IP, False, EXACT, True),
        ],
    ),
    Case(
        "any gives way to the same ip",
        HEURISTIC,
        ANNOUNCED,
        [Packet(0, ANY, True, ANY, False), Packet(1, SAME_IP, True, SAME_IP, False)],
    ),
    Case(
        "any gives way to exact",
        HEURISTIC,
        ANNOUNCED,
        [Packet(0, ANY, True, ANY, False), Packet(1, EXACT, True, EXACT, True)],
    ),
    Case(
        "the same port gives way to exact",
        HEURISTIC,
        ANNOUNCED,
        [Packet(0, SAME_PORT, True, SAME_PORT, False), Packet(1, EXACT, True, EXACT, True)],
    ),
    Case(
        "an equal rank is dropped from the first packet on",
        HEURISTIC,
        ANNOUNCED,
        [
            Packet(0, ANY, True, ANY, False),
            Packet(0, ANY_2, False, ANY, False),
            Packet(1, SAME_PORT, True, SAME_PORT, False),
            Packet(1, SAME_PORT_2, False, SAME_PORT, False),
            Packet(2, SAME_IP, True, SAME_IP, False),
            Packet(2, SAME_IP_2, False, SAME_IP, False),
        ],
    ),
    Case(
        "a lower rank never displaces a higher one",
        HEURISTIC,
        ANNOUNCED,
        [
            Packet(0, SAME_IP, True, SAME_IP, False),
            Packet(1, SAME_PORT, False, SAME_IP, False),
            Packet(1, ANY, False, SAME_IP, False),
            Packet(2, SAME_IP, True, SAME_IP, False),
        ],
    ),
    Case(
        "a displaced source does not come back",
        HEURISTIC,
        ANNOUNCED,
        [
            Packet(0, ANY, True, ANY, False),
            Packet(1, SAME_IP, True, SAME_IP, False),
            Packet(1.1, ANY, False, SAME_IP, False),
        ],
    ),
    Case(
        "the end of the window latches onto the best source",
        HEURISTIC,
        ANNOUNCED,
        [
            Packet(0, ANY, True, ANY, False),
            Packet(2.999, ANY, True, ANY, False),
            Packet(3, ANY, True, ANY, True),
            Packet(3.1, SAME_PORT, False, ANY, True),
        ],
    ),
    Case(
        "the announced endpoint takes over at any time",
        HEURISTIC,
        ANNOUNCED,
        [Packet(0, SAME_IP, True, SAME_IP, False), Packet(60, EXACT, True, EXACT, True)],
    ),
    Case(
        "the first source after the window latches at once",
        HEURISTIC,
        ANNOUNCED,
        [
            Packet(5, ANY, True, ANY, True),
            Packet(5, ANY_2, False, ANY, True),
            Packet(5, EXACT, True, EXACT, True),
        ],
    ),
    Case(
        "nothing announced: the first one, latched by the window",
        HEURISTIC,
        None,
        [
            Packet(0, ANY, True, ANY, False),
            Packet(0.1, EXACT, False, ANY, False),
            Packet(3, ANY, True, ANY, True),
        ],
    ),
    Case(
        "the other address family matches by port",
        HEURISTIC,
        ANNOUNCED_V6,
        [Packet(0, ANY, True, ANY, False), Packet(1, SAME_PORT, True, SAME_PORT, False)],
    ),
    Case(
        "the first for good",
        FIRST,
        ANNOUNCED,
        [
            Packet(0, ANY, True, ANY, True),
            Packet(0, EXACT, False, ANY, True),
            Packet(1, ANY, True, ANY, True),
        ],
    ),
    Case("the first, exact", FIRST, ANNOUNCED, [Packet(0, EXACT, True, EXACT, True)]),
    Case("the first, nothing announced", FIRST, None, [Packet(0, ANY, True, ANY, True)]),
    Case(
        "the announced ip, any port, for good",
        BY_IP,
        ANNOUNCED,
        [
            Packet(0, ANY, False, None, False),
            Packet(0, SAME_PORT, False, None, False),
            Packet(0, SAME_IP, True, SAME_IP, True),
            Packet(0, SAME_IP_2, False, SAME_IP, True),
            Packet(9, SAME_IP, True, SAME_IP, True),
            Packet(9, EXACT, True, EXACT, True),
            Packet(9, SAME_IP, False, EXACT, True),
        ],
    ),
    Case(
        "the announced ip, long after the window",
        BY_IP,
        ANNOUNCED,
        [Packet(60, ANY, False, None, False), Packet(60, SAME_IP, True, SAME_IP, True)],
    ),
    Case("the announced ip, none announced", BY_IP, None, [Packet(0, ANY, False, None, False)]),
    Case(
        "the announced address and port only",
        STRICT,
        ANNOUNCED,
        [
            Packet(0, ANY, False, None, False),
            Packet(0, SAME_PORT, False, None, False),
            Packet(0, SAME_IP, False, None, False),
            Packet(0, EXACT, True, EXACT, True),
            Packet(1, SAME_IP, False, EXACT, True),
        ],
    ),
    Case(
        "the announced address and port only, long after the window",
        STRICT,
        ANNOUNCED,
        [Packet(60, SAME_IP, False, None, False), Packet(60, EXACT, True, EXACT, True)],
    ),
    Case("strict, none announced", STRICT, None, [Packet(0, ANY, False, None, False)]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.policy}: {case.name}")
def test_which_source_is_admitted_and_when_it_is_latched(case: Case) -> None:
    leg = make_leg(case.policy, case.announced)
    for packet in case.packets:
        if admitted := speaks(leg, packet.source, now=START + packet.at_s):
            receive(leg, 172, at=START + packet.at_s)
        assert (admitted, leg.source, leg.latched) == (packet.admitted, packet.then, packet.latched), packet


@pytest.mark.parametrize(
    ("announced", "carried", "waits"),
    [
        (PUBLIC, Carried.RTP, True),
        (PUBLIC, Carried.RTP | Carried.STUN, False),
        (ANNOUNCED, Carried.RTP, False),
        (None, Carried.RTP, False),
    ],
    ids=["public", "a candidate of ICE", "private", "none"],
)
def test_a_stream_from_elsewhere_has_to_go_on_where_it_is_known_where_the_end_is(
    announced: Endpoint | None, carried: Carried, waits: bool
) -> None:
    leg = make_leg(announced=announced, carried=carried)
    assert speaks(leg, ANY, now=START) is not waits
    leg = make_leg(announced=announced, carried=carried)
    assert speaks(leg, ANY, now=START + ELSEWHERE_S, for_s=ELSEWHERE_S)


ARRIVALS = {
    "in order": lambda number: [number],
    "each twice": lambda number: [number, number],
    "in pairs swapped": lambda number: [number ^ 1],
    "the one of a second ago again": lambda number: [number, max(number - 50, 0)],
}
"""What the network makes of the packets of a stream: which ones come in the place of each."""


@pytest.mark.parametrize("arrival", ARRIVALS.values(), ids=ARRIVALS)
def test_what_the_network_delays_or_doubles_does_not_keep_a_stream_from_elsewhere_out(
    arrival: Callable[[int], list[int]],
) -> None:
    leg = make_leg(announced=PUBLIC, carried=Carried.RTP)
    heard_after_s = next(
        number / 50
        for number in range(1000)
        for came in arrival(number)
        if leg.admit(ANY, memoryview(rtp_packet(came)), now=START + number / 50)
    )
    assert heard_after_s == pytest.approx(ELSEWHERE_S, abs=0.1)


REPORT = b"\x80\xc9\0\1\0\0\0\1"
BESIDE: dict[str, Callable[[int], list[bytes]]] = {
    "reports": lambda number: [] if number % 50 else [REPORT],
    "another stream": lambda number: [rtp_packet(number, ssrc=7)],
    "another stream at its begin": lambda number: [rtp_packet(number, ssrc=7)] if number < 20 else [],
}
"""What an end sends beside a stream, at its packet of this number."""


@pytest.mark.parametrize("others", BESIDE.values(), ids=BESIDE)
def test_what_an_end_sends_beside_its_stream_does_not_keep_it_out(
    others: Callable[[int], list[bytes]],
) -> None:
    """With RTCP on the port of RTP every two seconds, or RTP of two SSRCs, it was never heard."""
    leg = make_leg(announced=PUBLIC, carried=Carried.RTP | Carried.RTCP)
    heard_after_s = next(
        number / 50
        for number in range(1000)
        for came in (*others(number), rtp_packet(number))
        if leg.admit(ANY, memoryview(came), now=START + number / 50)
    )
    assert heard_after_s == pytest.approx(ELSEWHERE_S, abs=2 * GAP_S)


def test_packets_of_ever_other_streams_are_no_stream() -> None:
    leg = make_leg(announced=PUBLIC, carried=Carried.RTP | Carried.RTCP)
    for number in range(1000):
        now = START + number / 50
        assert not leg.admit(ANY, memoryview(rtp_packet(number, ssrc=number)), now=now)
        assert not leg.admit(ANY, memoryview(REPORT), now=now)


def test_one_packet_again_and_again_is_no_stream() -> None:
    leg = make_leg(announced=PUBLIC, carried=Carried.RTP)
    again = memoryview(rtp_packet(1))
    assert not any(leg.admit(ANY, again, now=START + number / 50) for number in range(1000))


def test_without_a_window_the_first_is_latched_at_once() -> None:
    leg = make_leg(window_s=0)
    assert speaks(leg, ANY, now=START)
    assert leg.latched
    assert not speaks(leg, SAME_PORT, now=START)


SOURCES = st.sampled_from([EXACT, SAME_IP, SAME_IP_2, SAME_PORT, SAME_PORT_2, ANY, ANY_2])


def becomes_known(before: Endpoint | None, after: Endpoint | None, announced: Endpoint | None) -> bool:
    """Whether the end is where it says, and the source was not."""
    if before is None or after is None:
        return False
    return rank(before, announced) < Rank.SIGNALLED_FROM <= rank(after, announced)


@given(
    st.sampled_from([HEURISTIC, FIRST, BY_IP, STRICT]),
    st.sampled_from([ANNOUNCED, None]),
    st.lists(st.tuples(st.floats(0, 2), SOURCES), max_size=12),
)
def test_sources_only_get_better_and_a_latched_one_stays(
    policy: SourcePolicy, announced: Endpoint | None, packets: list[tuple[float, Endpoint]]
) -> None:
    leg = make_leg(policy, announced)
    now = START
    for gap_s, source in packets:
        now += gap_s
        before, was_latched = leg.source, leg.latched
        if admitted := speaks(leg, source, now=now):
            receive(leg, 172, at=now)
        assert admitted == (leg.source == source), (
            "replies go to the source that is forwarded, and to no other"
        )
        if was_latched:
            assert leg.latched
            assert leg.source in (before, EXACT) or becomes_known(before, leg.source, announced)
        elif before is not None and leg.source is not None and leg.source != before:
            assert rank(leg.source, announced) >= rank(before, announced)
            in_time = now < leg.window_ends or leg.source == EXACT
            assert in_time or becomes_known(before, leg.source, announced)


def test_how_a_source_fits_is_up_to_the_policy() -> None:
    assert make_leg().fits(ANY) is Rank.ANY
    assert make_leg(BY_IP).fits(SAME_PORT) is None
    assert make_leg(BY_IP).fits(SAME_IP) is Rank.SAME_IP
    assert make_leg(STRICT).fits(SAME_IP) is None
    assert make_leg(STRICT).fits(EXACT) is Rank.EXACT


# --- several legs at one socket: a forked request -------------------------------------------------------

BOB, CAROL = Endpoint("198.51.100.7", 4000), Endpoint("198.51.100.8", 4000)


def test_of_several_legs_the_one_that_announced_the_source_admits_it() -> None:
    bob, carol = make_leg(announced=BOB), make_leg(announced=CAROL)
    assert admit([bob, carol], CAROL, PACKET, now=START) == Admission(carol, [carol])
    assert admit([bob, carol], BOB, PACKET, now=START) == Admission(bob, [bob])
    assert admit([bob, carol], CAROL, PACKET, now=START) == Admission(carol, [])


def test_early_media_belong_to_their_own_leg_once_it_is_there() -> None:
    bob = make_leg(announced=BOB)
    assert speaks(bob, CAROL, now=START, for_s=ELSEWHERE_S), "it passes for Bob's"
    carol = make_leg(announced=CAROL)
    assert admit([bob, carol], CAROL, PACKET, now=START + 1) == Admission(carol, [carol, bob])
    assert (bob.source, bob.latched) == (None, False)


def test_a_source_that_is_known_stays_with_its_leg() -> None:
    bob, carol = make_leg(announced=None), make_leg(announced=None)
    assert speaks(bob, ANY, now=START)
    assert admit([carol, bob], ANY, PACKET, now=START).leg is bob


def make_leg_of(session: str) -> Leg:
    """A leg whose session is a current or a replaced one, by what its end has to do with ANY."""
    leg = make_leg(announced=ANY if "announced" in session else ANNOUNCED)
    if "latched" in session:
        assert speaks(leg, ANY, now=START)
    leg.replaced, leg.left = "replaced" in session, "left" in session
    return leg


PREFERENCE = [
    "announced",
    "latched",
    "replaced, latched and left",
    "other",
    "replaced and latched",
    "replaced",
]


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(PREFERENCE, 2)))
def test_a_packet_belongs_to_the_leg_that_comes_first(first: str, second: str) -> None:
    better, worse = make_leg_of(first), make_leg_of(second)
    assert admit([worse, better], ANY, PACKET, now=START).leg is better


def test_of_other_legs_the_one_that_the_source_matches_best_comes_first() -> None:
    better, worse = make_leg(), make_leg(announced=Endpoint("192.168.1.11", 4000))
    assert admit([worse, better], SAME_IP, PACKET, now=START).leg is better


def test_a_replaced_leg_that_its_source_has_left_gets_no_other_source() -> None:
    left, current = make_leg_of("replaced and left"), make_leg_of("other")
    assert admit([left, current], ANY, PACKET, now=START).leg is current


def test_of_the_ends_that_have_announced_a_source_the_last_one_has_it() -> None:
    before, after = make_leg(announced=ANY), make_leg(announced=ANY)
    before.signalled, after.signalled = START, START + 1
    assert admit([before, after], ANY, PACKET, now=START + 1).leg is after


def test_a_source_that_no_leg_admits_changes_nothing() -> None:
    legs = [make_leg(STRICT, BOB), make_leg(STRICT, CAROL)]
    assert admit(legs, ANY, PACKET, now=START) == Admission(None, [])


@pytest.mark.parametrize(
    "policy", [each for each, rules in POLICIES.items() if rules.latches and rules.least is Rank.ANY]
)
@pytest.mark.parametrize("within", [True, False], ids=["within the window", "latched"])
def test_an_end_that_announces_where_it_is_opens_nothing(policy: SourcePolicy, within: bool) -> None:
    """It has learned its endpoint by ICE or STUN, for example."""
    now = START if within and not POLICIES[policy].waits else START + 3
    leg = make_leg(policy, carried=Carried.RTP | Carried.STUN)
    assert speaks(leg, ANY, now=now)
    leg.renew(announced=ANY, terms=leg.terms, signalled_from="203.0.113.9", window_ends=now + 9)
    assert leg.latched
    assert not speaks(leg, ANY_2, now=now + 1, for_s=1)
    assert leg.source == ANY


def test_one_that_restarts_ice_there_may_be_elsewhere() -> None:
    leg = make_leg(carried=Carried.RTP | Carried.STUN)
    assert speaks(leg, ANY, now=START + 3)
    leg.renew(announced=ANY, terms=leg.terms, signalled_from="", window_ends=START + 9, ice_ufrag="again")
    assert speaks(leg, ANY_2, now=START + 4)


def test_a_source_that_belongs_to_another_leg_is_released() -> None:
    leg = make_leg()
    speaks(leg, ANY, now=START)
    leg.close_window(now=START + 3)
    assert not leg.release(SAME_IP), "that is not its source"
    assert leg.release(ANY)
    assert (leg.destination, leg.latched) == (ANNOUNCED, False)
    assert leg.admit(EXACT, PACKET, now=START + 9)
