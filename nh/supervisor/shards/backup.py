"""What must survive a shard's process: duplicates of its sockets, and the latest snapshot of each call.

Compare systemd's file descriptor store. There is one backup for each shard, which outlives its processes. It
cannot read snapshots. The sockets that all backups together store are limited by a budget, so that the
supervisor always has descriptors for its clients. A socket that is not stored is lost with its shard's
process: the next process binds the port anew, and packets that arrived in between are lost.
"""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from nh.calls.media import Endpoint
from nh.ipc.backup_messages import (
    MAX_SNAPSHOT_BYTES,
    BackupMessage,
    DropCall,
    ReleaseSockets,
    SaveCall,
    StoreSockets,
)
from nh.stats.layout import ShardStatus
from nh.supervisor.shards.fd_budget import FdBudget
from nh.supervisor.shards.routing import ShardMap
from nh.supervisor.shards.saved_calls import SavedCalls
from nh.supervisor.shards.stored_sockets import StoredSockets
from nh.supervisor.store.packing import Held, Packed, SnapshotPacker, plain


class ProtocolViolation(ValueError):
    """A shard sent a message that no working shard sends."""


class CallStore(Protocol):
    """A store on disk, which is told of each change of a backup."""

    def put(self, call_id: bytes, snapshot: bytes) -> None:
        """A call is new, or has changed."""

    def delete(self, call_id: bytes) -> None:
        """A call has ended."""

    def hold_packed(self, call_id: bytes, snapshot: bytes, packed: Packed) -> None:
        """A snapshot that was put may be held packed from now on, as the backup does."""


