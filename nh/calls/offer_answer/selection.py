"""The end of a call that a client names by what it knows of it: by a label, or by an address of its SDP."""

from nh.calls.offer_answer.participants import Participants
from nh.errors import UnknownCall


def tag_with_label(participants: Participants, label: str) -> bytes:
    """The tag of the end that has a label; of several, the one that came last, as in rtpengine.

    Raises:
        UnknownCall: no end has it.
    """
    for party in reversed(participants.parties):
        if party.label == label:
            return party.tag
    raise UnknownCall("no party of the call has this label")


def tag_at_address(participants: Participants, address: str) -> bytes:
    """The tag of the first end with a medium at an address by its SDP.

    Args:
        participants: those of the call.
        address: a canonical IP address.

    Raises:
        UnknownCall: no end has such a medium.
    """
    for party in participants.parties:
        if any(group is not None and group.medium.address == address for group in party.groups):
            return party.tag
    raise UnknownCall("no party of the call has this address")
