"""Makes the report: from what workers counted, what was signalled, and what the relay used."""

import datetime
import itertools
import math
import os
import platform
from collections import Counter

import msgspec

from tools.rtpload.command_times import CommandTimes
from tools.rtpload.messages import BrowserTally, Finished, SideTally
from tools.rtpload.options import LoadOptions
from tools.rtpload.report.progress import RunCounters, Second
from tools.rtpload.report.relay_usage import Usage
from tools.rtpload.report.values import (
    Browsers,
    Failure,
    FullLoad,
    Generator,
    Moment,
    Relay,
    Report,
    Reports,
    Side,
    Signalled,
    Times,
)
from tools.rtpload.streams.histogram import Histogram, highest_in
from tools.rtpload.streams.stream import Account

SETTLE_S = 1
"""Whole seconds behind the ramp that do not count as full load."""


class Course(msgspec.Struct):
    """When what was, in time.monotonic() seconds (0: never), and readings of the relay's usage."""

    started_unix_s: float = 0.0
    started_s: float = 0.0
    full_s: float = 0.0
    stopped_s: float = 0.0
    calls_in_ramp: int = 0
    interrupted: bool = False
    pid: int = 0
    usage: list[tuple[float, Usage]] = []

    @property
    def started(self) -> str:
        """When it began, ISO 8601 in UTC."""
        began = datetime.datetime.fromtimestamp(self.started_unix_s, datetime.UTC)
        return began.isoformat(timespec="seconds")

    @property
    def full_seconds(self) -> range:
        """The whole seconds of the clock at full load."""
        if not self.full_s:
            return range(0)
        return range(math.ceil(self.full_s) + SETTLE_S, math.floor(self.stopped_s))


def summarize(
    options: LoadOptions, course: Course, counters: RunCounters, times: CommandTimes, accounts: list[Finished]
) -> Report:
    """The report.

    Args:
        options: of the load.
        course: what was when.
        counters: what was noted while it ran.
        times: of the commands.
        accounts: one for each worker.
    """
    caller = _add_sides([account.caller for account in accounts])
    callee = _add_sides([account.callee for account in accounts])
    seconds = counters.seconds
    received_by_caller = [second.caller for second in seconds.values()]
    received_by_callee = [second.callee for second in seconds.values()]
    latency = _add(received_by_caller + received_by_callee)
    lateness = Times.of(*(second.lateness for second in seconds.values()))
    full_load = _full_load(seconds, course)
    judged = full_load.lateness if full_load else lateness
    return Report(
        options=options,
        started=course.started,
        host=describe_host(),
        interrupted=course.interrupted,
        elapsed_s=course.stopped_s - course.started_s,
        caller=_side(caller, received_by_caller),
        callee=_side(callee, received_by_callee),
        both=_together(caller.media, callee.media),
        latency=Times.of(latency),
        reports=_reports(caller, callee, accounts) if options.rtcp else None,
        full_load=full_load,
        signalled=_signalled(counters, times, course),
        generator=_generator(options, lateness, judged, [caller, callee], accounts),
        relay=_relay(seconds, course),
        timeline=tuple(_timeline(seconds, course)),
        latency_buckets=tuple((highest_in(bucket), count) for bucket, count in latency.filled().items()),
        browsers=_browsers(accounts) if options.webrtc else None,
    )


