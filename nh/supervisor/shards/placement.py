"""At which place each call is: where its call-id belongs, but for those that came from elsewhere.

After the number of shards has changed, calls stay where they were. Only those that are not where the hash
(nh.supervisor.shards.routing) would have them are remembered.
"""

from nh.supervisor.shards.routing import shard_of


class ShardMap:
    """See above.

    Arguments:
        shards: how many places there are, 1 or more.
    """

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._elsewhere: dict[bytes, int] = {}

    def place_of(self, call_id: bytes) -> int:
        """Where a call is, or would be if it were new."""
        place = self._elsewhere.get(call_id)
        return shard_of(call_id, self._shards) if place is None else place

    def at(self, place: int) -> "ShardMapEntry":
        """What the keeper of a place tells (see nh.supervisor.shards.backup.Placement)."""
        return ShardMapEntry(self, place)

    def came(self, call_id: bytes, place: int) -> None:
        """A call is at a place."""
        if shard_of(call_id, self._shards) != place:
            self._elsewhere[call_id] = place

    def went(self, call_id: bytes, place: int) -> None:
        """A call is not there any more."""
        if self._elsewhere.get(call_id) == place:
            del self._elsewhere[call_id]


class ShardMapEntry:
    """The view of one place."""

    def __init__(self, placements: ShardMap, place: int) -> None:
        self._placements = placements
        self._place = place

    def came(self, call_id: bytes) -> None:
        """See Placement."""
        self._placements.came(call_id, self._place)

    def went(self, call_id: bytes) -> None:
        """See Placement."""
        self._placements.went(call_id, self._place)
