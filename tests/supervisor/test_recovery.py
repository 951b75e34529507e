"""nh.supervisor.shards.recovery: what the next process gets, and which call is left out."""

import os

import pytest

from nh.calls.media import Endpoint
from nh.ipc.backup_messages import PART_BYTES, DropCall, SaveCall, StoreSockets
from nh.ipc.fd_passing import MAX_FDS
from nh.ipc.link_messages import Restore, RestoreCall, Restored, Restoring, TakeSockets, ToShard
from nh.stats import ShardStatus
from nh.supervisor.shards.backup import ProtocolViolation, ShardBackup
from nh.supervisor.shards.fd_budget import FdBudget
from nh.supervisor.shards.recovery import SUSPECT_DEATHS, SlotRecovery


class Shard:
    """A shard whose processes the test plays."""

    def __init__(self, *call_ids: bytes) -> None:
        self.status = ShardStatus()
        self.backup = ShardBackup(self.status, FdBudget(1000))
        self.recovery = SlotRecovery(0, self.backup, self.status, None)
        for call_id in call_ids:
            self.recovery.back_up([SaveCall(call_id, b"how " + call_id + b" is")], [])

    def start(self) -> list[ToShard]:
        return [message for message, _ in self.recovery.begin()]

    def die_of(self, call: int | None) -> bool:
        """A process dies of its call of this number (None: before any); returns whether it reported each."""
        start = self.start()[-1]
        assert isinstance(start, Restore)
        if start.report_each and call is not None:
            for number in range(call + 1):
                self.recovery.restoring(Restoring(number))
        self.recovery.died()
        return start.report_each


def test_the_first_process_gets_nothing_but_restore() -> None:
    assert Shard().start() == [Restore()]


def test_the_next_process_gets_sockets_and_calls_and_then_restore() -> None:
    shard = Shard(b"a", b"b")
    endpoints = tuple(Endpoint("127.0.0.1", port) for port in range(10_000, 10_000 + MAX_FDS + 1))
    for endpoint in endpoints:
        shard.recovery.back_up([StoreSockets((endpoint,))], [os.open("/dev/null", os.O_RDONLY)])
    shard.recovery.died()
    given = list(shard.recovery.begin())
    assert [message for message, _ in given] == [
        TakeSockets(endpoints[:MAX_FDS]),
        TakeSockets(endpoints[MAX_FDS:]),
        RestoreCall(b"a", b"how a is", of_this_run=True),
        RestoreCall(b"b", b"how b is", of_this_run=True),
        Restore(),
    ]
    assert given[0][1] + given[1][1] == list(shard.backup.sockets.values())
    shard.backup.close()


def test_a_long_snapshot_goes_in_parts() -> None:
    shard = Shard()
    shard.backup.save(b"a", bytes(2 * PART_BYTES))
    assert [m.last for m in shard.start() if isinstance(m, RestoreCall)] == [False, True]


def test_a_process_is_told_which_snapshots_a_process_of_this_run_took() -> None:
    shard = Shard(b"a")
    shard.backup.save(b"stored", bytes(2 * PART_BYTES))

    def of_this_run() -> set[tuple[bytes, bool]]:
        return {(m.call_id, m.of_this_run) for m in shard.start() if isinstance(m, RestoreCall)}

    assert of_this_run() == {(b"a", True), (b"stored", False)}
    shard.recovery.back_up([DropCall(b"a"), SaveCall(b"a", b"another"), SaveCall(b"stored", b"ours")], [])
    assert of_this_run() == {(b"a", True), (b"stored", True)}


def test_a_call_of_which_shards_die_is_left_out_and_no_other() -> None:
    shard = Shard(b"a", b"poison", b"b")
    assert not shard.die_of(1)
    for _ in range(SUSPECT_DEATHS):
        assert list(shard.backup.calls) == [b"a", b"poison", b"b"]
        assert shard.die_of(1)
    assert list(shard.backup.calls) == [b"a", b"b"]
    assert shard.status.calls_lost == 1


def test_deaths_at_different_moments_cost_no_call() -> None:
    shard = Shard(b"a", b"b")
    for call in (0, 0, 1, None, 2, None, None):
        shard.die_of(call)
    assert len(shard.backup.calls) == 2


def test_once_a_shard_is_ready_no_call_is_suspected_any_more() -> None:
    shard = Shard(b"a")
    for _ in range(5):
        shard.die_of(None)
        shard.die_of(0)
        shard.start()
        shard.recovery.restored(Restored(restored=1))
        shard.recovery.ready()
        shard.recovery.died()
    assert (len(shard.backup.calls), shard.status.calls_restored) == (1, 5)
    assert shard.start()[-1] == Restore(report_each=False)


def test_a_shard_without_calls_may_die_as_often_as_it_likes() -> None:
    shard = Shard()
    for _ in range(5):
        assert not shard.die_of(None)


def test_a_call_that_the_process_did_not_get_is_not_restored() -> None:
    shard = Shard(b"a")
    with pytest.raises(ProtocolViolation):
        shard.recovery.restoring(Restoring(0))
    shard.start()
    with pytest.raises(ProtocolViolation):
        shard.recovery.restoring(Restoring(2))
