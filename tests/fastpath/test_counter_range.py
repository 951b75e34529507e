"""nh.fastpath.counter_range: what is counted of flows that have ended, and of a predecessor's."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from nh.fastpath.counter_range import CounterRange
from nh.fastpath.layout import COUNTERS_BYTES, NO_STREAM, STREAMS, FlowCounters, pack_counters

FIRST, SIZE = 4, 4
NOTHING = FlowCounters()


@pytest.fixture
def counters_fd() -> Iterator[int]:
    """Memory in place of the kernel's map."""
    fd = os.memfd_create("counters")
    os.ftruncate(fd, COUNTERS_BYTES * (FIRST + SIZE))
    yield fd
    os.close(fd)


@pytest.fixture
def counters(counters_fd: int) -> Iterator[CounterRange]:
    with contextlib.closing(CounterRange(counters_fd, FIRST, SIZE)) as counters:
        yield counters


def forward(counters_fd: int, index: int, packets: int, payload_bytes: int) -> None:
    """Have the kernel forward packets of a flow."""
    counted = pack_counters(FlowCounters(packets=packets, payload_bytes=payload_bytes))
    os.pwrite(counters_fd, counted, index * COUNTERS_BYTES)


def test_what_an_ended_flow_forwarded_stays_in_the_totals_and_the_next_begins_with_nothing(
    counters: CounterRange, counters_fd: int
) -> None:
    index = counters.take_index()
    forward(counters_fd, index, 3, 300)
    counters.free_index(index)
    assert counters.take_index() == index
    assert counters.read(index) == NOTHING
    assert counters.totals == (3, 300)
    forward(counters_fd, index, 2, 20)
    assert counters.totals == (5, 320)


def test_a_successor_counts_what_flows_forwarded_that_ended_unseen(
    counters: CounterRange, counters_fd: int
) -> None:
    """The shard before died between the removal of a flow and the clearing of its counters."""
    stays, ended, never = range(FIRST + 1, FIRST + SIZE)
    forward(counters_fd, stays, 3, 300)
    forward(counters_fd, ended, 2, 20)
    counters.continue_from({stays})
    assert counters.totals == (5, 320)
    assert counters.room == 2
    assert [counters.read(index) == NOTHING for index in (stays, ended, never)] == [False, True, True]


def test_streams_are_written_only_if_the_kernel_has_counted_nothing_since_they_were_read(
    counters: CounterRange, counters_fd: int
) -> None:
    index = counters.take_index()
    amended = FlowCounters(
        next_stream=1, streams=(NO_STREAM._replace(ssrc=7, used=1), *[NO_STREAM] * (STREAMS - 1))
    )
    before = counters.copy(index)
    forward(counters_fd, index, 1, 100)
    assert not counters.replace_streams(index, before, amended)
    assert counters.read(index) == FlowCounters(packets=1, payload_bytes=100)
    before = counters.copy(index)
    assert counters.replace_streams(index, before, amended)
    assert counters.read(index) == amended._replace(packets=1, payload_bytes=100)
    assert not counters.replace_streams(index, before, NOTHING), "a stream has changed"
