"""nh.shard.observers.call_log: the lines about calls, and how many there are of them."""

import logging
import time

import pytest

from nh.calls.call_event import CallEnd, Client
from nh.calls.timeline import CallTimeline
from nh.commands import CloseCall, ListCalls
from nh.errors import LimitReached, UnknownCall
from nh.shard.observers.call_log import CALLS_A_SECOND, CallLog, log_refusal
from tests.shard.clock import Clock


def test_a_refused_command_names_its_call_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    log_refusal(CloseCall(b"one\n"), UnknownCall("the call-id is unknown"))
    assert not caplog.messages
    with caplog.at_level(logging.DEBUG, logger="nh.shard.observers.call_log"):
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
        timeline = CallTimeline()
        timeline.open(Client("ng", "192.0.2.5:2223", "offer"), time.time())
        log.call_begun(b"call-%d" % number, timeline)
    assert len(caplog.messages) == CALLS_A_SECOND
    assert caplog.messages[0] == "call 'call-0' begins in shard 1: ng offer of 192.0.2.5:2223"
    clock.now += 1
    timeline = CallTimeline(time.time())
    timeline.end, timeline.packets = CallEnd.EXPIRED, 7
    log.call_ended(b"call-0", timeline)
    assert caplog.messages[-1] == (
        "call 'call-0' ended after 0.0 s: expired; 7 packets received (900 similar lines suppressed)"
    )


def test_calls_that_stay_elsewhere_do_not_end_in_the_log(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log = CallLog(1, clock)
    log.muted = True
    timeline = CallTimeline()
    timeline.end = CallEnd.SHUTDOWN
    log.call_ended(b"call", timeline)
    assert caplog.messages == []
