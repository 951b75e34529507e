"""Statistics in shared memory: one block for each shard and one for the supervisor, each with one writer.

layout has the statistics and their order, fields what they are declared with, block the publication of
complete updates, segment the memory; the rest of nh uses writer and reader. Readers need no RPC and cannot
disturb a writer.

What readers get is in nh.stats.reading: processes that only write do not load it.
"""

from nh.stats.layout import MAX_SHARDS, ShardState, ShardStats, ShardStatus, SupervisorStats
from nh.stats.reader import Heartbeat, StatsReader, read_once
from nh.stats.segment import (
    Segment,
    attach_segment,
    create_segment,
    inherit_segment,
    open_segment,
    own_segment,
    segment_name,
)
from nh.stats.writer import ShardWriter, SupervisorWriter

__all__ = [
    "MAX_SHARDS",
    "Heartbeat",
    "Segment",
    "ShardState",
    "ShardStats",
    "ShardStatus",
    "ShardWriter",
    "StatsReader",
    "SupervisorStats",
    "SupervisorWriter",
    "attach_segment",
    "create_segment",
    "inherit_segment",
    "open_segment",
    "own_segment",
    "read_once",
    "segment_name",
]
