"""Details of RTP streams: what legs received, as the plain values of `show`, `query` and records.

What is here changes no call.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from nh.calls.leg import Leg
from nh.calls.reception import Reception
from nh.calls.rtp.mos import MIN_PACKETS, estimate_mos
from nh.calls.rtp.payload_types import PayloadTypes
from nh.calls.rtp.quality import Sample, end_to_end, unpack
from nh.calls.rtp.stream import RtpStream
from nh.results import StreamDetail, StreamQuality


class MeterReader:
    """Reads the RTP streams of the legs of a call for one view of it.

    It reads each leg once: to take over what the flow of a leg counts in the kernel is half of the work.

    Args:
        wall_offset_s: monotonic seconds plus this are wall-clock seconds.
    """

    __slots__ = ("_described", "_read", "wall_offset_s")

    def __init__(self, *, wall_offset_s: float) -> None:
        self.wall_offset_s = wall_offset_s
        self._read: dict[Reception, tuple[Sequence[RtpStream], RtpStream | None]] = {}
        self._described: dict[tuple[Leg, str], tuple[StreamDetail, ...]] = {}

    def latest(self, leg: Reception) -> RtpStream | None:
        """The RTP stream whose packets arrived at a leg last; None before the first."""
        return self._streams(leg)[1]

    def describe(self, leg: Leg, kind: str) -> tuple[StreamDetail, ...]:
        """The RTP streams that a leg received.

        Args:
            leg: the leg.
            kind: media type of its medium; only audio has a MOS.
        """
        if leg.meter is None and leg.offload is None:
            return ()  # as of each leg without packets
        known = self._described.get((leg, kind))
        if known is not None:
            return known
        streams, payload_types = self._streams(leg)[0], leg.payload_types
        details: tuple[StreamDetail, ...] = ()
        if streams and payload_types is not None:
            opposite = self.latest(leg.other)
            beyond_s = opposite.round_trip_s if opposite is not None else None
            details = tuple(
                [
                    _describe(each, payload_types, kind, beyond_s, wall_offset_s=self.wall_offset_s)
                    for each in streams
                ]
            )
        self._described[leg, kind] = details
        return details

    def describe_course(self, leg: Leg, ssrc: int) -> tuple[StreamQuality, ...]:
        """How the quality of one of a leg's RTP streams changed: intervals at equal distances, () for none.

        Args:
            leg: the leg.
            ssrc: of the stream.
        """
        streams, _ = self._streams(leg)
        qualities = [unpack(stream.quality) for stream in streams if stream.ssrc == ssrc]
        return tuple(
            [
                _quality(sample, int(sample.at + self.wall_offset_s))
                for quality in qualities
                if quality is not None
                for sample in quality.course
            ]
        )

    def _streams(self, leg: Reception) -> tuple[Sequence[RtpStream], RtpStream | None]:
        """The streams of a leg, and the latest one."""
        found = self._read.get(leg)
        if found is None:
            streams = leg.streams  # brings the meter up to date
            found = self._read[leg] = streams, leg.meter.latest if streams and leg.meter is not None else None
        return found


class Figures(NamedTuple):
    """The quality of an RTP stream so far; see StreamDetail."""

    encoding: str
    loss_ratio: float
    mos: float | None


def figures_of(stream: RtpStream, payload_types: PayloadTypes, kind: str) -> Figures:
    """The quality of a stream so far.

    Args:
        stream: the stream.
        payload_types: of its leg.
        kind: media type of its medium; only audio has a MOS.
    """
    encoding = payload_types.encodings.get(stream.payload_type, "")
    loss_ratio = stream.lost / stream.expected if stream.expected else 0.0
    mos = None
    if kind == "audio" and stream.arrival is not None and stream.packets >= MIN_PACKETS:
        mos = round(estimate_mos(encoding=encoding, loss_ratio=loss_ratio, jitter_s=stream.jitter_s), 2)
    return Figures(encoding, round(loss_ratio, 6), mos)


def _describe(
    stream: RtpStream, payload_types: PayloadTypes, kind: str, beyond_s: float | None, *, wall_offset_s: float
) -> StreamDetail:
    """One stream.

    Args:
        beyond_s: round trip between the relay and the end that sends the stream.
    """
    encoding, loss_ratio, mos = figures_of(stream, payload_types, kind)
    detail = StreamDetail(
        ssrc=stream.ssrc,
        payload_type=stream.payload_type,
        encoding=encoding,
        packets=stream.packets,
        lost=stream.lost,
        reordered=stream.reordered,
        duplicates=stream.duplicates,
        loss_ratio=loss_ratio,
        jitter_ms=None if stream.arrival is None else round(stream.jitter_s * 1000, 3),
        mos=mos,
        round_trip_ms=_ms(stream.round_trip_s),
        reported_loss=None if stream.reported is None else round(stream.reported[1] / 256, 4),
    )
    return detail if mos is None else _with_quality(detail, stream, beyond_s, wall_offset_s)


def _with_quality(
    detail: StreamDetail, stream: RtpStream, beyond_s: float | None, wall_offset_s: float
) -> StreamDetail:
    """The detail with the quality of its intervals; before the first one, with that of the stream so far."""
    quality = unpack(stream.quality)
    if quality is None:
        lowest = highest = average = Sample(
            int(stream.arrival or 0),
            detail.mos or 1.0,
            stream.jitter_s,
            detail.loss_ratio,
            end_to_end(stream.round_trip_s, beyond_s),
        )
        samples = 1
    else:
        lowest, highest, average, samples = quality.lowest, quality.highest, quality.average, quality.samples
    return msgspec.structs.replace(
        detail,
        average=_quality(average, 0, samples),
        lowest=_quality(lowest, int(lowest.at + wall_offset_s)),
        highest=_quality(highest, int(highest.at + wall_offset_s)),
    )


def _quality(sample: Sample, at: int, samples: int = 1) -> StreamQuality:
    return StreamQuality(
        at=at,
        mos=round(sample.mos, 2),
        jitter_ms=round(sample.jitter_s * 1000, 3),
        loss_ratio=round(sample.loss_ratio, 6),
        round_trip_ms=_ms(sample.round_trip_s),
        samples=samples,
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
