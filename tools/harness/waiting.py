"""Waiting on conditions: what tests do instead of sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

POLL_S = 0.01

T = TypeVar("T")


def eventually(holds: Callable[[], T], what: str, timeout_s: float = 10.0) -> T:
    """What `holds()` returns, as soon as that is true.

    Arguments:
        holds: the condition; asked again every few milliseconds.
        what: the condition in words, for the failure.
        timeout_s: how long to wait for it, seconds.

    Raises AssertionError if it never comes true.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := holds()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(POLL_S)
    return value
