"""Flows in maps of another form: what they have counted, and that they end there."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from nh.calls.media import Endpoint
from nh.fastpath import layout
from nh.fastpath.flows import FlowTable
from nh.fastpath.layout import FlowCounters
from nh.fastpath.loader import LoadedProgram, load
from nh.fastpath.moving_flows import MovingFlows

pytestmark = pytest.mark.kernel

INDEXES = 4
LOCAL, OUT, PHONE = (Endpoint("192.0.2.1", port) for port in (4000, 4002, 5000))


@pytest.fixture
def program() -> Iterator[LoadedProgram]:
    with contextlib.closing(load(1 + 2 * INDEXES)) as program:
        yield program


def moving(program: LoadedProgram) -> MovingFlows:
    return MovingFlows(os.dup(program.flows_fd), os.dup(program.counters_fd))


def test_what_a_flow_has_counted_is_read_as_it_ends(program: LoadedProgram) -> None:
    table = FlowTable(
        program.flows_fd, program.counters_fd, shard=1, first_index=1 + INDEXES, indexes=INDEXES
    )
    index = table.counters.take_index()
    table.add(LOCAL, layout.FlowEntry(PHONE, OUT, PHONE, 0, index, 1500, shard=1))
    streams = (layout.NO_STREAM._replace(ssrc=7, used=1), *[layout.NO_STREAM] * (layout.STREAMS - 1))
    table.counters.write_streams(index, FlowCounters(next_stream=1, streams=streams))
    with contextlib.closing(moving(program)) as flows:
        assert flows.take(OUT) is None
        assert flows.take(LOCAL) == FlowCounters(next_stream=1, streams=streams)
        assert flows.take(LOCAL) is None
    table.find_stale_flows()
    assert not table.has_stale_flow(LOCAL)
    table.close()
