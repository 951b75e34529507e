"""The head of a segment: of which nh it is, its tables, how many blocks it has, and where they are."""

import struct
from typing import Final, Self

from nh.errors import StatsUnavailable
from nh.stats.block import block_bytes
from nh.stats.layout import MAX_GROUPS, MAX_SHARDS
from nh.stats.tables import Tables, describe
from nh.version import __version__

_MAGIC: Final = b"nh-stat2"
"""Another head has another one."""
_FIXED: Final = struct.Struct(
    "=8s I I I 32s"
)  # magic, shards, groups, length of the description, version of nh
_LINE_BYTES: Final = 64

MAGIC_BYTES: Final = len(_MAGIC)
"""The first bytes of a segment, which say that all others are there."""


class Header:
    """What the head of a segment says.

    Args:
        shards: number of shard blocks, 1 to MAX_SHARDS.
        groups: number of groups in the supervisor's block, 0 to MAX_GROUPS.
        version: of the nh that made the segment.
        description: of the tables of that nh (nh.stats.tables).

    Attributes:
        tables: these tables.
        supervisor_at: where the supervisor's block begins.
        supervisor_bytes: length of the payload of that block.

    Raises:
        ValueError: the description is damaged.
    """

    def __init__(
        self, shards: int, groups: int, version: str = __version__, description: str = describe()
    ) -> None:
        self.shards = shards
        self.groups = groups
        self.version = version
        self.tables = Tables(description)
        self._description = description.encode()
        head_bytes = _FIXED.size + len(self._description)
        self.supervisor_at = -(-head_bytes // _LINE_BYTES) * _LINE_BYTES
        self.supervisor_bytes = self.tables.supervisor_bytes(shards, groups)

    @property
    def size_bytes(self) -> int:
        """Length of the whole segment."""
        return self.shard_at(self.shards)

    def shard_at(self, shard: int) -> int:
        """Where the block of a shard begins."""
        shards_at = self.supervisor_at + block_bytes(self.supervisor_bytes)
        return shards_at + shard * block_bytes(self.tables.shard.size_bytes)

    def pack(self) -> bytes:
        """The head as bytes."""
        fixed = _FIXED.pack(
            _MAGIC, self.shards, self.groups, len(self._description), self.version.encode()[:32]
        )
        return fixed + self._description

    @classmethod
    def parse(cls, memory: memoryview, name: str) -> Self:
        """Read the head of a segment.

        Args:
            memory: the whole segment.
            name: of the segment, for errors.

        Raises:
            StatsUnavailable: it is incomplete or damaged, or of a version of nh with another head.
        """
        fixed = bytes(memory[: _FIXED.size]).ljust(_FIXED.size, b"\0")
        magic, shards, groups, description_bytes, version = _FIXED.unpack(fixed)
        if not any(magic):
            raise StatsUnavailable(f"statistics at /dev/shm/{name} are incomplete: nh is starting; try again")
        if magic != _MAGIC:
            raise StatsUnavailable(
                f"statistics at /dev/shm/{name} are those of another version of nh: run `nh upgrade`, or use"
                " the version that runs"
            )
        damaged = StatsUnavailable(f"statistics at /dev/shm/{name} are damaged: restart nh")
        if not (1 <= shards <= MAX_SHARDS and groups <= MAX_GROUPS):
            raise damaged
        description = bytes(memory[_FIXED.size : _FIXED.size + description_bytes])
        try:
            header = cls(
                shards, groups, version.rstrip(b"\0").decode("ascii", "replace"), description.decode()
            )
        except ValueError as exc:
            raise damaged from exc
        if header.size_bytes > len(memory):
            raise damaged
        return header
