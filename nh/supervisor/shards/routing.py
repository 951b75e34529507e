"""Which shard has a call: rendezvous hashing of call-ids, and the calls that are on another shard.

Rendezvous (highest random weight) hashing: each shard gets a score from the call-id and its own number, and
the shard with the highest score has the call. A further shard takes over only the calls for which it scores
highest, so a change from N to N+1 shards moves one call in N+1. Pure: nothing here knows whether a shard is
alive.
"""

import hashlib
import struct
from typing import Final

# One BLAKE2b digest is eight independent 64-bit scores: cheaper than a hash for each shard, and cheaper than
# mixing one hash with each shard's number in Python.
_SCORES: Final = struct.Struct("<8Q")


def shard_of(call_id: bytes, shards: int) -> int:
    """The number of the shard that a call-id hashes to.

    Args:
        call_id: the SIP Call-ID, any bytes.
        shards: how many shards there are, 1 or more.

    Returns:
        0 to shards - 1, the same on every host and in every run.
    """
    if shards == 1:
        return 0
    scores = _scores(call_id, 0)
    for block in range(1, (shards + 7) // 8):
        scores += _scores(call_id, block)
    scores = scores[:shards]
    return scores.index(max(scores))


def _scores(call_id: bytes, block: int) -> tuple[int, ...]:
    """The scores of shards 8 * block to 8 * block + 7."""
    salt = block.to_bytes(hashlib.blake2b.SALT_SIZE, "little")
    return _SCORES.unpack(hashlib.blake2b(call_id, salt=salt).digest())


class ShardMap:
    """Which shard has each call.

    After a change of the number of shards, calls stay on their shards. The map remembers only the calls that
    are on another shard than the one that their call-id hashes to.

    Args:
        shards: how many shards there are, 1 or more.
    """

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._elsewhere: dict[bytes, int] = {}

    def find(self, call_id: bytes) -> int:
        """The number of the shard that has a call, or that gets it if it is new."""
        shard = self._elsewhere.get(call_id)
        return shard_of(call_id, self._shards) if shard is None else shard

    def add(self, call_id: bytes, shard: int) -> None:
        """A shard has a call now."""
        if shard_of(call_id, self._shards) != shard:
            self._elsewhere[call_id] = shard

    def remove(self, call_id: bytes, shard: int) -> None:
        """A shard has a call no longer. No effect if another shard has it."""
        if self._elsewhere.get(call_id) == shard:
            del self._elsewhere[call_id]
