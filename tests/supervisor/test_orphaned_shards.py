"""nh.supervisor.handover.orphans: which shards get calls of orphans, and how long the orphans stand by."""

import contextlib
import itertools
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from nh.stats.layout import ShardStatus
from nh.supervisor.handover.orphans import OrphanedShards
from nh.supervisor.shards.backup import FdBudget, ShardBackup
from nh.supervisor.shards.routing import ShardMap, shard_of
from nh.supervisor.store.engine import StoredCall
from tests.supervisor.scripted_shard import ScriptedShard


class CallStore:
    """A store in memory."""

    def __init__(self) -> None:
        self.calls: dict[bytes, bytes] = {}
        self.deleted: list[bytes] = []

    def put(self, call_id: bytes, snapshot: bytes) -> None:
        self.calls[call_id] = snapshot

    def delete(self, call_id: bytes) -> None:
        self.calls.pop(call_id, None)
        self.deleted.append(call_id)


class House:
    """Backups of shards, and the orphans of an earlier run."""

    def __init__(self, shards: int, orphans: list[ScriptedShard]) -> None:
        self.store = CallStore()
        self.shard_map = ShardMap(shards)
        self.backups = [
            ShardBackup(ShardStatus(), FdBudget(0), store=self.store, shard=shard, shard_map=self.shard_map)
            for shard in range(shards)
        ]
        self.shards = orphans
        self.orphans = OrphanedShards([shard.orphan for shard in orphans], self.backups)

    def load(self, *call_ids: bytes) -> list[bytes]:
        """Have calls in the store; returns those that nobody claims, which are restored by their hash."""
        unclaimed = []
        for call_id in call_ids:
            self.store.calls[call_id] = b"stored"
            if not self.orphans.claims(StoredCall(call_id, b"stored", 0.0)):
                unclaimed.append(call_id)
                self.backups[shard_of(call_id, len(self.backups))].save(call_id, b"stored")
        return unclaimed

    def calls(self) -> list[dict[bytes, bytes]]:
        return [dict(backup.calls) for backup in self.backups]

    def close(self) -> None:
        self.orphans.close()
        for backup in self.backups:
            backup.close()
        for shard in self.shards:
            shard.close()


@contextlib.contextmanager
def house_of(number: int, *shards: ScriptedShard) -> Iterator[House]:
    house = House(number, list(shards))
    try:
        yield house
    finally:
        house.close()


@pytest.fixture(autouse=True)
def _nothing_leaks(no_descriptor_leaks: None) -> None:
    """Descriptors that are handed over are closed exactly once."""


def names(shard: int, shards: int, number: int = 2) -> list[bytes]:
    found = (b"call-%d" % n for n in itertools.count())
    return list(itertools.islice((name for name in found if shard_of(name, shards) == shard), number))


def snapshots(*call_ids: bytes) -> Mapping[bytes, bytes]:
    return {call_id: b"of " + call_id for call_id in call_ids}


# --- where calls go -------------------------------------------------------------------------------


def test_calls_come_to_the_place_of_their_shards_number_with_their_sockets() -> None:
    calls = [snapshots(*names(shard, 2)) for shard in range(2)]
    with house_of(2, *(ScriptedShard(shard, 2, calls[shard]) for shard in range(2))) as house:
        house.orphans.transfer_to(0)
        assert house.calls() == [calls[0], {}]
        assert not house.shards[1].handed_over, "it relays until its successor is there"
        house.orphans.transfer_to(1)
        assert house.calls() == calls
        for backup, shard in zip(house.backups, house.shards, strict=True):
            assert list(backup.sockets) == list(shard.endpoints.values())
        assert house.store.calls == {**calls[0], **calls[1]}


def test_calls_stay_at_their_place_though_new_ones_of_their_names_would_be_elsewhere() -> None:
    elsewhere = names(2, 3)
    with house_of(3, ScriptedShard(0, 2, snapshots(*elsewhere))) as house:
        house.orphans.transfer_to(0)
        assert list(house.backups[0].calls) == elsewhere
        assert [house.shard_map.find(call_id) for call_id in elsewhere] == [0, 0]


