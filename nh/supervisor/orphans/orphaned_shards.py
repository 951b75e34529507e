"""The orphaned shards of an earlier supervisor, and which shards get their calls.

An orphan's calls go to the shard of the same number, if there is one, so that no call changes its shard
without need. Calls of further orphans go where their call-ids hash to. An orphan stands by after the
transfer, and relays its calls again unless the shards that got them have restored them.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

from nh.calls.media import Endpoint
from nh.ipc.fd_passing import close_all
from nh.printable import counted
from nh.supervisor.orphans.client import HandoverFailed, OrphanClient
from nh.supervisor.shards.backup import ShardBackup
from nh.supervisor.shards.routing import shard_of
from nh.supervisor.store.store import StoredCall

logger = logging.getLogger(__name__)


class EncodedRecordSink(Protocol):
    """Takes records: nh.supervisor.records."""

    def add_encoded(self, record: bytes) -> None:
        """The record of a call that has ended."""


Totals = dict[str, int | float]
"""Counters of a shard, by name."""


class OrphanedShards:
    """All orphans, from the start of nh until each of them is dismissed or left alone.

    Args:
        orphans: those that were found; they belong to this object.
        backups: the backup of each shard, by number.
        records: takes the records of calls that ended meanwhile; None: nothing does.
        recorded: see HandoverMessage; what the supervisor before had is not taken again.
        moving: descriptors of their maps in the kernel, if the shards have others.

    Attributes:
        moving: copies of these until all shards have restored their calls.
        known_session: the highest number of a session that any of them knows.
    """

    def __init__(
        self,
        orphans: Sequence[OrphanClient],
        backups: Sequence[ShardBackup],
        *,
        records: EncodedRecordSink | None = None,
        recorded: Mapping[str, int] | None = None,
        moving: Sequence[int] = (),
    ) -> None:
        self._records = records
        self._recorded = recorded or {}
        self._backups = backups
        self._orphans = list(orphans)
        self._own: dict[int, OrphanClient] = {}  # by the number of the shard that gets its calls
        self._surplus: list[OrphanClient] = []
        self._stored: dict[OrphanClient, dict[bytes, StoredCall]] = {each: {} for each in orphans}
        self._unclaimed: set[bytes] = set()  # stored calls that are no orphan's by their call-id
        self._backup_of: dict[bytes, ShardBackup] = {}
        self._twins = False  # two orphans have the same number
        self._transferred: set[OrphanClient] = set()
        self._unreadable = False
        self._unconfirmed = set(range(len(backups)))
        self._counters: defaultdict[int, Totals] = defaultdict(dict)
        self.moving = [os.dup(fd) for fd in moving]
        self.known_session = max((each.hello.known_session for each in orphans), default=0)
        for orphan in orphans:
            number = orphan.hello.shard
            if not orphan.readable:
                _leave_alone(orphan)
            elif number < len(backups) and number not in self._own:
                self._own[number] = orphan
            else:
                self._twins |= number in self._own
                self._surplus.append(orphan)

    @property
    def pending(self) -> bool:
        """Whether any orphan has calls that are not yet restored here."""
        return bool(self._own or self._surplus)

    def claims(self, call: StoredCall) -> bool:
        """Whether a stored call is an orphan's: then the orphan's snapshot counts, and not the stored one."""
        for orphan, stored in self._stored.items():
            if shard_of(call.call_id, orphan.hello.shards) == orphan.hello.shard:
                stored[call.call_id] = call
                return True
        self._unclaimed.add(call.call_id)
        return False

    def transfer_to(self, shard: int) -> Mapping[str, int | float]:
        """Transfer the calls for a shard to its backup; returns the counters that go with them.

        Args:
            shard: its number.
        """
        for orphan in self._surplus:
            self._transfer(orphan, None)
        for number, own in self._own.items():
            # A call may come twice: from the store, if it was not where its call-id hashes to; or from two
            # orphans, if their supervisor was killed while one took over from the other. Then all orphans
            # transfer their calls before any shard restores.
            if number == shard or self._unclaimed or self._twins:
                self._transfer(own, number)
        return self._counters[shard]

    def confirm(self, shard: int, *, nothing_restored: bool) -> bool:
        """A shard has restored its calls: their orphan is not needed any more.

        Args:
            shard: its number.
            nothing_restored: it got calls and could not restore any. Then the fault is not in the calls, and
                the orphan keeps them.

        Returns:
            Whether the calls that could not be restored are lost.
        """
        own = self._own.pop(shard, None)
        self._counters.pop(shard, None)
        self._unconfirmed.discard(shard)
        kept = nothing_restored and (own is not None or bool(self._surplus))
        self._unreadable |= kept
        if own is not None:
            self._part_from(own, unreadable=nothing_restored)
        if not self._unconfirmed:
            close_all(self.moving)
            while self._surplus:
                self._part_from(self._surplus.pop(), unreadable=self._unreadable)
        return not kept

    def close(self) -> None:
        """Disconnect from the orphans that are not dismissed: they go on."""
        close_all(self.moving)
        for orphan in self._orphans:
            orphan.close()

    @staticmethod
    def _part_from(orphan: OrphanClient, *, unreadable: bool) -> None:
        if unreadable:
            logger.error("%s goes on with its calls, because none of them could be restored", orphan)
            orphan.close()
        else:
            orphan.dismiss()

    def _transfer(self, orphan: OrphanClient, shard: int | None) -> None:
        """Transfer an orphan's calls to a shard; None: each to the shard that its call-id hashes to."""
        if orphan in self._transferred:
            return
        self._transferred.add(orphan)
        stored = self._stored.pop(orphan)

        def take(call_id: bytes, snapshot: bytes, sockets: list[tuple[Endpoint, int]]) -> None:
            stored.pop(call_id, None)
            if call_id in self._unclaimed:
                self._unclaimed.discard(call_id)
                self._backup_for(call_id, None).drop(call_id)
            backup = self._backup_for(call_id, shard)
            before = self._backup_of.setdefault(call_id, backup)
            if before is not backup:
                before.drop(call_id)
                self._backup_of[call_id] = backup
            backup.add_sockets(sockets)
            backup.save(call_id, snapshot)

        def take_record(record: bytes, number: int) -> None:
            if self._records is not None and number > self._recorded.get(orphan.name, 0):
                self._records.add_encoded(record)

        try:
            counters = orphan.transfer(take, take_record if self._records is not None else None)
            self._add_counters(counters, shard or 0)
        except HandoverFailed as exc:
            logger.error(
                "%s is lost: %s; it is killed, and %d of its calls come from the store",
                orphan,
                exc,
                len(stored),
            )
            orphan.kill()
            for call in stored.values():
                self._backup_for(call.call_id, shard).save(call.call_id, call.snapshot)
            return
        for call_id in stored:  # calls that have ended meanwhile
            self._backup_for(call_id, shard).delete_stored(call_id)

    def _backup_for(self, call_id: bytes, shard: int | None) -> ShardBackup:
        return self._backups[shard_of(call_id, len(self._backups)) if shard is None else shard]

    def _add_counters(self, counters: Totals, shard: int) -> None:
        total = self._counters[shard]
        for name, value in counters.items():
            total[name] = total.get(name, 0) + value


def _leave_alone(orphan: OrphanClient) -> None:
    logger.error(
        "%s has %s in a format that this nh does not read (version %d): it is left alone, and relays"
        " until they are silent, or until a version of nh that reads them is started; no command reaches"
        " them",
        orphan,
        counted(orphan.hello.calls, "call"),
        orphan.hello.snapshot_version,
    )
    orphan.close()
