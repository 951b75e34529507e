"""What a leg's meter says, as plain values for show and query. Pure; it changes nothing."""

from nh.calls.leg import Leg
from nh.calls.rtp.mos import MIN_PACKETS, estimate_mos
from nh.calls.rtp.payload_types import PayloadTypes
from nh.calls.rtp.stream import RtpStream
from nh.results import StreamDetail


def describe_streams(leg: Leg, kind: str) -> tuple[StreamDetail, ...]:
    """The RTP streams that a leg received.

    Arguments:
        leg: the leg.
        kind: media type of its medium: only audio has a MOS.
    """
    if leg.payload_types is None:
        return ()
    return tuple(_describe(stream, leg.payload_types, kind) for stream in leg.streams)


def _describe(stream: RtpStream, payload_types: PayloadTypes, kind: str) -> StreamDetail:
    encoding = payload_types.encodings.get(stream.payload_type, "")
    loss_ratio = stream.lost / stream.expected if stream.expected else 0.0
    measured = stream.arrival is not None
    mos = None
    if kind == "audio" and measured and stream.packets >= MIN_PACKETS:
        mos = round(estimate_mos(encoding=encoding, loss_ratio=loss_ratio, jitter_s=stream.jitter_s), 2)
    return StreamDetail(
        ssrc=stream.ssrc,
        payload_type=stream.payload_type,
        encoding=encoding,
        packets=stream.packets,
        lost=stream.lost,
        reordered=stream.reordered,
        duplicates=stream.duplicates,
        loss_ratio=round(loss_ratio, 6),
        jitter_ms=round(stream.jitter_s * 1000, 3) if measured else None,
        mos=mos,
    )
