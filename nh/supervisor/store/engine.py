"""The protocol of a store engine: what keeps the stored calls, such as a database file.

An engine knows a call-id and bytes, nothing of calls. It has no memory of what it should hold and retries
nothing: nh.supervisor.store.writer does, for all engines alike. All errors of an engine are these.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from nh.errors import NhError, StoreUnavailable
from nh.supervisor.store.lease import Lease


class StoredCall(msgspec.Struct, frozen=True, gc=False):
    """A call as it is stored.

    Attributes:
        call_id: any bytes.
        snapshot: any bytes.
        written_at: wall clock of the change that the snapshot is of, seconds since 1970.
    """

    call_id: bytes
    snapshot: bytes
    written_at: float


Changes = Mapping[bytes, StoredCall | None]
"""By call-id: the call as it is to be stored; None: nothing is to be stored of it."""


class StoreDamaged(NhError):
    """The store cannot be used by this relay, now or later: it is damaged, or not this relay's.

    Args:
        why: what is wrong; the predicate of a sentence that begins with the store's name.
        calls: those that could be read intact.
    """

    def __init__(self, why: str, calls: Sequence[StoredCall] = ()) -> None:
        super().__init__(why)
        self.calls = tuple(calls)


class StoreFull(StoreUnavailable):
    """The store has no room: for a change, or to be made."""


class StoreRefused(StoreUnavailable):
    """The store refuses this relay until an operator changes something, such as a password."""


class StoreHeld(StoreUnavailable):
    """The calls in the store are those of another relay that lives, or has taken them over."""


class StoreEngine(Protocol):
    """Where calls are stored. One thread at a time uses it; after close() it may be opened again."""

    @property
    def check_s(self) -> float:
        """How often check() is to be called at least, seconds."""

    @property
    def lease(self) -> Lease | None:
        """For how long the calls are this relay's; None: no other relay can get them."""

    @property
    def continues(self) -> bool:
        """Whether this relay was the last to have the calls. If not, its journal is older than the store."""

    @property
    def epoch(self) -> int:
        """The number under which this relay has the calls, larger each time that one gets them; 0: none."""

    @property
    def unknown_epoch(self) -> int:
        """The number under which the stored calls were written last, if it is not known by which relay.

        A journal of an earlier one is another relay's work older than the store. 0: there is no such doubt.
        """

    @property
    def name(self) -> str:
        """What log lines call the store, such as its path."""

    def open(self) -> list[StoredCall]:
        """Open the store, or make a new one, and read all calls in it.

        Raises:
            StoreUnavailable: it cannot be opened now.
            StoreFull: it cannot be made now.
            StoreRefused, StoreHeld: it will not be opened for this relay.
            StoreDamaged: it cannot be used; with the intact calls. In all cases it is closed.
        """

    def write(self, changes: Changes) -> None:
        """Store and remove calls: all of `changes`, or nothing. What is written survives the end of nh.

        Raises:
            StoreUnavailable: it cannot be written now.
            StoreFull: because it has no room.
            StoreDamaged: it cannot be used any more.
        """

    def flush(self) -> None:
        """Make sure that what was written survives a power failure.

        Raises:
            StoreUnavailable, StoreDamaged: as write().
        """

    def check(self) -> None:
        """Check that the open store is still the one that the next start would open, and has what it should.

        Raises:
            StoreUnavailable: it is not, so it has to be opened again.
        """

    def close(self) -> None:
        """Close the store and flush it if that is possible. Does nothing if it is not open."""

    def make_room(self, size_bytes: int, /) -> bool:
        """Make room in the open store, which was full: if calls of that size have room in an empty one only,
        and it is this store that takes their room, empty it. The caller has the calls elsewhere, for a kill.

        Args:
            size_bytes: what is to be stored, call-ids and snapshots, bytes.

        Returns:
            Whether it is empty now.

        Raises:
            StoreUnavailable, StoreDamaged: as write().
        """

    def quarantine(self, calls: Sequence[StoredCall], /) -> str:
        """Move a store that cannot be used out of the way, where people can examine it. It is closed.

        Args:
            calls: a new store has these, if there is room, whenever nh is killed.

        Returns:
            Where it is now, for log lines.

        Raises:
            StoreUnavailable: that cannot be done.
        """
