"""The keeper: what would be lost with a shard. Duplicates of its sockets, and each call's latest snapshot.

There is one for each shard's place, which outlives the processes in it. It knows neither what a snapshot says
nor who asks for one: bookkeeping, and descriptors that are closed exactly once. Its descriptors are limited
by a budget that all keepers share, so that the supervisor always has some left for its clients. A socket
that is not held is no loss as long as its shard lives; a successor then binds the port anew, and what
arrived in between is lost.
"""

import logging
import os
import time
from collections.abc import Mapping
from typing import Final, Protocol

from nh.calls.media import Endpoint
from nh.ipc.link_messages import MAX_SNAPSHOT_BYTES, DropCall, Keeping, ReleaseSockets, SaveCall, StoreSockets
from nh.stats.layout import ShardStatus
from nh.supervisor.shards.routing import ShardMap
from nh.throttle import RateLimitedLogger

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
"""Least time between two lines about sockets that cannot be held."""


class ProtocolViolation(ValueError):
    """A shard said what no shard says: it is broken."""


class CallStore(Protocol):
    """Told of each change of what is known of calls: a store on a disk."""

    def put(self, call_id: bytes, snapshot: bytes) -> None:
        """A call is like this now."""

    def delete(self, call_id: bytes) -> None:
        """A call is no more."""


class FdBudget:
    """How many sockets all keepers together may hold yet.

    Arguments:
        sockets: how many they may hold, 0 or more.
    """

    def __init__(self, sockets: int) -> None:
        self._left = self._whole = sockets
        self._limited_log = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)

    def overdraw(self) -> None:
        """One more is held whether or not it may be."""
        self._left -= 1

    def take(self) -> bool:
        """Whether one more may be held; if so, it counts."""
        if self._left > 0:
            self._left -= 1
            return True
        self.warn(f"{self._whole} is all that descriptors allow")
        return False

    def warn(self, why: str) -> None:
        """Say that sockets cannot be held, though not for each of them."""
        self._limited_log.log(
            logging.WARNING,
            "some media sockets are not held open for a shard that may die (%s): their calls would lose"
            " packets if it did; raise the limit on descriptors (ulimit -Hn, LimitNOFILE= of the service)",
            why,
        )

    def give_back(self) -> None:
        """One is held no longer."""
        self._left += 1


class ShardBackup:
    """What is kept of one shard.

    Arguments:
        status: where it is counted.
        budget: see FdBudget.
        store: where calls are stored too; None: nowhere.
        shard: the shard's number.
        shard_map: where it is noted which calls the shard has.
    """

    def __init__(
        self,
        status: ShardStatus,
        budget: FdBudget,
        *,
        store: CallStore | None = None,
        shard: int = 0,
        shard_map: ShardMap | None = None,
    ) -> None:
        self._status = status
        self._budget = budget
        self._store = store
        self._shard = shard
        self._shard_map = shard_map if shard_map is not None else ShardMap(shard + 1)
        self._sockets: dict[Endpoint, int] = {}
        self._calls: dict[bytes, bytes] = {}
        self._unfinished: tuple[bytes, list[bytes]] | None = None

    @property
    def sockets(self) -> Mapping[Endpoint, int]:
        """The descriptors that are held; they stay the keeper's."""
        return self._sockets

    @property
    def calls(self) -> Mapping[bytes, bytes]:
        """The latest snapshot of each call, in the order in which the calls began."""
        return self._calls

    def obey(self, message: Keeping, fds: list[int]) -> None:
        """Do what the shard says.

        Arguments:
            message: what it says.
            fds: the descriptors that came with it. Those that are held are removed from the list.

        Raises ProtocolViolation if it makes no sense; what was kept before stays.
        """
        match message:
            case StoreSockets(endpoints):
                self._hold(endpoints, fds)
            case ReleaseSockets(endpoints):
                for endpoint in endpoints:
                    self._let_go(endpoint)
            case SaveCall():
                self._keep(message)
            case DropCall(call_id):
                self.forget(call_id)

    def forget(self, call_id: bytes) -> None:
        """Know nothing of a call any more; no effect if that is so. Its sockets are let go by themselves."""
        if self._calls.pop(call_id, None) is not None:
            self._status.calls_kept -= 1
            self._shard_map.remove(call_id, self._shard)
            if self._store is not None:
                self._store.delete(call_id)

    def shard_died(self) -> None:
        """The shard says nothing more: a snapshot that it had not finished is dropped."""
        self._unfinished = None

    def put(self, call_id: bytes, snapshot: bytes) -> None:
        """Keep a snapshot as if the shard had said so, such as one from a store."""
        if call_id not in self._calls:
            self._status.calls_kept += 1
            self._shard_map.add(call_id, self._shard)
        self._calls[call_id] = snapshot
        if self._store is not None:
            self._store.put(call_id, snapshot)

    def inherit(self, sockets: list[tuple[Endpoint, int]]) -> None:
        """Hold sockets of a shard of another run, however many may be held: its successor needs them.

        Arguments:
            sockets: where they are bound, and descriptors, which are the keeper's from now on.
        """
        for endpoint, fd in sockets:
            self._let_go(endpoint)
            self._budget.overdraw()
            self._sockets[endpoint] = fd
            self._status.sockets_held += 1

    def tell_over(self, call_id: bytes) -> None:
        """The journal knows of a call that is over; the keeper does not."""
        if self._store is not None:
            self._store.delete(call_id)

    def close(self) -> None:
        """Let everything go; the journal is not told."""
        for endpoint in list(self._sockets):
            self._let_go(endpoint)
        self._calls.clear()
        self._status.calls_kept = 0
        self._unfinished = None

    def _hold(self, endpoints: tuple[Endpoint, ...], fds: list[int]) -> None:
        if len(fds) > len(endpoints):
            raise ProtocolViolation(f"{len(fds)} descriptors for {len(endpoints)} sockets")
        if missing := len(endpoints) - len(fds):  # the kernel had no room for them
            self._status.sockets_unheld += missing
            self._budget.warn("the kernel gives no more of them to the supervisor")
        for endpoint, fd in zip(endpoints, list(fds), strict=False):
            self._let_go(endpoint)
            if self._budget.take():
                fds.remove(fd)
                self._sockets[endpoint] = fd
                self._status.sockets_held += 1
            else:
                self._status.sockets_unheld += 1

    def _let_go(self, endpoint: Endpoint) -> None:
        fd = self._sockets.pop(endpoint, None)
        if fd is not None:
            os.close(fd)
            self._budget.give_back()
            self._status.sockets_held -= 1

    def _keep(self, message: SaveCall) -> None:
        if message.part == 0:
            self._unfinished = (message.call_id, [])
        call_id, so_far = self._unfinished or (b"", [])
        if (call_id, len(so_far)) != (message.call_id, message.part):
            raise ProtocolViolation(f"part {message.part} of a snapshot without the parts before it")
        so_far.append(message.snapshot)
        if sum(map(len, so_far)) > MAX_SNAPSHOT_BYTES:
            raise ProtocolViolation(f"a snapshot of more than {MAX_SNAPSHOT_BYTES} bytes")
        if message.last:
            self._unfinished = None
            self.put(call_id, b"".join(so_far))
