"""Deletion: what of a call ng's delete is about, and its end when the time has come.

A delete may wait: a new offer or answer within that time keeps what was to go. So each dialog, party and
branch has a time of its own, and this carries out what is due.
"""

from nh.calls.offer_answer.branches import Branch
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.participants import Participants
from nh.calls.offer_answer.party import Party
from nh.errors import UnknownCall


def schedule(ends: Participants, *, from_tag: bytes, to_tag: bytes, branch: bytes, at: float) -> None:
    """Note when something is to go; sooner, if it was to go already.

    Arguments:
        from_tag: b"" for everything.
        to_tag: b"" if it does not count.
        branch: if it is known, it decides; else the tags do.
        at: monotonic seconds when that is to happen.

    Raises UnknownCall if nothing matches.
    """
    chosen = _find(ends, from_tag, to_tag, branch)
    if not chosen:
        raise UnknownCall("no dialog of these tags")
    for each in chosen:
        each.delete_at = min(each.delete_at, at)


def delete_due(ends: Participants, *, now: float) -> None:
    """Take out the dialogs whose time has come, and the parties that are left alone by that."""
    left: set[bytes] = set()
    for dialog in [each for each in ends.dialogs if now >= each.delete_at]:
        ends.end_dialogue(dialog, now=now)
        left |= dialog.tags
    left |= ends.branches.take_due(now=now)
    # who has offered to others, too, waits for them
    left -= ends.branches.tags
    ends.close_unneeded()
    for tag in ends.alone:
        if tag in left or now >= ends.parties[tag].delete_at:
            ends.close_party(ends.parties[tag], now=now)


def _find(ends: Participants, from_tag: bytes, to_tag: bytes, branch: bytes) -> list[Dialog | Party | Branch]:
    if not from_tag:
        return list(ends.deletable)
    if branch and (found := [each for each in ends.dialogs if each.branch == branch]):
        return [*found]
    if waiting := ends.branches.find(branch):
        return [waiting]
    chosen: list[Dialog | Party | Branch] = [
        each for each in ends.dialogs if from_tag in each.tags and (not to_tag or to_tag in each.tags)
    ]
    if from_tag in ends.parties and (not to_tag or from_tag in ends.alone):
        chosen.append(ends.parties[from_tag])
    return chosen
