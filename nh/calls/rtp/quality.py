"""Quality of an RTP stream over its life: averages, the worst and the best interval, and its course.

All of that takes constant memory: of the course, intervals at equal distances are kept, and every second one
goes when there are too many.

An interval is at least INTERVAL_PACKETS long. RtpStream keeps a Quality packed, as bytes: hundreds of
thousands of streams have one, and each changes once in some seconds. No I/O; times are arguments.
"""

from struct import Struct
from typing import Final, NamedTuple

from nh.calls.rtp.mos import MIN_PACKETS, estimate_mos

INTERVAL_PACKETS: Final = 250
"""Fewest packets between two samples: five seconds of speech, as between two reports of RTCP."""

MAX_ROUND_TRIP_S: Final = 6.0
"""Longest round trip that is believed."""

MAX_COURSE: Final = 10
"""Most intervals of the course; rtpengine aims at as many."""

_SAMPLE: Final = "iHHHH"
_FORMAT: Final = Struct("<IIIffffI" + 2 * _SAMPLE)
_COURSE: Final = Struct("<" + _SAMPLE)
_SUMS: Final = 8
_JITTER: Final = 1e4
_LOSS: Final = 65_000.0
_MOS: Final = 1e4
_ROUND_TRIP: Final = 1e4
_UNKNOWN: Final = 0xFFFF
_MAX_TIME: Final = 2**31 - 1

PACKED_BYTES: Final = _FORMAT.size
"""Length of a packed Quality without a course."""


class Sample(NamedTuple):
    """The quality of one interval, or of several together.

    Attributes:
        at: monotonic seconds of its end; 0 for several.
        mos: estimated mean opinion score.
        jitter_s: interarrival jitter at its end, seconds.
        loss_ratio: lost packets by packets sent, 0 to 1.
        round_trip_s: round trip between the two ends through the relay, seconds; None: unknown.
    """

    at: int
    mos: float
    jitter_s: float
    loss_ratio: float
    round_trip_s: float | None


class Quality(NamedTuple):
    """The intervals of a stream so far.

    Attributes:
        expected, lost: what the stream had of both at the end of the latest interval.
        samples: number of intervals.
        mos, jitter_s, loss_ratio, round_trip_s: sums over the intervals.
        round_trips: number of intervals with a known round trip.
        lowest, highest: the intervals with the lowest and the highest MOS.
        packed_course: see course.
    """

    expected: int
    lost: int
    samples: int
    mos: float
    jitter_s: float
    loss_ratio: float
    round_trip_s: float
    round_trips: int
    lowest: Sample
    highest: Sample
    packed_course: bytes = b""

    @property
    def course(self) -> list[Sample]:
        """At most MAX_COURSE intervals at equal distances, the first one first."""
        return [_unpack_sample(each, 0) for each in _COURSE.iter_unpack(self.packed_course)]

    @property
    def average(self) -> Sample:
        """The mean of all intervals."""
        count = self.samples
        round_trip_s = self.round_trip_s / self.round_trips if self.round_trips else None
        return Sample(0, self.mos / count, self.jitter_s / count, self.loss_ratio / count, round_trip_s)

    def pack(self) -> bytes:
        """The bytes of unpack()."""
        head = _FORMAT.pack(*self[:_SUMS], *_pack_sample(self.lowest), *_pack_sample(self.highest))
        return head + self.packed_course


def unpack(packed: bytes, *, shift_s: float = 0.0) -> Quality | None:
    """The Quality of pack(); None if there is none.

    Args:
        packed: b"" before the first interval; bytes of another length are another version's.
        shift_s: is added to its times.
    """
    course = packed[PACKED_BYTES:]
    if len(packed) < PACKED_BYTES or len(course) % _COURSE.size or len(course) > MAX_COURSE * _COURSE.size:
        return None
    values = _FORMAT.unpack_from(packed)
    sums, samples = values[:_SUMS], values[_SUMS:]
    shift = int(shift_s)
    lowest, highest = (_unpack_sample(each, shift) for each in (samples[:5], samples[5:]))
    if shift:
        course = b"".join(
            _COURSE.pack(*_pack_sample(_unpack_sample(each, shift))) for each in _COURSE.iter_unpack(course)
        )
    return Quality._make((*sums, lowest, highest, course))


