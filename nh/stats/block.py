"""One block of shared memory: one writer publishes payloads, any number of readers see complete ones.

A block has two slots, written in turn. A slot has a sequence number, the payload, and a CRC-32 of both. The
value of the block is that of the newest slot with a valid CRC. So readers never wait, and a writer that is
killed while it writes a slot leaves the other one intact for readers and for the next writer. A CRC, unlike a
flag, also detects incomplete slots on CPUs that reorder stores; Python has no memory barriers.

The block knows neither what is in a payload nor where the memory comes from.
"""

import struct
import zlib
from typing import Final

_SEQUENCE: Final = struct.Struct("=Q")
_CRC: Final = struct.Struct("=I")
_LINE_BYTES: Final = 64
_ATTEMPTS: Final = 64


class SharedBlock:
    """A view of one block.

    Args:
        memory: the whole segment.
        offset: of the block, in bytes.
        payload_bytes: length of each payload.
    """

    def __init__(self, memory: memoryview, offset: int, payload_bytes: int) -> None:
        self._memory = memory
        self._newest_seen = 0
        self._offset = offset
        self._slot_bytes = _slot_bytes(payload_bytes)
        self._end_of_payload = _SEQUENCE.size + payload_bytes

    def write(self, sequence: int, payload: bytes) -> None:
        """Publish a payload.

        Args:
            sequence: one more than that of the previous publication.
            payload: `payload_bytes` bytes.
        """
        body = _SEQUENCE.pack(sequence) + payload
        start = self._offset + sequence % 2 * self._slot_bytes
        slot = body + _CRC.pack(zlib.crc32(body))
        self._memory[start : start + len(slot)] = slot

    @property
    def sequence(self) -> int:
        """The higher sequence number of both slots, 0: there was no publication.

        It moves with each publication, and is read without a look at the payload, so one that is being
        written counts.
        """
        first, second = (self._offset + index * self._slot_bytes for index in (0, 1))
        return int(
            max(_SEQUENCE.unpack_from(self._memory, first)[0], _SEQUENCE.unpack_from(self._memory, second)[0])
        )

    def find_newest(self) -> tuple[int, bytes] | None:
        """The latest complete publication as (sequence, payload).

        None if there is none, or if the writer overtook this reader at each attempt.
        """
        for _ in range(_ATTEMPTS):
            found = [slot for slot in (self._find(0), self._find(1)) if slot is not None]
            # while the first slot was read, the writer may have completed the second and begun the first
            # again: what was found is then older than what this reader has seen before
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
    # full cache lines, so that no two writers share one
    return -(-(_SEQUENCE.size + payload_bytes + _CRC.size) // _LINE_BYTES) * _LINE_BYTES


def block_bytes(payload_bytes: int) -> int:
    """Size in bytes of a block for payloads of `payload_bytes`."""
    return 2 * _slot_bytes(payload_bytes)
