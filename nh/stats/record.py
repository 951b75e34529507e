"""The layout of a table in bytes: eight bytes for each value, in the order of the table."""

import struct
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

from nh.stats.layout import SHARD_TABLE, STATUS_TABLE, SUPERVISOR_TABLE, FieldInfo


class Record:
    """Packs and unpacks the values of one table.

    Args:
        fields: a table of nh.stats.layout.
    """

    def __init__(self, fields: Sequence[FieldInfo]) -> None:
        self.fields = tuple(fields)
        self._struct = struct.Struct("=" + "".join("d" if field.unit == "s" else "q" for field in fields))
        self._values = attrgetter(*(field.name for field in fields))
        self.size_bytes = self._struct.size

    def pack(self, stats: object) -> bytes:
        """The values of `stats`, an object with the attributes of the table, as `size_bytes` bytes."""
        return self._struct.pack(*self._values(stats))

    def unpack(self, data: bytes, offset: int = 0) -> dict[str, Any]:
        """The values at `offset` of `data` by name, which are keyword arguments of the table's class."""
        values = self._struct.unpack_from(data, offset)
        return {field.name: value for field, value in zip(self.fields, values, strict=True)}


SHARD: Final = Record(SHARD_TABLE)
STATUS: Final = Record(STATUS_TABLE)
SUPERVISOR: Final = Record(SUPERVISOR_TABLE)
