"""Streams that two counters measured, one after the other: what one counter of all packets would have.

Both began with the same streams. The first counted the earlier packets, the second the later ones, which may
be far ahead of those that it began with. No I/O.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

from nh.calls.rtp.meter import RtpMeter
from nh.calls.rtp.stream import MAX_DROPOUT, WINDOW
from nh.calls.rtp.stream_state import StreamFields

_WINDOW_MASK: Final = 2**WINDOW - 1
_U32: Final = 2**32 - 1
_UNKNOWN: Final = StreamFields()


class MeasuredStreams(NamedTuple):
    """The streams of one direction, in the kernel program's form.

    Attributes:
        next_stream: the place that the next new stream takes, from 0.
        streams: by place; unused ones last.
    """

    next_stream: int
    streams: tuple[StreamFields, ...]

    @classmethod
    def of(cls, meter: RtpMeter) -> Self:
        """Those that a meter has now."""
        return cls(meter.next_stream, meter.to_fields())


def join_streams(begin: MeasuredStreams, earlier: MeasuredStreams, later: MeasuredStreams) -> MeasuredStreams:
    """What one counter would have measured.

    Args:
        begin: what both counters began with.
        earlier: what the first counter made of it.
        later: what the second one made of it.
    """
    known = {each.ssrc: each for each in begin.streams if each.used}
    next_stream, streams = earlier.next_stream, list(earlier.streams)
    for each in _by_age(later):
        if not each.used or known.get(each.ssrc) == each:
            continue
        at = _place_of(each.ssrc, streams)
        if at is None:
            streams[next_stream] = each
            next_stream = (next_stream + 1) % len(streams)
        else:
            streams[at] = _join(known.get(each.ssrc, _UNKNOWN), streams[at], each)
    return MeasuredStreams(next_stream, tuple(streams))


def _by_age(measured: MeasuredStreams) -> Sequence[StreamFields]:
    """The streams in the order in which they began."""
    return measured.streams[measured.next_stream :] + measured.streams[: measured.next_stream]


def _place_of(ssrc: int, streams: Sequence[StreamFields]) -> int | None:
    return next((at for at, each in enumerate(streams) if each.used and each.ssrc == ssrc), None)


def _join(begin: StreamFields, earlier: StreamFields, later: StreamFields) -> StreamFields:
    """The same for one stream. `begin` is _UNKNOWN if neither counter knew the stream when it began."""
    if earlier == begin:
        return later
    ahead = _distance(earlier.highest, later.highest)
    if abs(ahead) < MAX_DROPOUT:
        highest = max(ahead, 0)
        seen = earlier.seen << highest | later.seen << (highest - ahead)
        lost = earlier.lost + _lost_later(begin, earlier, later)
    else:  # the sender has begun anew
        highest, seen, lost = ahead, later.seen, earlier.lost
    latest = max(later, earlier, key=lambda each: each.arrival_ns)
    return latest._replace(
        seen=seen & _WINDOW_MASK,
        packets=(earlier.packets + later.packets - begin.packets) & _U32,
        lost=max(lost, 0),
        reordered=(earlier.reordered + later.reordered - begin.reordered) & _U32,
        duplicates=(earlier.duplicates + later.duplicates - begin.duplicates) & _U32,
        bad_next=later.bad_next,
        highest=(earlier.highest + highest) & 0xFFFF,
    )


def _lost_later(begin: StreamFields, earlier: StreamFields, later: StreamFields) -> int:
    """How many later packets were lost. The earlier ones, which the second counter missed, were not.

    If it took no gap before its first packet for loss, those between the earlier ones and that are lost, too.
    """
    if begin.seen & 1:
        missed = _distance(begin.highest, earlier.highest)
        return later.lost - begin.lost - (missed if 0 < missed < MAX_DROPOUT else 0)
    lost = later.lost - begin.lost
    counted = later.packets - begin.packets - (later.duplicates - begin.duplicates) + lost
    return lost + _distance(earlier.highest + 1, later.highest - counted + 1)


def _distance(begin: int, end: int) -> int:
    """How far one sequence number is ahead of another, -32768 to 32767."""
    return ((end - begin + 0x8000) & 0xFFFF) - 0x8000
