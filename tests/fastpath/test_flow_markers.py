"""nh.fastpath.flows: where a flow has no opposite, a marker says whose packets leave by a port."""

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

FORTH = IPV4.flow._replace(counter_index=1)
BACK = FORTH._replace(source=FORTH.target, out=IPV4.local, target=FORTH.source, counter_index=2)

ELSEWHERE = Endpoint("203.0.113.78", 7000)


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


def held_by(program: LoadedProgram) -> int:
    """How many flows and markers are in the kernel."""
    return len(list(bpf.elements(program.flows_fd, layout.KEY.size, layout.FLOW.size)))


def entry(program: LoadedProgram, local: Endpoint) -> FlowEntry | None:
    value = bpf.lookup(program.flows_fd, layout.pack_key(local), layout.FLOW.size)
    return None if value is None else layout.unpack_flow(value)


def marked(program: LoadedProgram, out: Endpoint, target: Endpoint = FORTH.target) -> Endpoint | None:
    """The port of the flow whose packets to `target` leave by `out`, as its marker says."""
    value = bpf.lookup(program.flows_fd, layout.pack_marker_key(out, target), layout.FLOW.size)
    if value is None:
        return None
    assert layout.unpack_flow(value).mtu_bytes == 0
    return layout.unpack_flow(value).out


def test_a_flow_alone_has_a_marker_at_its_way_out(program: LoadedProgram, table: FlowTable) -> None:
    table.add(IPV4.local, FORTH)
    table.update_markers()
    assert marked(program, FORTH.out) == IPV4.local
    assert len(table) == 1
    table.remove(IPV4.local)
    assert held_by(program) == 0


def test_the_opposite_flow_takes_the_place_of_the_marker_and_leaves_it_again(
    program: LoadedProgram, table: FlowTable
) -> None:
    table.add(IPV4.local, FORTH)
    table.update_markers()
    table.add(FORTH.out, BACK)
    table.update_markers()
    assert entry(program, FORTH.out) == BACK
    assert entry(program, IPV4.local) == FORTH
    assert held_by(program) == 2
    table.remove(FORTH.out)
    table.update_markers()
    assert marked(program, FORTH.out) == IPV4.local
    table.remove(IPV4.local)
    assert held_by(program) == 0


def test_two_directions_that_begin_and_end_together_are_never_marked(
    program: LoadedProgram, table: FlowTable
) -> None:
    table.add(IPV4.local, FORTH)
    assert held_by(program) == 1
    table.add(FORTH.out, BACK)
    table.update_markers()
    assert held_by(program) == 2
    table.remove(FORTH.out)
    assert held_by(program) == 1
    table.remove(IPV4.local)
    table.update_markers()
    assert held_by(program) == 0


def test_flows_with_the_same_way_out_have_a_marker_each(program: LoadedProgram, table: FlowTable) -> None:
    """As those to the answerers of a forked request; the opposite flow leads to one of them only."""
    other, carol = Endpoint("192.0.2.1", 30_040), Endpoint("203.0.113.77", 7000)
    table.add(IPV4.local, FORTH)
    table.add(other, FORTH._replace(target=carol, counter_index=3))
    table.update_markers()
    assert (marked(program, FORTH.out), marked(program, FORTH.out, carol)) == (IPV4.local, other)
    table.add(FORTH.out, BACK)
    table.update_markers()
    assert (marked(program, FORTH.out), marked(program, FORTH.out, carol)) == (None, other)
    table.replace(other, FORTH._replace(target=ELSEWHERE, counter_index=3))
    table.update_markers()
    assert (marked(program, FORTH.out, carol), marked(program, FORTH.out, ELSEWHERE)) == (None, other)
    for local in (FORTH.out, IPV4.local, other):
        table.remove(local)
    assert held_by(program) == 0


def test_a_flow_that_leaves_by_another_port_takes_its_marker_along(
    program: LoadedProgram, table: FlowTable
) -> None:
    table.add(IPV4.local, FORTH)
    table.update_markers()
    other = Endpoint("192.0.2.1", 30_020)
    table.replace(IPV4.local, FORTH._replace(out=other))
    table.update_markers()
    assert marked(program, FORTH.out) is None
    assert marked(program, other) == IPV4.local


def test_markers_take_no_room_from_flows(program: LoadedProgram) -> None:
    table = table_of(program, flows=2)
    locals_ = [Endpoint("192.0.2.1", 31_000 + number) for number in range(3)]
    for number, local in enumerate(locals_[:2]):
        table.add(local, FORTH._replace(out=Endpoint("192.0.2.1", 32_000 + number)))
        table.update_markers()
    assert [entry(program, local) is not None for local in locals_[:2]] == [True, True]
    assert marked(program, Endpoint("192.0.2.1", 32_000)) is None
    table.close()
    assert held_by(program) == 0


def test_a_successor_marks_what_it_adopts(program: LoadedProgram) -> None:
    first = table_of(program)
    first.add(IPV4.local, FORTH)
    first.update_markers()
    successor = table_of(program, successor=True)
    assert marked(program, FORTH.out) is None
    assert successor.adopt_stale_flow(FORTH.out) is None
    assert successor.adopt_stale_flow(IPV4.local) == FORTH
    successor.update_markers()
    assert marked(program, FORTH.out) == IPV4.local
    successor.remove_stale_flows()
    successor.remove(IPV4.local)
    assert entry(program, IPV4.local) is None
    successor.close()


def test_the_markers_of_a_process_that_was_to_go_on_end_with_the_flows(
    program: LoadedProgram, table: FlowTable
) -> None:
    """It has begun a flow and made a marker in the map, and was killed then."""
    table.add(IPV4.local, FORTH)
    table.add(FORTH.out, BACK)
    table.hold()
    other = table_of(program, successor=True)
    assert other.adopt_stale_flow(IPV4.local) == FORTH
    assert other.adopt_stale_flow(FORTH.out) == BACK
    other.remove(FORTH.out)
    other.update_markers()
    assert marked(program, FORTH.out) == IPV4.local
    table.release()
    assert marked(program, FORTH.out) is None
    table.replace(IPV4.local, FORTH)
    table.replace(FORTH.out, BACK)
    table.update_markers()
    table.remove(IPV4.local)
    table.remove(FORTH.out)
    table.update_markers()
    assert held_by(program) == 0


def test_a_full_table_is_full_of_flows(program: LoadedProgram, table: FlowTable) -> None:
    for number in range(8):
        local = Endpoint("192.0.2.1", 31_000 + number)
        table.add(local, FORTH._replace(out=Endpoint("192.0.2.1", 32_000 + number)))
        table.update_markers()
    with pytest.raises(KernelTableFull):
        table.add(IPV4.local, FORTH)


def test_a_successor_finds_what_a_predecessor_that_still_relays_begins_and_ends(
    program: LoadedProgram,
) -> None:
    predecessor = table_of(program)
    predecessor.add(IPV4.local, FORTH._replace(counter_index=predecessor.counters.take_index()))
    successor = table_of(program, successor=True)
    predecessor.add(FORTH.out, BACK._replace(counter_index=predecessor.counters.take_index()))
    predecessor.remove(IPV4.local)
    successor.find_stale_flows()
    assert [successor.has_stale_flow(local) for local in (IPV4.local, FORTH.out)] == [False, True]
    adopted = successor.adopt_stale_flow(FORTH.out)
    assert adopted is not None
    free = {successor.counters.take_index() for _ in range(successor.counters.room)}
    assert adopted.counter_index not in free, "no other flow counts there"
    assert len(free) == 6, "the place of the flow that ended is free again"
    successor.close()
    assert entry(program, FORTH.out) is None
