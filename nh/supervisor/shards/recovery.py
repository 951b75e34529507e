"""What a new shard process gets of the backup, and which call is left out because shards die of it.

The first successor gets everything. If it dies before it is ready, the next one sends
Restoring before each call, so that the call of which it dies is known. A call of which SUSPECT_DEATHS such
processes died is dropped: it would take all others with it. A death at any other moment costs no call.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from nh.calls.media import Endpoint
from nh.ipc.backup_messages import BackupMessage, DropCall, parts
from nh.ipc.fd_passing import batches
from nh.ipc.link_messages import (
    Restore,
    RestoreCall,
    Restored,
    Restoring,
    TakeFlows,
    TakeSockets,
    ToShard,
)
from nh.logs.lines import about
from nh.printable import counted, short_id
from nh.stats.layout import ShardStatus
from nh.supervisor.shards.backup import ProtocolViolation, ShardBackup
from nh.supervisor.store.packing import Held, plain

logger = logging.getLogger(__name__)

SUSPECT_DEATHS: Final = 2
"""A call is dropped after so many processes died while they restored it."""


class Orphans(Protocol):
    """The shards of an earlier run that still have calls: OrphanedShards."""

    @property
    def pending(self) -> bool:
        """Whether any of them has calls that are not yet restored here."""

    @property
    def moving(self) -> Sequence[int]:
        """Descriptors of their maps in the kernel, while flows are to move from them; none otherwise."""

    def transfer_to(self, shard: int) -> Mapping[str, int | float]:
        """Transfer an orphan's calls to a shard's backup; returns the counters that go with them."""

    def confirm(self, shard: int, *, nothing_restored: bool) -> bool:
        """A shard has restored its calls; returns whether those that it could not restore are lost."""


class RecordSink(Protocol):
    """Takes the records of calls: nh.supervisor.records."""

    def add(self, call_id: bytes, record: bytes) -> None:
        """A call has ended, and this is its record."""

    def add_lost(self, call_id: bytes, shard: int) -> None:
        """A call is lost, and only its call-id is known."""


class SlotRecovery:
    """The RecoverySource (nh.supervisor.shards.protocols) of one shard.

    Args:
        shard: its number.
        backup: its sockets and calls.
        status: where restored and lost calls are counted.
        orphans: shards of an earlier run, which may have calls for this shard; None: there are none.
        records: takes the records of calls that have ended; None: nothing does.

    Attributes:
        recorded: the number of the latest record that the shard's process sent; 0: there was none.
    """

    def __init__(
        self,
        shard: int,
        backup: ShardBackup,
        status: ShardStatus,
        orphans: Orphans | None,
        records: RecordSink | None = None,
    ) -> None:
        self.backup = backup
        self.recorded = 0
        self._records = records
        self._shard = shard
        self._status = status
        self._orphans = orphans
        self._report_each = False
        self._suspects: Counter[bytes] = Counter()
        self._sent: list[bytes] | None = None  # call-ids that the process got; None: it is ready
        self._at: int | None = None

    def begin(self) -> Iterator[tuple[ToShard, list[int]]]:
        """See RecoverySource."""
        restore = Restore(report_each=self._report_each)
        if self._orphans is not None:
            counters = dict(self._orphans.transfer_to(self._shard))
            restore = msgspec.structs.replace(restore, counters=counters, shared_ports=self._orphans.pending)
        calls = self.backup.saved
        self._sent, self._at = [call_id for call_id, _, _ in calls], None
        self.recorded = 0
        sockets = list(self.backup.sockets.items())
        return self._messages(sockets, calls, restore)

    def back_up(self, messages: Sequence[BackupMessage], fds: list[int]) -> None:
        """See RecoverySource."""
        self.backup.apply(messages, fds)
        for message in messages:
            if type(message) is DropCall and message.record and self._records is not None:
                self.recorded = message.number
                self._records.add(message.call_id, message.record)

    def restoring(self, message: Restoring) -> None:
        """See RecoverySource."""
        if self._sent is None or not 0 <= message.call <= len(self._sent):
            raise ProtocolViolation(f"it restores call {message.call}, which it did not get")
        self._at = message.call

    def restored(self, message: Restored) -> None:
        """See RecoverySource."""
        if message.restored or message.failed:
            logger.info(
                "shard %d has restored %s; %d could not be restored",
                self._shard,
                counted(message.restored, "call"),
                message.failed,
            )
        self._status.calls_restored += message.restored
        lost = self._orphans is None or self._orphans.confirm(
            self._shard, nothing_restored=message.failed > 0 == message.restored
        )
        if lost:
            self._status.calls_lost += message.failed

    def ready(self) -> None:
        """See RecoverySource."""
        self._report_each = False
        self._suspects.clear()
        self._sent = None

    def died(self) -> None:
        """See RecoverySource."""
        self.backup.shard_died()
        sent, self._sent = self._sent, None
        if not sent:
            return
        self._report_each = True
        if self._at is not None and self._at < len(sent):
            self._suspect(sent[self._at])

    def _suspect(self, call_id: bytes) -> None:
        self._suspects[call_id] += 1
        if self._suspects[call_id] >= SUSPECT_DEATHS:
            logger.error(
                "call '%s' is lost: shard %d died %d times while it restored the call",
                short_id(call_id),
                self._shard,
                self._suspects.pop(call_id),
                extra=about(call_id),
            )
            self.backup.drop(call_id)
            self._status.calls_lost += 1
            if self._records is not None:
                self._records.add_lost(call_id, self._shard)

    def _messages(
        self,
        sockets: list[tuple[Endpoint, int]],
        calls: list[tuple[bytes, Held, bool]],
        restore: Restore,
    ) -> Iterator[tuple[ToShard, list[int]]]:
        for some in batches(sockets):
            yield TakeSockets(tuple(endpoint for endpoint, _ in some)), [fd for _, fd in some]
        if self._orphans is not None and self._orphans.moving:
            yield TakeFlows(), list(self._orphans.moving)
        for call_id, snapshot, of_this_run in calls:
            for _, data, last in parts(plain(snapshot)):
                yield RestoreCall(call_id, data, last, of_this_run), []
        yield restore, []
