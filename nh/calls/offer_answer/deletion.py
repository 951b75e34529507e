"""ng's delete: finds the dialogs and parties that it names, and removes them when they are due.

A delete may be delayed, and an offer or answer of what it names, arriving meanwhile, cancels it. So each
dialog and party has a `delete_at` of its own. One of the whole call is in nh.calls.offer_answer.offers.
"""

import math
from collections.abc import Sequence

from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.participants import Participants
from nh.calls.offer_answer.party import Party
from nh.errors import UnknownCall


def schedule(participants: Participants, *, from_tag: bytes, to_tag: bytes, branch: bytes, at: float) -> None:
    """Set when something is deleted; an earlier time that is set already stays.

    Args:
        participants: those of the call.
        from_tag: the tag of one end.
        to_tag: the tag of the other end; b"" for any.
        branch: a Via branch, b"" for any. If it is unknown, only a dialog between both tags matches: the
            branch that was named may be gone, and the offerer's tag is that of all branches.
        at: monotonic seconds of the deletion.

    Raises:
        UnknownCall: nothing matches.
    """
    chosen = _find(participants, from_tag, to_tag, branch)
    if not chosen:
        raise UnknownCall("no dialog has these tags")
    for each in chosen:
        each.delete_at = min(each.delete_at, at)


def cancel_delete(participants: Participants, party: Party) -> None:
    """Cancel the delayed deletes of a party that signals, of its dialogs and of the other ends of these.

    Those of other branches stay: it says nothing of them.
    """
    if {each.delete_at for each in participants.deletable} == {math.inf}:
        return  # as in nearly all calls
    first = party.split_from or party
    for each in (first, *participants.splits_of(first)):
        each.delete_at = math.inf
        for dialog in participants.dialogs_of(each):
            dialog.delete_at = dialog.caller.delete_at = dialog.callee.delete_at = math.inf


def delete_due(participants: Participants, *, now: float) -> None:
    """Remove the dialogs that are due, and the parties that have no dialog left because of that."""
    if _is_over(participants, now=now):
        participants.close_all(now=now)
        return
    left: list[Party] = []
    for dialog in [each for each in participants.dialogs if now >= each.delete_at]:
        participants.end_dialog(dialog, now=now)
        left += [dialog.caller, dialog.callee]
    participants.close_all_superseded()
    left += [party.split_from for party in left if party.split_from is not None]
    # a party from which others were split ends with the last of these
    for party in sorted(participants.without_dialog, key=lambda each: not each.single):
        over = any(party is each for each in left) and not participants.splits_of(party)
        if over or now >= party.delete_at:
            participants.close_party(party, now=now)


def _is_over(participants: Participants, *, now: float) -> bool:
    """Whether the call is one dialog, which is due, as most calls that are deleted."""
    dialogs = participants.dialogs
    if len(dialogs) != 1 or len(participants.parties) != 2 or participants.early:
        return False
    return now >= dialogs[0].delete_at


def _find(
    participants: Participants, from_tag: bytes, to_tag: bytes, branch: bytes
) -> Sequence[Dialog | Party]:
    if branch:
        return _find_branch(participants, branch) or (
            [each for each in participants.dialogs if each.tags == {from_tag, to_tag}] if to_tag else []
        )
    dialogs = [
        each for each in participants.dialogs if from_tag in each.tags and (not to_tag or to_tag in each.tags)
    ]
    parties = participants.with_tag(from_tag)
    # an unknown tag may be that of a refusal: it is of the only offer, or of any of several
    if to_tag and (len(parties) != 1 or participants.has_dialog(parties[0])):
        return dialogs
    return [*dialogs, *parties]


def _find_branch(participants: Participants, branch: bytes) -> Sequence[Dialog | Party]:
    """The dialogs on a Via branch, or else the party that has offered on it and waits."""
    # an answer may have left out the branch that its offer named
    dialogs = [each for each in participants.dialogs if (each.branch or each.caller.branch) == branch]
    dialogs = dialogs or [each for each in participants.dialogs if each.caller.branch == branch]
    return dialogs or [party for party in participants.without_dialog if party.branch == branch]
