"""Snapshots in less memory: nothing is lost, nothing secret outlives its call, and no command waits."""

import itertools
import os
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from nh.calls.snapshots.version import SECRETS, VERSION
from nh.ipc.backup_messages import DropCall, SaveCall
from nh.ipc.link_messages import RestoreCall
from nh.stats import ShardStatus
from nh.supervisor.shards.backup import ShardBackup
from nh.supervisor.shards.fd_budget import FdBudget
from nh.supervisor.shards.packing_turns import PAUSE_S, PackingTurns
from nh.supervisor.shards.recovery import SlotRecovery
from nh.supervisor.shards.saved_calls import IN_A_ROW, PACK_AFTER_S
from nh.supervisor.store.packing import MAX_DICTIONARY_BYTES, Packed, SnapshotPacker, plain
from tests.profiles import examples
from tests.supervisor.fake_slots import FakeSlot
from tests.supervisor.manual_loop import ManualLoop

COMMON = os.urandom(900)
"""What the snapshots of calls have in common."""


def snapshot_of(number: int, *, secrets: bytes = b"") -> bytes:
    head = bytes((VERSION | SECRETS if secrets else VERSION,))
    return head + b"call-%d@host" % number + COMMON + secrets


def save(backup: ShardBackup, calls: Sequence[int]) -> None:
    for number in calls:
        backup.apply([SaveCall(b"%d" % number, snapshot_of(number))], [])


def pack_all(backup: ShardBackup, now: float) -> None:
    while backup.pack(now):
        pass


def are_packed(backup: ShardBackup) -> list[bool]:
    return [isinstance(snapshot, Packed) for _, snapshot, _ in backup.saved]


# --- what is packed -------------------------------------------------------------------------------


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=3000) | st.binary(min_size=1, max_size=20).map(lambda b: b * 99))
)
def test_a_packed_snapshot_is_the_snapshot_again(snapshots: list[bytes]) -> None:
    packer = SnapshotPacker()
    held = [packer.pack(snapshot) for snapshot in snapshots]
    assert [plain(each) for each in held] == snapshots


def test_snapshots_that_are_alike_take_a_fraction_and_those_that_are_not_stay_as_they_are() -> None:
    packer = SnapshotPacker()
    first, second = os.urandom(1000), snapshot_of(2)
    assert [packer.pack(first), packer.pack(second)] == [first, second]  # nothing is like them yet
    alike = packer.pack(snapshot_of(3))
    assert isinstance(alike, Packed)
    assert len(alike.data) < 100


def test_secrets_are_in_no_dictionary() -> None:
    packer = SnapshotPacker()
    secret = os.urandom(300)
    assert packer.pack(snapshot_of(1, secrets=secret)) == snapshot_of(1, secrets=secret)
    packer.pack(snapshot_of(2))
    with_secrets = packer.pack(snapshot_of(3, secrets=secret))
    assert isinstance(with_secrets, Packed)
    assert secret not in with_secrets.dictionary
    assert with_secrets.unpack() == snapshot_of(3, secrets=secret)


def test_the_dictionary_does_not_grow_for_ever() -> None:
    packer = SnapshotPacker()
    for _ in range(20):
        packer.pack(os.urandom(1000))
    packed = packer.pack(bytes(1000))
    assert isinstance(packed, Packed)
    assert len(packed.dictionary) <= MAX_DICTIONARY_BYTES


# --- when -----------------------------------------------------------------------------------------


def test_a_snapshot_is_packed_when_its_call_has_been_quiet() -> None:
    backup = ShardBackup(ShardStatus(), FdBudget(0))
    save(backup, range(3))
    assert not backup.pack(100.0)
    save(backup, [1])  # again
    backup.apply([DropCall(b"2")], [])
    assert not backup.pack(100.0 + PACK_AFTER_S - 0.1)
    assert are_packed(backup) == [False, False]
    pack_all(backup, 100.0 + PACK_AFTER_S)
    save(backup, [3])
    pack_all(backup, 200.0)
    pack_all(backup, 200.0 + PACK_AFTER_S)
    assert sum(are_packed(backup)) >= 2  # the first one is the dictionary
    assert backup.calls == {b"%d" % number: snapshot_of(number) for number in (0, 1, 3)}


def test_a_newer_snapshot_takes_the_place_of_a_packed_one() -> None:
    backup = ShardBackup(ShardStatus(), FdBudget(0))
    save(backup, range(3))
    pack_all(backup, 0.0)
    pack_all(backup, PACK_AFTER_S)
    newer = snapshot_of(1) + b"newer"
    backup.apply([SaveCall(b"1", newer)], [])
    assert backup.calls[b"1"] == newer
    pack_all(backup, 100.0)
    pack_all(backup, 200.0)
    assert backup.calls[b"1"] == newer
    backup.close()
    assert not backup.pack(300.0)


def test_a_call_that_is_saved_again_and_again_waits_once_until_it_is_quiet() -> None:
    backup = ShardBackup(ShardStatus(), FdBudget(0))
    save(backup, range(3))
    pack_all(backup, 0.0)
    for second in range(1, 10):
        save(backup, [1, 2])
        pack_all(backup, float(second))
    assert backup.packed == 0
    for second in range(10, 20):
        pack_all(backup, float(second))
    assert are_packed(backup) == [False, True, True]  # the first one is the dictionary
    assert backup.packed == 2


def test_a_shard_with_many_snapshots_to_pack_keeps_no_other_waiting() -> None:
    loop = ManualLoop()
    busy, other = slots = [FakeSlot(loop, number, 2, ShardStatus()) for number in range(2)]
    turns = PackingTurns(loop, slots)
    save(busy.recovery.backup, range(20 * IN_A_ROW))
    save(other.recovery.backup, range(IN_A_ROW))
    turns.begin()
    turns.begin()  # each backup is asked first once
    loop.advance(PACK_AFTER_S)
    turns.begin()
    loop.advance(4 * PAUSE_S)
    assert busy.recovery.backup.pack(loop.now())
    assert sum(are_packed(other.recovery.backup)) >= IN_A_ROW - 1


def test_a_turn_packs_a_few_and_the_next_process_gets_the_snapshots_themselves() -> None:
    loop, calls = ManualLoop(), range(5 * IN_A_ROW)
    slot = FakeSlot(loop, 0, 1, ShardStatus())
    save(slot.recovery.backup, calls)
    turns = PackingTurns(loop, [slot])
    turns.begin()
    loop.advance(PACK_AFTER_S)
    packed = []
    for _ in range(6):
        turns.begin()  # no more than the timer does
        packed.append(sum(are_packed(slot.recovery.backup)))
        loop.advance(PAUSE_S)
    assert all(after - before <= IN_A_ROW for before, after in itertools.pairwise(packed))
    assert packed[0] <= IN_A_ROW < packed[1] < packed[-1]
    loop.advance(60.0)
    turns.begin()
    assert sum(are_packed(slot.recovery.backup)) >= len(calls) - 1
    recovery = SlotRecovery(0, slot.recovery.backup, ShardStatus(), None)
    restored = [message for message, _ in recovery.begin() if isinstance(message, RestoreCall)]
    assert [each.snapshot for each in restored] == [snapshot_of(number) for number in calls]
