"""nh.fastpath.flows: where a flow has no opposite, a marker says whose packets leave by a port."""

import dataclasses
from collections.abc import Iterator

import pytest

from nh.calls.media import Endpoint
from nh.errors import KernelTableFull
from nh.fastpath import bpf, layout
from nh.fastpath.flows import FlowTable
from nh.fastpath.layout import FlowEntry
from nh.fastpath.loader import LoadedProgram, load
from tests.fastpath.flows import IPV4

pytestmark = pytest.mark.kernel

FORTH = dataclasses.replace(IPV4.flow, counter_index=1)
BACK = dataclasses.replace(FORTH, source=FORTH.target, out=IPV4.local, target=FORTH.source, counter_index=2)


@pytest.fixture
def program() -> Iterator[LoadedProgram]:
    program = load(8)
    yield program
    program.close()


def table_of(program: LoadedProgram, *, flows: int = 7, successor: bool = False) -> FlowTable:
    return FlowTable(
        program.flows_fd, program.counters_fd, shard=0, first_index=0, indexes=flows + 1, successor=successor
    )


@pytest.fixture
def table(program: LoadedProgram) -> Iterator[FlowTable]:
    table = table_of(program)
    yield table
    table.close()


def entry(program: LoadedProgram, local: Endpoint) -> FlowEntry | None:
    value = bpf.lookup(program.flows_fd, layout.pack_key(local), layout.FLOW.size)
    return None if value is None else layout.unpack_flow(value)


def is_marker(program: LoadedProgram, local: Endpoint, of: Endpoint) -> bool:
    found = entry(program, local)
    return found is not None and found.mtu_bytes == 0 and found.out == of


def test_a_flow_alone_has_a_marker_at_its_way_out(program: LoadedProgram, table: FlowTable) -> None:
    table.add(IPV4.local, FORTH)
    assert is_marker(program, FORTH.out, IPV4.local)
    assert len(table) == 1
    table.remove(IPV4.local)
    assert entry(program, FORTH.out) is None


def test_the_opposite_flow_takes_the_place_of_the_marker_and_leaves_it_again(
    program: LoadedProgram, table: FlowTable
) -> None:
    table.add(IPV4.local, FORTH)
    table.add(FORTH.out, BACK)
    assert entry(program, FORTH.out) == BACK
    assert entry(program, IPV4.local) == FORTH
    table.remove(FORTH.out)
    assert is_marker(program, FORTH.out, IPV4.local)
    table.remove(IPV4.local)
    assert entry(program, FORTH.out) is None


def test_a_flow_that_leaves_by_another_port_takes_its_marker_along(
    program: LoadedProgram, table: FlowTable
) -> None:
    table.add(IPV4.local, FORTH)
    other = Endpoint("192.0.2.1", 30_020)
    table.replace(IPV4.local, dataclasses.replace(FORTH, out=other))
    assert entry(program, FORTH.out) is None
    assert is_marker(program, other, IPV4.local)


def test_markers_take_no_room_from_flows(program: LoadedProgram) -> None:
    table = table_of(program, flows=2)
    locals_ = [Endpoint("192.0.2.1", 31_000 + number) for number in range(3)]
    for number, local in enumerate(locals_[:2]):
        table.add(local, dataclasses.replace(FORTH, out=Endpoint("192.0.2.1", 32_000 + number)))
    assert [entry(program, local) is not None for local in locals_[:2]] == [True, True]
    assert entry(program, Endpoint("192.0.2.1", 32_000)) is None
    table.close()
    assert list(table._keys()) == []


def test_a_successor_marks_what_it_adopts(program: LoadedProgram) -> None:
    first = table_of(program)
    first.add(IPV4.local, FORTH)
    successor = table_of(program, successor=True)
    assert entry(program, FORTH.out) is None
    assert successor.adopt_stale_flow(FORTH.out) is None
    assert successor.adopt_stale_flow(IPV4.local) == FORTH
    assert is_marker(program, FORTH.out, IPV4.local)
    successor.remove_stale_flows()
    successor.remove(IPV4.local)
    assert entry(program, IPV4.local) is None
    successor.close()


def test_a_full_table_is_full_of_flows(program: LoadedProgram, table: FlowTable) -> None:
    for number in range(8):
        local = Endpoint("192.0.2.1", 31_000 + number)
        table.add(local, dataclasses.replace(FORTH, out=Endpoint("192.0.2.1", 32_000 + number)))
    with pytest.raises(KernelTableFull):
        table.add(IPV4.local, FORTH)
