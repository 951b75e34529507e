"""Strangers at the media ports of a real nh gain nothing, and phones that their NATs move lose nothing.

The scenarios are those of tools.latching, whose table is in docs/explanation/security.md.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from nh.results import LegDetail
from tests.netns import namespaces
from tools.harness.media_peer import RTCP, RTP
from tools.harness.namespaces import missing
from tools.harness.relay import Relay
from tools.harness.waiting import eventually
from tools.latching.__main__ import PORTS_OF_A_CALL, call_for
from tools.latching.relays import MakeControl, Nh, running_nh
from tools.latching.scenarios import (
    BEFORE,
    GOES_ON,
    HOLD,
    KNOWS_SSRC,
    LATCHED,
    LATE,
    RE_INVITE,
    REBOUND,
    REFRESH,
    REUSED,
    ROAMS,
    SCAN,
    SILENCE,
    Outcome,
    Scenario,
)
from tools.latching.talk import IPV4, IPV6, IPV6_ADDRESSES, Hosts, Talk

SETTINGS: Final[dict[str, Any]] = {"latch_window_s": 0.3, "replaced_s": 10}
"""relatch_s stays at its default: a busy host must not make a source fall silent for that long."""
LATCHED_S = 1.2
"""Four times the window: on a busy host nh reads the first packets late."""

PATIENCE_S = 10.0

MAX_LOST_S = 0.3
"""How much voice a phone may lose that its NAT moves."""

ON_THE_WAY = 10
"""Most packets from where a phone was that the relay reads behind those from where it is."""

ATTACKS = (LATCHED, GOES_ON, KNOWS_SSRC, SILENCE, HOLD, REFRESH, RE_INVITE, SCAN, LATE, BEFORE)

BEHIND_NAT = tuple(each.behind_nat() for each in (LATCHED, SILENCE, HOLD, REFRESH, RE_INVITE))
"""Where the phone's SDP does not say where it is, but it has spoken."""

MOVES = (REBOUND, ROAMS)


Enter = Callable[[], contextlib.AbstractContextManager[None]]


@pytest.fixture(scope="module")
def enter(many_descriptors: None) -> Iterator[Enter]:
    """Lets a thread enter a host with IPv6 addresses of its own; without privileges it is this one."""
    with contextlib.ExitStack() as stack:
        if missing():
            yield contextlib.nullcontext
        else:
            [namespace] = stack.enter_context(namespaces(1))
            namespace.run(*IPV6_ADDRESSES)
            yield namespace.entered


PATHS = [
    pytest.param({"kernel": "off"}, id="user space"),
    pytest.param(
        {"kernel": "on", "kernel_interface": "lo"},
        id="kernel",
        marks=[pytest.mark.kernel, pytest.mark.full],
    ),
]


@pytest.fixture(scope="module", params=PATHS)
def running(request: pytest.FixtureRequest, enter: Enter) -> Iterator[Nh]:
    """A relay for all calls that leave each other alone."""
    with enter(), running_nh(ipv6=not missing(), **request.param, **SETTINGS) as relay:
        yield relay


def faults(enter: Enter, relay: Relay, make_control: MakeControl, scenario: Scenario) -> list[str]:
    """What goes wrong in a scenario, in a thread of its own."""
    with enter(), call_for(make_control, scenario, latched_s=LATCHED_S, limit_s=PATIENCE_S) as talk:
        outcome = scenario.run(talk)
        found = [] if outcome.good else [str(outcome)]
        if talk.strangers:
            found += faults_of_counting(relay, talk, outcome)
        elif (outcome.received_s or 0) + (outcome.answered_s or 0) > MAX_LOST_S:
            found.append(f"too late: {outcome}")
        talk.hang_up()
        return found


def faults_of_counting(relay: Relay, talk: Talk, outcome: Outcome) -> list[str]:
    """Whether what was turned away is counted, and who is shown."""
    found = []
    # the phone's own packets, too, are lost where a burst fills the buffer of a socket
    refused = outcome.sent - outcome.passed
    eventually(lambda: sum(turned_away(relay, talk)) >= refused, "what is turned away is counted")
    components = max(len(each.sockets) for each in talk.strangers)
    if (counted := turned_away(relay, talk)[0]) > outcome.sent * components + ON_THE_WAY:
        found.append(f"{counted} packets are counted as strangers'")
    senders = {endpoint for each in (*talk.strangers, talk.alice) for endpoint in each.endpoints}
    offenders = {leg.refused_from for leg in legs_of(relay, talk) if leg.refused_from}
    if not offenders or not offenders <= senders:
        found.append(f"shown as the latest offenders: {offenders}")
    return found


