"""How steadily the host lets a CPU run: the same work, timed again and again.

A hypervisor that gives a CPU to others, or slows it down, may say so nowhere (steal time of 0). Packets that
are late because of that look as if the relay had made them late.
"""

import itertools
import statistics
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from tools.harness.program import running_on

ADDITIONS: Final = 1_000
"""The work: some 20 µs."""

SLOW: Final = 2.0
"""Work that takes so many times the median was slowed down."""

Span = tuple[float, float]
"""Begin and end of the work, in seconds."""


class Steadiness(msgspec.Struct, frozen=True):
    """What became of the same work on one CPU.

    Attributes:
        measured_s: how long.
        slow_percent: part of that in which the work took more than SLOW times the median: other programs or
            the host had the CPU.
        longest_ms: the longest time of that without a pause.
    """

    measured_s: float
    slow_percent: float
    longest_ms: float


def measure_steadiness(cpu: int, duration_s: float) -> Steadiness:
    """Do the work on a CPU for some seconds, above 0."""
    spans: list[Span] = []
    with running_on([cpu]):
        while not spans or spans[-1][1] - spans[0][0] < duration_s:
            begin = time.perf_counter()
            for _ in itertools.repeat(None, ADDITIONS):
                pass
            spans.append((begin, time.perf_counter()))
    return judge_steadiness(spans)


def judge_steadiness(spans: Sequence[Span]) -> Steadiness:
    """What spans of the same work say, at least one; they are in order, and nothing else was between them."""
    usual_s = statistics.median(end - begin for begin, end in spans)
    whole_s = spans[-1][1] - spans[0][0]
    slow_s = longest_s = since = 0.0
    was_slow = False
    for begin, end in spans:
        is_slow = end - begin > SLOW * usual_s
        if is_slow:
            since = since if was_slow else begin
            slow_s += end - begin
            longest_s = max(longest_s, end - since)
        was_slow = is_slow
    return Steadiness(whole_s, 100 * slow_s / whole_s if whole_s else 0.0, 1000 * longest_s)
