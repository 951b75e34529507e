"""tools.latching: attacks on real sockets of nh; docs/explanation/security.md has the table."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.profiles import quick_first
from tools.latching.__main__ import run_scenario
from tools.latching.relays import LOOPBACK, MakeControl, running_nh, running_nh_netsip
from tools.latching.scenarios import (
    Outcome,
    Scenario,
    a_nat_that_maps_anew,
    a_phone_in_another_network,
    one_stranger_who_goes_on,
    strangers_in_a_latched_call,
)
from tools.latching.talk import IPV4, IPV6, Hosts

WINDOW_S = 0.3
LATCHED_S = 0.6

PATHS = [
    {"kernel": "off"},
    pytest.param({"kernel": "on", "kernel_interface": "lo"}, marks=[pytest.mark.kernel, pytest.mark.full]),
]

Running = Callable[..., AbstractContextManager[MakeControl]]

ENDS = quick_first(
    [(running_nh, IPV4), (running_nh, IPV6), (running_nh_netsip, IPV4), (running_nh_netsip, IPV6)]
)


def outcomes(running: Running, hosts: Hosts, settings: dict[str, Any], *scenarios: Scenario) -> list[Outcome]:
    """What became of each scenario's call at one relay."""
    listen = LOOPBACK if hosts is IPV4 else "::1"
    with running(listen, latch_window_s=WINDOW_S, **settings) as make_control:
        return [
            run_scenario(make_control, scenario, hosts=hosts, latched_s=LATCHED_S) for scenario in scenarios
        ]


@pytest.mark.parametrize("settings", PATHS, ids=["user space", "kernel"])
@pytest.mark.parametrize(("running", "hosts"), ENDS)
def test_no_packet_of_strangers_passes_in_a_latched_call(
    running: Running, hosts: Hosts, settings: dict[str, Any]
) -> None:
    many, one = outcomes(
        running,
        hosts,
        settings,
        Scenario("many", strangers_in_a_latched_call),
        Scenario("one", one_stranger_who_goes_on),
    )
    assert (many.sent, many.passed, many.leaked) == (300, 0, 0)
    assert one.sent > 10
    assert (one.passed, one.leaked) == (0, 0)
    assert many.good


@pytest.mark.full
@pytest.mark.parametrize("settings", PATHS, ids=["user space", "kernel"])
def test_a_phone_that_its_nat_moves_is_received_unless_the_source_is_strict(settings: dict[str, Any]) -> None:
    moves = [Scenario("port", a_nat_that_maps_anew), Scenario("address", a_phone_in_another_network)]
    for moved in outcomes(running_nh, IPV4, settings, *moves):
        assert moved.good, moved
    for moved in outcomes(running_nh, IPV4, settings | {"policy": "learned"}, *moves):
        assert (moved.received_s, moved.answered_s) == (None, None)


def test_an_outcome_says_what_strangers_gained_and_the_phone_lost() -> None:
    assert str(Outcome(300, 1, 24)) == "1 of 300 passed, 24 leaked"
    assert not Outcome(300, 1, 0).good
    lost = Outcome(asks_received=True, received_s=0.021)
    assert str(lost) == "received after 0.02 s, not answered"
    assert not lost.good
