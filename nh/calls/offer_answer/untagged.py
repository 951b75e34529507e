"""Offers without a to-tag of an end that has a dialog already: their answer tells whether they are of it.

An offer with neither a to-tag nor a Via branch, after an answer, is the next attempt of a proxy that hunts,
and begins a branch. Or a client has left the to-tag of a re-INVITE out. If the end of a known dialog answers
it, and it announces something else than the offerer has announced there, it was an offer in that dialog: the
attempts of a proxy announce the same to all. rtpengine has one state for all and tells neither.
"""

from nh.calls.media import Media
from nh.calls.offer_answer.announcing import Announcer
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.participants import Participants
from nh.calls.offer_answer.party import Party
from nh.calls.resources import CallResources


def find_untagged(participants: Participants, from_tag: bytes, to_tag: bytes) -> tuple[Dialog, Party] | None:
    """A dialog of two ends, and the offer without a to-tag that an answer shows to be of it; None: none is.

    Args:
        participants: those of the call.
        from_tag: the tag of the offerer.
        to_tag: the tag of the answerer.
    """
    dialog = participants.find_dialog(from_tag, to_tag)
    if dialog is None or dialog.branch or dialog.caller.tag != from_tag or dialog.caller.waiting_since:
        return None
    for party in reversed(participants.with_tag(from_tag)):
        since = party.waiting_since
        if since is None or since < dialog.signalled or party.branch or participants.is_answered(party):
            continue
        if _announced(party) != _announced(dialog.caller):
            return dialog, party
    return None


def take_over(
    participants: Participants,
    announcer: Announcer,
    resources: CallResources,
    found: tuple[Dialog, Party],
    *,
    now: float,
) -> None:
    """Let an offer be one in a dialog, as if it had had the to-tag; its own ports stay those of the offer.

    Args:
        participants: those of the call.
        announcer: of the call.
        resources: of the call.
        found: what find_untagged() has found.
        now: monotonic seconds.
    """
    dialog, untagged = found
    own = participants.split_for(dialog, dialog.caller, now=now)
    if not own.single:
        return
    early = participants.find_early(untagged)
    if early is not None:
        dialog.callee.sent_origin = early.callee.sent_origin or dialog.callee.sent_origin
    participants.drop_early(untagged, now=now)
    groups, untagged.groups = untagged.groups, ()
    announcer.set_groups(own, groups, now=now)
    own.take_offer(untagged)
    participants.close_party(untagged, now=now)
    dialog.refresh(resources, own, now=now)


def _announced(party: Party) -> list[tuple[object, ...] | None]:
    """What tells one offer of an end from another."""
    media = [None if group is None else group.media[0] for group in party.groups]
    return [None if medium is None else _place(medium) for medium in media]


def _place(medium: Media) -> tuple[object, ...]:
    return medium.address, medium.port, medium.range, medium.kind, medium.proto, medium.paused
