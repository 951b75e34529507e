"""An answer that takes an offered bundle: all its media come to one port, and the others are of no use.

A relay that offers a bundle cannot know whether it is taken, so each medium has a port (RFC 9143 7.2). The
dialog whose answerer takes it goes on with that of the first medium. The other ports stay as long as others
may answer the same offer (Participants.split_for).
"""

from collections.abc import Sequence

from nh.calls.bundle import Bundle
from nh.calls.offer_answer.announcing import Announcer
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.party import Party
from nh.calls.sockets.group import SocketGroup


def share_transports(
    announcer: Announcer, dialog: Dialog, offerer: Party, bundles: Sequence[Bundle], *, now: float
) -> Party:
    """Let the media of each bundle of an answer share the sockets that its end sends to.

    Args:
        announcer: of the call.
        dialog: the established dialog that the answer is in.
        offerer: whose offer it answers; these sockets are its groups.
        bundles: those that the answerer and the relay have agreed on.
        now: monotonic seconds.

    Returns:
        The party that the offerer is in this dialog from now on.
    """
    if not _shared_groups(offerer, bundles):
        return offerer
    own = announcer.participants.split_for(dialog, offerer, now=now)
    if own is dialog.caller and not own.single:
        return offerer  # the call has no room for a party more, and others may answer the same offer
    if own is not offerer:
        offerer.waiting_since = None
    groups = list(own.groups)
    for index, tagged in _shared_groups(own, bundles).items():
        group = groups[index]
        assert group is not None
        groups[index] = shared = tagged.share_with(group.medium)
        shared.security, shared.ice = group.security, group.ice
        shared.announce()
    announcer.set_groups(own, groups, completes=dialog, now=now)
    return own


def _shared_groups(party: Party, bundles: Sequence[Bundle]) -> dict[int, SocketGroup]:
    """By medium, the group whose sockets it shares from now on, where it has others."""
    found: dict[int, SocketGroup] = {}
    for bundle in bundles:
        tagged = party.find_group(bundle.media[0].medium)
        for each in bundle.media[1:]:
            group = party.find_group(each.medium)
            if tagged is None or group is None or group.sockets is tagged.sockets:
                continue
            if group.medium.range == tagged.medium.range:
                found[each.medium] = tagged
    return found