def test_calls_of_shards_for_whom_there_is_no_place_are_spread_as_new_ones() -> None:
    calls = [*names(0, 2), *names(1, 2)]
    with house_of(2, ScriptedShard(7, 8, snapshots(*calls))) as house:
        house.orphans.transfer_to(1)
        assert [list(backup.calls) for backup in house.backups] == [names(0, 2), names(1, 2)]


def test_of_two_shards_of_one_number_one_has_the_place_and_the_other_is_spread() -> None:
    first, second = names(0, 1, 2)
    shards = (ScriptedShard(0, 1, snapshots(first)), ScriptedShard(0, 1, snapshots(second)))
    with house_of(1, *shards) as house:
        house.orphans.transfer_to(0)
        assert set(house.backups[0].calls) == {first, second}


def test_a_call_that_two_shards_have_is_restored_once() -> None:
    """Their supervisor was killed after one had taken it from the other, before that one departed."""
    (call, *_) = names(0, 2)
    shards = (ScriptedShard(1, 2, snapshots(call)), ScriptedShard(1, 2, {call: b"of the other"}))
    with house_of(2, *shards) as house:
        house.orphans.transfer_to(0)
        house.orphans.transfer_to(1)
        assert house.calls() == [{}, snapshots(call)]
        assert house.shard_map.find(call) == 1
        for shard in range(2):
            house.orphans.confirm(shard, nothing_restored=False)
        assert all(shard.departed for shard in shards)


def test_numbers_of_sessions_advance_past_all_that_are_known() -> None:
    shards = (ScriptedShard(0, 2, {}, known_session=7), ScriptedShard(1, 2, {}, known_session=12))
    with house_of(2, *shards) as house:
        assert house.orphans.known_session == 12
    with house_of(2) as house:
        assert house.orphans.known_session == 0


# --- the store ------------------------------------------------------------------------------------


def test_what_a_shard_says_of_a_call_counts_and_not_the_store() -> None:
    known, over = names(0, 2)
    with house_of(2, ScriptedShard(0, 2, snapshots(known))) as house:
        assert house.load(known, over) == []
        house.orphans.transfer_to(0)
        assert house.calls() == [snapshots(known), {}]
        assert house.store.calls == snapshots(known)
        assert house.store.deleted == [over]


def test_calls_of_a_shard_that_is_gone_come_from_the_store() -> None:
    (alive, *_), (dead, *_) = names(0, 2), names(1, 2)
    with house_of(2, ScriptedShard(0, 2, snapshots(alive))) as house:
        assert house.load(alive, dead) == [dead]
        for shard in range(2):
            house.orphans.transfer_to(shard)
        assert house.calls() == [snapshots(alive), {dead: b"stored"}]


def test_a_call_that_was_not_where_its_name_says_is_not_restored_twice() -> None:
    """After nh shards a call may be in shard 0 though its name is of shard 1, and that one be dead."""
    (moved, *_) = names(1, 2)
    with house_of(2, ScriptedShard(0, 2, snapshots(moved))) as house:
        assert house.load(moved) == [moved]
        house.orphans.transfer_to(1)
        house.orphans.transfer_to(0)
        assert house.calls() == [snapshots(moved), {}]
        assert house.shard_map.find(moved) == 0
        assert house.store.calls == snapshots(moved)


def test_calls_of_a_shard_that_is_lost_in_the_middle_come_from_the_store() -> None:
    said, unsaid = names(0, 1)
    with house_of(1, ScriptedShard(0, 1, snapshots(said), last_words=b"")) as house:
        house.load(said, unsaid)
        assert house.orphans.transfer_to(0) == {}
        assert house.calls() == [{**snapshots(said), unsaid: b"stored"}]


def test_a_shard_that_talks_nonsense_is_ended_because_others_have_its_calls() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        shard = ScriptedShard(0, 1, {}, last_words=b"\xc1", pid=process.pid)
        with house_of(1, shard) as house:
            house.orphans.transfer_to(0)
            assert process.wait(10) < 0
            assert shard.is_left


