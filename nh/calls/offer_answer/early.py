"""Early media: what is ready for the end that will answer a first offer.

A first offer opens sockets for its answer, too: so the answer finds room, and media may arrive before it.
They belong to an early dialog, whose answering party has no tag yet. The first answer takes them over
(Participants.establish), and each further one gets its own.
"""

from collections.abc import Sequence

from nh.calls.media import Side
from nh.calls.offer_answer.announcing import Announcer
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.offered import MediumRequest
from nh.calls.offer_answer.participants import Participants
from nh.calls.offer_answer.party import Party
from nh.calls.sockets.group import SocketGroup


def early_dialog_of(participants: Participants, offerer: Party, *, now: float) -> Dialog | None:
    """The dialog with the party that will answer a first offer; None: this is not the first.

    Args:
        participants: those of the call; a new dialog is not among them yet.
        offerer: who offers.
        now: monotonic seconds.
    """
    if participants.is_answered(offerer):
        return None
    early = participants.find_early(offerer)
    if early is None:
        early = Dialog(offerer, Party(b"", Side.TO, now=now), branch=b"", now=now)
        early.callee.sent_origin = participants.find_origin_sent_by(offerer.tag)
    return early


def relay_early(
    announcer: Announcer,
    early: Dialog,
    groups: Sequence[SocketGroup | None],
    expected: Sequence[MediumRequest],
    *,
    now: float,
) -> None:
    """Relay between an offerer and the sockets that are ready for its answerer.

    Args:
        announcer: of the call.
        early: see early_dialog_of().
        groups: the sockets, one group for each medium; None where a medium is not relayed.
        expected: what the answer is expected to ask for.
        now: monotonic seconds.
    """
    for group, request in zip(groups, expected, strict=True):
        if group is not None:
            group.security, group.ice = request.security, request.ice
    participants = announcer.participants
    if early not in participants.early:
        participants.early += (early,)
    announcer.set_groups(early.callee, groups, now=now)
    early.refresh(announcer.resources, early.callee, now=now)