def legs_of(relay: Relay, talk: Talk) -> list[LegDetail]:
    """All legs of the call."""
    sessions = relay.call(talk.key.call_id.encode()).sessions
    return [leg for session in sessions for pair in session.pairs for leg in (pair.from_, pair.to)]


def turned_away(relay: Relay, talk: Talk) -> tuple[int, int]:
    """How many packets came from others than a leg's source, and were lost in the buffers of its socket."""
    dropped = [leg.dropped for leg in legs_of(relay, talk)]
    return sum(each.get("source_mismatch", 0) for each in dropped), sum(
        each.get("overflow", 0) for each in dropped
    )


def faults_of_all(
    enter: Enter, relay: Relay, *scenarios: tuple[MakeControl, Scenario]
) -> dict[str, list[str]]:
    """What goes wrong in scenarios, side by side, by their titles."""
    with ThreadPoolExecutor(len(scenarios)) as pool:
        running = [
            (scenario.title, pool.submit(faults, enter, relay, make_control, scenario))
            for make_control, scenario in scenarios
        ]
        return {title: found for title, future in running if (found := future.result())}


def over(hosts: Hosts, scenarios: Sequence[Scenario], component: int = RTP) -> list[Scenario]:
    """The scenarios with these addresses, on ports of RTP or RTCP."""
    if hosts is IPV6 and (reason := missing()):
        pytest.skip(reason)
    return [scenario.over(hosts, component) for scenario in scenarios]


FAMILIES = [pytest.param(IPV4, id="IPv4"), pytest.param(IPV6, id="IPv6", marks=pytest.mark.full)]


@pytest.mark.parametrize("hosts", FAMILIES)
def test_no_stranger_gains_anything(enter: Enter, running: Nh, hosts: Hosts) -> None:
    scenarios = [*over(hosts, (*ATTACKS, *BEHIND_NAT)), *over(hosts, (LATCHED, BEFORE), RTCP)]
    calls = [(running.netsip, each) for each in scenarios]
    calls += [(running.ng, each) for each in (*scenarios, BEFORE.behind_nat().over(hosts))]
    assert faults_of_all(enter, running.relay, *calls) == {}


@pytest.mark.parametrize("hosts", FAMILIES)
def test_a_phone_behind_a_nat_gets_its_place_from_a_stranger_who_was_first(
    enter: Enter, running: Nh, hosts: Hosts
) -> None:
    """What stays possible where nothing says where a phone is: see docs/explanation/security.md."""
    [scenario] = over(hosts, [BEFORE.behind_nat()])
    with enter(), call_for(running.netsip, scenario, latched_s=LATCHED_S, limit_s=PATIENCE_S) as talk:
        outcome = scenario.run(talk)
        assert outcome.passed == 1
        assert outcome.leaked > 0
        assert outcome.received_s is not None
        assert outcome.answered_s is not None
        assert outcome.received_s + outcome.answered_s <= 1.0
        talk.spray(100)
        talk.talk(talk.alice, talk.bob, seconds=0.2)
        assert (talk.passed, talk.leaked) == (outcome.passed, outcome.leaked)
        talk.hang_up()


@pytest.mark.parametrize("hosts", FAMILIES)
def test_a_phone_that_its_nat_moves_is_heard_and_hears_at_once(
    enter: Enter, running: Nh, hosts: Hosts
) -> None:
    moves = [*over(hosts, MOVES), *over(hosts, MOVES, RTCP)]
    calls = [(make_control, each) for make_control in (running.ng, running.netsip) for each in moves]
    assert faults_of_all(enter, running.relay, *calls) == {}


@pytest.mark.full
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("hosts", [pytest.param(IPV4, id="IPv4"), pytest.param(IPV6, id="IPv6")])
def test_the_phones_of_an_ended_call_take_no_port_of_the_next_one(
    enter: Enter, path: dict[str, str], hosts: Hosts
) -> None:
    [scenario] = over(hosts, [REUSED])
    with (
        enter(),
        running_nh(ports=PORTS_OF_A_CALL, ipv6=not missing(), **path, **SETTINGS) as relay,
    ):
        for make_control in (relay.ng, relay.netsip):
            assert faults(enter, relay.relay, make_control, scenario) == []
