"""Offers without a to-tag of an end that has a dialog already: which of its offers they are.

An offer with neither a to-tag nor a Via branch, after an answer, may say what the end has said there: then it
is that offer once more, as in rtpengine, on whatever branch that was. A client has left the to-tag of a
re-INVITE out, or an INVITE came twice, or a proxy tries another end with it: all of them have the ports that
were announced.

If it says something else, its answer tells. If the end of a known dialog answers it, it was an offer in that
dialog; if another one does, it is the next attempt of a proxy, on a branch of its own. rtpengine has one
state for all and tells neither.
"""

import copy
import math
from collections.abc import Iterable
from typing import NamedTuple

from nh.calls.media import Media, Side
from nh.calls.offer_answer.announcing import Announcer
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.participants import MAX_PARTIES, Participants
from nh.calls.offer_answer.party import Party


class Answered(NamedTuple):
    """The offer that an answer belongs to.

    Attributes:
        offerer: the party whose offer it is. Of an offer without a to-tag, it shows what that party will be
            with the answer, which may still be refused.
        dialog: the established dialog of both ends; None: there is none yet.
        untagged: the party of the offer without a to-tag that the answer shows to be of the dialog; None: it
            is no such offer.
    """

    offerer: Party
    dialog: Dialog | None
    untagged: Party | None = None


def find_repeated(participants: Participants, tag: bytes, media: Iterable[Media | None]) -> Party | None:
    """The party whose answered offer said the same; None: it is another offer.

    One that is deleted soon is over: what follows is the next attempt. So it is for those on a Via branch
    while an offer on another one waits for its first answer: an answer that names no branch may be to that.

    Args:
        participants: those of the call.
        tag: the tag of the offerer.
        media: of the offer; None where a medium is not relayed.
    """
    places = [None if medium is None else _place(medium) for medium in media]
    own = participants.with_tag(tag)
    waiting = [party for party in own if party.waiting_since and party.delete_at == math.inf]
    if any(party.branch and not participants.is_answered(party) for party in waiting):
        own = [party for party in own if not party.branch]
    same = [party for party in own if _is_repeated(participants, party, places)]

    def rank(party: Party) -> tuple[bool, float]:
        latest = max(each.signalled for each in participants.dialogs if each.has(party))
        return not (party.single or party.branch), latest  # without either, it may be to any end

    party = max(same, key=rank, default=None)
    if party is not None and party.split_from is not None and _are_same(_announced(party.split_from), places):
        return party.split_from  # which other ends may answer, too
    return party


def find_untagged(participants: Participants, from_tag: bytes, to_tag: bytes) -> Answered | None:
    """The offer without a to-tag that an answer shows to be of a dialog of two ends; None: none is.

    Args:
        participants: those of the call.
        from_tag: the tag of the offerer.
        to_tag: the tag of the answerer.
    """
    dialog = participants.find_dialog(from_tag, to_tag)
    if dialog is None or dialog.caller.tag != from_tag or dialog.caller.waiting_since:
        return None
    if not dialog.caller.single and len(participants.parties) >= MAX_PARTIES:
        return None  # it cannot be of one dialog alone
    for party in reversed(participants.with_tag(from_tag)):
        since = party.waiting_since
        if since is None or since < dialog.signalled or party.branch or participants.is_answered(party):
            continue
        if dialog.branch or _announced(party) != _announced(dialog.caller):
            return Answered(_with_offer(dialog.caller, party), dialog, party)
    return None


def _with_offer(party: Party, untagged: Party) -> Party:
    """A party as it would be after the offer of another one of the same end."""
    after = copy.copy(party)
    after.take_offer(untagged)
    after.groups = untagged.groups
    return after


def take_over(announcer: Announcer, dialog: Dialog, answered: Answered, *, now: float) -> Party:
    """Let an offer be one in a dialog, as if it had had the to-tag; its own ports stay those of the offer.

    Args:
        announcer: of the call.
        dialog: the dialog.
        answered: what find_untagged() has found.
        now: monotonic seconds.

    Returns:
        The offerer: the party of the dialog.
    """
    untagged = answered.untagged
    assert untagged is not None  # else it is no such offer
    participants = announcer.participants
    own = participants.split_for(dialog, dialog.caller, now=now)
    early = participants.find_early(untagged)
    if early is not None:
        dialog.callee.sent_origin = early.callee.sent_origin or dialog.callee.sent_origin
    participants.drop_early(untagged, now=now)
    groups, untagged.groups = untagged.groups, ()
    announcer.set_groups(own, groups, now=now)
    own.take_offer(answered.offerer)
    own.sent_origin = answered.offerer.sent_origin
    participants.close_party(untagged, now=now)
    dialog.refresh(announcer.resources, own, now=now)
    return own


def _is_repeated(participants: Participants, party: Party, places: list[tuple[object, ...] | None]) -> bool:
    if party.side is not Side.FROM or party.delete_at != math.inf:
        return False
    goes_on = any(each.has(party) and each.delete_at == math.inf for each in participants.dialogs)
    return goes_on and _are_same(_announced(party), places)


def _are_same(known: list[tuple[object, ...] | None], places: list[tuple[object, ...] | None]) -> bool:
    """Whether an offer has no other media than the known one, as far as both are relayed."""
    both = [each for each in zip(known, places, strict=False) if None not in each]
    return bool(both) and len(places) <= len(known) and all(one == other for one, other in both)


def _announced(party: Party) -> list[tuple[object, ...] | None]:
    """What tells one offer of an end from another."""
    media = [None if group is None else group.medium for group in party.groups]
    return [None if medium is None else _place(medium) for medium in media]


def _place(medium: Media) -> tuple[object, ...]:
    return medium.address, medium.port, medium.range, medium.kind, medium.proto, medium.paused
