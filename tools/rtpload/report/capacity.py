"""The search for the highest number of calls that a relay carries well: doubling, then bisecting.

Pure: what a number of calls leads to is asked of the caller; so are pauses.
"""

import enum
from collections.abc import Callable

import msgspec

from tools.rtpload.report.progress import NO_PHONES, NOT_SET_UP
from tools.rtpload.report.values import Report

MAX_LOSS = 0.0001
MAX_P99_MS = 5.0
PRECISION = 0.05
"""The search ends when the bounds are that close, as a share of the higher one."""


class Limit(enum.StrEnum):
    """What kept a step from passing."""

    NONE = "nothing"
    SETUP = "calls that could not be set up"
    COMMANDS = "commands that failed"
    GENERATOR = "the generator itself"
    MISROUTED = "packets at the wrong phone"
    LOSS = "loss"
    LATENCY = "latency"


class Step(msgspec.Struct, frozen=True):
    """One number of calls and what it led to.

    Args:
        calls: how many.
        limit: Limit.NONE if it passed.
        loss: share of the packets, 0 to 1.
        p99_ms: latency.
        lateness_p99_ms: the generator's.
        relay_cpus: CPUs that the relay kept busy; None if that was not measured.
    """

    calls: int
    limit: Limit
    loss: float
    p99_ms: float
    lateness_p99_ms: float
    relay_cpus: float | None


class Capacity(msgspec.Struct, frozen=True):
    """What was found.

    Args:
        calls: the highest number that passed; 0 if none did.
        limit: what kept the next higher one from passing, twice; Limit.NONE if nothing did before the search
            ended.
        steps: all that was tried.
    """

    calls: int
    limit: Limit
    steps: tuple[Step, ...]


def judge(report: Report) -> Step:
    """Whether a load passed, and if not, why.

    The generator is looked at before the relay: a generator that is late, deaf or without sockets proves
    nothing against a relay.
    """
    latency = report.full_load.latency if report.full_load else report.latency
    failed = {failure.what for failure in report.signalled.failures}
    if NO_PHONES in failed:
        limit = Limit.GENERATOR
    elif failed & NOT_SET_UP or not report.signalled.calls_set_up:
        limit = Limit.SETUP
    elif failed:
        limit = Limit.COMMANDS
    elif report.generator.warnings:
        limit = Limit.GENERATOR
    elif report.misrouted:
        limit = Limit.MISROUTED
    elif report.both.loss >= MAX_LOSS:
        limit = Limit.LOSS
    elif latency.p99_ms >= MAX_P99_MS:
        limit = Limit.LATENCY
    else:
        limit = Limit.NONE
    return Step(
        calls=report.options.calls,
        limit=limit,
        loss=report.both.loss,
        p99_ms=latency.p99_ms,
        lateness_p99_ms=report.generator.lateness.p99_ms,
        relay_cpus=report.relay.cpus if report.relay else None,
    )


def find_capacity(
    try_calls: Callable[[int], Step | None], *, first: int, highest: int, max_steps: int
) -> Capacity:
    """Search.

    Args:
        try_calls: runs a load with that many calls; None ends the search.
        first: the number to begin with, 1 to `highest`.
        highest: no more calls than that.
        max_steps: most loads.

    What fails is tried once more before it counts: a busy moment of the host is no limit.
    """
    steps: list[Step] = []
    passed, failed = 0, 0
    limit = Limit.NONE
    calls = min(first, highest)
    while len(steps) < max_steps:
        step = try_calls(calls)
        if step is None:
            break
        steps.append(step)
        if step.limit is Limit.NONE:
            passed = calls
        elif len(steps) > 1 and steps[-2].calls == calls:
            failed, limit = calls, step.limit
        else:
            continue
        next_calls = _next(passed, failed, highest)
        if next_calls is None:
            break
        calls = next_calls
    return Capacity(passed, limit, tuple(steps))


def _next(passed: int, failed: int, highest: int) -> int | None:
    if not failed:
        return min(passed * 2, highest) if passed < highest else None
    if failed - passed <= max(1, PRECISION * failed):
        return None
    return (passed + failed) // 2
