"""Checking a snapshot before anything is made of it: what belongs together, and that all addresses are some.

A snapshot that passes can be restored whole, if the host gives its ports. A name where an address belongs
would be looked up in the DNS with each packet, so there is none; a session whose group is another's would
outlive its sockets.
"""

import math
import re
from collections.abc import Hashable, Iterable, Sequence, Sized
from typing import Final

from nh.calls.interfaces import Interface
from nh.calls.media import canonical_host, is_address, is_unicast
from nh.calls.snapshots.structs import (
    CallSnapshot,
    DialogSnapshot,
    GroupSnapshot,
    LegSnapshot,
    MediaSnapshot,
    OffersSnapshot,
    PartySnapshot,
    SessionSnapshot,
    TransactionSnapshot,
)
from nh.errors import ProtocolError, SnapshotUnreadable

_SCOPED: Final = re.compile(r"(?P<address>[^%]*:[^%]*)%[A-Za-z0-9_.-]{1,16}\Z", re.ASCII)


def check_snapshot(snapshot: CallSnapshot) -> None:
    """Raises SnapshotUnreadable if it contradicts itself."""
    _require(not math.isnan(snapshot.next_expiry), "the time of its next expiry is none")
    for group in snapshot.groups:
        _check_group(group)
    for session in snapshot.sessions:
        _check_session(snapshot, session)
    groups: list[int] = []
    sessions: list[int] = []
    for transaction in snapshot.transactions:
        groups += _check_transaction(snapshot, transaction)
        sessions += [*transaction.sessions, *transaction.replaced]
    keys = [(transaction.id_from, transaction.cseq) for transaction in snapshot.transactions]
    _require_distinct(keys, "transactions")
    offers = snapshot.offers
    if offers is not None:
        _check_offers(snapshot, offers)
        for party in offers.parties:
            groups += [*(place for place in party.groups if place is not None), *(p for _, p in party.former)]
        for dialog in offers.dialogs:
            sessions += [place for _, place in (*dialog.sessions, *dialog.former)]
    _require(bool(snapshot.transactions or (offers and offers.parties)), "the call has nothing in it")
    _require(sorted(groups) == list(range(len(snapshot.groups))), "not each group belongs to one owner")
    _require(sorted(sessions) == list(range(len(snapshot.sessions))), "not each session belongs to one owner")
    _require_distinct([session.id for session in snapshot.sessions], "session ids")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SnapshotUnreadable(f"snapshot: {otherwise}")


def _require_distinct(values: Sequence[Hashable], what: str) -> None:
    _require(len(set(values)) == len(values), f"two {what} are the same")


def _require_place(place: int, members: Sized, what: str) -> None:
    _require(place < len(members), f"there is no {what} {place}")


# --- groups and sessions --------------------------------------------------------------------------------


def _check_group(group: GroupSnapshot) -> None:
    _require(is_unicast(group.address), f"a group is at {group.address!r}")
    _require(len(group.media) == len(group.bases) == len(group.told), "a group has a number of ports wrong")
    for media, base in zip(group.media, group.bases, strict=True):
        _check_media(media)
        _require(base % 2 == 0 and base + media.range <= 65536, f"a medium has ports from {base} on")


def _check_media(media: MediaSnapshot) -> None:
    try:
        canonical_host(media.address, where="snapshot")
    except ProtocolError as exc:
        raise SnapshotUnreadable(str(exc)) from exc
    if media.rtcp is not None:
        _require(is_address(media.rtcp[0]), f"RTCP is at {media.rtcp[0]!r}")


def _check_session(snapshot: CallSnapshot, session: SessionSnapshot) -> None:
    ports: list[int] = []
    for place in (session.group_from, session.group_to):
        _require_place(place, snapshot.groups, "group")
        ports.append(sum(media.range for media in snapshot.groups[place].media))
    _require(session.group_from != session.group_to, "a session joins a group to itself")
    _require(
        ports[0] == ports[1] and len(session.legs) == 2 * ports[0], "a session's legs are not its groups'"
    )
    for leg in session.legs:
        _check_leg(leg)


def _check_leg(leg: LegSnapshot) -> None:
    if leg.announced is not None:
        _require(is_unicast(leg.announced[0]), f"an end announced {leg.announced[0]!r}")
    source = leg.source
    if source is True:
        _require(leg.announced is not None, "the source is what nobody announced")
    elif isinstance(source, tuple) and not is_address(source[0]):
        scoped = _SCOPED.match(source[0])
        _require(scoped is not None and is_address(scoped["address"]), f"a source is {source[0]!r}")
    _require(source is not False, "a source is neither one nor none")


