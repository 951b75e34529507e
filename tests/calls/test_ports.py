"""nh.calls.sockets.ports: which ports are free, and that none is ever handed out twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nh.calls.sockets.ports import MAX_ATTEMPTS, MAX_IDLE_POOLS, PortInUse, PortPool, PortSpace
from nh.errors import AddressUnavailable, PortsExhausted

LOW, HIGH = 20_000, 20_019
LOCAL = "192.0.2.1"


# --- one slice on one address -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"), [(20_001, 20_011), (20_000, 20_010), (20_002, 20_001), (20_000, 19_999)]
)
def test_a_slice_goes_from_an_even_to_an_odd_port(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="begin at an even and end at an odd port"):
        PortPool(low, high)


def test_pairs_follow_each_other() -> None:
    pool = PortPool(LOW, HIGH)
    assert [pool.take(2) for _ in range(3)] == [20_000, 20_002, 20_004]


@pytest.mark.parametrize(("count", "used"), [(1, 2), (2, 2), (3, 4), (4, 4), (5, 6)])
def test_a_run_of_odd_length_rounds_up_to_pairs(count: int, used: int) -> None:
    pool = PortPool(LOW, HIGH)
    pool.take(count)
    assert pool.free == pool.total - used
    assert pool.take(2) == LOW + used


def test_a_port_that_came_back_rests_until_all_others_were_used() -> None:
    pool = PortPool(LOW, HIGH)
    first = pool.take(2)
    assert first is not None
    pool.release(first, 2)
    later = [pool.take(2) for _ in range(9)]
    assert first not in later
    assert pool.take(2) == first


def test_the_search_starts_over_at_the_end_of_the_slice() -> None:
    pool = PortPool(LOW, HIGH)
    for _ in range(9):
        pool.take(2)
    pool.release(LOW, 2)
    pool.release(LOW + 2, 2)
    assert pool.take(4) == LOW, "one pair is left at the end, two at the beginning"
    assert pool.take(2) == HIGH - 1


def test_a_run_across_the_place_where_the_search_began_is_found() -> None:
    pool = PortPool(LOW, HIGH)
    for _ in range(10):
        pool.take(2)
    for base in (20_004, 20_006, 20_008):
        pool.release(base, 2)
    assert pool.take(2) == 20_004
    pool.release(20_004, 2)
    # the search goes on at 20006, yet the only run of six begins before
    assert pool.take(6) == 20_004


def test_a_run_does_not_wrap_around() -> None:
    pool = PortPool(LOW, HIGH)
    taken = [pool.take(2) for _ in range(10)]
    assert None not in taken
    pool.release(LOW, 2)
    pool.release(HIGH - 1, 2)
    assert pool.take(4) is None
    assert pool.free == 4


def test_the_whole_slice_is_a_run() -> None:
    pool = PortPool(LOW, HIGH)
    assert pool.take(20) == LOW
    assert pool.take(1) is None
    pool.release(LOW, 20)
    assert pool.take(20) == LOW


def test_a_run_longer_than_the_slice_is_never_free() -> None:
    assert PortPool(LOW, HIGH).take(21) is None


class PoolMachine(RuleBasedStateMachine):
    """Runs taken and given back in any order; a plain set says which ports are out."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PortPool(LOW, HIGH)
        self.runs: list[tuple[int, int]] = []

    @property
    def out(self) -> list[int]:
        return [port for base, count in self.runs for port in range(base, base + count + count % 2)]

    @rule(count=st.integers(1, 22))
    def take(self, count: int) -> None:
        base = self.pool.take(count)
        if base is None:
            even = count + count % 2
            runs = (range(start, start + even) for start in range(LOW, HIGH + 2 - even, 2))
            assert all(set(run) & set(self.out) for run in runs), "there was such a run"
        else:
            assert base % 2 == 0
            assert base >= LOW
            assert base + count - 1 <= HIGH
            assert not set(range(base, base + count)) & set(self.out), "a port was handed out twice"
            self.runs.append((base, count))

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self.runs))
        self.runs.remove(run)
        self.pool.release(*run)

    @invariant()
    def all_ports_are_accounted_for(self) -> None:
        assert self.pool.free + len(self.out) == self.pool.total


TestAnyOrderOfTakingAndReleasing = PoolMachine.TestCase


# --- the same slice on every address ----------------------------------------------------------------


def opens(address: str, base: int, count: int) -> list[tuple[str, int]]:
    return [(address, port) for port in range(base, base + count)]


