"""nh.shard.limit_log: one line for a limit, however many calls are refused, and one for its end."""

import logging

import pytest

from nh.errors import AddressUnavailable, LimitReached, PortsExhausted, SocketsExhausted, UnknownCall
from nh.shard.limit_log import LOG_INTERVAL_S, RULES, LimitLog
from nh.stats.layout import LIMITS, SHARD_TABLE
from tests.shard.clock import Clock

PORTS, SOCKETS = PortsExhausted("no ports; widen --ports"), SocketsExhausted("no descriptors; raise ulimit")
QUIET_S = RULES["ports"].quiet_s


@pytest.fixture
def limits(clock: Clock) -> LimitLog:
    return LimitLog(3, clock)


def test_who_is_refused_for_one_reason_makes_one_line(
    limits: LimitLog, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        limits.refused(PORTS)
    assert caplog.messages == ["shard 3 refuses new calls, those that it has go on: no ports; widen --ports"]
    assert caplog.records[0].levelno == logging.WARNING


def test_each_kind_of_shortage_has_its_line(limits: LimitLog, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        limits.refused(PORTS)
        limits.refused(SOCKETS)
    assert len(caplog.messages) == 2
    assert caplog.messages[1].endswith("no descriptors; raise ulimit")


def test_while_it_lasts_it_is_said_again_with_how_many_were_refused(
    limits: LimitLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        limits.refused(PORTS)
    clock.now += LOG_INTERVAL_S
    limits.refused(PORTS)
    assert len(caplog.messages) == 2
    assert caplog.messages[1].endswith("(99 similar lines suppressed)")


def test_its_end_is_said_once(limits: LimitLog, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        limits.refused(PORTS)
    clock.now += QUIET_S
    for _ in range(5):
        limits.granted()
    assert caplog.messages[1:] == ["shard 3 has room again (ports); it had refused 5 requests"]


def test_at_the_edge_it_is_not_over_with_each_call_that_comes_through(
    limits: LimitLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(300):
        limits.refused(PORTS)
        clock.now += QUIET_S / 10
        limits.granted()
    assert len(caplog.messages) == 1


def test_an_address_that_the_host_lacks_is_logged_and_is_no_shortage(
    limits: LimitLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        limits.refused(AddressUnavailable("203.0.113.9 cannot be bound"))
    clock.now += QUIET_S
    limits.granted()
    assert caplog.messages == ["shard 3 refuses a call: 203.0.113.9 cannot be bound"]
    assert caplog.records[0].levelno == logging.WARNING


def test_a_limit_that_the_operator_set_has_its_lines_too(
    limits: LimitLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(7):
        limits.refused(LimitReached("max_calls is reached: this shard has 2 calls", "max_calls"))
        limits.granted()  # of a call that it has
    clock.now += RULES["max_calls"].quiet_s - 1
    assert not limits.look()
    clock.now += 1
    limits.look()
    assert caplog.messages == [
        "shard 3 refuses new calls, those that it has go on: max_calls is reached: this shard has 2 calls;"
        " raise max_calls, `nh reload` applies it; or have the proxy use a second relay",
        "shard 3 has room again (max_calls); it had refused 7 requests",
    ]


def test_a_limit_of_one_call_is_not_logged(limits: LimitLog, caplog: pytest.LogCaptureFixture) -> None:
    limits.refused(LimitReached("9 sockets for one SDP exceed max_sockets_in_group = 8"))
    limits.refused(UnknownCall("the call-id is unknown"))
    assert (caplog.messages, limits.look()) == ([], frozenset())


def test_each_limit_has_a_rule_a_gauge_and_a_counter() -> None:
    assert set(RULES) == set(LIMITS)
    assert {f"refused_{name}" for name in LIMITS} <= {field.name for field in SHARD_TABLE}


def test_without_a_refusal_nothing_is_logged(limits: LimitLog, caplog: pytest.LogCaptureFixture) -> None:
    limits.granted()
    assert caplog.messages == []
