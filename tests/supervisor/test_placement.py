"""nh.supervisor.shards.placement: where each call is, whatever its name says."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from nh.supervisor.shards.placement import ShardMap
from nh.supervisor.shards.routing import shard_of


def call_at(place: int, places: int) -> bytes:
    names = (b"call-%d" % number for number in itertools.count())
    return next(name for name in names if shard_of(name, places) == place)


def test_a_new_call_is_where_its_name_says() -> None:
    placements = ShardMap(3)
    assert [placements.place_of(call_at(place, 3)) for place in range(3)] == [0, 1, 2]


def test_a_call_that_came_to_another_place_is_there_until_it_has_gone() -> None:
    placements, call = ShardMap(3), call_at(2, 3)
    placements.at(0).came(call)
    assert placements.place_of(call) == 0
    placements.at(0).went(call)
    assert placements.place_of(call) == 2


def test_what_another_place_says_of_a_call_that_it_has_not_changes_nothing() -> None:
    placements, call = ShardMap(3), call_at(2, 3)
    placements.at(0).came(call)
    placements.at(1).went(call)
    placements.at(2).went(call)
    assert placements.place_of(call) == 0


def test_a_call_that_comes_home_is_where_its_name_says() -> None:
    placements, call = ShardMap(2), call_at(1, 2)
    placements.at(0).came(call)
    placements.at(0).went(call)
    placements.at(1).came(call)
    assert placements.place_of(call) == 1
    placements.at(1).went(call)
    assert placements.place_of(call) == 1


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5))))
def test_each_call_is_where_it_came_to_last(moves: list[tuple[int, int]]) -> None:
    """Calls go before they come elsewhere, as keepers tell it."""
    placements = ShardMap(3)
    where: dict[bytes, int] = {}
    for place, number in moves:
        call = b"call-%d" % number
        if call in where:
            placements.at(where.pop(call)).went(call)
        else:
            placements.at(place).came(call)
            where[call] = place
    for number in range(6):
        call = b"call-%d" % number
        assert placements.place_of(call) == where.get(call, shard_of(call, 3))
