"""Statistics in shared memory: one block a shard and one for the supervisor, each with a single writer.

layout says what is counted, record how it lies in bytes, block how an update is published whole, segment
where the memory comes from; writer and reader are what the rest of nh uses. Readers need no RPC and
cannot disturb a writer.
"""

from nh.stats.layout import MAX_SHARDS, ShardState, ShardStats, ShardStatus, SupervisorStats
from nh.stats.reader import Heartbeat, StatsReader, read_once
from nh.stats.segment import Segment, attach_segment, create_segment, own_segment, segment_name
from nh.stats.snapshot import ShardReading, Snapshot, SupervisorReading, Totals
from nh.stats.writer import ShardWriter, SupervisorWriter

__all__ = [
    "MAX_SHARDS",
    "Heartbeat",
    "Segment",
    "ShardReading",
    "ShardState",
    "ShardStats",
    "ShardStatus",
    "ShardWriter",
    "Snapshot",
    "StatsReader",
    "SupervisorReading",
    "SupervisorStats",
    "SupervisorWriter",
    "Totals",
    "attach_segment",
    "create_segment",
    "own_segment",
    "read_once",
    "segment_name",
]
