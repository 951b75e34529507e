"""What a shard's successor is given of what was kept, and which call is left out because shards die of it.

The first successor gets everything at once. If it dies before it is ready, the next is told to be careful:
it says which call it is about to restore, so that the call of which it dies is known. A call of which
SUSPECT_DEATHS careful shards died is forgotten: it would take all others with it. Deaths at any other
moment cost no call.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from nh.calls.media import Endpoint
from nh.ipc.channel import batches
from nh.ipc.link_messages import (
    Keeping,
    Restore,
    RestoreCall,
    Restored,
    Restoring,
    TakeSockets,
    ToShard,
    parts,
)
from nh.stats.layout import ShardStatus
from nh.supervisor.shards.backup import ProtocolViolation, ShardBackup

logger = logging.getLogger(__name__)

SUSPECT_DEATHS: Final = 2
"""How many careful shards have to die of one call until it is left out."""


class InheritedSockets(Protocol):
    """What there is of another run of nh: an Estate."""

    def take(self, shard: int) -> Mapping[str, int | float]:
        """Bring what it has for a place to its keeper; returns counters that go with it."""

    def settle(self, shard: int, *, nothing_restored: bool) -> bool:
        """A place has restored what it could; returns whether what it could not is lost."""


class Recovery:
    """The RecoverySource (nh.supervisor.shards.handle) of one shard's place.

    Arguments:
        shard: its number.
        keeper: what is kept.
        status: where restored and lost calls are counted.
        estate: what shards of another run have for this place.
    """

    def __init__(
        self, shard: int, keeper: ShardBackup, status: ShardStatus, estate: InheritedSockets
    ) -> None:
        self.keeper = keeper
        self._shard = shard
        self._status = status
        self._estate = estate
        self._careful = False
        self._suspects: Counter[bytes] = Counter()
        self._given: list[bytes] | None = None  # until the shard is ready
        self._at: int | None = None

    def begin(self) -> Iterator[tuple[ToShard, list[int]]]:
        """See RecoverySource."""
        counters = dict(self._estate.take(self._shard))
        self._given, self._at = list(self.keeper.calls), None
        sockets, calls = list(self.keeper.sockets.items()), list(self.keeper.calls.items())
        return self._messages(sockets, calls, Restore(careful=self._careful, counters=counters))

    def hear(self, message: Keeping | Restoring, fds: list[int]) -> None:
        """See RecoverySource."""
        if not isinstance(message, Restoring):
            self.keeper.obey(message, fds)
            return
        if self._given is None or not 0 <= message.call <= len(self._given):
            raise ProtocolViolation(f"it restores call {message.call}, which it was not given")
        self._at = message.call

    def restored(self, message: Restored) -> None:
        """See RecoverySource."""
        if message.restored or message.failed:
            logger.info(
                "shard %d goes on with %d calls, %d could not be restored",
                self._shard,
                message.restored,
                message.failed,
            )
        self._status.calls_restored += message.restored
        if self._estate.settle(self._shard, nothing_restored=message.failed > 0 == message.restored):
            self._status.calls_lost += message.failed

    def ready(self) -> None:
        """See RecoverySource."""
        self._careful = False
        self._suspects.clear()
        self._given = None

    def died(self) -> None:
        """See RecoverySource."""
        self.keeper.shard_died()
        given, self._given = self._given, None
        if not given:
            return
        self._careful = True
        if self._at is not None and self._at < len(given):
            self._suspect(given[self._at])

    def _suspect(self, call_id: bytes) -> None:
        self._suspects[call_id] += 1
        if self._suspects[call_id] >= SUSPECT_DEATHS:
            logger.error(
                "call %r is lost: shard %d died %d times when it restored it",
                call_id,
                self._shard,
                self._suspects.pop(call_id),
            )
            self.keeper.forget(call_id)
            self._status.calls_lost += 1

    def _messages(
        self, sockets: list[tuple[Endpoint, int]], calls: list[tuple[bytes, bytes]], start: Restore
    ) -> Iterator[tuple[ToShard, list[int]]]:
        for some in batches(sockets):
            yield TakeSockets(tuple(endpoint for endpoint, _ in some)), [fd for _, fd in some]
        for call_id, snapshot in calls:
            for _, data, last in parts(snapshot):
                yield RestoreCall(call_id, data, last), []
        yield start, []
