"""Any order of saves, ends of calls and packing: backup and store have the latest snapshot of each call."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nh.calls.snapshots.version import VERSION
from nh.ipc.backup_messages import PART_BYTES, DropCall, SaveCall, parts
from nh.stats import ShardStatus
from nh.supervisor.shards.backup import ProtocolViolation, ShardBackup
from nh.supervisor.shards.fd_budget import FdBudget
from nh.supervisor.shards.routing import ShardMap, shard_of
from nh.supervisor.shards.saved_calls import PACK_AFTER_S
from nh.supervisor.store.packing import Packed
from tests.profiles import examples

CALL_IDS = st.sampled_from([b"call-%d" % number for number in range(6)])
SHARD, SHARDS = 1, 3
COMMON = bytes(range(256)) * 3


class FakeStore:
    """A store, to which a packed snapshot must be the one that it has."""

    def __init__(self) -> None:
        self.snapshots: dict[bytes, bytes] = {}

    def put(self, call_id: bytes, snapshot: bytes) -> None:
        self.snapshots[call_id] = snapshot

    def delete(self, call_id: bytes) -> None:
        self.snapshots.pop(call_id, None)

    def hold_packed(self, call_id: bytes, snapshot: bytes, packed: Packed) -> None:
        assert packed.unpack() == snapshot == self.snapshots[call_id]


class BackupMachine(RuleBasedStateMachine):
    """A plain dictionary has the latest snapshot of each call, in the order in which the calls began."""

    def __init__(self) -> None:
        super().__init__()
        self.status = ShardStatus()
        self.store = FakeStore()
        self.shard_map = ShardMap(SHARDS)
        self.backup = ShardBackup(
            self.status, FdBudget(0), store=self.store, shard=SHARD, shard_map=self.shard_map
        )
        self.latest: dict[bytes, bytes] = {}
        self.saves = 0
        self.now = 1000.0

    def next_snapshot(self, length: int = 0) -> bytes:
        self.saves += 1
        return bytes((VERSION,)) + b"snapshot %d " % self.saves + COMMON + bytes(length)

    @rule(call_id=CALL_IDS)
    def save(self, call_id: bytes) -> None:
        self.latest[call_id] = snapshot = self.next_snapshot()
        self.backup.apply([SaveCall(call_id, snapshot)], [])

    @rule(call_id=CALL_IDS, of_earlier_run=st.booleans(), dies=st.booleans())
    def save_in_parts(self, call_id: bytes, of_earlier_run: bool, dies: bool) -> None:
        snapshot = self.next_snapshot(PART_BYTES)
        if of_earlier_run:
            self.backup.save(call_id, snapshot)
            self.latest[call_id] = snapshot
            return
        first, second = (SaveCall(call_id, data, part, last) for part, data, last in parts(snapshot))
        self.backup.apply([first], [])
        if dies:
            self.backup.shard_died()
            with pytest.raises(ProtocolViolation):
                self.backup.apply([second], [])
        else:
            self.backup.apply([second], [])
            self.latest[call_id] = snapshot

    @rule(call_id=CALL_IDS)
    def end(self, call_id: bytes) -> None:
        self.latest.pop(call_id, None)
        self.backup.apply([DropCall(call_id)], [])

    @rule(seconds=st.sampled_from([0.0, 0.5, PACK_AFTER_S, 60.0]))
    def pack(self, seconds: float) -> None:
        self.now += seconds
        while self.backup.pack(self.now):
            pass

    @invariant()
    def the_latest_snapshot_of_each_call_is_there(self) -> None:
        assert list(self.backup.calls.items()) == list(self.latest.items())
        assert self.store.snapshots == self.latest
        assert self.status.calls_saved == self.backup.call_count == len(self.latest)

    @invariant()
    def each_call_is_found_at_its_shard(self) -> None:
        for number in range(6):
            call_id = b"call-%d" % number
            shard = SHARD if call_id in self.latest else shard_of(call_id, SHARDS)
            assert self.shard_map.find(call_id) == shard

    def teardown(self) -> None:
        """Once no call changes any more, all but those that made the dictionary are packed."""
        for _ in range(4):
            self.pack(PACK_AFTER_S)
        self.the_latest_snapshot_of_each_call_is_there()
        self.backup.close()
        assert self.status.calls_saved == 0
        assert self.store.snapshots == self.latest, "the store keeps them"


TestAnySavesAndEnds = BackupMachine.TestCase
TestAnySavesAndEnds.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
