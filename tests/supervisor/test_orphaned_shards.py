"""nh.supervisor.orphans: which shards get calls of orphans, and how long the orphans stand by."""

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from nh.stats.layout import ShardStatus
from nh.supervisor.orphans.orphaned_shards import OrphanedShards
from nh.supervisor.shards.backup import ShardBackup
from nh.supervisor.shards.fd_budget import FdBudget
from nh.supervisor.shards.routing import ShardMap, shard_of
from nh.supervisor.store.engine import StoredCall
from nh.supervisor.store.packing import Packed
from tests.supervisor.scripted_shard import ScriptedShard
from tools.harness.waiting import TIMEOUT_S


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

    def hold_packed(self, call_id: bytes, snapshot: bytes, packed: Packed) -> None:
        raise NotImplementedError


class OrphansTestbed:
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
        """Store calls; returns those that no orphan claims, which are restored by their hash."""
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
def orphans_testbed(number: int, *shards: ScriptedShard) -> Iterator[OrphansTestbed]:
    testbed = OrphansTestbed(number, list(shards))
    try:
        yield testbed
    finally:
        testbed.close()


@pytest.fixture(autouse=True)
def _nothing_leaks(no_descriptor_leaks: None) -> None:
    """Descriptors that are handed over are closed exactly once."""


def call_ids_of(shard: int, shards: int, number: int = 2) -> list[bytes]:
    found = (b"call-%d" % n for n in itertools.count())
    return list(itertools.islice((name for name in found if shard_of(name, shards) == shard), number))


def snapshots(*call_ids: bytes) -> Mapping[bytes, bytes]:
    return {call_id: b"of " + call_id for call_id in call_ids}


# --- which shards get the calls ------------------------------------------------------------------


def test_calls_go_to_the_shard_of_the_same_number_with_their_sockets() -> None:
    calls = [snapshots(*call_ids_of(shard, 2)) for shard in range(2)]
    with orphans_testbed(2, *(ScriptedShard(shard, 2, calls[shard]) for shard in range(2))) as testbed:
        testbed.orphans.transfer_to(0)
        assert testbed.calls() == [calls[0], {}]
        assert not testbed.shards[1].transferred, "it relays until its successor is there"
        testbed.orphans.transfer_to(1)
        assert testbed.calls() == calls
        for backup, shard in zip(testbed.backups, testbed.shards, strict=True):
            assert list(backup.sockets) == list(shard.endpoints.values())
        assert testbed.store.calls == {**calls[0], **calls[1]}


def test_calls_stay_with_their_number_though_their_call_ids_hash_to_another_shard() -> None:
    elsewhere = call_ids_of(2, 3)
    with orphans_testbed(3, ScriptedShard(0, 2, snapshots(*elsewhere))) as testbed:
        testbed.orphans.transfer_to(0)
        assert list(testbed.backups[0].calls) == elsewhere
        assert [testbed.shard_map.find(call_id) for call_id in elsewhere] == [0, 0]


def test_calls_of_surplus_orphans_go_where_their_call_ids_hash_to() -> None:
    calls = [*call_ids_of(0, 2), *call_ids_of(1, 2)]
    with orphans_testbed(2, ScriptedShard(7, 8, snapshots(*calls))) as testbed:
        testbed.orphans.transfer_to(1)
        assert [list(backup.calls) for backup in testbed.backups] == [call_ids_of(0, 2), call_ids_of(1, 2)]


def test_of_two_orphans_of_one_number_one_is_surplus() -> None:
    first, second = call_ids_of(0, 1, 2)
    shards = (ScriptedShard(0, 1, snapshots(first)), ScriptedShard(0, 1, snapshots(second)))
    with orphans_testbed(1, *shards) as testbed:
        testbed.orphans.transfer_to(0)
        assert set(testbed.backups[0].calls) == {first, second}


def test_a_call_that_two_orphans_have_is_restored_once() -> None:
    """Their supervisor was killed after one had taken it from the other, before that one was dismissed."""
    (call, *_) = call_ids_of(0, 2)
    shards = (ScriptedShard(1, 2, snapshots(call)), ScriptedShard(1, 2, {call: b"of the other"}))
    with orphans_testbed(2, *shards) as testbed:
        testbed.orphans.transfer_to(0)
        testbed.orphans.transfer_to(1)
        assert testbed.calls() == [{}, snapshots(call)]
        assert testbed.shard_map.find(call) == 1
        for shard in range(2):
            testbed.orphans.confirm(shard, nothing_restored=False)
        assert all(shard.dismissed for shard in shards)