def test_each_address_has_all_ports() -> None:
    space = PortSpace(LOW, HIGH)
    assert space.open_run(LOCAL, 2, opens) == (LOW, [(LOCAL, LOW), (LOCAL, LOW + 1)])
    assert space.open_run("192.0.2.2", 2, opens)[0] == LOW
    assert space.open_run("2001:db8::1", 2, opens)[0] == LOW


def test_free_ports_are_those_of_the_address_with_the_fewest() -> None:
    space = PortSpace(LOW, HIGH)
    assert space.free == space.total == 20
    space.open_run(LOCAL, 6, opens)
    space.open_run("192.0.2.2", 2, opens)
    assert space.free == 14
    space.release(LOCAL, LOW, 6)
    assert space.free == 18


def test_ports_of_other_programs_are_skipped_and_not_lost() -> None:
    held = {20_000, 20_003}

    def picky(address: str, base: int, count: int) -> int:
        for port in range(base, base + count):
            if port in held:
                raise PortInUse(address, port)
        return base

    space = PortSpace(LOW, HIGH)
    assert space.open_run(LOCAL, 2, picky) == (20_004, 20_004)
    assert space.free == 18
    held.clear()
    bases = {space.open_run(LOCAL, 2, picky)[0] for _ in range(9)}
    assert {20_000, 20_002} <= bases


@pytest.mark.parametrize("foreign", range(LOW, LOW + 4))
def test_a_run_that_overlaps_with_a_refused_one_is_found(foreign: int) -> None:
    def beside_another(address: str, base: int, count: int) -> int:
        if foreign in range(base, base + count):
            raise PortInUse(address, foreign)
        return base

    space = PortSpace(LOW, LOW + 7)
    space.reserve(LOCAL, LOW + 6, 2)
    if foreign < LOW + 2:
        assert space.open_run(LOCAL, 4, beside_another)[0] == LOW + 2
        return
    with pytest.raises(PortsExhausted, match="other programs hold at least 1 of these"):
        space.open_run(LOCAL, 4, beside_another)
    assert [space.open_run(LOCAL, 2, beside_another)[0] for _ in range(2)] == [LOW + 4, LOW]


def test_ports_are_exhausted_when_all_are_taken() -> None:
    space = PortSpace(LOW, HIGH)
    for _ in range(10):
        space.open_run(LOCAL, 2, opens)
    with pytest.raises(PortsExhausted, match="20000-20019"):
        space.open_run(LOCAL, 1, opens)


def test_ports_are_exhausted_when_other_programs_have_them_all() -> None:
    tried: list[int] = []

    def all_held(address: str, base: int, count: int) -> None:
        tried.append(base)
        raise PortInUse(address, base)

    space = PortSpace(LOW, HIGH)
    with pytest.raises(PortsExhausted, match="20 of 20 free, other programs hold at least 10 of these"):
        space.open_run(LOCAL, 2, all_held)
    assert sorted(tried) == list(range(LOW, HIGH, 2)), "each once"
    assert space.free == space.total


def test_the_search_for_ports_ends() -> None:
    tried: list[int] = []

    def all_held(address: str, base: int, count: int) -> None:
        tried.append(base)
        raise PortInUse(address, base)

    space = PortSpace(10_000, 59_999)
    with pytest.raises(PortsExhausted):
        space.open_run(LOCAL, 2, all_held)
    assert len(tried) == MAX_ATTEMPTS
    assert space.free == space.total


def test_a_run_of_two_pairs_is_found_behind_a_large_block_of_another_program() -> None:
    block = range(10_000, 10_000 + 3 * MAX_ATTEMPTS)  # more pairs than attempts for one pair

    def held(address: str, base: int, count: int) -> int:
        for port in range(base, base + count):
            if port in block:
                raise PortInUse(address, port)
        return base

    space = PortSpace(10_000, 59_999)
    base, _ = space.open_run(LOCAL, 4, held)
    assert base == block.stop
    assert space.free == space.total - 4


def test_an_address_that_cannot_be_bound_leaves_nothing_behind() -> None:
    def refuse(address: str, base: int, count: int) -> None:
        raise AddressUnavailable(address)

    space = PortSpace(LOW, HIGH)
    space.open_run(LOCAL, 2, opens)
    for address in ("203.0.113.1", LOCAL):
        with pytest.raises(AddressUnavailable):
            space.open_run(address, 2, refuse)
    assert space.free == 18
    assert len({space.open_run(LOCAL, 2, opens)[0] for _ in range(9)}) == 9