class ShardBackup:
    """The sockets and calls of one shard.

    Args:
        status: where they are counted.
        budget: limits the sockets of all backups.
        store: where calls are stored too; None: nowhere.
        shard: the shard's number.
        shard_map: where the shard's calls are noted.
        packer: packs the snapshots of all backups.
    """

    def __init__(
        self,
        status: ShardStatus,
        budget: FdBudget,
        *,
        store: CallStore | None = None,
        shard: int = 0,
        shard_map: ShardMap | None = None,
        packer: SnapshotPacker | None = None,
    ) -> None:
        self._status = status
        self._budget = budget
        self._store = store
        self._shard = shard
        self._shard_map = shard_map if shard_map is not None else ShardMap(shard + 1)
        self._sockets = StoredSockets()
        self._calls = SavedCalls(packer or SnapshotPacker(), self._on_packed)
        self._partial: tuple[bytes, list[bytes]] | None = None

    @property
    def sockets(self) -> Mapping[Endpoint, int]:
        """Where each stored socket is bound, and its descriptor, which belongs to the backup."""
        return dict(self._sockets)

    @property
    def calls(self) -> Mapping[bytes, bytes]:
        """The latest snapshot of each call, in the order in which the calls began."""
        return {call_id: plain(snapshot) for call_id, snapshot, _ in self.saved}

    @property
    def saved(self) -> list[tuple[bytes, Held, bool]]:
        """Of each call in that order: call-id, snapshot, and whether a process of this run took it."""
        return [(call.call_id, call.snapshot, call.of_this_run) for call in self._calls]

    @property
    def call_count(self) -> int:
        """Number of calls."""
        return len(self._calls)

    @property
    def packed(self) -> int:
        """How many snapshots were packed so far."""
        return self._calls.packed

    def pack(self, now: float) -> bool:
        """See SavedCalls."""
        return self._calls.pack(now)

    def apply(self, messages: Sequence[BackupMessage], fds: list[int]) -> None:
        """Carry out the messages of one record, in order.

        Args:
            messages: what the shard sent.
            fds: the descriptors of all StoreSockets of `messages`, in their order. Those of a socket belong
                to the backup from then on, and are removed from the list.

        Raises:
            ProtocolViolation: there are more descriptors than the messages tell of, or parts of a snapshot
                are not in a row. That message changes nothing.
        """
        for message in messages:
            if type(message) is SaveCall:  # `match` takes several times as long
                self._save_part(message)
            elif type(message) is StoreSockets:
                self._store_sockets(message.endpoints, fds)
            elif type(message) is ReleaseSockets:
                self._release_sockets(message.endpoints)
            elif type(message) is DropCall:
                self.drop(message.call_id)
        if fds:
            raise ProtocolViolation(f"{len(fds)} descriptors too many")

    def save(self, call_id: bytes, snapshot: bytes) -> None:
        """Save a call of an earlier run, with a snapshot of an orphan or of the store."""
        self._save(call_id, snapshot, of_this_run=False)

    def load(self, call_id: bytes, snapshot: bytes) -> None:
        """Take a call of an earlier run that is in the store as it is."""
        self._take(call_id, snapshot, of_this_run=False)

    def _take(self, call_id: bytes, snapshot: bytes, *, of_this_run: bool) -> bytes:
        """Take a snapshot in the place of what is known of its call; returns the call-id that is stored.

        A message has a call-id of its own, which is not to be in memory as often as there are messages.
        """
        call = self._calls.find(call_id)
        if call is None:
            self._status.calls_saved += 1
            self._shard_map.add(call_id, self._shard)
            call = self._calls.add(call_id)
        self._calls.save(call, snapshot, of_this_run=of_this_run)
        return call.call_id

    def _save(self, call_id: bytes, snapshot: bytes, *, of_this_run: bool) -> None:
        stored_id = self._take(call_id, snapshot, of_this_run=of_this_run)
        if self._store is not None:
            self._store.put(stored_id, snapshot)

    def _on_packed(self, call_id: bytes, snapshot: bytes, packed: Packed) -> None:
        if self._store is not None:
            self._store.hold_packed(call_id, snapshot, packed)

    def drop(self, call_id: bytes) -> None:
        """Drop a call; no effect if it is unknown. Its sockets are released by messages of their own."""
        if self._calls.drop(call_id):
            self._status.calls_saved -= 1
            self._shard_map.remove(call_id, self._shard)
            if self._store is not None:
                self._store.delete(call_id)

    def add_sockets(self, sockets: list[tuple[Endpoint, int]]) -> None:
        """Store the sockets of an orphan, also beyond the budget: their call is about to move here.

        Those for which there is no descriptor at all are closed: the next process binds their ports, too.

        Args:
            sockets: where they are bound, and descriptors, which belong to the backup from now on.
        """
        for endpoint, fd in sockets:
            self._hold(endpoint, fd, functools.partial(self._budget.overdraw, fd))

    def delete_stored(self, call_id: bytes) -> None:
        """Delete a call from the store that has ended, and is not in the backup."""
        if self._store is not None:
            self._store.delete(call_id)

    def shard_died(self) -> None:
        """The process sends no more: drop a snapshot of which only some parts came."""
        self._partial = None

    def close(self) -> None:
        """Close all sockets and forget all calls; the store keeps them."""
        self._release_sockets([endpoint for endpoint, _ in self._sockets])
        self._calls.clear()
        self._status.calls_saved = 0
        self._partial = None

    def _store_sockets(self, endpoints: Sequence[Endpoint], fds: list[int]) -> None:
        count = len(endpoints)
        if missing := max(0, count - len(fds)):  # the kernel had no room for them
            self._status.sockets_not_held += missing
            self._budget.warn("the kernel gives no more of them to the supervisor")
        stored, fds[:] = fds[:count], fds[count:]
        for endpoint, fd in zip(endpoints, stored, strict=False):
            if not self._hold(endpoint, fd, self._budget.take):
                self._status.sockets_not_held += 1

    def _hold(self, endpoint: Endpoint, fd: int, has_room: Callable[[], bool]) -> bool:
        """Hold a socket, in the place of one of that endpoint, or close it; returns whether it is held."""
        before = self._sockets.put(endpoint, fd)
        if before is not None:
            os.close(before)
        elif has_room():
            self._status.sockets_held += 1
        else:
            self._sockets.pop(endpoint)
            os.close(fd)
            return False
        return True

    def _release_sockets(self, endpoints: Sequence[Endpoint]) -> None:
        released = [fd for endpoint in endpoints if (fd := self._sockets.pop(endpoint)) is not None]
        for fd in released:
            os.close(fd)
        self._budget.give_back(len(released))
        self._status.sockets_held -= len(released)

    def _save_part(self, message: SaveCall) -> None:
        if message.part == 0 and message.last:  # as nearly all are
            self._partial = None
            self._save(message.call_id, message.snapshot, of_this_run=True)
            return
        if message.part == 0:
            self._partial = (message.call_id, [])
        call_id, parts = self._partial or (b"", [])
        if (call_id, len(parts)) != (message.call_id, message.part):
            raise ProtocolViolation(f"part {message.part} of a snapshot without the parts before it")
        parts.append(message.snapshot)
        if sum(map(len, parts)) > MAX_SNAPSHOT_BYTES:
            raise ProtocolViolation(f"a snapshot of more than {MAX_SNAPSHOT_BYTES} bytes")
        if message.last:
            self._partial = None
            self._save(call_id, b"".join(parts), of_this_run=True)
