"""nh.shard.process_stats: what a process knows of itself."""

import os
import time

from nh.loop import SelectorLoop
from nh.shard.process_stats import BEAT_S, ProcessMeter
from nh.stats import ShardStats
from tools.harness.waiting import turn_until


def test_the_gauges_are_those_of_this_process() -> None:
    loop, stats = SelectorLoop(), ShardStats()
    meter = ProcessMeter(loop, stats)
    before = time.monotonic()
    meter.update()
    assert stats.pid == os.getpid()
    assert before <= stats.heartbeat <= time.monotonic()
    assert stats.started <= time.time()
    assert stats.memory_bytes > 1_000_000
    loop.close()


def test_cpu_time_goes_on_from_what_an_earlier_process_used() -> None:
    loop, stats = SelectorLoop(), ShardStats(cpu_s=100.0)
    meter = ProcessMeter(loop, stats)
    meter.update()
    first = stats.cpu_s
    meter.update()
    assert 100 < first <= stats.cpu_s
    assert stats.cpu_s < 100 + 2 * time.process_time()
    loop.close()


def test_a_turn_that_took_long_shows_once() -> None:
    loop, stats = SelectorLoop(), ShardStats()
    meter = ProcessMeter(loop, stats)
    until = time.monotonic() + BEAT_S + 0.1
    loop.call_later(0, lambda: block(until))
    turn_until(loop, lambda: sum(stats.loop_late_s.counts), "a beat")
    meter.update()
    assert stats.loop_lag_s >= 0.05, "what was due came 0.1 s late"
    assert stats.loop_late_s.sum >= 0.05
    assert sum(stats.loop_late_s.counts[:5]) < sum(stats.loop_late_s.counts)
    meter.update()
    assert stats.loop_lag_s == 0
    loop.close()


def block(until: float) -> None:
    """Keep the loop until so many monotonic seconds."""
    while time.monotonic() < until:
        pass


def test_the_pinned_cpu_is_told() -> None:
    loop, stats = SelectorLoop(), ShardStats()
    meter = ProcessMeter(loop, stats)
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        meter.update()
        assert stats.cpu == min(allowed)
    finally:
        os.sched_setaffinity(0, allowed)
    meter.update()
    assert stats.cpu == (-1 if len(allowed) > 1 else min(allowed))
    loop.close()
