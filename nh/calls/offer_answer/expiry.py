"""Expiry: silent dialogs end, and so do parties that have no dialog and wait for no answer any more."""

import math

from nh.calls.offer_answer.participants import Participants
from nh.calls.offer_answer.party import Party
from nh.calls.resources import CallResources
from nh.calls.settings import RelaySettings


def expire(
    participants: Participants, resources: CallResources, *, delete_at: float = math.inf, now: float
) -> None:
    """End what is due.

    Args:
        participants: those of the call.
        resources: sockets, limits and media plane.
        delete_at: monotonic seconds at which a delete ends the whole call; infinite without one.
        now: monotonic seconds.
    """
    rules = resources.settings
    for dialog in list(participants.dialogs):
        dialog.expire_replaced(resources, now=now)
        if now >= dialog.expires_at(rules):
            deleted = math.isfinite(min(dialog.delete_at, delete_at))
            participants.end_dialog(dialog, now=now, silent=not deleted)
    participants.close_all_superseded()
    for party in participants.without_dialog:
        if now >= _expires_alone_at(participants, party, rules):
            for group in party.groups:
                if group is not None and group.is_last:
                    resources.note_unused(group)
            participants.close_party(party, now=now)


def next_expiry(participants: Participants, rules: RelaySettings, *, now: float) -> float:
    """Monotonic seconds before which nothing expires, and no delete of a part of the call is due.

    Args:
        participants: those of the call.
        rules: the settings.
        now: monotonic seconds; packets that came until then are noted.
    """
    times = [dialog.cannot_end_before(rules, now=now) for dialog in participants.dialogs]
    times += [each.expires_at(rules) for dialog in participants.dialogs for _, each in dialog.replaced]
    times += [_expires_alone_at(participants, party, rules) for party in participants.without_dialog]
    times += [each.delete_at for each in participants.deletable]
    return min(times, default=math.inf)


def expires_at(participants: Participants, party: Party, rules: RelaySettings) -> float:
    """Monotonic seconds at which the media of a party end unless a packet arrives."""
    times = [dialog.expires_at(rules) for dialog in participants.dialogs if dialog.has(party)]
    return max(times) if times else _expires_alone_at(participants, party, rules)


def _expires_alone_at(participants: Participants, party: Party, rules: RelaySettings) -> float:
    """Monotonic seconds at which a party without a dialog is removed."""
    if party.waiting_since is None and participants.splits_of(party):
        return participants.answerable_until(party)
    times = [party.created if party.waiting_since is None else party.waiting_since]
    early = participants.find_early(party)
    if early is not None:
        times += [session.last_active for _, session in early.current]
    elif party.waiting_since is None:
        unneeded = [
            group.expires_at(unused_s=rules.unused_s, replaced_s=rules.replaced_s)
            for group in party.groups
            if group is not None
        ]
        return max(unneeded, default=party.created + rules.unused_s)
    return max(times) + rules.unused_s
