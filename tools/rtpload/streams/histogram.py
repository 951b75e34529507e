"""Durations counted in logarithmic buckets, as in HdrHistogram: 0.8 % resolution at any size, in constant
memory.

Below 256 ns each nanosecond has a bucket; above, each power of two has 128. `counts` is open on purpose: the
hot loops of the worker add to it in place (see `bucket_of` for the rule), because a call a packet costs more
than the counting. Knows neither clocks nor what is measured.
"""

from collections.abc import Iterable, Mapping
from typing import Final

SUB_BITS: Final = 8
"""A value's highest 8 bits choose its bucket."""

MAX_NS: Final = (1 << 40) - 1
"""Longest duration that is told apart, 18 minutes; longer ones count as this."""


def bucket_of(value_ns: int) -> int:
    """The bucket of a duration.

    Args:
        value_ns: 0 to MAX_NS.
    """
    shift = value_ns.bit_length() - SUB_BITS
    return value_ns if shift <= 0 else (shift << (SUB_BITS - 1)) + (value_ns >> shift)


def highest_in(bucket: int) -> int:
    """The longest duration that falls into `bucket`, ns."""
    if bucket < 1 << SUB_BITS:
        return bucket
    shift = (bucket >> (SUB_BITS - 1)) - 1
    mantissa = bucket - (shift << (SUB_BITS - 1))
    return ((mantissa + 1) << shift) - 1


BUCKETS: Final = bucket_of(MAX_NS) + 1


class Histogram:
    """How many durations fell into each bucket.

    `counts` has BUCKETS entries and stays the same list for ever, so that it may be held on to.
    """

    __slots__ = ("counts",)

    def __init__(self, filled: Mapping[int, int] | None = None) -> None:
        self.counts = [0] * BUCKETS
        self.merge(filled or {})

    def record(self, value_ns: int) -> None:
        """Count one duration; what is below 0 or beyond MAX_NS counts as that."""
        self.counts[bucket_of(min(max(value_ns, 0), MAX_NS))] += 1

    def merge(self, filled: Mapping[int, int]) -> None:
        """Add what another histogram had `filled`. Raises IndexError for a bucket that there is not."""
        for bucket, count in filled.items():
            self.counts[bucket] += count

    def filled(self) -> dict[int, int]:
        """The buckets that are not empty, with their counts, in ascending order."""
        return {bucket: count for bucket, count in enumerate(self.counts) if count}

    def clear(self) -> None:
        """Forget everything."""
        self.counts[:] = [0] * BUCKETS

    @property
    def total(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)

    def percentile(self, percent: float) -> int:
        """The duration, ns, that `percent` (0 to 100) of all do not exceed; 0 if there is none."""
        return self.percentiles([percent])[0]

    def percentiles(self, percents: Iterable[float]) -> list[int]:
        """The same for several, in ascending order of `percents`."""
        wanted = list(percents)
        filled = self.filled()
        total = sum(filled.values())
        found: list[int] = []
        below = 0
        for bucket, count in filled.items():
            below += count
            while len(found) < len(wanted) and below >= total * wanted[len(found)] / 100:
                found.append(highest_in(bucket))
        return found + [0] * (len(wanted) - len(found))

    @property
    def mean(self) -> float:
        """The mean duration, ns, within the buckets' resolution; 0 if there is none."""
        filled = self.filled()
        total = sum(filled.values())
        return sum(highest_in(bucket) * count for bucket, count in filled.items()) / total if total else 0.0