def test_numbers_of_sessions_advance_past_all_that_are_known() -> None:
    shards = (ScriptedShard(0, 2, {}, known_session=7), ScriptedShard(1, 2, {}, known_session=12))
    with orphans_testbed(2, *shards) as testbed:
        assert testbed.orphans.known_session == 12
    with orphans_testbed(2) as testbed:
        assert testbed.orphans.known_session == 0


# --- the store ------------------------------------------------------------------------------------


def test_the_snapshot_of_an_orphan_counts_and_not_the_stored_one() -> None:
    known, over = call_ids_of(0, 2)
    with orphans_testbed(2, ScriptedShard(0, 2, snapshots(known))) as testbed:
        assert testbed.load(known, over) == []
        testbed.orphans.transfer_to(0)
        assert testbed.calls() == [snapshots(known), {}]
        assert testbed.store.calls == snapshots(known)
        assert testbed.store.deleted == [over]


def test_calls_of_a_dead_shard_come_from_the_store() -> None:
    (alive, *_), (dead, *_) = call_ids_of(0, 2), call_ids_of(1, 2)
    with orphans_testbed(2, ScriptedShard(0, 2, snapshots(alive))) as testbed:
        assert testbed.load(alive, dead) == [dead]
        for shard in range(2):
            testbed.orphans.transfer_to(shard)
        assert testbed.calls() == [snapshots(alive), {dead: b"stored"}]


def test_a_call_that_was_not_where_its_call_id_hashes_to_is_restored_once() -> None:
    """After nh shards a call may be in shard 0 though its name is of shard 1, and that one be dead."""
    (moved, *_) = call_ids_of(1, 2)
    with orphans_testbed(2, ScriptedShard(0, 2, snapshots(moved))) as testbed:
        assert testbed.load(moved) == [moved]
        testbed.orphans.transfer_to(1)
        testbed.orphans.transfer_to(0)
        assert testbed.calls() == [snapshots(moved), {}]
        assert testbed.shard_map.find(moved) == 0
        assert testbed.store.calls == snapshots(moved)


def test_calls_of_an_orphan_that_dies_during_the_transfer_come_from_the_store() -> None:
    said, unsaid = call_ids_of(0, 1)
    with orphans_testbed(1, ScriptedShard(0, 1, snapshots(said), last_words=b"")) as testbed:
        testbed.load(said, unsaid)
        assert testbed.orphans.transfer_to(0) == {}
        assert testbed.calls() == [{**snapshots(said), unsaid: b"stored"}]


def test_an_orphan_that_sends_invalid_messages_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        shard = ScriptedShard(0, 1, {}, last_words=b"\xc1", pid=process.pid)
        with orphans_testbed(1, shard) as testbed:
            testbed.orphans.transfer_to(0)
            assert process.wait(TIMEOUT_S) < 0
            assert shard.is_left


# --- standing by ----------------------------------------------------------------------------------


def test_an_orphan_is_dismissed_when_its_calls_are_restored_and_not_before() -> None:
    shards = [ScriptedShard(shard, 2, snapshots(*call_ids_of(shard, 2))) for shard in range(2)]
    with orphans_testbed(2, *shards) as testbed:
        assert testbed.orphans.pending
        testbed.orphans.transfer_to(0)
        testbed.orphans.transfer_to(1)
        assert not any(shard.dismissed for shard in shards)
        assert testbed.orphans.confirm(0, nothing_restored=False)
        assert [shard.dismissed for shard in shards] == [True, False]
        assert testbed.orphans.confirm(1, nothing_restored=False)
        assert shards[1].dismissed
        assert not testbed.orphans.pending


def test_a_surplus_orphan_is_dismissed_when_all_shards_have_restored_their_calls() -> None:
    shard = ScriptedShard(5, 6, snapshots(b"call"))
    with orphans_testbed(2, shard) as testbed:
        testbed.orphans.transfer_to(0)
        testbed.orphans.confirm(0, nothing_restored=False)
        assert not shard.dismissed
        testbed.orphans.confirm(1, nothing_restored=False)
        assert shard.dismissed


