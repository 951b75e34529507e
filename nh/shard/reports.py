"""Reports: a call as the plain values of `show`, and RTP streams as those of `query` too.

Pure functions; they change no call.
"""

from typing import Any, NamedTuple

import msgspec

from nh.calls.call import Call
from nh.calls.drop import Drop
from nh.calls.events import EndReason
from nh.calls.ice import EndIce
from nh.calls.leg import Leg
from nh.calls.media import Endpoint, Media, Side
from nh.calls.rtp.mos import MIN_PACKETS, estimate_mos
from nh.calls.rtp.payload_types import PayloadTypes
from nh.calls.rtp.quality import Sample, end_to_end, unpack
from nh.calls.rtp.stream import RtpStream
from nh.calls.session import Pair, Session
from nh.calls.socket_group import SocketGroup
from nh.ice.agent import REFUSED, CheckResult
from nh.results import (
    CallDetail,
    GroupDetail,
    IceDetail,
    LegDetail,
    LegRecord,
    PairDetail,
    SessionDetail,
    SessionRecord,
    StreamDetail,
    StreamQuality,
)


def describe_call(call: Call, *, shard: int, wall_offset_s: float, now: float) -> CallDetail:
    """A call with its groups, sessions, legs and streams.

    Args:
        call: the call.
        shard: number of this shard.
        wall_offset_s: monotonic seconds plus this are wall-clock seconds.
        now: monotonic seconds.
    """
    return CallDetail(
        call_id=call.call_id,
        shard=shard,
        age_s=round(now - call.created, 3),
        idle_s=round(now - call.last_active, 3),
        groups=tuple(_group(cseq, group, now=now) for cseq, group in call.groups),
        sessions=tuple(
            _session(call, cseq, session, wall_offset_s=wall_offset_s, now=now)
            for cseq, session in call.sessions
        ),
        client=call.journal.client,
        events=tuple(call.journal.events),
        events_left_out=call.journal.events_left_out,
    )


def describe_ended(
    call: Call, session: Session, reason: EndReason, *, wall_offset_s: float, now: float
) -> SessionRecord:
    """A session that has just ended.

    Args:
        call: its call.
        session: its legs are linked still.
        reason: why it ended.
        wall_offset_s, now: see describe_call().
    """
    cseq = next((each.cseq for each in call.transactions if session.group_to in each.groups_to), 0)
    fields = _session_fields(call, cseq, session, LegRecord, wall_offset_s=wall_offset_s, now=now)
    return SessionRecord(**fields, ended=round(now + wall_offset_s, 3), reason=reason.value)


def _group(cseq: int, group: SocketGroup, *, now: float) -> GroupDetail:
    return GroupDetail(
        cseq=cseq,
        id=group.id,
        side=group.side,
        used=bool(group.users),
        age_s=round(now - group.created, 3),
        media=group.relay_media,
        local_ports=tuple(socket.port for socket in group.sockets),
        further=tuple(str(Endpoint(each.address, each.base)) for each in group.further),
    )


def _session(call: Call, cseq: int, session: Session, *, wall_offset_s: float, now: float) -> SessionDetail:
    fields = _session_fields(call, cseq, session, LegDetail, wall_offset_s=wall_offset_s, now=now)
    return SessionDetail(**fields)


def _session_fields(
    call: Call,
    cseq: int,
    session: Session,
    leg_type: type[LegDetail],
    *,
    wall_offset_s: float,
    now: float,
) -> dict[str, Any]:
    info = session.info(call.call_id, cseq, wall_offset_s=wall_offset_s)
    # 0: agreed by ng's offer and answer, which have no CSeq
    known_from = bool(cseq) or session.known(Side.FROM)
    known_to = bool(cseq) or session.known(Side.TO)
    state = "hold" if session.on_hold else "active"
    if not (known_from and known_to):
        state = "offered"
    if session.replaced_at is not None:
        state = "replaced"
    return {
        "sessionid": info.sessionid,
        "cseq": info.cseq,
        "id_from": info.id_from,
        "id_to": info.id_to,
        "from_": info.from_ if known_from else "",
        "to": info.to if known_to else "",
        "bytes_from": info.bytes_from,
        "bytes_to": info.bytes_to,
        "created": info.created,
        "param": info.param,
        "state": state,
        "pairs": tuple(
            [_pair(session, pair, leg_type, wall_offset_s=wall_offset_s, now=now) for pair in session.pairs]
        ),
    }


