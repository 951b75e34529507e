"""One block of shared memory: a single writer publishes a payload, any number of readers see it whole.

A block has two slots, written in turn; a slot is its sequence number, the payload and a CRC-32 of both.
The newest slot with a CRC that fits is the block's value. So a reader never waits, and a writer that is
killed in the middle of a slot leaves the slot before it intact, for readers and for its successor.
The CRC rather than a flag tells a half-written slot, because it holds on CPUs that reorder stores too,
and Python has no memory barriers.

Knows nothing of what is in a payload, nor of where the memory comes from.
"""

import struct
import zlib
from typing import Final

_SEQUENCE: Final = struct.Struct("=Q")
_CRC: Final = struct.Struct("=I")
_LINE_BYTES: Final = 64
_ATTEMPTS: Final = 64


class Block:
    """A view of one block.

    Arguments:
        memory: the whole segment.
        offset: where the block begins, in bytes.
        payload_bytes: length of every payload.
    """

    def __init__(self, memory: memoryview, offset: int, payload_bytes: int) -> None:
        self._memory = memory
        self._newest_seen = 0
        self._offset = offset
        self._slot_bytes = _slot_bytes(payload_bytes)
        self._end_of_payload = _SEQUENCE.size + payload_bytes

    def write(self, sequence: int, payload: bytes) -> None:
        """Publish `payload`.

        Arguments:
            sequence: one more than the sequence number of the publication before.
            payload: as many bytes as the block was made for.
        """
        body = _SEQUENCE.pack(sequence) + payload
        start = self._offset + sequence % 2 * self._slot_bytes
        slot = body + _CRC.pack(zlib.crc32(body))
        self._memory[start : start + len(slot)] = slot

    def find_newest(self) -> tuple[int, bytes] | None:
        """The last complete publication as (sequence, payload).

        None if there is none, or if the writer was faster than this reader every time.
        """
        for _ in range(_ATTEMPTS):
            found = [slot for slot in (self._find(0), self._find(1)) if slot is not None]
            # while one slot was looked at, the other may have been written, and then this one begun
            # anew: what is left is older than what was seen before, and is not the last any more
            if found and max(found)[0] >= self._newest_seen:
                self._newest_seen = max(found)[0]
                return max(found)
        return None

    def _find(self, index: int) -> tuple[int, bytes] | None:
        start = self._offset + index * self._slot_bytes
        slot = bytes(self._memory[start : start + self._end_of_payload + _CRC.size])
        body = slot[: self._end_of_payload]
        if _CRC.unpack_from(slot, self._end_of_payload)[0] != zlib.crc32(body):
            return None
        return _SEQUENCE.unpack_from(body)[0], body[_SEQUENCE.size :]


def _slot_bytes(payload_bytes: int) -> int:
    # whole cache lines, so that no two writers ever share one
    return -(-(_SEQUENCE.size + payload_bytes + _CRC.size) // _LINE_BYTES) * _LINE_BYTES


def block_bytes(payload_bytes: int) -> int:
    """How much memory a block for payloads of `payload_bytes` takes."""
    return 2 * _slot_bytes(payload_bytes)
