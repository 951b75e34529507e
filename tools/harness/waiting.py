"""Waiting on conditions: what tests and tools do instead of sleeping."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from nh.loop import SelectorLoop
from tools.harness import HarnessError

POLL_S: Final = 0.01
TIMEOUT_S: Final = 30.0
"""Other programs may use the CPUs meanwhile; what nh promises to be faster is asserted by its own limit."""

T = TypeVar("T")


def eventually(
    holds: Callable[[], T],
    what: str,
    timeout_s: float = TIMEOUT_S,
    *,
    poll_s: float = POLL_S,
    details: Callable[[], str] = str,
) -> T:
    """Return what `holds()` returns as soon as it is true.

    Args:
        holds: the condition, called every `poll_s` seconds.
        what: the condition in words, for the failure.
        timeout_s: the longest wait, seconds.
        poll_s: the pause between two calls, seconds.
        details: called for a failure: more about it, such as the output of a program.

    Raises:
        HarnessError: the condition does not become true in time.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := holds()):
        if time.monotonic() > deadline:
            raise HarnessError(f"not within {timeout_s:g} s: {what}\n{details()}".rstrip())
        time.sleep(poll_s)
    return value


def turn_until(
    loop: SelectorLoop,
    holds: Callable[[], object],
    what: str = "the condition of the test",
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Turn an event loop in this thread until `holds()` is true.

    Args:
        loop: the loop.
        holds: the condition, checked after each turn and at least every POLL_S seconds.
        what: the condition in words, for the failure.
        timeout_s: the longest wait, seconds.

    Raises:
        HarnessError: the condition does not become true in time.
    """
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise HarnessError(f"not within {timeout_s:g} s: {what}")
        loop.turn(POLL_S)