def describe_host() -> dict[str, str]:
    """What the figures depend on."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpus": str(os.cpu_count()),
        "python": platform.python_version(),
    }


def _add(histograms: list[Histogram]) -> Histogram:
    total = Histogram()
    for histogram in histograms:
        total.merge(histogram.filled())
    return total


def _together(*accounts: Account) -> Account:
    total = Account()
    for account in accounts:
        total.add(account)
    return total


def _add_sides(tallies: list[SideTally]) -> SideTally:
    total = SideTally(media=Account(), reports=Account())
    jitter = Histogram()
    for tally in tallies:
        total.media.add(tally.media)
        total.reports.add(tally.reports)
        total.misrouted += tally.misrouted
        total.foreign += tally.foreign
        jitter.merge(tally.jitter)
    total.jitter = jitter.filled()
    return total


def _side(tally: SideTally, received: list[Histogram]) -> Side:
    return Side(
        tally.media, tally.misrouted, tally.foreign, Times.of(*received), Times.of(Histogram(tally.jitter))
    )


def _reports(caller: SideTally, callee: SideTally, accounts: list[Finished]) -> Reports:
    account = _together(caller.reports, callee.reports)
    return Reports(account, Times.of(*(Histogram(worker.report_latency) for worker in accounts)))


def _browsers(accounts: list[Finished]) -> Browsers:
    total = BrowserTally()
    for account in accounts:
        if account.browsers is not None:
            total.add(account.browsers)
    return Browsers(total.checks, total.answered, total.longest_ns / 1e9)


def _full_load(seconds: dict[int, Second], course: Course) -> FullLoad | None:
    full = [seconds[second] for second in course.full_seconds if second in seconds]
    if not full:
        return None
    latency = Times.of(*itertools.chain.from_iterable((second.caller, second.callee) for second in full))
    sent = sum(second.lateness.total for second in full)
    lateness = Times.of(*(second.lateness for second in full))
    return FullLoad(len(full), sent / len(full), latency.count / len(full), latency, lateness)


def _signalled(counters: RunCounters, times: CommandTimes, course: Course) -> Signalled:
    ramp_s = course.full_s - course.started_s
    return Signalled(
        calls_set_up=counters.calls_set_up,
        calls_ended=counters.calls_ended,
        calls_incomplete=counters.calls_incomplete,
        rate_per_s=course.calls_in_ramp / ramp_s if ramp_s > 0 else 0.0,
        renegotiations=dict(counters.negotiations),
        commands={name: Times.of(histogram) for name, histogram in times.histograms().items()},
        failures=tuple(Failure(*key, count) for key, count in counters.failures.most_common()),
    )


def _generator(
    options: LoadOptions, lateness: Times, judged: Times, sides: list[SideTally], accounts: list[Finished]
) -> Generator:
    """How the generator did; `judged` is the lateness at full load, where there was any."""
    dropped = sum(account.dropped_here for side in sides for account in (side.media, side.reports))
    refused: Counter[str] = Counter()
    for each in accounts:
        refused.update(each.send_failures)
    warnings = []
    if judged.p99_ms > options.packet_ms / 4:
        warnings.append(
            f"1 % of the packets were sent {judged.p99_ms:.1f} ms late or more, over a quarter of the packet"
            " time: fewer calls, or more processes on more CPUs"
        )
    if dropped:
        warnings.append(f"{dropped} packets arrived, but the generator did not read them in time")
    warnings += [f"the kernel refused to send {count} packets: {why}" for why, count in refused.items()]
    return Generator(
        workers=len(accounts),
        cpu_s=tuple(account.cpu_s for account in accounts),
        lateness=lateness,
        send_failures=refused.total(),
        dropped_here=dropped,
        kernel_clock=all(account.kernel_clock for account in accounts),
        warnings=tuple(warnings),
    )


def _relay(seconds: dict[int, Second], course: Course) -> Relay | None:
    if not course.usage:
        return None
    full = course.full_seconds
    # readings are made just behind a whole second; without one at both ends, all of the load is taken
    inside = [reading for reading in course.usage if full.start <= reading[0] <= full.stop + 0.5]
    readings = inside if len(inside) > 1 else course.usage
    (first_s, first), (last_s, last) = readings[0], readings[-1]
    cpu_s = last.cpu_s - first.cpu_s
    packets = sum(
        second.caller.total + second.callee.total
        for number, second in seconds.items()
        if int(first_s) <= number < int(last_s)
    )
    return Relay(
        pid=course.pid,
        processes=last.processes,
        cpus=cpu_s / (last_s - first_s) if last_s > first_s else 0.0,
        us_per_packet=cpu_s * 1e6 / packets if packets else 0.0,
        memory_before_bytes=course.usage[0][1].memory_bytes,
        memory_bytes=max(usage.memory_bytes for _, usage in course.usage),
    )


def _timeline(seconds: dict[int, Second], course: Course) -> list[Moment]:
    busy: dict[int, float] = {}
    for (before_s, before), (after_s, after) in itertools.pairwise(course.usage):
        busy[int(before_s)] = (after.cpu_s - before.cpu_s) / max(after_s - before_s, 1e-9)
    moments = []
    for number, second in sorted(seconds.items()):
        received = _add([second.caller, second.callee])
        p50, p99, highest = received.percentiles([50, 99, 100])
        moments.append(
            Moment(
                at_s=max(0.0, number - course.started_s),
                sent=second.lateness.total,
                received=received.total,
                p50_ms=p50 / 1e6,
                p99_ms=p99 / 1e6,
                max_ms=highest / 1e6,
                lateness_p99_ms=second.lateness.percentile(99) / 1e6,
                relay_cpus=busy.get(number),
            )
        )
    return moments
