"""nh.calls.leg: every policy's decisions, packet by packet, with the time as a number."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.leg import Drop, Leg, SourceState
from nh.calls.media import Endpoint, Side
from nh.calls.source import Rank, SourcePolicy, rank
from tests.calls.fakes import START, FakeSocket, receive

ANNOUNCED = Endpoint("198.51.100.1", 4000)
EXACT = ANNOUNCED
SAME_IP = Endpoint("198.51.100.1", 5555)
SAME_IP_2 = Endpoint("198.51.100.1", 7777)
SAME_PORT = Endpoint("203.0.113.5", 4000)
SAME_PORT_2 = Endpoint("203.0.113.6", 4000)
ANY = Endpoint("203.0.113.5", 9999)
ANY_2 = Endpoint("203.0.113.6", 8888)
ANNOUNCED_V6 = Endpoint("2001:db8::1", 4000)

WINDOW_S = 3.0
HEURISTIC, FIRST = SourcePolicy.HEURISTIC, SourcePolicy.FIRST
BY_IP, STRICT = SourcePolicy.ANNOUNCED, SourcePolicy.STRICT


def make_leg(
    policy: SourcePolicy = HEURISTIC,
    announced: Endpoint | None = ANNOUNCED,
    *,
    receives: bool = True,
    window_s: float = WINDOW_S,
) -> Leg:
    return Leg(
        side=Side.FROM,
        socket=FakeSocket(Endpoint("192.0.2.1", 20_000)),
        announced=announced,
        receives=receives,
        policy=policy,
        window_ends=START + window_s,
    )


class Packet(NamedTuple):
    """A packet `at_s` seconds after activation, and what is to become of it."""

    at_s: float
    source: Endpoint
    taken: bool
    then: Endpoint | None
    settled: bool


class Case(NamedTuple):
    name: str
    policy: SourcePolicy
    announced: Endpoint | None
    packets: list[Packet]


CASES = [
    Case("exact settles at once", HEURISTIC, ANNOUNCED, [Packet(0, EXACT, True, EXACT, True)]),
    Case(
        "nobody displaces an exact match",
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
        "who was displaced does not come back",
        HEURISTIC,
        ANNOUNCED,
        [
            Packet(0, ANY, True, ANY, False),
            Packet(1, SAME_IP, True, SAME_IP, False),
            Packet(1.1, ANY, False, SAME_IP, False),
        ],
    ),
    Case(
        "the end of the window settles what it finds",
        HEURISTIC,
        ANNOUNCED,
        [
            Packet(0, ANY, True, ANY, False),
            Packet(2.999, ANY, True, ANY, False),
            Packet(3, ANY, True, ANY, True),
            Packet(3.1, EXACT, False, ANY, True),
        ],
    ),
    Case(
        "after the window not even an exact match takes over",
        HEURISTIC,
        ANNOUNCED,
        [Packet(0, SAME_IP, True, SAME_IP, False), Packet(3, EXACT, False, SAME_IP, True)],
    ),
    Case(
        "whoever comes first after the window has it at once",
        HEURISTIC,
        ANNOUNCED,
        [Packet(5, ANY, True, ANY, True), Packet(5, EXACT, False, ANY, True)],
    ),
    Case(
        "nothing announced: the first one, settled by the window",
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
            Packet(0, EXACT, False, SAME_IP, True),
            Packet(9, SAME_IP, True, SAME_IP, True),
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
def test_who_is_taken_and_when_it_is_settled(case: Case) -> None:
    leg = make_leg(case.policy, case.announced)
    for packet in case.packets:
        taken = leg.admit(packet.source, now=START + packet.at_s)
        assert (taken, leg.source, leg.settled) == (packet.taken, packet.then, packet.settled), packet


def test_without_a_window_the_first_is_settled_at_once() -> None:
    leg = make_leg(window_s=0)
    assert leg.admit(ANY, now=START)
    assert leg.settled
    assert not leg.admit(EXACT, now=START)


SOURCES = st.sampled_from([EXACT, SAME_IP, SAME_IP_2, SAME_PORT, SAME_PORT_2, ANY, ANY_2])


@given(
    st.sampled_from(SourcePolicy),
    st.sampled_from([ANNOUNCED, None]),
    st.lists(st.tuples(st.floats(0, 2), SOURCES), max_size=12),
)
def test_sources_only_get_better_and_a_settled_one_stays(
    policy: SourcePolicy, announced: Endpoint | None, packets: list[tuple[float, Endpoint]]
) -> None:
    leg = make_leg(policy, announced)
    now = START
    for gap_s, source in packets:
        now += gap_s
        before, was_settled = leg.source, leg.settled
        taken = leg.admit(source, now=now)
        assert taken == (leg.source == source), "replies go to whoever is forwarded, and to nobody else"
        if was_settled:
            assert leg.settled
            assert leg.source == before
        elif before is not None and leg.source is not None and leg.source != before:
            assert rank(leg.source, announced) > rank(before, announced)
            assert now < leg.window_ends


# --- time without packets ---------------------------------------------------------------------------


def test_the_window_closes_without_packets() -> None:
    leg = make_leg()
    leg.admit(ANY, now=START)
    assert not leg.close_window(now=START + 2.9)
    assert not leg.settled
    assert leg.close_window(now=START + 3)
    assert leg.settled
    assert not leg.close_window(now=START + 4), "that is no news"


def test_a_window_without_any_source_settles_nothing() -> None:
    leg = make_leg()
    assert not leg.close_window(now=START + 60)
    assert not leg.settled
    assert leg.admit(ANY, now=START + 61)


# --- where replies go -------------------------------------------------------------------------------


def test_media_go_to_the_announced_endpoint_until_a_source_is_known() -> None:
    leg = make_leg()
    assert leg.destination == ANNOUNCED
    leg.admit(SAME_IP, now=START)
    assert leg.destination == SAME_IP


def test_media_follow_the_better_source() -> None:
    leg = make_leg()
    leg.admit(ANY, now=START)
    assert leg.destination == ANY
    leg.admit(EXACT, now=START + 1)
    assert leg.destination == EXACT


def test_where_nothing_was_announced_media_wait_for_the_first_packet() -> None:
    leg = make_leg(announced=None)
    assert leg.destination is None
    leg.admit(ANY, now=START)
    assert leg.destination == ANY


def test_an_end_on_hold_may_send_and_gets_nothing() -> None:
    leg = make_leg(announced=None, receives=False)
    assert leg.admit(ANY, now=START)
    assert leg.destination is None


# --- settling again after a silence -----------------------------------------------------------------


def silent_leg(policy: SourcePolicy = HEURISTIC, source: Endpoint = EXACT) -> Leg:
    """A leg that settled on `source` and then heard nothing for a minute."""
    leg = make_leg(policy)
    leg.admit(source, now=START)
    receive(leg, 172)
    leg.harvest(now=START)
    leg.close_window(now=START + WINDOW_S)
    assert leg.reopen_after(20, now=START + 60)
    return leg


def test_a_source_is_not_reopened_before_the_silence_is_over() -> None:
    leg = make_leg()
    leg.admit(EXACT, now=START)
    receive(leg, 172)
    leg.harvest(now=START + 1)
    assert not leg.reopen_after(20, now=START + 20.9)
    assert leg.settled
    assert leg.reopen_after(20, now=START + 21)
    assert leg.state is SourceState.REOPENED
    assert not leg.reopen_after(20, now=START + 22), "that is no news"


def test_an_unsettled_source_is_not_reopened() -> None:
    leg = make_leg()
    leg.admit(ANY, now=START)
    receive(leg, 172)
    leg.harvest(now=START)
    assert not leg.reopen_after(20, now=START + 60)


def test_after_a_silence_another_port_of_the_same_ip_takes_over() -> None:
    leg = silent_leg()
    assert leg.admit(SAME_IP, now=START + 60)
    assert leg.settled
    assert leg.destination == SAME_IP
    assert not leg.admit(EXACT, now=START + 61), "one rebinding, not a free-for-all"


@pytest.mark.parametrize("source", [SAME_PORT, ANY])
def test_after_a_silence_another_ip_does_not_take_over(source: Endpoint) -> None:
    leg = silent_leg()
    assert not leg.admit(source, now=START + 60)
    assert leg.destination == EXACT


def test_the_same_ip_is_the_sources_and_not_the_announced_one() -> None:
    leg = silent_leg(source=ANY)
    assert not leg.admit(EXACT, now=START + 60)
    assert leg.admit(Endpoint(ANY.address, 1234), now=START + 60)


def test_a_silent_source_that_comes_back_is_settled_again() -> None:
    leg = silent_leg()
    assert leg.admit(EXACT, now=START + 60)
    assert leg.settled
    assert not leg.admit(SAME_IP, now=START + 60)


def test_strict_takes_no_other_port_even_after_a_silence() -> None:
    leg = silent_leg(STRICT)
    assert not leg.admit(SAME_IP, now=START + 60)
    assert leg.admit(EXACT, now=START + 60)


def test_the_announced_ip_may_change_its_port_after_a_silence() -> None:
    leg = silent_leg(BY_IP, SAME_IP)
    assert leg.admit(SAME_IP_2, now=START + 60)
    assert leg.settled


# --- forks ------------------------------------------------------------------------------------------


def test_a_source_that_turns_out_to_be_another_legs_is_given_up() -> None:
    leg = make_leg()
    leg.admit(ANY, now=START)
    leg.close_window(now=START + 3)
    assert not leg.give_up(SAME_IP), "that is not its source"
    assert leg.give_up(ANY)
    assert (leg.destination, leg.settled) == (ANNOUNCED, False)
    assert leg.admit(EXACT, now=START + 9)


# --- counting ---------------------------------------------------------------------------------------


def test_each_packet_is_harvested_once() -> None:
    leg = make_leg()
    receive(leg, 100, 0, 72)
    assert leg.harvest(now=START + 1) == (3, 172)
    assert leg.last_seen == START + 1
    assert leg.harvest(now=START + 2) == (0, 0)
    assert leg.last_seen == START + 1, "nothing was seen since"


def test_drops_are_counted_by_reason() -> None:
    leg = make_leg()
    assert leg.drops is None
    leg.count_drop(Drop.FOREIGN_SOURCE)
    leg.count_drop(Drop.FOREIGN_SOURCE)
    leg.count_drop(Drop.SEND_FAILED)
    assert leg.drops is not None
    assert dict(zip(Drop, leg.drops, strict=True)) == {
        Drop.FOREIGN_SOURCE: 2,
        Drop.NO_TARGET: 0,
        Drop.SEND_FAILED: 1,
        Drop.NOT_ACTIVE: 0,
    }


def test_how_a_source_fits_is_up_to_the_policy() -> None:
    assert make_leg().fits(ANY) is Rank.ANY
    assert make_leg(BY_IP).fits(SAME_PORT) is None
    assert make_leg(BY_IP).fits(SAME_IP) is Rank.SAME_IP
    assert make_leg(STRICT).fits(SAME_IP) is None
    assert make_leg(STRICT).fits(EXACT) is Rank.EXACT
