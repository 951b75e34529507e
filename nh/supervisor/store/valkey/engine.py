"""The Valkey engine: the calls of a group (nh.supervisor.store.valkey.group) as a store.

The engine knows a checksum of each record that the server has, and reads all of them from time to time. The
server's notifications are not used.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Final

from nh.errors import StoreUnavailable
from nh.printable import counted
from nh.supervisor.store.engine import Changes, StoreDamaged, StoredCall
from nh.supervisor.store.lease import Lease
from nh.supervisor.store.valkey.follower import Follower
from nh.supervisor.store.valkey.group import Group
from nh.supervisor.store.valkey.record import decode, encode, head
from nh.supervisor.store.valkey.url import ValkeyTarget
from nh.supervisor.store.valkey.warm_copy import Position

logger = logging.getLogger(__name__)

RECONCILE_S: Final = 300.0
"""How often all records are read and compared with what was written."""

_SCAN: Final = 500
"""Calls in one reply while all are read; between two replies the lease is renewed."""


class ValkeyEngine:
    """A group of calls on a server; nh.supervisor.store.engine.StoreEngine has the contract.

    Args:
        target: the server and the prefix of the group.
        holder: see Group.
        follower: has a warm copy of the calls, which the first open() completes; it does not wait for the
            group then, and closes the follower when it has the group.
        force: whether the first open() takes the group from a relay that lives.
        key_check: see Group.
    """

    def __init__(
        self,
        target: ValkeyTarget,
        holder: str,
        *,
        follower: Follower | None = None,
        force: bool = False,
        key_check: str = "",
    ) -> None:
        self._group = Group(target, holder, force=force, key_check=key_check)
        self._follower = follower
        self._heads: dict[bytes, bytes] = {}  # of the records that the server has: version and checksum
        self._checked_at = 0.0
        self._reconciled_at = 0.0

    @property
    def lease(self) -> Lease:
        """See StoreEngine."""
        return self._group.lease

    @property
    def continues(self) -> bool:
        """See StoreEngine."""
        return self._group.continues

    @property
    def epoch(self) -> int:
        """See StoreEngine."""
        return self._group.epoch

    @property
    def unknown_epoch(self) -> int:
        """See StoreEngine."""
        return self._group.unknown_epoch

    @property
    def check_s(self) -> float:
        """How often the lease is renewed."""
        return self.lease.renewal_s

    @property
    def name(self) -> str:
        """The URL without user and password."""
        return self._group.name

    def open(self) -> list[StoredCall]:
        """Acquire the group and read its calls. See StoreEngine.

        Raises:
            StoreHeld: another relay has the group, or has had it since this relay did.
        """
        try:
            self._group.connect()
            with self._group.failures():
                follower = self._follower
                followed = follower is not None and follower.followed
                last_write = self._group.acquire(waits=follower is None, followed=followed)
                return self._complete(last_write) or self._read()
        except BaseException:
            self.close()
            raise

    def write(self, changes: Changes) -> None:
        """See StoreEngine."""
        stored = [call for call in changes.values() if call is not None]
        removed = [call_id for call_id, call in changes.items() if call is None and call_id in self._heads]
        if not stored and not removed:
            return
        records = {call.call_id: encode(call) for call in stored}
        with self._group.failures():
            self._group.write(records, removed)
        for call_id, record in records.items():
            self._heads[call_id] = head(record)
        for call_id in removed:
            del self._heads[call_id]

    def flush(self) -> None:
        """Nothing: what survives the server's end is set at the server."""

    def check(self) -> None:
        """Renew the lease and count the calls, and read them all from time to time. See StoreEngine.

        While a standby may take the calls, the lease is renewed each time: that tells that it has them.
        Before the calls change hands it is renewed, too: they are relayed on for its whole length.
        """
        _ = self._group.server
        changes_hands = self.lease.give_to != self.lease.given_to
        is_due = time.monotonic() >= self._checked_at + self.check_s or self.lease.given_to
        if not is_due and not changes_hands:
            return
        with self._group.failures():
            count = self._group.renew()
            self._checked_at = time.monotonic()
            if count != len(self._heads):
                raise StoreUnavailable(
                    f"{self.name}: it has {counted(count, 'call')} instead of {len(self._heads)}"
                )
            if changes_hands:
                self._group.give(self.lease.give_to)
            if self._group.renewed_at >= self._reconciled_at + RECONCILE_S:
                self._reconciled_at = self._group.renewed_at
                self._reconcile()

    def close(self) -> None:
        """See StoreEngine. The group may be acquired by another relay at once."""
        self._group.close()

    def make_room(self, _size_bytes: int, /) -> bool:
        """See StoreEngine. A server has the latest of each call only."""
        return False

    def quarantine(self, calls: Sequence[StoredCall], /) -> str:
        """Rename the calls, in place of those that were renamed before; they expire. See StoreEngine."""
        return self._group.quarantine({call.call_id: encode(call) for call in calls})

    def _complete(self, last_write: Position) -> list[StoredCall]:
        """The warm copy with all changes up to the last write; none: it cannot be completed."""
        follower, self._follower = self._follower, None
        if follower is None:
            return []
        try:
            if not follower.catch_up(last_write):
                logger.info("store %s: the warm copy is incomplete; all calls are read", self.name)
                return []
        finally:
            follower.close()
        self._group.lacks_writes = follower.copy.is_ahead_of(last_write)
        self._heads = dict(follower.copy.heads)
        self._reconciled_at = time.monotonic()
        return list(follower.copy.calls.values())

    def _read(self) -> list[StoredCall]:
        found: dict[bytes, StoredCall] = {}
        self._heads = {}
        damaged = 0
        for call_id, record in self._records():
            call = decode(call_id, record)
            if call is None:
                damaged += 1
            else:
                found[call_id] = call
                self._heads[call_id] = head(record)
        if damaged:
            raise StoreDamaged(f"is damaged in {counted(damaged, 'call')}", tuple(found.values()))
        self._reconciled_at = time.monotonic()
        return list(found.values())

    def _reconcile(self) -> None:
        intact = {call_id: head(record) for call_id, record in self._records() if decode(call_id, record)}
        if differ := sum(intact.get(call_id) != each for call_id, each in self._heads.items()):
            raise StoreUnavailable(f"{self.name}: {differ} calls are not what was written")

    def _records(self) -> Iterator[tuple[bytes, bytes]]:
        cursor = None
        while cursor != 0:
            cursor, records = self._group.server.hscan(self._group.calls_key, cursor or 0, count=_SCAN)
            yield from records.items()
            if time.monotonic() >= self._group.renewed_at + self.check_s:
                self._group.renew()  # many calls, or a slow server, take longer than the lease
