"""nh.shard.call_log: one line for a shortage, however many are refused, and one for its end."""

import logging

import pytest

from nh.errors import PortsExhausted, SocketsExhausted
from nh.shard.call_log import LOG_INTERVAL_S, QUIET_S, ShortageLog

PORTS, SOCKETS = PortsExhausted("no ports; widen --ports"), SocketsExhausted("no descriptors; raise ulimit")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shortages(clock: Clock) -> ShortageLog:
    return ShortageLog(3, clock)


def test_who_is_refused_for_one_reason_makes_one_line(
    shortages: ShortageLog, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        shortages.refused(PORTS)
    assert caplog.messages == ["shard 3 refuses new calls, those that it has go on: no ports; widen --ports"]
    assert caplog.records[0].levelno == logging.WARNING


def test_each_kind_of_shortage_has_its_line(shortages: ShortageLog, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        shortages.refused(PORTS)
        shortages.refused(SOCKETS)
    assert len(caplog.messages) == 2
    assert caplog.messages[1].endswith("no descriptors; raise ulimit")


def test_while_it_lasts_it_is_said_again_with_how_many_were_refused(
    shortages: ShortageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        shortages.refused(PORTS)
    clock.now += LOG_INTERVAL_S
    shortages.refused(PORTS)
    assert len(caplog.messages) == 2
    assert caplog.messages[1].endswith("(99 similar lines suppressed)")


def test_its_end_is_said_once(shortages: ShortageLog, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        shortages.refused(PORTS)
    clock.now += QUIET_S
    for _ in range(5):
        shortages.granted()
    assert caplog.messages[1:] == ["shard 3 has room again; it had refused 5 requests"]


def test_at_the_edge_it_is_not_over_with_each_call_that_comes_through(
    shortages: ShortageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(300):
        shortages.refused(PORTS)
        clock.now += QUIET_S / 10
        shortages.granted()
    assert len(caplog.messages) == 1


def test_without_a_refusal_nothing_is_logged(
    shortages: ShortageLog, caplog: pytest.LogCaptureFixture
) -> None:
    shortages.granted()
    assert caplog.messages == []
