"""nh.logs.throttle: peers cannot flood the log."""

import logging

import pytest

from nh.logs.throttle import MAX_FAULTS, FaultLog, OnceLogger, RateLimitedLogger


def test_one_line_goes_through_and_the_rest_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    throttle = RateLimitedLogger(logging.getLogger("nh.test"), lambda: now)
    assert [throttle.log(logging.WARNING, "line %d", n) for n in range(5)] == [True] + [False] * 4
    now = 101.5
    throttle.log(logging.WARNING, "line %d", 5)
    now = 103.0
    throttle.log(logging.WARNING, "line %d", 6)
    assert [record.getMessage() for record in caplog.records] == [
        "line 0",
        "line 5 (4 similar lines suppressed)",
        "line 6",
    ]


def test_a_burst_goes_through_in_each_interval(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    throttle = RateLimitedLogger(logging.getLogger("nh.test"), lambda: now, burst=3)
    assert [throttle.log(logging.WARNING, "line %d", n) for n in range(5)] == [True] * 3 + [False] * 2
    now = 101.0
    assert throttle.log(logging.WARNING, "line %d", 5)
    assert caplog.messages[-2:] == ["line 2", "line 5 (2 similar lines suppressed)"]


def test_a_line_that_would_be_suppressed_need_not_be_made(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    throttle = RateLimitedLogger(logging.getLogger("nh.test"), lambda: now)
    assert not throttle.suppresses()
    throttle.log(logging.WARNING, "first")
    assert [throttle.suppresses() for _ in range(3)] == [True] * 3
    now = 101.0
    assert not throttle.suppresses()
    throttle.log(logging.WARNING, "second")
    assert caplog.messages == ["first", "second (3 similar lines suppressed)"]


class Clock:
    """A FaultLog whose clock the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.log = FaultLog(logging.getLogger("nh.test"), lambda: self.now, 60.0)

    def failed(self, fault: str) -> None:
        self.log.failed(logging.ERROR, fault, "fault: %s", fault)

    def over(self) -> None:
        self.log.over(logging.WARNING, "works again")


def test_each_fault_is_told_at_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    for fault in ("away", "away", "full", "away", "full"):
        clock.failed(fault)
    clock.over()
    clock.over()
    assert caplog.messages == ["fault: away", "fault: full", "works again"]


def test_a_fault_that_lasts_is_told_again_and_one_that_comes_and_goes_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    for _ in range(120):  # seconds
        clock.failed("away")
        clock.over()
        clock.now += 1.0
    assert caplog.messages == ["fault: away", "works again"] * 2


def test_a_peer_that_always_says_something_else_fills_no_disk(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    for number in range(600):
        clock.failed(f"number {number}")
        clock.now += 1.0
    assert len(caplog.messages) == MAX_FAULTS * 10


def test_each_warning_is_told_once_up_to_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    warnings = OnceLogger(logging.getLogger("nh.test"), 2)
    for number, warning in enumerate(["one", "two", "one", "three", "two"]):
        warnings.warn(warning, "call %d: %s", number, warning)
    assert caplog.messages == ["call 0: one", "call 1: two"]