# --- standing by ----------------------------------------------------------------------------------


def test_a_shard_departs_when_its_place_has_restored_its_calls_and_not_before() -> None:
    shards = [ScriptedShard(shard, 2, snapshots(*names(shard, 2))) for shard in range(2)]
    with house_of(2, *shards) as house:
        assert house.orphans.pending
        house.orphans.transfer_to(0)
        house.orphans.transfer_to(1)
        assert not any(shard.departed for shard in shards)
        assert house.orphans.confirm(0, nothing_restored=False)
        assert [shard.departed for shard in shards] == [True, False]
        assert house.orphans.confirm(1, nothing_restored=False)
        assert shards[1].departed
        assert not house.orphans.pending


def test_a_shard_whose_calls_are_spread_departs_when_all_places_are_settled() -> None:
    shard = ScriptedShard(5, 6, snapshots(b"call"))
    with house_of(2, shard) as house:
        house.orphans.transfer_to(0)
        house.orphans.confirm(0, nothing_restored=False)
        assert not shard.departed
        house.orphans.confirm(1, nothing_restored=False)
        assert shard.departed


def test_a_shard_of_whose_calls_none_could_be_restored_goes_on() -> None:
    shard = ScriptedShard(0, 1, snapshots(b"call"))
    with house_of(1, shard) as house:
        house.orphans.transfer_to(0)
        assert not house.orphans.confirm(0, nothing_restored=True), "its calls are not lost"
        assert not shard.departed
        assert shard.is_left


def test_shards_whose_calls_are_spread_go_on_if_a_place_can_restore_none_of_them() -> None:
    shard = ScriptedShard(2, 3, snapshots(b"call"))
    with house_of(2, shard) as house:
        house.orphans.transfer_to(0)
        house.orphans.transfer_to(1)
        assert not house.orphans.confirm(0, nothing_restored=True), "its calls are not lost"
        assert house.orphans.confirm(1, nothing_restored=False)
        assert not shard.departed
        assert shard.is_left


def test_calls_without_a_shard_that_had_them_are_lost_if_they_cannot_be_restored() -> None:
    with house_of(1) as house:
        assert house.orphans.confirm(0, nothing_restored=True)


def test_a_shard_whose_snapshots_are_not_read_is_left_alone() -> None:
    call, other = names(0, 1)
    shard = ScriptedShard(0, 1, snapshots(call), snapshot_version=99)
    with house_of(1, shard) as house:
        assert shard.is_left
        assert house.load(call, other) == [], "they are that shard's"
        assert house.orphans.transfer_to(0) == {}
        assert house.calls() == [{}]
        assert house.store.calls == {call: b"stored", other: b"stored"}
        assert not house.orphans.pending


def test_who_has_not_departed_is_left_in_the_end() -> None:
    shard = ScriptedShard(0, 1, snapshots(b"call"))
    with house_of(1, shard) as house:
        house.orphans.transfer_to(0)
        house.orphans.close()
        assert shard.is_left


# --- counters -------------------------------------------------------------------------------------


def test_counters_go_with_the_calls_and_those_of_surplus_shards_to_the_first_place() -> None:
    shards = (
        ScriptedShard(0, 3, {}, counters={"packets_in": 1}),
        ScriptedShard(1, 3, {}, counters={"packets_in": 10, "bytes_in": 5}),
        ScriptedShard(2, 3, {}, counters={"packets_in": 100}),
    )
    with house_of(2, *shards) as house:
        assert house.orphans.transfer_to(1) == {"packets_in": 10, "bytes_in": 5}
        assert house.orphans.transfer_to(0) == {"packets_in": 101}


def test_a_second_process_in_a_place_gets_what_the_first_one_got_until_one_has_restored() -> None:
    with house_of(1, ScriptedShard(0, 1, snapshots(b"call"), counters={"packets_in": 3})) as house:
        for _ in range(2):
            assert house.orphans.transfer_to(0) == {"packets_in": 3}
            assert house.calls() == [snapshots(b"call")]
        house.orphans.confirm(0, nothing_restored=False)
        assert house.orphans.transfer_to(0) == {}
