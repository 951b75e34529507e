"""What all types of snapshots have in common: ranges of values, checks, indexes, and the shift of times."""

import itertools
from collections.abc import Hashable, Iterable, Sequence, Sized
from typing import Annotated, NamedTuple

import msgspec

from nh.errors import SnapshotUnreadable
from nh.ip_address import MAX_ADDRESS_CHARACTERS

Time = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
"""Monotonic seconds."""

Count = Annotated[int, msgspec.Meta(ge=0)]
Index = Annotated[int, msgspec.Meta(ge=0, lt=2**16)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Address = Annotated[str, msgspec.Meta(max_length=MAX_ADDRESS_CHARACTERS)]

Indexes = dict[int, int]
"""Index of each object in its list, by id()."""


def indexes_of(objects: Iterable[object]) -> Indexes:
    """The index of each of these objects."""
    return dict(zip(map(id, objects), itertools.count(), strict=False))


def require(holds: bool, otherwise: str) -> None:
    """Check one condition.

    Raises:
        SnapshotUnreadable: it does not hold; the message is `otherwise`.
    """
    if not holds:
        raise SnapshotUnreadable(f"snapshot: {otherwise}")


def require_token(text: str, what: str) -> None:
    """Check that a text is a token of an SDP, in nh.calls.bundle.TOKEN_ENCODING: each character is a byte.

    Raises:
        SnapshotUnreadable: one is not.
    """
    require(max(text, default="") <= "\xff", f"{what} has a character that is no byte")


def require_distinct(values: Sequence[Hashable], what: str) -> None:
    """Check that no two values are equal.

    Raises:
        SnapshotUnreadable: two are.
    """
    require(len(set(values)) == len(values), f"two {what} are equal")


def require_index(index: int, members: Sized, what: str) -> None:
    """Check that a list has a member with this index.

    Raises:
        SnapshotUnreadable: it has not.
    """
    require(index < len(members), f"there is no {what} {index}")


class TimeShift(NamedTuple):
    """Converts the times of a snapshot to the monotonic clock of the process that restores it.

    Attributes:
        shift_s: added to each time.
        now: monotonic seconds. No past time becomes later than this, even if the wall clock was set back.
    """

    shift_s: float
    now: float

    def past(self, time: float) -> float:
        """A time at which something happened."""
        return min(time + self.shift_s, self.now)

    def maybe_past(self, time: float | None) -> float | None:
        """A time at which something happened, None if it did not happen."""
        return None if time is None else min(time + self.shift_s, self.now)

    def future(self, time: float) -> float:
        """A time at which something is due; it may be infinite."""
        return time + self.shift_s
