"""The writing end of the statistics: a shard has one block, the supervisor has one.

A block has one writer at a time; what a killed writer left is where its successor goes on.
"""

from nh.stats import record
from nh.stats.block import Block
from nh.stats.layout import SHARD_TABLE, Kind, ShardStats, SupervisorStats
from nh.stats.segment import Segment, pack_supervisor


class ShardWriter:
    """Publishes the statistics of one shard.

    Arguments:
        segment: where; it must stay open.
        shard: whose block, 0 to segment.shards - 1. Raises IndexError for any other.
    """

    def __init__(self, segment: Segment, shard: int) -> None:
        self._block = segment.shard_block(shard)
        self._sequence = _last_sequence(self._block)

    def resume(self) -> ShardStats:
        """The counters as a predecessor left them, and all gauges at zero; published at once.

        Of a predecessor that was killed this is what it published last.
        """
        stats = ShardStats()
        if newest := self._block.find_newest():
            values = record.SHARD.unpack(newest[1])
            for field in SHARD_TABLE:
                if field.kind is Kind.COUNTER:
                    setattr(stats, field.name, values[field.name])
        self.publish(stats)
        return stats

    def publish(self, stats: ShardStats) -> None:
        """Let readers see `stats` as they are now, all of them or none."""
        self._sequence += 1
        self._block.write(self._sequence, record.SHARD.pack(stats))


class SupervisorWriter:
    """Publishes the supervisor's statistics.

    Arguments:
        segment: where; it must stay open.
    """

    def __init__(self, segment: Segment) -> None:
        self._block = segment.supervisor_block()
        self._shards = segment.shards
        self._sequence = _last_sequence(self._block)

    def publish(self, stats: SupervisorStats) -> None:
        """Let readers see `stats` as they are now, all of them or none."""
        self._sequence += 1
        self._block.write(self._sequence, pack_supervisor(stats, self._shards))


def _last_sequence(block: Block) -> int:
    # a half-written slot has a higher number than this; the next publication overwrites it and
    # leaves the good one alone
    newest = block.find_newest()
    return newest[0] if newest else 0
