"""Matching: which party of a call an offer or an answer belongs to, by its tags and its Via branch.

SIP has a dialog for each pair of tags (RFC 3261 12). Clients fork, and leave tags and branches out: what is
left out follows from what the ends have signalled before (nh.calls.offer_answer.untagged).
"""

import math
from collections.abc import Iterable

from nh.calls.media import Media, Side
from nh.calls.offer_answer.participants import Participants
from nh.calls.offer_answer.party import Party
from nh.calls.offer_answer.untagged import Answered, find_repeated, find_untagged
from nh.errors import UnknownCall


def find_offerer(
    participants: Participants,
    from_tag: bytes,
    to_tag: bytes,
    branch: bytes,
    media: Iterable[Media | None],
) -> Party | None:
    """The party that an offer belongs to; None: the offer makes a new one.

    Args:
        participants: those of the call.
        from_tag: the tag of the offerer.
        to_tag: the tag of the other end, b"" if unknown.
        branch: the Via branch, b"" if unknown.
        media: of the offer; None where a medium is not relayed.
    """
    if not participants.parties:  # as before each first offer
        return None
    known = _find_known(participants, from_tag, to_tag, branch)
    if known is not None or to_tag or branch:
        return known
    return find_repeated(participants, from_tag, media)


def find_ends(
    participants: Participants,
    from_tag: bytes,
    to_tag: bytes,
    branch: bytes,
    media: Iterable[Media | None],
) -> tuple[Party | None, Party | None]:
    """The party that an offer belongs to, and the one that it goes to, as far as they are known.

    Args:
        participants, from_tag, to_tag, branch, media: see find_offerer().
    """
    offerer = find_offerer(participants, from_tag, to_tag, branch, media)
    dialog = participants.find_joint(offerer, to_tag) if offerer is not None else None
    return offerer, dialog.party_with(to_tag) if dialog is not None else None


def find_answered(participants: Participants, from_tag: bytes, to_tag: bytes, branch: bytes) -> Answered:
    """The offer that an answer belongs to. Nothing changes.

    An offer without a to-tag that the answer shows to be of a dialog is one once it is applied.

    Args:
        participants: those of the call.
        from_tag: the tag of the offerer.
        to_tag: the tag of the answerer.
        branch: the Via branch, b"" if unknown.

    Raises:
        UnknownCall: no party has the offerer's tag.
    """
    found = None if branch else find_untagged(participants, from_tag, to_tag)
    if found is not None:
        return found
    offerer = _find_answered_party(participants, from_tag, to_tag, branch)
    return Answered(offerer, participants.find_joint(offerer, to_tag))


def tag_of_offerer(participants: Participants, from_tag: bytes, to_tag: bytes) -> bytes:
    """The tag of the end whose offer an answer is to: that of the only other one if none has what it names.

    rtpengine takes such an answer, too; it pairs the answerer with an end of its own then, so media come from
    other ports than they go to.

    Args:
        participants: those of the call.
        from_tag: the tag that the answer names.
        to_tag: the tag of the answerer.

    Raises:
        UnknownCall: no other end waits for an answer, or several do; nor is there just one that has begun.
    """
    if participants.with_tag(from_tag):
        return from_tag
    others = [party for party in participants.parties if party.tag != to_tag]
    waiting = [party for party in others if party.waiting_since is not None]
    tags = {party.tag for party in waiting or others if waiting or party.side is Side.FROM}
    if len(tags) != 1:
        raise UnknownCall("no party of the call has this tag")
    return tags.pop()


def _find_known(participants: Participants, from_tag: bytes, to_tag: bytes, branch: bytes) -> Party | None:
    """The party that tags and branch show; None: they show none."""
    dialog = participants.find_dialog(from_tag, to_tag, branch)
    if dialog is not None:
        return dialog.party_with(from_tag)
    own = participants.with_tag(from_tag)
    if branch:
        named = [party for party in own if party.branch == branch]
        named += [
            each.party_with(from_tag)
            for each in participants.dialogs
            if each.branch == branch and from_tag in each.tags
        ]
        # a tag that no dialog on the branch has is that of another end
        named = [party for party in named if not to_tag or not participants.is_answered(party)]
        if named:
            return named[0]
    else:
        waiting = [party for party in own if not party.branch and not participants.is_answered(party)]
        if waiting:
            return waiting[-1]
    # a proxy may leave the to-tag of a callee's offer out: a callee has offered to its caller only
    callees = [party for party in own if party.side is Side.TO]
    return callees[-1] if callees and not to_tag else None


def _find_answered_party(participants: Participants, from_tag: bytes, to_tag: bytes, branch: bytes) -> Party:
    """The party whose offer an answer belongs to; see find_answered().

    Without a known branch that is the one that offered last of those that wait for an answer, of these
    the ones without a branch first, and those that are deleted soon last.
    """
    own = participants.with_tag(from_tag)
    if not own:
        raise UnknownCall("no party of the call has this tag")
    if len(own) == 1:
        return own[0]
    named = [party for party in own if branch and party.branch == branch]
    dialog = participants.find_dialog(from_tag, to_tag, branch)
    on_branch = dialog is not None and (dialog.branch == branch or any(map(dialog.has, named)))
    if dialog is not None and (on_branch or not named):
        return dialog.party_with(from_tag)
    chosen = named or own
    chosen = [party for party in chosen if not party.single] or chosen
    waiting = [party for party in chosen if party.waiting_since is not None]
    waiting = [party for party in waiting if party.delete_at == math.inf] or waiting
    # who names no branch here has named none in the offer, which may have other answers already;
    # another end does not answer an offer within a dialog
    unnamed = [party for party in waiting if party.side is Side.FROM and not party.branch]
    first = unnamed or [party for party in waiting if not participants.is_answered(party)]
    return max(reversed(first or waiting or chosen), key=lambda each: each.waiting_since or each.created)
