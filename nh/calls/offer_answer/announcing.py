"""Announcing: what a new SDP of a party changes at its groups, and at the sessions of its dialogs.

nh.calls.offer_answer.opening has opened the sockets before, so nothing in here fails.

What was agreed before an offer goes on beside it until the answer, and stays if the offer is refused: a phone
may refuse a re-INVITE and talk on (RFC 3261 14.1). So an end that offers to put a medium on hold still
receives it until that is answered, as RFC 3264 8.3 requires of it.
"""

import itertools
from collections.abc import Sequence

from nh.calls.bundle import Bundle
from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Media
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.offered import MediumRequest, of_media
from nh.calls.offer_answer.participants import Participants
from nh.calls.offer_answer.party import NOTHING_PENDING, Party
from nh.calls.resources import CallResources
from nh.calls.sockets.group import SocketGroup


class Announcer:
    """Applies SDPs within one call.

    Args:
        resources: sockets, limits and media plane.
        participants: those of the call.

    Attributes:
        resources, participants: see above.
    """

    __slots__ = ("participants", "resources")

    def __init__(self, resources: CallResources, participants: Participants) -> None:
        self.resources = resources
        self.participants = participants

    def announce(
        self,
        party: Party,
        groups: Sequence[SocketGroup | None],
        requests: Sequence[MediumRequest],
        policy: SourcePolicy | None,
        *,
        completes: Dialog | None = None,
        now: float,
    ) -> None:
        """Apply the new SDP of a party.

        Args:
            party: whose SDP it is.
            groups: its groups from now on, one for each medium.
            requests: one for each medium.
            policy: source policy for packets from the party; None: the setting's.
            completes: the dialog whose offer it answers; None: it is an offer, of which some is pending until
                the answer (Party.pending). See set_groups().
            now: monotonic seconds.
        """
        party.signalled = now
        party.policy = policy
        self.set_groups(party, groups, completes=completes, now=now)
        pending: dict[int, Media] = {}
        party.security = of_media([request.security for request in requests])
        party.ice = of_media([request.ice for request in requests])
        for index, (group, request) in enumerate(zip(groups, requests, strict=True)):
            if group is None or request.media is None:
                continue
            agreed = self._is_agreed(party, group)
            if completes is None and agreed and _is_pending(group.medium, request.media):
                pending[index] = request.media
            elif group.medium is not request.media:  # else it has been opened for it
                group.renew([request.media])
            if completes is not None or not agreed:
                group.security, group.ice = request.security, request.ice
            group.announce()
        party.pending = pending or NOTHING_PENDING
        for dialog in self.participants.dialogs_of(party):
            dialog.refresh(self.resources, party, now=now)

    def apply_security(self, party: Party, bundles: Sequence[Bundle]) -> None:
        """Use the keys and the ICE of the party's last offer: it has been answered.

        Args:
            party: the party.
            bundles: those of its offer that the answer takes; their media have the tagged one's transport.
        """
        # a restored party has none of what none of its media had
        changed = bool(bundles)
        for group, security, ice in itertools.zip_longest(party.groups, party.security, party.ice):
            if group is not None and (group.security is not security or group.ice is not ice):
                group.security, group.ice = security, ice
                changed = True
        for bundle in bundles:
            tagged, *others = [party.find_group(each.medium) for each in bundle.media]
            for group in others:
                if tagged is not None and group is not None:
                    group.move_to(tagged)
        for dialog in self.participants.dialogs_of(party) if changed else ():
            for session in dialog.all_sessions:
                if session.secure():
                    self.resources.refresh_session(session)

    def end_changed(self, party: Party, answered: Sequence[MediumRequest], *, now: float) -> None:
        """End the sessions of media that become a fax, or audio again, at the same sockets.

        A session is of one kind, as its statistics are. The next one knows where its ends are.

        Args:
            party: whose offer changes them.
            answered: what the media of the answer request.
            now: monotonic seconds.
        """
        for index, media in party.pending.items():
            group = party.find_group(index)
            accepted = index < len(answered) and answered[index].media is not None
            if accepted and group is not None and group.medium.rtp is not media.rtp:
                for dialog in self.participants.dialogs_of(party):
                    dialog.end_changed(self.resources, index, now=now)

    def apply_pending(self, party: Party, *, now: float) -> None:
        """Let what is pending of the party's offer take effect: it has been answered."""
        pending, party.pending = party.pending, NOTHING_PENDING
        for index, media in pending.items():
            group = party.find_group(index)
            if group is not None:
                group.renew([media])
        for dialog in self.participants.dialogs_of(party) if pending else ():
            dialog.refresh(self.resources, party, now=now)

    def set_groups(
        self,
        party: Party,
        groups: Sequence[SocketGroup | None],
        *,
        completes: Dialog | None = None,
        now: float,
    ) -> None:
        """Give a party its new groups, and close those of its old ones that are not among them.

        In each established dialog the old groups stay until an answer in that dialog: the other ends of other
        dialogs do not know the new ones.

        Args:
            party: the party.
            groups: one for each medium.
            completes: the dialog in which this is an answer, if it is one.
            now: monotonic seconds.
        """
        before, party.groups = party.groups, tuple(groups)
        if party.superseded:
            party.superseded = tuple([each for each in party.superseded if each[1] not in groups])
        for index, group in enumerate(before):
            if group is not None and party.find_group(index) is not group:
                self._leave(party, index, announced=group.announced, completes=completes, now=now)
                party.superseded += ((index, group),)
        self.participants.close_superseded(party)

    def _leave(
        self, party: Party, index: int, *, announced: bool, completes: Dialog | None, now: float
    ) -> None:
        """End, at once or in time, the sessions on the group that a party had for medium `index`."""
        for dialog in self.participants.dialogs_of(party):
            if not announced or dialog not in self.participants.dialogs:
                dialog.discard(self.resources, index, now=now)
            elif dialog is completes:
                dialog.replace(self.resources, index, now=now)
            else:
                dialog.supersede(self.resources, index, now=now)

    def _is_agreed(self, party: Party, group: SocketGroup) -> bool:
        """Whether an established dialog relays at a group of a party, as it was agreed on."""
        return any(each.has(party) and each.relays_at(group) for each in self.participants.dialogs)


def _is_pending(agreed: Media, offered: Media) -> bool:
    """Whether what is offered takes effect with the answer only: a hold, or media of another kind."""
    return (agreed.active and not offered.active) or agreed.rtp is not offered.rtp
