"""Histograms among the statistics: how often a value was in each of a few ranges, and the sum of all."""

import dataclasses
import struct
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

_KEY: Final = "nh.histogram"


class HistogramInfo(NamedTuple):
    """What is known of a histogram.

    Attributes:
        name: of the attribute, and in JSON.
        unit: of the values, such as s or ratio.
        help: the meaning, for people.
        bounds: upper ends of the ranges, ascending; values above the last one have a range of their own.
    """

    name: str
    unit: str
    help: str
    bounds: tuple[float, ...]


class Histogram:
    """Counted values.

    Args:
        bounds: see HistogramInfo.

    Attributes:
        counts: how many values were in each range, the one above the last bound included.
        sum: of all values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value; one that equals a bound is in the range below it, as in Prometheus."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add(self, other: "Histogram") -> None:
        """Add what another histogram with the same bounds counted."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def to_builtins(self) -> dict[str, object]:
        """Bounds, counts and sum, for JSON."""
        return {"bounds": list(self.bounds), "counts": list(self.counts), "sum": self.sum}


def histogram(unit: str, help: str, *bounds: float) -> Any:
    """A field of a dataclass of statistics; see HistogramInfo."""
    return dataclasses.field(
        default_factory=lambda: Histogram(bounds), metadata={_KEY: (unit, help, tuple(bounds))}
    )


def histogram_table(stats: type) -> tuple[HistogramInfo, ...]:
    """The histograms of a dataclass, in the order of its fields."""
    return tuple(
        HistogramInfo(field.name, *field.metadata[_KEY])
        for field in dataclasses.fields(stats)
        if _KEY in field.metadata
    )


def new_histograms(table: tuple[HistogramInfo, ...]) -> dict[str, Histogram]:
    """Empty histograms by name."""
    return {info.name: Histogram(info.bounds) for info in table}


class HistogramRecord:
    """Packs and unpacks the histograms of one table: eight bytes for each count and sum.

    Args:
        table: see histogram_table().

    Attributes:
        table: the same.
        size_bytes: length of what pack() makes.
    """

    def __init__(self, table: tuple[HistogramInfo, ...]) -> None:
        self.table = table
        self._struct = struct.Struct("=" + "".join(f"{len(info.bounds) + 1}qd" for info in table))
        self.size_bytes = self._struct.size

    def pack(self, stats: object) -> bytes:
        """The histograms of `stats` as `size_bytes` bytes."""
        values: list[float] = []
        for info in self.table:
            each: Histogram = getattr(stats, info.name)
            values += each.counts
            values.append(each.sum)
        return self._struct.pack(*values)

    def unpack(self, data: bytes, offset: int) -> dict[str, Histogram]:
        """The histograms at `offset` of `data` by name."""
        values = list(self._struct.unpack_from(data, offset))
        unpacked = new_histograms(self.table)
        for each in unpacked.values():
            end = len(each.counts)
            each.counts, each.sum = values[:end], values[end]
            del values[: end + 1]
        return unpacked


def flatten(stats: object, table: tuple[HistogramInfo, ...]) -> dict[str, int | float]:
    """The histograms of `stats` as counters by name, for a handover."""
    flat: dict[str, int | float] = {}
    for info in table:
        each: Histogram = getattr(stats, info.name)
        flat |= {
            f"{info.name}:{bound:g}": count for bound, count in zip(_ends(info), each.counts, strict=True)
        }
        flat[f"{info.name}:sum"] = each.sum
    return flat


def add_flat(stats: object, table: tuple[HistogramInfo, ...], counters: Mapping[str, int | float]) -> None:
    """Add the histograms of another process, which may run another version of nh, to those of `stats`.

    Args:
        stats: has the histograms of `table`.
        table: see histogram_table().
        counters: from flatten(); unknown names and values below 0 are ignored.
    """
    for info in table:
        each: Histogram = getattr(stats, info.name)
        for index, bound in enumerate(_ends(info)):
            each.counts[index] += max(0, int(counters.get(f"{info.name}:{bound:g}", 0)))
        each.sum += max(0.0, counters.get(f"{info.name}:sum", 0.0))


def _ends(info: HistogramInfo) -> tuple[float, ...]:
    return (*info.bounds, float("inf"))