def test_an_orphan_of_whose_calls_none_could_be_restored_goes_on() -> None:
    shard = ScriptedShard(0, 1, snapshots(b"call"))
    with orphans_testbed(1, shard) as testbed:
        testbed.orphans.transfer_to(0)
        assert not testbed.orphans.confirm(0, nothing_restored=True), "its calls are not lost"
        assert not shard.dismissed
        assert shard.is_left


def test_surplus_orphans_go_on_if_a_shard_can_restore_none_of_their_calls() -> None:
    shard = ScriptedShard(2, 3, snapshots(b"call"))
    with orphans_testbed(2, shard) as testbed:
        testbed.orphans.transfer_to(0)
        testbed.orphans.transfer_to(1)
        assert not testbed.orphans.confirm(0, nothing_restored=True), "its calls are not lost"
        assert testbed.orphans.confirm(1, nothing_restored=False)
        assert not shard.dismissed
        assert shard.is_left


def test_calls_without_an_orphan_are_lost_if_they_cannot_be_restored() -> None:
    with orphans_testbed(1) as testbed:
        assert testbed.orphans.confirm(0, nothing_restored=True)


def test_an_orphan_whose_snapshots_are_not_read_is_left_alone() -> None:
    call, other = call_ids_of(0, 1)
    shard = ScriptedShard(0, 1, snapshots(call), snapshot_version=99)
    with orphans_testbed(1, shard) as testbed:
        assert shard.is_left
        assert testbed.load(call, other) == [], "they are that orphan's"
        assert testbed.orphans.transfer_to(0) == {}
        assert testbed.calls() == [{}]
        assert testbed.store.calls == {call: b"stored", other: b"stored"}
        assert not testbed.orphans.pending


def test_an_orphan_that_was_not_dismissed_is_disconnected_at_the_end() -> None:
    shard = ScriptedShard(0, 1, snapshots(b"call"))
    with orphans_testbed(1, shard) as testbed:
        testbed.orphans.transfer_to(0)
        testbed.orphans.close()
        assert shard.is_left


# --- counters -------------------------------------------------------------------------------------


def test_counters_go_with_the_calls_and_those_of_surplus_orphans_to_the_first_shard() -> None:
    shards = (
        ScriptedShard(0, 3, {}, counters={"packets_in": 1}),
        ScriptedShard(1, 3, {}, counters={"packets_in": 10, "bytes_in": 5}),
        ScriptedShard(2, 3, {}, counters={"packets_in": 100}),
    )
    with orphans_testbed(2, *shards) as testbed:
        assert testbed.orphans.transfer_to(1) == {"packets_in": 10, "bytes_in": 5}
        assert testbed.orphans.transfer_to(0) == {"packets_in": 101}


def test_a_second_process_of_a_shard_gets_what_the_first_one_got_until_one_has_restored_it() -> None:
    with orphans_testbed(1, ScriptedShard(0, 1, snapshots(b"call"), counters={"packets_in": 3})) as testbed:
        for _ in range(2):
            assert testbed.orphans.transfer_to(0) == {"packets_in": 3}
            assert testbed.calls() == [snapshots(b"call")]
        testbed.orphans.confirm(0, nothing_restored=False)
        assert testbed.orphans.transfer_to(0) == {}


def test_maps_whose_flows_move_are_held_until_all_shards_have_restored_their_calls(
    no_descriptor_leaks: None,
) -> None:
    """The orphans close theirs when they are dismissed, one after the other."""
    maps = os.pipe()
    status, shard_map = ShardStatus(), ShardMap(2)
    backups = [ShardBackup(status, FdBudget(0), shard=shard, shard_map=shard_map) for shard in range(2)]
    orphans = OrphanedShards([], backups, moving=maps)
    for fd in maps:
        os.close(fd)
    orphans.confirm(0, nothing_restored=False)
    assert len([os.fstat(fd) for fd in orphans.moving]) == len(maps)
    orphans.confirm(1, nothing_restored=False)
    assert not orphans.moving
    orphans.close()
    for backup in backups:
        backup.close()
