"""The counter file: memory in which shards keep what packets change in their legs, and which outlives them.

The supervisor creates it, nameless and in memory alone; every shard inherits the descriptor and maps a share
of its own. So a shard that is killed leaves its counters to the next process of its number, and the file ends
with the last process that has it. What is in it is known to nh.shard.media.leg_memory only.
"""

import mmap
import os
from typing import Final

SHARE_BYTES: Final = 8 * 1024 * 1024
"""Size of a shard's share. Only what is used takes memory."""


def create_counter_file(shards: int) -> int:
    """Create the file, all zeroes.

    Args:
        shards: number of shares.

    Returns:
        Its descriptor.

    Raises:
        OSError: the system refuses.
    """
    fd = os.memfd_create("nh-counters")
    try:
        os.ftruncate(fd, shards * SHARE_BYTES)
    except OSError:
        os.close(fd)
        raise
    return fd


def map_share(fd: int, shard: int) -> mmap.mmap:
    """The share of a shard, by number; raises OSError or ValueError if it cannot be mapped."""
    return mmap.mmap(fd, SHARE_BYTES, offset=shard * SHARE_BYTES)
