"""nh.supervisor.shards.routing: who has which calls, ports and limits."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.interfaces import Interface
from nh.calls.settings import RelaySettings
from nh.errors import ConfigError
from nh.supervisor.host.port_slices import MIN_PORTS, interface_slices, limits_share, port_slices
from nh.supervisor.shards.routing import ShardMap, shard_of

CALL_IDS = [f"{n:x}-{n * 7919}@10.0.{n % 256}.1".encode() for n in range(8000)]


@pytest.mark.parametrize("shards", [1, 2, 3, 8, 9, 20])
def test_calls_spread_evenly(shards: int) -> None:
    counts = Counter(shard_of(call_id, shards) for call_id in CALL_IDS)
    mean = len(CALL_IDS) / shards
    assert set(counts) == set(range(shards))
    # six standard deviations of a binomial distribution
    assert all(abs(count - mean) < 6 * mean**0.5 for count in counts.values())


@pytest.mark.parametrize("shards", [1, 2, 7, 8, 16])
def test_one_more_shard_takes_its_part_and_moves_no_other_call(shards: int) -> None:
    moved = [shard_of(c, shards + 1) for c in CALL_IDS if shard_of(c, shards) != shard_of(c, shards + 1)]
    assert set(moved) == {shards}
    expected = len(CALL_IDS) / (shards + 1)
    assert abs(len(moved) - expected) < 6 * expected**0.5


def test_calls_stay_where_they_are_from_release_to_release() -> None:
    assert [shard_of(b"a\0\xff", n) for n in (1, 2, 8, 9, 256)] == [0, 0, 6, 6, 140]


@given(st.binary(max_size=200), st.integers(1, 256))
def test_every_call_id_has_a_shard(call_id: bytes, shards: int) -> None:
    assert 0 <= shard_of(call_id, shards) < shards


@given(st.integers(1024, 65534), st.integers(0, 65535), st.integers(1, 40))
def test_slices_are_even_aligned_contiguous_and_leave_out_next_to_nothing(
    low: int, extent: int, shards: int
) -> None:
    high = min(65535, low + extent)
    if high - low + 1 < shards * MIN_PORTS + 2:
        return
    slices = port_slices(low, high, shards)
    assert len(slices) == shards
    assert all(first % 2 == 0 and last % 2 == 1 for first, last in slices)
    assert all(after[0] == before[1] + 1 for before, after in itertools.pairwise(slices))
    assert slices[0][0] - low in (0, 1)
    assert high - slices[-1][1] in (0, 1)
    sizes = [last - first + 1 for first, last in slices]
    assert max(sizes) - min(sizes) <= 2


def test_a_range_too_small_for_the_shards_is_refused() -> None:
    assert port_slices(10000, 10007, 2) == ((10000, 10003), (10004, 10007))
    with pytest.raises(ConfigError, match="10001-10007 is too small for 2 shards"):
        port_slices(10001, 10007, 2)


def test_limits_are_split_rounding_up_but_not_those_of_one_group() -> None:
    share = limits_share(RelaySettings(max_calls=10, max_sockets=0, max_sockets_in_group=6), 3)
    assert (share.max_calls, share.max_sockets, share.max_sockets_in_group) == (4, 0, 6)


def test_each_interface_with_ports_of_its_own_is_sliced_by_itself() -> None:
    plain = Interface("priv", "10.0.0.1", "10.0.0.1")
    sliced = Interface("pub", "192.0.2.1", "192.0.2.1", (20001, 20013))
    assert interface_slices([plain, sliced], 2) == (
        (plain, Interface("pub", "192.0.2.1", "192.0.2.1", (20002, 20007))),
        (plain, Interface("pub", "192.0.2.1", "192.0.2.1", (20008, 20013))),
    )
    assert interface_slices([], 2) == ((), ())
    with pytest.raises(ConfigError, match=r"interface pub: .*too small for 9 shards"):
        interface_slices([sliced], 9)


# --- ShardMap -------------------------------------------------------------------------------------


def call_hashed_to(shard: int, shards: int) -> bytes:
    names = (b"call-%d" % number for number in itertools.count())
    return next(name for name in names if shard_of(name, shards) == shard)


def test_a_new_call_is_where_its_call_id_hashes_to() -> None:
    shards = ShardMap(3)
    assert [shards.find(call_hashed_to(shard, 3)) for shard in range(3)] == [0, 1, 2]


def test_a_call_that_came_to_another_shard_is_there_until_it_has_gone() -> None:
    shards, call = ShardMap(3), call_hashed_to(2, 3)
    shards.add(call, 0)
    assert shards.find(call) == 0
    shards.remove(call, 0)
    assert shards.find(call) == 2


def test_what_another_shard_says_of_a_call_that_it_has_not_changes_nothing() -> None:
    shards, call = ShardMap(3), call_hashed_to(2, 3)
    shards.add(call, 0)
    shards.remove(call, 1)
    shards.remove(call, 2)
    assert shards.find(call) == 0


def test_a_call_that_comes_home_is_where_its_call_id_hashes_to() -> None:
    shards, call = ShardMap(2), call_hashed_to(1, 2)
    shards.add(call, 0)
    shards.remove(call, 0)
    shards.add(call, 1)
    assert shards.find(call) == 1
    shards.remove(call, 1)
    assert shards.find(call) == 1


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5))))
def test_each_call_is_where_it_came_to_last(moves: list[tuple[int, int]]) -> None:
    """Calls go before they come elsewhere, as backups say it."""
    shards = ShardMap(3)
    where: dict[bytes, int] = {}
    for shard, number in moves:
        call = b"call-%d" % number
        if call in where:
            shards.remove(call, where.pop(call))
        else:
            shards.add(call, shard)
            where[call] = shard
    for number in range(6):
        call = b"call-%d" % number
        assert shards.find(call) == where.get(call, shard_of(call, 3))
