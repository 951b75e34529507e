"""Which shard has a call: rendezvous hashing of call-ids.

HandoverSocket (highest random weight) hashing: every shard gets a score from the call-id and its own
number, the
highest has the call. A further shard takes over only what it scores highest for, so changing the number
of shards from N to N+1 moves one call in N+1. Pure; nothing here knows whether a shard is alive.
"""

import hashlib
import struct
from typing import Final

# One BLAKE2b digest is eight independent 64-bit scores: cheaper than a hash for each shard, and cheaper than
# mixing one hash with each shard's number in Python.
_SCORES: Final = struct.Struct("<8Q")


def shard_of(call_id: bytes, shards: int) -> int:
    """The number of the shard that has a call.

    Arguments:
        call_id: the SIP Call-ID, any bytes.
        shards: how many shards there are, 1 or more.

    Returns 0 to shards - 1, the same on every host and in every run.
    """
    scores = _scores(call_id, 0)
    for block in range(1, (shards + 7) // 8):
        scores += _scores(call_id, block)
    scores = scores[:shards]
    return scores.index(max(scores))


def _scores(call_id: bytes, block: int) -> tuple[int, ...]:
    """The scores of shards 8 * block to 8 * block + 7."""
    salt = block.to_bytes(hashlib.blake2b.SALT_SIZE, "little")
    return _SCORES.unpack(hashlib.blake2b(call_id, salt=salt).digest())
