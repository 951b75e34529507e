"""ng's delete: finds the dialogs, parties and branches that it names, and removes them when they are due.

A delete may be delayed, and an offer or answer that arrives meanwhile cancels it. So each dialog, party and
branch has a `delete_at` of its own.
"""

from nh.calls.offer_answer.branches import Branch
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.participants import Participants
from nh.calls.offer_answer.party import Party
from nh.errors import UnknownCall


def schedule(participants: Participants, *, from_tag: bytes, to_tag: bytes, branch: bytes, at: float) -> None:
    """Set when something is deleted; an earlier time that is set already stays.

    Args:
        participants: those of the call.
        from_tag: the tag of one end; b"" for the whole call.
        to_tag: the tag of the other end; b"" for any.
        branch: a Via branch. If it is known, it alone decides; otherwise the tags do.
        at: monotonic seconds of the deletion.

    Raises:
        UnknownCall: nothing matches.
    """
    chosen = _find(participants, from_tag, to_tag, branch)
    if not chosen:
        raise UnknownCall("no dialog has these tags")
    for each in chosen:
        each.delete_at = min(each.delete_at, at)


def delete_due(participants: Participants, *, now: float) -> None:
    """Remove the dialogs that are due, and the parties that have no dialog left because of that."""
    left: set[bytes] = set()
    for dialog in [each for each in participants.dialogs if now >= each.delete_at]:
        participants.end_dialog(dialog, now=now)
        left |= dialog.tags
    left |= participants.branches.pop_due(now=now)
    # a party with other unanswered branches still waits for their answers
    left -= participants.branches.tags
    participants.close_all_superseded()
    for tag in participants.without_dialog:
        if tag in left or now >= participants.parties[tag].delete_at:
            participants.close_party(participants.parties[tag], now=now)


def _find(
    participants: Participants, from_tag: bytes, to_tag: bytes, branch: bytes
) -> list[Dialog | Party | Branch]:
    if not from_tag:
        return list(participants.deletable)
    if branch and (found := [each for each in participants.dialogs if each.branch == branch]):
        return [*found]
    if waiting := participants.branches.find(branch):
        return [waiting]
    chosen: list[Dialog | Party | Branch] = [
        each for each in participants.dialogs if from_tag in each.tags and (not to_tag or to_tag in each.tags)
    ]
    if from_tag in participants.parties and (not to_tag or from_tag in participants.without_dialog):
        chosen.append(participants.parties[from_tag])
    return chosen
