"""Taking a snapshot: a call read out, with nothing changed in it.

Contract: counters are those that the legs have; who wants them exact lets the call note() before. What the
kernel counted meanwhile is no loss, because a snapshot says how far its flow was counted.
"""

from nh.calls.call import Call
from nh.calls.leg import Leg
from nh.calls.media import Media
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.offers import Offers
from nh.calls.offer_answer.party import Party
from nh.calls.rtp.payload_types import PayloadTypes
from nh.calls.session import Session, payload_types_told
from nh.calls.snapshots.structs import (
    BranchSnapshot,
    CallSnapshot,
    Clock,
    DialogSnapshot,
    GroupSnapshot,
    LegSnapshot,
    MediaSnapshot,
    OffersSnapshot,
    PartySnapshot,
    PayloadTypesSnapshot,
    SessionSnapshot,
    TransactionSnapshot,
)
from nh.calls.socket_group import SocketGroup
from nh.calls.transaction import Transaction

ShardSlots = dict[int, int]
"""Where objects are in their list, by id()."""


def take_snapshot(call: Call, *, clock: Clock) -> CallSnapshot:
    """Everything of a call, of either model.

    Arguments:
        clock: what time it is; all times of the snapshot are of its monotonic clock.
    """
    groups = [group for _, group in call.groups]
    sessions = sorted(call.running, key=lambda session: session.id)
    of_group, of_session = _places(groups), _places(sessions)
    return CallSnapshot(
        call_id=call.call_id,
        clock=clock,
        created=call.created,
        next_expiry=call.next_expiry,
        groups=[_take_group(group) for group in groups],
        sessions=[_take_session(session, of_group) for session in sessions],
        transactions=[_take_transaction(each, of_group, of_session) for each in call.transactions.values()],
        offers=None if call.offers is None else _take_offers(call.offers, of_group, of_session),
    )


def _places(objects: list[SocketGroup] | list[Session] | list[Party] | list[Dialog]) -> ShardSlots:
    return {id(each): place for place, each in enumerate(objects)}


def _take_media(media: Media) -> MediaSnapshot:
    rtcp = media.rtcp
    return MediaSnapshot(
        media.address,
        media.port,
        media.range,
        media.proto,
        media.kind,
        None if rtcp is None else (rtcp.address, rtcp.port),
        media.signalled_from,
        media.paused,
        [(each.payload_type, each.encoding, each.clock_hz) for each in media.formats],
    )


def _take_group(group: SocketGroup) -> GroupSnapshot:
    return GroupSnapshot(
        id=group.id,
        side=group.side,
        address=group.address,
        created=group.created,
        idle_since=group.idle_since,
        dscp=group.dscp,
        media=[_take_media(media) for media in group.media],
        bases=[place.socket.local.port for place in group.components if place.component == 0],
        told=[media.port != 0 for media in group.relay_media],
    )


def _take_session(session: Session, of_group: ShardSlots) -> SessionSnapshot:
    return SessionSnapshot(
        id=session.id,
        group_from=of_group[id(session.group_from)],
        group_to=of_group[id(session.group_to)],
        created=session.created,
        last_active=session.last_active,
        replaced_at=session.replaced_at,
        on_hold=session.on_hold,
        from_muxes=any(leg.rtcp is not None for leg in session.legs[::2]),
        to_muxes=any(leg.rtcp is not None for leg in session.legs[1::2]),
        param=session.param,
        legs=[_take_leg(*each) for each in zip(session.legs, payload_types_told(session), strict=True)],
    )


def _take_leg(leg: Leg, told: PayloadTypes | None) -> LegSnapshot:
    announced, source, meter = leg.announced, leg.source, leg.meter
    if leg.offload is not None:
        leg.offload.load_meter()
    return LegSnapshot(
        None if announced is None else (announced.address, announced.port),
        leg.receives,
        leg.policy,
        leg.window_ends,
        None if source is None else source == announced or (source.address, source.port),
        leg.rank,
        leg.state,
        leg.signalled_from,
        leg.blocked,
        _take_payload_types(leg.payload_types, told),
        leg.packets,
        leg.bytes,
        leg.noted_packets,
        leg.last_seen,
        leg.drops,
        leg.offloaded,
        leg.offload.folded if leg.offload is not None else leg.kernel_folded,
        None if meter is None else meter.to_state(),
    )


def _take_payload_types(
    agreed: PayloadTypes | None, told: PayloadTypes | None
) -> PayloadTypesSnapshot | bool | None:
    if agreed is None or agreed == told:
        return None if agreed is None else True
    # a former session's groups may have other media by now
    return PayloadTypesSnapshot(dict(agreed.clocks), dict(agreed.encodings))


def _take_transaction(
    transaction: Transaction, of_group: ShardSlots, of_session: ShardSlots
) -> TransactionSnapshot:
    group_from = transaction.group_from
    return TransactionSnapshot(
        id_from=transaction.id_from,
        cseq=transaction.cseq,
        group_from=None if group_from is None else of_group[id(group_from)],
        groups_to=[of_group[id(group)] for group in transaction.groups_to.values()],
        sessions=[of_session[id(session)] for session in transaction.sessions.values()],
        replaced=[of_session[id(session)] for session in transaction.replaced],
    )


def _take_offers(offers: Offers, of_group: ShardSlots, of_session: ShardSlots) -> OffersSnapshot:
    ends = offers.ends
    dialogs = list(ends.all_dialogues)
    agreed = len(ends.dialogs)
    parties = [*ends.parties.values(), *(early.callee for early in dialogs[agreed:])]
    of_party, of_dialogue = _places(parties), _places(dialogs)
    return OffersSnapshot(
        last_signal=offers.last_signal,
        parties=[_take_party(party, of_group, of_dialogue) for party in parties],
        known=len(ends.parties),
        dialogs=[_take_dialogue(each, of_party, of_session) for each in dialogs],
        agreed=agreed,
        branches=[
            BranchSnapshot(name, of_party[id(branch.offerer)], branch.delete_at)
            for name, branch in ends.branches.items()
        ],
    )


def _take_party(party: Party, of_group: ShardSlots, of_dialogue: ShardSlots) -> PartySnapshot:
    return PartySnapshot(
        tag=party.tag,
        side=party.side,
        created=party.created,
        waiting_since=party.waiting_since,
        delete_at=party.delete_at,
        early=None if party.early is None else of_dialogue[id(party.early)],
        policy=party.policy,
        label=party.label,
        blocked=party.blocked,
        interface=party.interface,
        peer_interface=party.peer_interface,
        groups=[None if group is None else of_group[id(group)] for group in party.groups],
        former=[(index, of_group[id(group)]) for index, group in party.former],
        holds={index: _take_media(media) for index, media in party.holds.items()},
        mux=[(mux.offered, mux.passed_on, mux.decided) for mux in party.mux],
        past=[(*place, *counters) for place, counters in party.past.items()],
    )


def _take_dialogue(dialog: Dialog, of_party: ShardSlots, of_session: ShardSlots) -> DialogSnapshot:
    return DialogSnapshot(
        caller=of_party[id(dialog.caller)],
        callee=of_party[id(dialog.callee)],
        branch=dialog.branch,
        signalled=dialog.signalled,
        delete_at=dialog.delete_at,
        sessions=[(index, of_session[id(session)]) for index, session in dialog.sessions.items()],
        former=[(index, of_session[id(session)]) for index, session in dialog.former.items()],
    )
