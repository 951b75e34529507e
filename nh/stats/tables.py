"""The tables of a segment: those of this nh, or of another version, as the segment describes them.

When nh is upgraded on the disk, processes of two versions use one segment until `nh upgrade`: the supervisor,
and shards that are started anew, the HTTP process, `nh stats`. So a segment describes its tables: a line for
each, with the name and the format of every value. What only one of the two versions knows is not written, and
reads as zero.
"""

from types import SimpleNamespace
from typing import Any, Final, Protocol

from nh.stats.fields import FieldInfo, Kind, Record, Total
from nh.stats.histograms import Histogram, HistogramInfo, new_histograms
from nh.stats.layout import (
    GROUP_RECORD,
    SHARD_RECORD,
    STATUS_RECORD,
    SUPERVISOR_RECORD,
    ShardStatus,
    StandbyGroup,
    SupervisorStats,
)

_OWN: Final = (SUPERVISOR_RECORD, GROUP_RECORD, STATUS_RECORD, SHARD_RECORD)

MAX_TEXT_BYTES: Final = 4096
"""Longest text of a table."""


class TableRecord(Protocol):
    """Packs and unpacks one table: Record that of this version, ForeignRecord that of another one."""

    @property
    def size_bytes(self) -> int:
        """Length of what pack() makes."""

    def pack(self, stats: object) -> bytes:
        """The values of `stats`, an object of this version's class."""

    def unpack(self, data: bytes, offset: int = 0) -> dict[str, Any]:
        """The values at `offset` of `data` by name, as keyword arguments of this version's class."""


class ForeignRecord:
    """A table as another version of nh has it.

    Args:
        own: the table of this version.
        description: of the other version; see describe().

    Attributes:
        size_bytes: see TableRecord.

    Raises:
        ValueError: the description is damaged.
    """

    def __init__(self, own: Record, description: str) -> None:
        items = [item.partition("=") for item in description.split()]
        values = [_value(item) for item, equals, _ in items if not equals]
        histograms = [_histogram(name, bounds) for name, equals, bounds in items if equals]
        names = {field.name for field in values} | {info.name for info in histograms}
        if len(values) < 2 or len(names) < len(items) or not all(map(_is_name, names)):
            raise ValueError("a table with too few names, or with one twice, or with one that is none")
        self._own = own
        self._theirs = Record(values, tuple(histograms))
        self.size_bytes = self._theirs.size_bytes
        types = {field.name: _type(field) for field in own.fields}
        bounds = {info.name: info.bounds for info in own.histograms.table}
        self._values = {field for field in values if types.get(field.name) is _type(field)}
        self._histograms = {info for info in histograms if bounds.get(info.name) == info.bounds}
        self._known = {field.name for field in self._values} | {info.name for info in self._histograms}

    def pack(self, stats: object) -> bytes:
        """See TableRecord."""
        values: dict[str, Any] = {
            field.name: getattr(stats, field.name) if field in self._values else field.zero
            for field in self._theirs.fields
        }
        histograms: dict[str, Histogram] = {
            info.name: getattr(stats, info.name) if info in self._histograms else Histogram(info.bounds)
            for info in self._theirs.histograms.table
        }
        return self._theirs.pack(SimpleNamespace(**values, **histograms))

    def unpack(self, data: bytes, offset: int = 0) -> dict[str, Any]:
        """See TableRecord."""
        theirs = self._theirs.unpack(data, offset)
        zeros = {field.name: field.zero for field in self._own.fields}
        nothing = new_histograms(self._own.histograms.table)
        return zeros | nothing | {name: value for name, value in theirs.items() if name in self._known}


class Tables:
    """The four tables of one segment.

    Args:
        description: see describe(), of the nh that made the segment; "": of this one.

    Attributes:
        shard: the table of a shard.

    Raises:
        ValueError: the description is damaged.
    """

    def __init__(self, description: str = "") -> None:
        records: list[TableRecord] = list(_OWN)
        if description not in ("", describe()):
            records = [
                ForeignRecord(own, line) for own, line in zip(_OWN, description.split("\n"), strict=True)
            ]
        self._supervisor, self._group, self._status, self.shard = records

    def supervisor_bytes(self, shards: int, groups: int) -> int:
        """Length of the payload of the supervisor's block for so many shards and groups."""
        each = groups * self._group.size_bytes + shards * self._status.size_bytes
        return self._supervisor.size_bytes + each

    def pack_supervisor(self, stats: SupervisorStats, shards: int, groups: int) -> bytes:
        """The payload of the supervisor's block for so many shards and groups."""
        parts = [self._supervisor.pack(stats), *map(self._group.pack, stats.groups[:groups])]
        return b"".join([*parts, *map(self._status.pack, stats.shards[:shards])])

    def unpack_supervisor(
        self, payload: bytes, groups: int
    ) -> tuple[dict[str, Any], list[StandbyGroup], list[ShardStatus]]:
        """What pack_supervisor() packed: the supervisor's own values by name, its groups, the shards."""
        shards_at = self._supervisor.size_bytes + groups * self._group.size_bytes
        group_places = range(self._supervisor.size_bytes, shards_at, self._group.size_bytes)
        shard_places = range(shards_at, len(payload), self._status.size_bytes)
        return (
            self._supervisor.unpack(payload),
            [StandbyGroup(**self._group.unpack(payload, place)) for place in group_places],
            [ShardStatus(**self._status.unpack(payload, place)) for place in shard_places],
        )


def describe() -> str:
    """The tables of this version, a line each.

    `name:q` is an integer, `name:d` seconds, `name:64s` a text, and `name=0.5,1.0` a histogram with bounds.
    """
    return "\n".join(map(_describe, _OWN))


def _describe(record: Record) -> str:
    values = [f"{field.name}:{field.format}" for field in record.fields]
    histograms = [f"{info.name}={','.join(map(repr, info.bounds))}" for info in record.histograms.table]
    return " ".join(values + histograms)


def _is_name(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_")


def _value(item: str) -> FieldInfo:
    """A value of another version, of which name and format are known. Raises ValueError."""
    name, _, form = item.partition(":")
    if form == "q":
        return FieldInfo(name, Kind.GAUGE, Total.NONE, "", "", 0)
    if form == "d":
        return FieldInfo(name, Kind.GAUGE, Total.NONE, "s", "", 0.0)
    text_bytes = int(form.removesuffix("s"))
    if not 0 < text_bytes <= MAX_TEXT_BYTES:
        raise ValueError(f"a text of {text_bytes} bytes")
    return FieldInfo(name, Kind.GAUGE, Total.NONE, "text", "", "", text_bytes=text_bytes)


def _histogram(name: str, bounds: str) -> HistogramInfo:
    return HistogramInfo(name, "", "", tuple(map(float, bounds.split(","))))


def _type(field: FieldInfo) -> type:
    return type(field.zero)
