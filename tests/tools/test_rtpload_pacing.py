"""Streams are spread over the packet time, and each keeps to its clock."""

import heapq
import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from tools.rtpload.worker.pacing import Schedule, first_tick, phase_ns, report_delay_ns

INTERVAL_NS = 20_000_000


@given(st.integers(2, 3000))
def test_any_number_of_streams_is_spread_evenly(streams: int) -> None:
    phases = sorted(phase_ns(stream, INTERVAL_NS) for stream in range(streams))
    gaps = [after - before for before, after in itertools.pairwise(phases)]
    gaps.append(phases[0] + INTERVAL_NS - phases[-1])
    assert max(gaps) <= 3 * INTERVAL_NS / streams + 2
    assert min(gaps) >= INTERVAL_NS / streams / 3 - 2


@given(st.integers(0, 10**18), st.integers(0, INTERVAL_NS - 1))
def test_a_clock_ticks_at_its_phase_whenever_it_is_started(now_ns: int, phase: int) -> None:
    tick = first_tick(now_ns, phase, INTERVAL_NS)
    assert now_ns <= tick < now_ns + INTERVAL_NS
    assert tick % INTERVAL_NS == phase


@given(st.integers(0, 2**32))
def test_reports_come_at_half_to_one_and_a_half_intervals(seed: int) -> None:
    assert INTERVAL_NS / 2 <= report_delay_ns(INTERVAL_NS, random.Random(seed)) <= INTERVAL_NS * 1.5


@given(st.lists(st.integers(0, 20)))
def test_a_schedule_gives_what_is_due_in_order_of_time_and_arrival(times: list[int]) -> None:
    schedule: Schedule[int] = Schedule()
    for item, due_ns in enumerate(times):
        schedule.add(due_ns, item)
    taken = [heapq.heappop(schedule.heap) for _ in times]
    assert [(due_ns, item) for due_ns, _, item in taken] == sorted(
        (due_ns, item) for item, due_ns in enumerate(times)
    )