def _pair(
    session: Session, pair: Pair, leg_type: type[LegDetail], *, wall_offset_s: float, now: float
) -> PairDetail:
    from_, to = session.group_from.media[pair.medium], session.group_to.media[pair.medium]
    return PairDetail(
        medium=pair.medium,
        component=pair.component,
        kind=from_.kind,
        from_=_leg(pair.from_, from_, leg_type, wall_offset_s=wall_offset_s, now=now),
        to=_leg(pair.to, to, leg_type, wall_offset_s=wall_offset_s, now=now),
    )


def _leg(leg: Leg, said: Media, leg_type: type[LegDetail], *, wall_offset_s: float, now: float) -> LegDetail:
    """One leg.

    Args:
        said: what its end announces.
        leg_type: of what is returned.
    """
    streams = describe_streams(leg, said.kind, wall_offset_s=wall_offset_s)
    latest = leg.meter.latest if leg.meter is not None else None
    drops, offender, unreachable_at = leg.drops, leg.offender, leg.unreachable_at  # rare, so slow to read
    return leg_type(
        local=str(leg.socket.local),
        announced=str(leg.announced) if leg.announced else None,
        source=str(leg.source) if leg.source else None,
        latched=leg.latched,
        packets=leg.packets,
        bytes=leg.bytes,
        dropped={} if drops is None else _dropped(drops),
        idle_s=None if leg.last_seen is None else round(now - leg.last_seen, 3),
        kernel=leg.offload is not None,
        user_space_because=leg.not_offloaded,
        kernel_packets=leg.offloaded,
        streams=streams,
        refused_from=str(offender) if offender else None,
        direction=said.direction,
        payload_type=None if latest is None else latest.payload_type,
        allowed=() if leg.payload_types is None else leg.payload_types.allowed,
        deaf_reports=0 if leg.meter is None else leg.meter.deaf_reports,
        unreachable=leg.unreachable,
        unreachable_s=None if unreachable_at is None else round(now - unreachable_at, 3),
        srtp=leg.security.suite if leg.security is not None else "",
        ice=_ice((leg.bundled_on or leg).ice, now=now),
        dtls=leg.security.handshake if leg.security is not None and not leg.is_muxed else "",
        muxed=leg.is_muxed,
    )


def _ice(ice: EndIce | None, *, now: float) -> IceDetail | None:
    if ice is None:
        return None
    component = ice.component
    selected = component.selected
    return IceDetail(
        ice.guards,
        component.results.get(CheckResult.ANSWERED, 0),
        None if component.checked_at is None else round(now - component.checked_at, 3),
        None if selected is None else str(Endpoint(*selected)),
        len(component.sources),
        {each.value: component.results[each] for each in REFUSED if each in component.results},
    )


def _dropped(drops: list[int]) -> dict[str, int]:
    return {reason.name.lower(): drops[reason] for reason in Drop if drops[reason]}


def describe_streams(leg: Leg, kind: str, *, wall_offset_s: float) -> tuple[StreamDetail, ...]:
    """The RTP streams that a leg received.

    Args:
        leg: the leg.
        kind: media type of its medium; only audio has a MOS.
        wall_offset_s: monotonic seconds plus this are wall-clock seconds.
    """
    if leg.payload_types is None:
        return ()
    streams = leg.streams
    if not streams:
        return ()
    opposite = leg.other.meter.latest if leg.other.meter is not None else None
    beyond_s = opposite.round_trip_s if opposite is not None else None
    return tuple(
        _describe(stream, leg.payload_types, kind, beyond_s, wall_offset_s=wall_offset_s)
        for stream in streams
    )


def describe_course(leg: Leg, ssrc: int, *, wall_offset_s: float) -> tuple[StreamQuality, ...]:
    """How the quality of one of a leg's RTP streams changed: intervals at equal distances, () for none.

    Args:
        leg: the leg.
        ssrc: of the stream.
        wall_offset_s: monotonic seconds plus this are wall-clock seconds.
    """
    qualities = [unpack(stream.quality) for stream in leg.streams if stream.ssrc == ssrc]
    return tuple(
        _quality(sample, int(sample.at + wall_offset_s))
        for quality in qualities
        if quality is not None
        for sample in quality.course
    )


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
