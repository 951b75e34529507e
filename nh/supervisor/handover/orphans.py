"""What shards of an earlier supervisor still have, and which places their calls go to.

A shard's calls go to the place of its number, where there is one: no call changes its place without need.
Calls of shards beyond that are spread as new calls would be. A predecessor stands by, and takes its calls up
again, until those who have them now have restored them.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

from nh.calls.media import Endpoint
from nh.supervisor.handover.orphan_client import HandoverFailed, OrphanClient
from nh.supervisor.shards.backup import ShardBackup
from nh.supervisor.shards.routing import shard_of
from nh.supervisor.store.store import StoredCall

logger = logging.getLogger(__name__)

Counters = dict[str, int | float]


class OrphanedShards:
    """See above.

    Arguments:
        found: the shards that there are; the estate's from now on.
        keepers: what is kept at each place, by number.

    No session of theirs has a higher number than `known_session`.
    """

    def __init__(self, found: Sequence[OrphanClient], keepers: Sequence[ShardBackup]) -> None:
        self._keepers = keepers
        self._found = list(found)
        self._own: dict[int, OrphanClient] = {}
        self._surplus: list[OrphanClient] = []
        self._stored: dict[OrphanClient, dict[bytes, StoredCall]] = {each: {} for each in found}
        self._unclaimed: set[bytes] = set()
        self._where: dict[bytes, ShardBackup] = {}
        self._twins = False
        self._taken: set[OrphanClient] = set()
        self._unreadable = False
        self._unsettled = set(range(len(keepers)))
        self.known_session = max((each.present.known_session for each in found), default=0)
        self._counters: defaultdict[int, Counters] = defaultdict(dict)
        for predecessor in found:
            number = predecessor.present.shard
            if not predecessor.readable:
                _leave_alone(predecessor)
            elif number < len(keepers) and number not in self._own:
                self._own[number] = predecessor
            else:
                self._twins |= number in self._own
                self._surplus.append(predecessor)

    @property
    def unsettled(self) -> bool:
        """Whether any of them still has calls that will be taken."""
        return bool(self._own or self._surplus)

    def claims(self, call: StoredCall) -> bool:
        """Whether a stored call is one of theirs: then what they say of it counts, and not the store."""
        for predecessor, stored in self._stored.items():
            if shard_of(call.call_id, predecessor.present.shards) == predecessor.present.shard:
                stored[call.call_id] = call
                return True
        self._unclaimed.add(call.call_id)
        return False

    def take(self, shard: int) -> Mapping[str, int | float]:
        """Have the calls for a place handed over to its keeper; returns the counters that go with them."""
        for predecessor in self._surplus:
            self._take(predecessor, None)
        for place, own in self._own.items():
            # a call may come from the store too, if it was not where its hash says, or from two shards, if
            # their supervisor was killed while one took over from the other: then all that are left have to
            # say what they know before any place begins
            if place == shard or self._unclaimed or self._twins:
                self._take(own, place)
        return self._counters[shard]

    def settle(self, shard: int, *, nothing_restored: bool) -> bool:
        """A place has restored its calls: who had them before is not needed any more.

        Arguments:
            shard: the place.
            nothing_restored: it was given calls, and could not restore a single one: then it is not the calls
                that are at fault, and who had them goes on with them.

        Returns whether calls that could not be restored are lost.
        """
        own = self._own.pop(shard, None)
        self._counters.pop(shard, None)
        self._unsettled.discard(shard)
        kept = nothing_restored and (own is not None or bool(self._surplus))
        self._unreadable |= kept
        if own is not None:
            self._part_from(own, unreadable=nothing_restored)
        if not self._unsettled:
            while self._surplus:
                self._part_from(self._surplus.pop(), unreadable=self._unreadable)
        return not kept

    def close(self) -> None:
        """Leave those who have not departed: they go on."""
        for predecessor in self._found:
            predecessor.close()

    @staticmethod
    def _part_from(predecessor: OrphanClient, *, unreadable: bool) -> None:
        if unreadable:
            logger.error("%s goes on with its calls, because none of them could be restored", predecessor)
            predecessor.close()
        else:
            predecessor.depart()

    def _take(self, predecessor: OrphanClient, place: int | None) -> None:
        """Have it hand over to a place; None: each call to where a new one of its call-id would be."""
        if predecessor in self._taken:
            return
        self._taken.add(predecessor)
        stored = self._stored.pop(predecessor)

        def take(call_id: bytes, snapshot: bytes, sockets: list[tuple[Endpoint, int]]) -> None:
            stored.pop(call_id, None)
            if call_id in self._unclaimed:
                self._unclaimed.discard(call_id)
                self._keeper_of(call_id, None).forget(call_id)
            keeper = self._keeper_of(call_id, place)
            before = self._where.setdefault(call_id, keeper)
            if before is not keeper:
                before.forget(call_id)
                self._where[call_id] = keeper
            keeper.inherit(sockets)
            keeper.put(call_id, snapshot)

        try:
            self._count(predecessor.hand_over(take), place or 0)
        except HandoverFailed as exc:
            logger.error("%s is lost: %s; %d calls come from the store", predecessor, exc, len(stored))
            predecessor.kill()
            for call in stored.values():
                self._keeper_of(call.call_id, place).put(call.call_id, call.snapshot)
            return
        for call_id in stored:  # of which it knows nothing any more
            self._keeper_of(call_id, place).tell_over(call_id)

    def _keeper_of(self, call_id: bytes, place: int | None) -> ShardBackup:
        return self._keepers[shard_of(call_id, len(self._keepers)) if place is None else place]

    def _count(self, counters: Counters, place: int) -> None:
        total = self._counters[place]
        for name, value in counters.items():
            total[name] = total.get(name, 0) + value


def _leave_alone(predecessor: OrphanClient) -> None:
    logger.error(
        "%s has %d calls in a format that this nh does not read (version %d): it is left alone, and goes on"
        " with them until they are silent, or a version of nh that reads them is started; no command reaches"
        " them",
        predecessor,
        predecessor.present.calls,
        predecessor.present.snapshot_version,
    )
    predecessor.close()
