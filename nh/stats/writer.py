"""Writes the statistics: each shard to its block, the supervisor to its own.

A block has one writer at a time. A new writer continues what a killed one published.
"""

from nh.stats.block import SharedBlock
from nh.stats.fields import Kind
from nh.stats.layout import SHARD_HISTOGRAMS, SHARD_TABLE, ShardStats, SupervisorStats
from nh.stats.segment import Segment


class ShardWriter:
    """Publishes the statistics of one shard.

    Args:
        segment: it must stay open.
        shard: number of the shard, 0 to segment.shards - 1.

    Raises:
        IndexError: there is no such shard.
    """

    def __init__(self, segment: Segment, shard: int) -> None:
        self._block = segment.shard_block(shard)
        self._record = segment.tables.shard
        self._sequence = _last_sequence(self._block)

    def resume(self) -> ShardStats:
        """Continue the counters that the previous process of the shard published last; gauges are zero.

        Returns:
            The statistics, which are published already.
        """
        stats = ShardStats()
        if newest := self._block.find_newest():
            values = self._record.unpack(newest[1])
            for field in SHARD_TABLE:
                if field.kind is Kind.COUNTER:
                    setattr(stats, field.name, values[field.name])
            for info in SHARD_HISTOGRAMS:
                setattr(stats, info.name, values[info.name])
        self.publish(stats)
        return stats

    def publish(self, stats: ShardStats) -> None:
        """Publish `stats` as they are now; readers see all values or none."""
        self._sequence += 1
        self._block.write(self._sequence, self._record.pack(stats))


class SupervisorWriter:
    """Publishes the supervisor's statistics.

    Args:
        segment: it must stay open.
    """

    def __init__(self, segment: Segment) -> None:
        self._block = segment.supervisor_block()
        self._tables, self._shards, self._groups = segment.tables, segment.shards, segment.groups
        self._sequence = _last_sequence(self._block)

    def publish(self, stats: SupervisorStats) -> None:
        """Publish `stats` as they are now; readers see all values or none."""
        self._sequence += 1
        payload = self._tables.pack_supervisor(stats, self._shards, self._groups)
        self._block.write(self._sequence, payload)


def _last_sequence(block: SharedBlock) -> int:
    # an incomplete slot has the next number: the next publication overwrites that one, not the valid one
    newest = block.find_newest()
    return newest[0] if newest else 0
