"""Rebuilding the parts of a call from a snapshot that was checked: media, legs, transactions, parties.

Nothing here opens a socket or starts a session; nh.calls.snapshots.restore does, and undoes it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nh.calls.call import Call
from nh.calls.leg import Drop, Leg
from nh.calls.media import Endpoint, Media
from nh.calls.offer_answer.branches import Branch
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.offers import Offers
from nh.calls.offer_answer.party import Counters, Mux, Party
from nh.calls.resources import Resources
from nh.calls.rtp.meter import RtpMeter
from nh.calls.rtp.payload_types import PayloadFormat, PayloadTypes
from nh.calls.session import Session
from nh.calls.snapshots.structs import (
    DialogSnapshot,
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


class Times(NamedTuple):
    """How times of a snapshot become those of now.

    Arguments:
        shift_s: what to add to each.
        now: monotonic seconds: what was in the past stays there, even if the wall's clock was set back.
    """

    shift_s: float
    now: float

    def past(self, time: float) -> float:
        """A time at which something happened."""
        return min(time + self.shift_s, self.now)

    def maybe_past(self, time: float | None) -> float | None:
        """The same where it may not have happened."""
        return None if time is None else min(time + self.shift_s, self.now)

    def ahead(self, time: float) -> float:
        """A time at which something is to happen; it may be infinite."""
        return time + self.shift_s


class Parts(NamedTuple):
    """What a call is put together from, in the places that the snapshot names."""

    groups: Sequence[SocketGroup]
    sessions: Sequence[Session]


def rebuild_media(snapshot: MediaSnapshot) -> Media:
    """The medium that it was."""
    rtcp = snapshot.rtcp
    return Media(
        snapshot.address,
        snapshot.port,
        snapshot.range,
        snapshot.proto,
        snapshot.kind,
        None if rtcp is None else Endpoint(*rtcp),
        snapshot.signalled_from,
        snapshot.paused,
        tuple(PayloadFormat(*each) for each in snapshot.formats),
    )


def rebuild_session(
    snapshot: SessionSnapshot, groups: Sequence[SocketGroup], times: Times, *, latch_window_s: float
) -> Session:
    """The session that it was, not yet started; its groups know of it."""
    first = snapshot.legs[:2]
    policies = (first[0].policy, first[1].policy) if first else (None, None)
    session = Session(
        id=snapshot.id,
        group_from=groups[snapshot.group_from],
        group_to=groups[snapshot.group_to],
        param=snapshot.param,
        policies=policies,  # type: ignore[arg-type]  # without legs there is nobody to send
        latch_window_s=0.0,
        now=times.past(snapshot.created),
    )
    session.last_active = times.past(snapshot.last_active)
    session.replaced_at = times.maybe_past(snapshot.replaced_at)
    session.on_hold = snapshot.on_hold
    for leg, state in zip(session.legs, snapshot.legs, strict=True):
        _rebuild_leg(leg, state, times)
        # so it was at the latest, unless a clock was set back
        leg.window_ends = min(times.ahead(state.window_ends), times.now + latch_window_s)
    session.set_mux(from_muxes=snapshot.from_muxes, to_muxes=snapshot.to_muxes)
    return session


def _rebuild_leg(leg: Leg, state: LegSnapshot, times: Times) -> None:
    announced = state.announced
    if announced is None:
        leg.announced = None
    elif leg.announced is None or (leg.announced.address, leg.announced.port) != announced:
        leg.announced = Endpoint(*announced)
    leg.receives = state.receives
    leg.policy = state.policy
    leg.source = Endpoint(*state.source) if isinstance(state.source, tuple) else None
    if state.source is True:
        leg.source = leg.announced
    leg.rank = state.rank
    leg.state = state.state
    leg.signalled_from = state.signalled_from
    leg.blocked = state.blocked
    if not isinstance(state.payload_types, bool):
        leg.payload_types = _rebuild_payload_types(state.payload_types)
    leg.packets, leg.bytes, leg.noted_packets = state.packets, state.bytes, state.noted_packets
    leg.last_seen = times.maybe_past(state.last_seen)
    if state.drops is not None:
        # a release with more reasons, or fewer, wrote others
        leg.drops = (state.drops + [0] * len(Drop))[: len(Drop)]
    leg.offloaded, leg.kernel_folded = state.offloaded, state.kernel
    if state.meter is not None:
        clocks: Mapping[int, int] = {} if leg.payload_types is None else leg.payload_types.clocks
        leg.meter = RtpMeter.from_state(state.meter, clocks, shift_s=times.shift_s)


def _rebuild_payload_types(snapshot: PayloadTypesSnapshot | None) -> PayloadTypes | None:
    return None if snapshot is None else PayloadTypes(snapshot.clocks, snapshot.encodings)


def rebuild_transaction(call: Call, snapshot: TransactionSnapshot, parts: Parts) -> None:
    """Put a transaction into its call."""
    transaction = Transaction(snapshot.id_from, snapshot.cseq)
    if snapshot.group_from is not None:
        transaction.group_from = parts.groups[snapshot.group_from]
    for place in snapshot.groups_to:
        group = parts.groups[place]
        transaction.groups_to[group.id] = group
    for place in snapshot.sessions:
        session = parts.sessions[place]
        transaction.sessions[session.group_to.id] = session
    transaction.replaced = [parts.sessions[place] for place in snapshot.replaced]
    call.transactions[snapshot.id_from, snapshot.cseq] = transaction


def rebuild_offers(resources: Resources, snapshot: OffersSnapshot, parts: Parts, times: Times) -> Offers:
    """Parties and dialogs as they were, the same objects wherever they are named."""
    offers = Offers(resources)
    offers.last_signal = times.past(snapshot.last_signal)
    parties = [_rebuild_party(party, parts, times) for party in snapshot.parties]
    dialogs = [_rebuild_dialogue(dialog, parties, parts, times) for dialog in snapshot.dialogs]
    for party, told in zip(parties, snapshot.parties, strict=True):
        party.early = None if told.early is None else dialogs[told.early]
    ends = offers.ends
    ends.parties.update((party.tag, party) for party in parties[: snapshot.known])
    ends.dialogs.extend(dialogs[: snapshot.agreed])
    for each in snapshot.branches:
        branch = Branch(parties[each.offerer])
        branch.delete_at = times.ahead(each.delete_at)
        ends.branches.add(each.name, branch)
    return offers


def _rebuild_party(snapshot: PartySnapshot, parts: Parts, times: Times) -> Party:
    party = Party(snapshot.tag, snapshot.side, now=times.past(snapshot.created))
    party.waiting_since = times.maybe_past(snapshot.waiting_since)
    party.delete_at = times.ahead(snapshot.delete_at)
    party.policy = snapshot.policy
    party.label = snapshot.label
    party.blocked = snapshot.blocked
    party.interface, party.peer_interface = snapshot.interface, snapshot.peer_interface
    party.groups = [None if place is None else parts.groups[place] for place in snapshot.groups]
    party.former = [(index, parts.groups[place]) for index, place in snapshot.former]
    party.holds = {index: rebuild_media(media) for index, media in snapshot.holds.items()}
    party.mux = [Mux(*mux) for mux in snapshot.mux]
    party.past = {(medium, component): Counters(*counted) for medium, component, *counted in snapshot.past}
    return party


def _rebuild_dialogue(
    snapshot: DialogSnapshot, parties: Sequence[Party], parts: Parts, times: Times
) -> Dialog:
    dialog = Dialog(
        parties[snapshot.caller],
        parties[snapshot.callee],
        branch=snapshot.branch,
        now=times.past(snapshot.signalled),
    )
    dialog.delete_at = times.ahead(snapshot.delete_at)
    dialog.sessions = {index: parts.sessions[place] for index, place in snapshot.sessions}
    dialog.former = {index: parts.sessions[place] for index, place in snapshot.former}
    return dialog