def test_addresses_that_are_free_again_are_forgotten_beyond_a_few() -> None:
    # all of 127.0.0.0/8 is this host's: one call on each address must not fill the memory
    space = PortSpace(LOW, HIGH)
    for number in range(3 * MAX_IDLE_POOLS):
        address = f"127.0.{number // 200}.{number % 200 + 1}"
        base, _ = space.open_run(address, 2, opens)
        space.release(address, base, 2)
    assert len(space._pools) <= MAX_IDLE_POOLS + 1
    assert space.free == space.total


@given(st.lists(st.tuples(st.sampled_from(["192.0.2.1", "192.0.2.2"]), st.integers(1, 8), st.booleans())))
def test_whatever_is_opened_comes_back(requests: list[tuple[str, int, bool]]) -> None:
    space = PortSpace(LOW, HIGH)
    out: dict[tuple[str, int], tuple[str, int, int]] = {}
    for address, count, fails in requests:

        def attempt(address: str, base: int, count: int, fails: bool = fails) -> None:
            assert not {(address, port) for port in range(base, base + count)} & out.keys()
            if fails:
                raise AddressUnavailable(address)

        try:
            base, _ = space.open_run(address, count, attempt)
        except (PortsExhausted, AddressUnavailable):
            continue
        out.update(((address, port), (address, base, count)) for port in range(base, base + count))
    for address, base, count in set(out.values()):
        space.release(address, base, count)
    assert space.free == space.total


@pytest.mark.parametrize(("low", "high"), [(10_001, 10_010), (10_000, 10_010), (10_002, 10_001)])
def test_a_slice_without_whole_pairs_is_refused_at_once(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="even"):
        PortSpace(low, high)


# --- ports of calls that are restored -------------------------------------------------------------------


def reserving(space: PortSpace, base: int, count: int = 2) -> bool:
    try:
        space.reserve("192.0.2.1", base, count)
    except PortInUse:
        return False
    return True


def test_reserved_ports_are_not_handed_out_again() -> None:
    space = PortSpace(20_000, 20_007)
    assert reserving(space, 20_002, 3)
    assert space.free == 4
    assert not reserving(space, 20_004, 1)
    bases = [space.open_run("192.0.2.1", 2, lambda *_: None)[0] for _ in range(2)]
    assert sorted(bases) == [20_000, 20_006]
    space.release("192.0.2.1", 20_002, 3)
    assert space.free == 4


def test_the_search_begins_at_the_given_position_on_each_address() -> None:
    space = PortSpace(20_000, 20_103, begin=0.5)
    assert [space.open_run(address, 2, lambda *_: None)[0] for address in "ab"] == [20_052, 20_052]


def test_ports_around_the_newest_restored_call_rest_for_half_the_slice() -> None:
    space = PortSpace(20_000, 20_099)
    for base in (20_010, 20_030, 20_090):
        assert reserving(space, base, 2)
    handed_out = [space.open_run("192.0.2.1", 2, lambda *_: None)[0] for _ in range(47)]
    # before it, calls that ended a moment ago; behind it, those that no process knows any more
    assert not {20_086, 20_088, 20_092, 20_094} & set(handed_out[:20])
    assert len(set(handed_out)) == 47


def test_ports_of_another_slice_can_be_reserved_once() -> None:
    space = PortSpace(20_000, 20_007)
    assert reserving(space, 30_000)
    assert not reserving(space, 30_000)
    assert space.free == space.total
    space.release("192.0.2.1", 30_000, 2)
    assert reserving(space, 30_000)


def test_a_run_may_be_half_in_another_slice() -> None:
    space = PortSpace(20_000, 20_007)
    assert reserving(space, 20_006, 4)
    assert space.free == 6
    assert not reserving(space, 20_008)
    space.release("192.0.2.1", 20_006, 4)
    assert space.free == 8
    assert reserving(space, 20_008)


def test_a_run_that_is_partly_taken_takes_nothing() -> None:
    space = PortSpace(20_000, 20_007)
    assert reserving(space, 20_008)
    assert not reserving(space, 20_004, 8)
    assert reserving(space, 20_004, 4)
    assert reserving(space, 20_010)


@pytest.mark.parametrize(("base", "count"), [(20_001, 2), (0, 2), (65_534, 3), (-2, 2)])
def test_what_is_no_run_of_ports_is_not_reserved(base: int, count: int) -> None:
    with pytest.raises(ValueError, match="not a valid run"):
        PortSpace(20_000, 20_007).reserve("192.0.2.1", base, count)
