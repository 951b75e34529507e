"""nh.shard.call_log: one line for a reason, however many calls are refused, and one for a shortage's end."""

import logging
import time

import pytest

from nh.calls.journal import CallEnd, CallJournal, Client
from nh.commands import CloseCall, ListCalls
from nh.errors import AddressUnavailable, LimitReached, PortsExhausted, SocketsExhausted, UnknownCall
from nh.shard.call_log import CALLS_A_SECOND, LOG_INTERVAL_S, QUIET_S, CallLog, RefusalLog, log_refusal

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
def refusals(clock: Clock) -> RefusalLog:
    return RefusalLog(3, clock)


def test_who_is_refused_for_one_reason_makes_one_line(
    refusals: RefusalLog, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        refusals.refused(PORTS)
    assert caplog.messages == ["shard 3 refuses new calls, those that it has go on: no ports; widen --ports"]
    assert caplog.records[0].levelno == logging.WARNING


def test_each_kind_of_shortage_has_its_line(refusals: RefusalLog, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        refusals.refused(PORTS)
        refusals.refused(SOCKETS)
    assert len(caplog.messages) == 2
    assert caplog.messages[1].endswith("no descriptors; raise ulimit")


def test_while_it_lasts_it_is_said_again_with_how_many_were_refused(
    refusals: RefusalLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        refusals.refused(PORTS)
    clock.now += LOG_INTERVAL_S
    refusals.refused(PORTS)
    assert len(caplog.messages) == 2
    assert caplog.messages[1].endswith("(99 similar lines suppressed)")


def test_its_end_is_said_once(refusals: RefusalLog, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        refusals.refused(PORTS)
    clock.now += QUIET_S
    for _ in range(5):
        refusals.granted()
    assert caplog.messages[1:] == ["shard 3 has room again; it had refused 5 requests"]


def test_at_the_edge_it_is_not_over_with_each_call_that_comes_through(
    refusals: RefusalLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(300):
        refusals.refused(PORTS)
        clock.now += QUIET_S / 10
        refusals.granted()
    assert len(caplog.messages) == 1


def test_an_address_that_the_host_lacks_is_logged_and_is_no_shortage(
    refusals: RefusalLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        refusals.refused(AddressUnavailable("203.0.113.9 cannot be bound"))
    clock.now += QUIET_S
    refusals.granted()
    assert caplog.messages == ["shard 3 refuses a call: 203.0.113.9 cannot be bound"]
    assert caplog.records[0].levelno == logging.WARNING


def test_a_limit_that_the_operator_set_is_not_logged(
    refusals: RefusalLog, caplog: pytest.LogCaptureFixture
) -> None:
    refusals.refused(LimitReached("max_calls"))
    assert caplog.messages == []


def test_without_a_refusal_nothing_is_logged(refusals: RefusalLog, caplog: pytest.LogCaptureFixture) -> None:
    refusals.granted()
    assert caplog.messages == []


def test_a_refused_command_names_its_call_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    log_refusal(CloseCall(b"one\n"), UnknownCall("the call-id is unknown"))
    assert not caplog.messages
    with caplog.at_level(logging.DEBUG, logger="nh.shard.call_log"):
        log_refusal(CloseCall(b"one\n"), UnknownCall("the call-id is unknown"))
        log_refusal(ListCalls(), LimitReached("too many"))
    assert caplog.messages == [
        r"CloseCall of call 'one\x0a' is refused: the call-id is unknown",
        "ListCalls is refused: too many",
    ]


def test_a_flood_of_calls_makes_so_many_lines_a_second(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log = CallLog(1, clock)
    for number in range(10 * CALLS_A_SECOND):
        log.call_begun(b"call-%d" % number, CallJournal(client=Client("ng", "192.0.2.5:2223", "offer")))
    assert len(caplog.messages) == CALLS_A_SECOND
    assert caplog.messages[0] == "call 'call-0' begins in shard 1: ng offer of 192.0.2.5:2223"
    clock.now += 1
    log.call_ended(b"call-0", CallJournal(begin=time.time(), end=CallEnd.EXPIRED, packets=7))
    assert caplog.messages[-1] == (
        "call 'call-0' ended after 0.0 s: expired; 7 packets received (900 similar lines suppressed)"
    )


def test_calls_that_stay_elsewhere_do_not_end_in_the_log(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log = CallLog(1, clock)
    log.muted = True
    log.call_ended(b"call", CallJournal(end=CallEnd.SHUTDOWN))
    assert caplog.messages == []
