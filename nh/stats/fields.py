"""What statistics are declared with: fields with kind, unit and meaning; their tables, counters and bytes.

Independent of which statistics there are (nh.stats.layout), of shared memory and of processes.
"""

import dataclasses
import enum
import struct
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from nh.stats.histograms import HistogramInfo, HistogramRecord, add_flat, flatten, histogram_table

_KEY: Final = "nh.stats"


class Kind(enum.StrEnum):
    """A counter only grows and survives restarts of its shard; a gauge is the present value."""

    COUNTER = "counter"
    GAUGE = "gauge"


class Total(enum.StrEnum):
    """How the values of the shards combine to one of the relay; NONE: they do not."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    NONE = "none"


class FieldInfo(NamedTuple):
    """One line of a table.

    Attributes:
        name: of the attribute, and in JSON.
        kind: see Kind.
        total: see Total.
        unit: such as packets, bytes or s; those in s are floats, those in text are str, others integers.
        help: the meaning, for people.
        zero: the value before the first publication, and for gauges of a shard that is down.
        label: of a reason for a drop: what the live view calls it.
        text_bytes: of a text: the most bytes of it in UTF-8; 0: the field is a number.
    """

    name: str
    kind: Kind
    total: Total
    unit: str
    help: str
    zero: Any
    label: str = ""
    text_bytes: int = 0

    @property
    def format(self) -> str:
        """How the value is packed; see the module struct."""
        if self.text_bytes:
            return f"{self.text_bytes}s"
        return "d" if self.unit == "s" else "q"


def _field(kind: Kind, total: Total, unit: str, help: str, zero: int = 0, *, label: str = "") -> Any:
    default = float(zero) if unit == "s" else zero
    return dataclasses.field(default=default, metadata={_KEY: (kind, total, unit, help, default, label)})


def counter(help: str, unit: str = "commands") -> Any:
    """A field of a dataclass of statistics that only grows; see FieldInfo."""
    return _field(Kind.COUNTER, Total.SUM, unit, help)


def drop(label: str, why: str) -> Any:
    """A counter of dropped packets; `label` is what the live view calls the reason."""
    return _field(Kind.COUNTER, Total.SUM, "packets", f"dropped: {why}", label=label)


def gauge(help: str, unit: str, total: Total = Total.SUM, zero: int = 0) -> Any:
    """A field that has a present value; see FieldInfo."""
    return _field(Kind.GAUGE, total, unit, help, zero)


def text(help: str, most_bytes: int) -> Any:
    """A text, the present one; what is longer is cut off."""
    metadata = {_KEY: (Kind.GAUGE, Total.NONE, "text", help, "", "", most_bytes)}
    return dataclasses.field(default="", metadata=metadata)


def table(stats: type) -> tuple[FieldInfo, ...]:
    """The lines of a table, in the order of the fields of `stats` that are statistics."""
    return tuple(
        FieldInfo(field.name, *field.metadata[_KEY])
        for field in dataclasses.fields(stats)
        if _KEY in field.metadata
    )


def to_builtins(stats: Any) -> dict[str, object]:
    """The statistics of a dataclass by name, for JSON; its histograms, if it has any, under `histograms`."""
    values: dict[str, object] = {field.name: getattr(stats, field.name) for field in table(type(stats))}
    if histograms := histogram_table(type(stats)):
        values["histograms"] = {info.name: getattr(stats, info.name).to_builtins() for info in histograms}
    return values


Counters = Mapping[str, int | float]
"""Values of counters by name."""


def read_counters(stats: Any, fields: Sequence[FieldInfo]) -> dict[str, int | float]:
    """The counters of `stats`, a dataclass with the table `fields`, and its histograms."""
    counters = {field.name: getattr(stats, field.name) for field in fields if field.kind is Kind.COUNTER}
    return counters | flatten(stats, histogram_table(type(stats)))


def add_counters(stats: Any, fields: Sequence[FieldInfo], counters: Counters) -> None:
    """Add the counters of another process, which may run another version of nh, to those of `stats`.

    Args:
        stats: a dataclass with the table `fields`.
        fields: its table.
        counters: unknown names and values below 0 are ignored.
    """
    for field in fields:
        value = counters.get(field.name, 0)
        if field.kind is Kind.COUNTER and value > 0:
            whole = value if field.unit == "s" else int(value)
            setattr(stats, field.name, getattr(stats, field.name) + whole)
    add_flat(stats, histogram_table(type(stats)), counters)


class Record:
    """Packs and unpacks the values of one table: in its order, eight bytes a number, then its histograms.

    Args:
        fields: a table.
        histograms: the histograms of the same dataclass.

    Attributes:
        fields: the table.
        histograms: packs and unpacks its histograms.
        size_bytes: length of what pack() makes.
    """

    def __init__(self, fields: Sequence[FieldInfo], histograms: tuple[HistogramInfo, ...] = ()) -> None:
        self.fields = tuple(fields)
        self.histograms = HistogramRecord(histograms)
        self._struct = struct.Struct("=" + "".join(field.format for field in fields))
        self._texts = tuple(place for place, field in enumerate(fields) if field.text_bytes)
        self._values = attrgetter(*(field.name for field in fields))
        self.size_bytes = self._struct.size + self.histograms.size_bytes

    def pack(self, stats: object) -> bytes:
        """The values of `stats`, an object with the attributes of the table, as `size_bytes` bytes."""
        values = list(self._values(stats))
        for place in self._texts:
            values[place] = values[place].encode(errors="replace")
        return self._struct.pack(*values) + self.histograms.pack(stats)

    def unpack(self, data: bytes, offset: int = 0) -> dict[str, Any]:
        """The values at `offset` of `data` by name, which are keyword arguments of the table's class."""
        values = self._struct.unpack_from(data, offset)
        unpacked: dict[str, Any] = {
            field.name: _text(value) if field.text_bytes else value
            for field, value in zip(self.fields, values, strict=True)
        }
        return unpacked | self.histograms.unpack(data, offset + self._struct.size)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="ignore")  # the end of a long one may be within a character