# --- Net::SIP's model -----------------------------------------------------------------------------------


def _check_transaction(snapshot: CallSnapshot, transaction: TransactionSnapshot) -> list[int]:
    """Returns the places of its groups."""
    to = transaction.groups_to
    mine = list(to) if transaction.group_from is None else [transaction.group_from, *to]
    _require(bool(mine), "a transaction has no sockets")
    for place in mine:
        _require_place(place, snapshot.groups, "group")
    _require_distinct([snapshot.groups[place].id for place in to], "responses")
    for place in (*transaction.sessions, *transaction.replaced):
        _require_place(place, snapshot.sessions, "session")
        session = snapshot.sessions[place]
        owned = session.group_from == transaction.group_from and session.group_to in to
        _require(owned, "a session joins groups of other transactions")
    _require_distinct([snapshot.sessions[place].group_to for place in transaction.sessions], "sessions")
    replaced = [snapshot.sessions[place].replaced_at for place in transaction.replaced]
    _require(None not in replaced, "a session was replaced, but never")
    return mine


# --- ng's model -----------------------------------------------------------------------------------------


def _check_offers(snapshot: CallSnapshot, offers: OffersSnapshot) -> None:
    parties, dialogs = offers.parties, offers.dialogs
    _require(offers.known <= len(parties) and offers.agreed <= len(dialogs), "parties or dialogs are missing")
    _require_distinct([party.tag for party in parties[: offers.known]], "tags")
    for party in parties:
        _check_party(snapshot, party)
    for place, dialog in enumerate(dialogs):
        _check_dialogue(snapshot, offers, dialog, agreed=place < offers.agreed)
    pairs = [frozenset((each.caller, each.callee)) for each in dialogs[: offers.agreed]]
    _require(len(set(pairs)) == len(pairs), "two dialogs are between the same ends")
    _check_early(offers)
    _require_distinct([branch.name for branch in offers.branches], "branches")
    for branch in offers.branches:
        _require(branch.offerer < offers.known, "a branch is nobody's")
        _require(not math.isnan(branch.delete_at), "a branch goes at no time")


def _check_early(offers: OffersSnapshot) -> None:
    """Who will answer is in one dialog, which is its offerer's."""
    early = [(party.early, place) for place, party in enumerate(offers.parties) if party.early is not None]
    told = [(offers.agreed + n, each.caller) for n, each in enumerate(offers.dialogs[offers.agreed :])]
    _require(sorted(early) == told, "early dialogs are not their offerers'")
    unknown = sorted(each.callee for each in offers.dialogs[offers.agreed :])
    _require(unknown == list(range(offers.known, len(offers.parties))), "somebody will answer nobody")


def _check_party(snapshot: CallSnapshot, party: PartySnapshot) -> None:
    _require(not math.isnan(party.delete_at), "a party goes at no time")
    for place in (*party.groups, *(place for _, place in party.former)):
        if place is not None:
            _require_place(place, snapshot.groups, "group")
            _require(len(snapshot.groups[place].media) == 1, "a party's group is of several media")
    for media in party.holds.values():
        _check_media(media)
    for interface in (party.interface, party.peer_interface):
        if interface is not None:
            _check_interface(interface)


def _check_interface(interface: Interface) -> None:
    for address in (interface.address, interface.advertised):
        _require(is_unicast(address), f"an interface is at {address!r}")


def _check_dialogue(
    snapshot: CallSnapshot, offers: OffersSnapshot, dialog: DialogSnapshot, *, agreed: bool
) -> None:
    _require(not math.isnan(dialog.delete_at), "a dialog goes at no time")
    for place, known in ((dialog.caller, True), (dialog.callee, agreed)):
        _require_place(place, offers.parties, "party")
        _require((place < offers.known) is known, "a dialog is with an end that is not there")
    _require(dialog.caller != dialog.callee, "a dialog is with oneself")
    ours, theirs = _groups_by_medium(offers, dialog.caller), _groups_by_medium(offers, dialog.callee)
    for sessions in (dialog.sessions, dialog.former):
        _require_distinct([index for index, _ in sessions], "media of a dialog")
        for index, place in sessions:
            _require_place(place, snapshot.sessions, "session")
            session = snapshot.sessions[place]
            owned = (index, session.group_from) in ours and (index, session.group_to) in theirs
            _require(owned, "a session joins groups of others than its dialog's ends")


def _groups_by_medium(offers: OffersSnapshot, place: int) -> set[tuple[int, int]]:
    party = offers.parties[place]
    pairs: Iterable[tuple[int, int | None]] = enumerate(party.groups)
    return {(index, group) for index, group in pairs if group is not None} | set(party.former)
