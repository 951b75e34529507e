"""A loop for tests that is turned until something has happened."""

import time
from collections.abc import Callable

from nh.loop import SelectorLoop


def turn_until(loop: SelectorLoop, holds: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    """Turn `loop` until `holds()`; AssertionError after `timeout_s` seconds without."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        loop.turn(0.05)