def end_to_end(near_s: float | None, far_s: float | None) -> float | None:
    """The round trip between two ends, seconds, by those between the relay and each; None: one is unknown."""
    return None if near_s is None or far_s is None else near_s + far_s


def add_interval(
    packed: bytes,
    *,
    encoding: str,
    expected: int,
    lost: int,
    jitter_s: float,
    round_trip_s: float | None,
    now: float,
) -> bytes:
    """The packed Quality with one more interval, or as it was if too few packets came.

    Args:
        packed: the Quality until now, b"" for none.
        encoding: name of the codec in SDP, "" if unknown.
        expected, lost: of the stream until now.
        jitter_s: of the stream now.
        round_trip_s: see Sample.
        now: monotonic seconds.
    """
    before = unpack(packed)
    since_expected, since_lost = (before.expected, before.lost) if before is not None else (0, 0)
    sent = expected - since_expected
    if 0 <= sent < MIN_PACKETS:
        return packed
    # packets that come late reduce `lost`; counters of the kernel begin anew at 2**32
    loss_ratio = min(max(lost - since_lost, 0) / sent, 1.0) if sent > 0 else 0.0
    mos = estimate_mos(encoding=encoding, loss_ratio=loss_ratio, jitter_s=jitter_s)
    sample = Sample(int(now), mos, jitter_s, loss_ratio, round_trip_s)
    if before is None:
        before = Quality(0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0, sample, sample)
    return Quality(
        expected=expected & 0xFFFFFFFF,
        lost=lost & 0xFFFFFFFF,
        samples=before.samples + 1,
        mos=before.mos + mos,
        jitter_s=before.jitter_s + jitter_s,
        loss_ratio=before.loss_ratio + loss_ratio,
        round_trip_s=before.round_trip_s + (round_trip_s or 0.0),
        round_trips=before.round_trips + (round_trip_s is not None),
        lowest=min(before.lowest, sample, key=_mos_of),
        highest=max(before.highest, sample, key=_mos_of),
        packed_course=_add_to_course(before.packed_course, before.samples, sample),
    ).pack()


def _add_to_course(course: bytes, index: int, sample: Sample) -> bytes:
    """The packed course after the interval `index`, the first of which is 0."""
    step = 1  # between two intervals of the course
    while index > MAX_COURSE * step:
        step *= 2
    if index % step:
        return course
    course += _COURSE.pack(*_pack_sample(sample))
    size = _COURSE.size
    if len(course) > MAX_COURSE * size:
        course = b"".join(course[at : at + size] for at in range(0, len(course), 2 * size))
    return course


def _mos_of(sample: Sample) -> float:
    # as exact as a packed one: of equal samples the earlier one stays
    return round(sample.mos, 4)


def _pack_sample(sample: Sample) -> tuple[int, int, int, int, int]:
    round_trip_s = sample.round_trip_s
    return (
        sample.at,
        round(sample.mos * _MOS),
        min(round(sample.jitter_s * _JITTER), _UNKNOWN),
        round(sample.loss_ratio * _LOSS),
        _UNKNOWN if round_trip_s is None else min(round(round_trip_s * _ROUND_TRIP), _UNKNOWN - 1),
    )


def _unpack_sample(values: tuple[int, ...], shift: int) -> Sample:
    at, mos, jitter, loss, round_trip = values
    return Sample(
        max(-_MAX_TIME, min(at + shift, _MAX_TIME)),  # a wall clock may have been decades off
        mos / _MOS,
        jitter / _JITTER,
        loss / _LOSS,
        None if round_trip == _UNKNOWN else round_trip / _ROUND_TRIP,
    )
