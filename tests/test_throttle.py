"""nh.throttle: peers cannot flood the log."""

import logging

import pytest

from nh.throttle import RateLimitedLogger


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
