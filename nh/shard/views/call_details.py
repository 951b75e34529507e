"""Details of a call: its groups, sessions and legs as the plain values of `show` and of records.

Pure functions; they change no call. RTP streams are nh.shard.views.stream_details.
"""

from collections.abc import Mapping
from typing import Any

from nh.calls.call import Call
from nh.calls.drop import Drop
from nh.calls.events import EndReason
from nh.calls.leg import Leg
from nh.calls.media import Endpoint, Media, Side
from nh.calls.protocols.ice import EndIce
from nh.calls.session import Pair, Session
from nh.calls.session_info import media_text
from nh.calls.sockets.group import SocketGroup
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
)
from nh.shard.views.stream_details import MeterReader


def describe_call(call: Call, *, shard: int, wall_offset_s: float, now: float) -> CallDetail:
    """A call with its groups, sessions, legs and streams.

    Args:
        call: the call.
        shard: number of this shard.
        wall_offset_s: monotonic seconds plus this are wall-clock seconds.
        now: monotonic seconds.
    """
    reader = MeterReader(wall_offset_s=wall_offset_s)
    carriers = _carriers(call)
    return CallDetail(
        call_id=call.call_id,
        shard=shard,
        age_s=round(now - call.created, 3),
        idle_s=round(now - call.last_active, 3),
        groups=tuple(_group(cseq, group, now=now) for cseq, group in call.groups),
        sessions=tuple([_session(cseq, each, carriers, reader, now=now) for cseq, each in call.sessions]),
        client=call.timeline.client,
        events=tuple(call.timeline.events),
        events_left_out=call.timeline.events_left_out,
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
    reader = MeterReader(wall_offset_s=wall_offset_s)
    fields = _session_fields(cseq, session, LegRecord, reader, now=now)
    ended = round(now + wall_offset_s, 3)
    return SessionRecord(**fields, ended=ended, reason=reason, carried_by=_carriers(call).get(session.id))


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


def _carriers(call: Call) -> dict[int, int]:
    """By the number of a session, that of the one whose sockets carry it in a bundle that passes."""
    found = {}
    for dialog in call.offers.participants.dialogs if call.offers is not None else ():
        for index, carrier in dialog.carriers.items():
            session, carries = dialog.find_session(index), dialog.find_session(carrier)
            if session is not None and carries is not None:
                found[session.id] = carries.id
    return found


def _session(
    cseq: int, session: Session, carriers: Mapping[int, int], reader: MeterReader, *, now: float
) -> SessionDetail:
    fields = _session_fields(cseq, session, LegDetail, reader, now=now)
    age_s = round(now - session.created, 3)
    return SessionDetail(**fields, age_s=age_s, carried_by=carriers.get(session.id))


def _session_fields(
    cseq: int,
    session: Session,
    leg_type: type[LegDetail],
    reader: MeterReader,
    *,
    now: float,
) -> dict[str, Any]:
    legs, media = session.legs, (session.group_from.media, session.group_to.media)
    # 0: agreed by ng's offer and answer, which have no CSeq
    known_from = bool(cseq) or session.known(Side.FROM)
    known_to = bool(cseq) or session.known(Side.TO)
    state = "hold" if session.on_hold else "active"
    if not (known_from and known_to):
        state = "offered"
    if session.replaced_at is not None:
        state = "replaced"
    return {
        "sessionid": session.id,
        "cseq": cseq,
        "id_from": session.group_from.id,
        "id_to": session.group_to.id,
        "from_": media_text(media[Side.FROM]) if known_from else "",
        "to": media_text(media[Side.TO]) if known_to else "",
        "bytes_from": sum([leg.bytes for leg in legs[Side.FROM :: 2]]),
        "bytes_to": sum([leg.bytes for leg in legs[Side.TO :: 2]]),
        "created": session.created + reader.wall_offset_s,
        "param": session.param,
        "state": state,
        "pairs": tuple([_pair(pair, session, media, leg_type, reader, now=now) for pair in session.pairs]),
    }


def _pair(
    pair: Pair,
    session: Session,
    media: tuple[tuple[Media, ...], tuple[Media, ...]],
    leg_type: type[LegDetail],
    reader: MeterReader,
    *,
    now: float,
) -> PairDetail:
    from_, to = media[Side.FROM][pair.medium], media[Side.TO][pair.medium]
    return PairDetail(
        medium=pair.medium,
        component=pair.component,
        kind=from_.kind,
        # an end sends to the sockets that stand in the other one's place
        from_=_leg(pair.from_, from_, session.group_to, leg_type, reader, now=now),
        to=_leg(pair.to, to, session.group_from, leg_type, reader, now=now),
    )


def _leg(
    leg: Leg,
    said: Media,
    group: SocketGroup,
    leg_type: type[LegDetail],
    reader: MeterReader,
    *,
    now: float,
) -> LegDetail:
    """One leg.

    Args:
        said: what its end announces.
        group: the sockets that its end sends to.
        leg_type: of what is returned.
        reader: of its streams.
    """
    muxed, transport = leg.is_muxed, leg.transport
    further: dict[str, Any] = {}  # what only some legs have
    if leg.rare is not None:
        further |= _rarities(leg, now=now)
    if group.advertised != group.address:
        further["advertised"] = str(Endpoint(group.advertised, leg.socket.local.port))
    if leg.meter is not None:
        latest = reader.latest(leg)
        further["payload_type"] = None if latest is None else latest.payload_type
        further["deaf_reports"] = leg.meter.deaf_reports
    if leg.security is not None:
        further["srtp"] = leg.security.suite
        further["dtls"] = "" if muxed else leg.security.handshake
    if transport.ice is not None:
        further["ice"] = _ice(transport.ice, now=now)
    return leg_type(
        str(leg.socket.local),
        None if leg.announced is None else str(leg.announced),
        None if transport.source is None else str(transport.source),
        transport.latched,
        leg.packets,
        leg.bytes,
        {} if leg.rare is None or leg.drops is None else _dropped(leg.drops),
        None if leg.last_seen is None else round(now - leg.last_seen, 3),
        reader.describe(leg, said.kind),
        leg.offload is not None,
        leg.not_offloaded,
        leg.offloaded,
        direction=said.direction,
        allowed=() if leg.payload_types is None else leg.payload_types.allowed,
        muxed=muxed,
        **further,
    )


def _rarities(leg: Leg, *, now: float) -> dict[str, Any]:
    offender, unreachable_at = leg.offender, leg.unreachable_at
    return {
        "refused_from": None if offender is None else str(offender),
        "unreachable": leg.unreachable,
        "unreachable_s": None if unreachable_at is None else round(now - unreachable_at, 3),
    }


def _ice(ice: EndIce, *, now: float) -> IceDetail:
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
