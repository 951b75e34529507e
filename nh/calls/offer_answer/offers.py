"""Offers: the parties and dialogs of one call, and the rules of offer and answer (those of rtpengine).

An offer is applied at once, as rtpengine does. What was agreed before goes on beside it until the answer, and
stays if the offer is refused: a phone may refuse a re-INVITE and talk on (RFC 3261 14.1). So an end that
offers to put a medium on hold still receives it until that is answered, as RFC 3264 8.3 requires of it.
"""

import math
from collections.abc import Iterator, Sequence

from nh.calls.media import Side
from nh.calls.offer_answer.deletion import delete_due, schedule
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.participants import Participants
from nh.calls.offer_answer.party import MediumRequest, Party, open_groups
from nh.calls.resources import CallResources
from nh.calls.session import Session
from nh.calls.socket_group import SocketGroup
from nh.calls.source import SourcePolicy
from nh.errors import UnknownCall, WrongDialog


class Offers:
    """Offer and answer within one call.

    Args:
        resources: sockets, limits and media plane.

    Attributes:
        participants: parties and dialogs of the call.
        last_signal: monotonic seconds of the last offer or answer.
    """

    __slots__ = ("_resources", "last_signal", "participants")

    def __init__(self, resources: CallResources) -> None:
        self._resources = resources
        self.participants = Participants(resources)
        self.last_signal = 0.0

    @property
    def parties(self) -> list[Party]:
        """The parties of the call."""
        return self.participants.parties

    @property
    def dialogs(self) -> list[Dialog]:
        """The established dialogs."""
        return self.participants.dialogs

    @property
    def is_empty(self) -> bool:
        """Whether no party is left."""
        return not self.parties

    @property
    def running(self) -> Iterator[Session]:
        """All sessions that relay."""
        for dialog in self.participants.all_dialogs:
            yield from (session for _, session in dialog.running)

    @property
    def groups(self) -> Iterator[SocketGroup]:
        """All socket groups of all parties, and of those that will answer."""
        return self.participants.groups

    def offer(
        self,
        *,
        from_tag: bytes,
        to_tag: bytes,
        branch: bytes,
        requests: list[MediumRequest],
        expected: Sequence[MediumRequest] = (),
        policy: SourcePolicy | None,
        now: float,
    ) -> list[SocketGroup | None]:
        """Apply an offer.

        Args:
            from_tag: the tag of the offerer.
            to_tag: the tag of the other end, b"" if unknown.
            branch: the Via branch that the offer goes out on, b"" if unknown.
            requests: one for each medium of the offer.
            expected: what the answer is expected to ask for. Its sockets are opened with a first offer, so
                that the answer finds room and media may arrive before it.
            policy: source policy for packets from the offerer; None: the setting's.
            now: monotonic seconds.

        Returns:
            The offerer's groups, one for each medium; None where a medium is not relayed.

        Raises:
            LimitReached, PortsExhausted, AddressUnavailable: then nothing has changed.
        """
        known = self.participants.find_offerer(from_tag, to_tag, branch)
        if known is None:
            self.participants.make_room(now=now)
        party = known or Party(from_tag, Side.FROM, branch=branch, now=now)
        early = self._early_dialog(party, now=now) if expected else None
        ready = open_groups(self._resources, early.callee, expected, now=now) if early is not None else []
        try:
            self._announce(party, requests, policy, keep=True, now=now)
        except BaseException:
            self.participants.close_groups(
                group for group in ready if early and group not in early.callee.groups
            )
            raise
        if known is None:
            self.parties.append(party)
        party.waiting_since = now
        if early is not None:
            if early not in self.participants.early:
                self.participants.early.append(early)
            self._set_groups(early.callee, ready, keep=False, now=now)
            early.refresh(self._resources, early.callee, now=now)
        dialog = self.participants.find_joint(party, to_tag)
        if dialog is not None:
            dialog.branch = branch or dialog.branch
        return party.groups

    def answer(
        self,
        *,
        from_tag: bytes,
        to_tag: bytes,
        branch: bytes,
        requests: list[MediumRequest],
        policy: SourcePolicy | None,
        muxes: Sequence[tuple[bool, bool]] = (),
        now: float,
    ) -> list[SocketGroup | None]:
        """Apply the answer of `to_tag` to the offer of `from_tag`, and relay media between the two.

        Args:
            from_tag: the tag of the offerer.
            to_tag: the tag of the answerer.
            branch: the Via branch that the offer arrived on, b"" if unknown.
            requests: one for each medium of the answer.
            policy: source policy for packets from the answerer; None: the setting's.
            muxes: for each medium, whether the offerer and whether the answerer sends RTCP on its RTP port.
            now: monotonic seconds.

        Returns:
            The answerer's groups, one for each medium; None where a medium is not relayed.

        Raises:
            UnknownCall: there is no such offer.
            WrongDialog: both tags are the same.
            LimitReached, PortsExhausted, AddressUnavailable: then nothing has changed.
        """
        offerer = self.participants.find_answered(from_tag, to_tag, branch)
        if from_tag == to_tag:
            raise WrongDialog("an end cannot answer its own offer")
        dialog = self.participants.find_joint(offerer, to_tag)
        early = self.participants.find_early(offerer) if dialog is None else None
        if dialog is None:
            self.participants.make_room(now=now)
        if dialog is not None:
            answerer = dialog.party_with(to_tag)
        else:
            answerer = early.callee if early is not None else Party(to_tag, Side.TO, now=now)
        self._announce(answerer, requests, policy, keep=False, now=now)
        self._apply_holds(offerer, now=now)
        if early is not None:
            # the first answerer takes over the sockets that were kept for it
            answerer.set_tag(to_tag)
            self.participants.early.remove(early)
            self.dialogs.append(early)
        if dialog is None:
            self.parties.append(answerer)
        for party in (offerer, answerer):
            party.waiting_since = None
            self.participants.drop_early(party, now=now)
            for each in self.participants.dialogs_of(party):
                each.commit(self._resources, now=now)
        self.participants.close_all_superseded()
        dialog = dialog or early
        if dialog is None:
            dialog = Dialog(offerer, answerer, branch=branch, now=now)
            self.dialogs.append(dialog)
            dialog.refresh(self._resources, answerer, now=now)
        dialog.branch = branch or dialog.branch
        for index, muxes_of_medium in enumerate(muxes):
            dialog.set_mux(self._resources, index, offerer=offerer, muxes=muxes_of_medium)
        return answerer.groups

    def block(self, tag: bytes, *, blocked: bool) -> None:
        """Stop or resume forwarding what one party sends (b"": what all parties send).

        Raises:
            UnknownCall: no party has this tag.
        """
        chosen = [party for party in self.parties if tag in (b"", party.tag)]
        if not chosen:
            raise UnknownCall("no party of the call has this tag")
        for party in chosen:
            party.blocked = blocked
        for dialog in self.participants.all_dialogs:
            dialog.block(self._resources)

    def delete(self, *, from_tag: bytes, to_tag: bytes, branch: bytes, at: float, now: float) -> None:
        """Delete dialogs, and the parties that have none left, unless an offer or answer comes before.

        Args:
            from_tag: the tag of one end; b"" for the whole call.
            to_tag: the tag of the other end; b"" for any.
            branch: a Via branch, see nh.calls.offer_answer.deletion.
            at: monotonic seconds of the deletion.
            now: monotonic seconds.

        Raises:
            UnknownCall: nothing matches.
        """
        schedule(self.participants, from_tag=from_tag, to_tag=to_tag, branch=branch, at=at)
        delete_due(self.participants, now=now)

    def close(self, *, now: float) -> None:
        """End everything."""
        for dialog in self.dialogs:
            dialog.stop_all(self._resources, now=now)
        self.dialogs.clear()
        for party in list(self.parties):
            self.participants.close_party(party, now=now)

    def expire(self, *, now: float) -> None:
        """End silent dialogs, and parties that have no dialog and wait for no answer any more."""
        rules = self._resources.settings
        delete_due(self.participants, now=now)
        for dialog in list(self.dialogs):
            dialog.expire_replaced(self._resources, now=now)
            if now >= dialog.expires_at(rules):
                self.participants.end_dialog(dialog, now=now, silent=True)
        self.participants.close_all_superseded()
        for party in self.participants.without_dialog:
            if now >= self.participants.expires_at(party, rules):
                for group in party.groups:
                    if group is not None:
                        self._resources.note_unused(group)
                self.participants.close_party(party, now=now)

    def next_expiry(self) -> float:
        """Monotonic seconds before which nothing of this can expire."""
        rules = self._resources.settings
        participants = self.participants
        times = [dialog.expires_at(rules) for dialog in self.dialogs]
        times += [each.expires_at(rules) for dialog in self.dialogs for _, each in dialog.replaced]
        times += [participants.expires_at(party, rules) for party in participants.without_dialog]
        times += [each.delete_at for each in participants.deletable]
        return min(times, default=math.inf)

    def _early_dialog(self, offerer: Party, *, now: float) -> Dialog | None:
        """The dialog with the party that will answer a first offer; None if this is not the first."""
        if any(dialog.has(offerer) for dialog in self.dialogs):
            return None
        early = self.participants.find_early(offerer)
        return early or Dialog(offerer, Party(b"", Side.TO, now=now), branch=b"", now=now)

    def _announce(
        self,
        party: Party,
        requests: list[MediumRequest],
        policy: SourcePolicy | None,
        *,
        keep: bool,
        now: float,
    ) -> None:
        """Apply the new SDP of a party; if its sockets cannot be opened, nothing changes.

        Args:
            keep: it is an offer: see _set_groups(), and a hold takes effect with the answer only.
        """
        groups = open_groups(self._resources, party, requests, now=now)
        self.last_signal = now
        for each in self.participants.deletable:
            each.delete_at = math.inf
        party.policy = policy
        self._set_groups(party, groups, keep=keep, now=now)
        party.holds = {}
        for index, (group, request) in enumerate(zip(groups, requests, strict=True)):
            if group is None or request.media is None:
                continue
            if keep and group.media[0].active and not request.media.active and self._is_agreed(party, index):
                party.holds[index] = request.media
            else:
                group.renew([request.media])
        for dialog in self.participants.dialogs_of(party):
            dialog.refresh(self._resources, party, now=now)

    def _is_agreed(self, party: Party, index: int) -> bool:
        """Whether an established dialog relays medium `index` of a party."""
        return any(dialog.has(party) and index in dialog.sessions for dialog in self.dialogs)

    def _apply_holds(self, party: Party, *, now: float) -> None:
        """Put on hold what an offer of the party announced so; it has been answered."""
        holds, party.holds = party.holds, {}
        for index, media in holds.items():
            group = party.find_group(index)
            if group is not None:
                group.renew([media])
        for dialog in self.participants.dialogs_of(party) if holds else ():
            dialog.refresh(self._resources, party, now=now)

    def _set_groups(self, party: Party, groups: list[SocketGroup | None], *, keep: bool, now: float) -> None:
        """Give a party its new groups, and close those of its old ones that are not among them.

        Args:
            keep: the old groups of established dialogs stay until the answer.
        """
        before, party.groups = party.groups, groups
        party.superseded = [(index, group) for index, group in party.superseded if group not in groups]
        for index, group in enumerate(before):
            if group is not None and party.find_group(index) is not group:
                for dialog in self.participants.dialogs_of(party):
                    if dialog not in self.dialogs:
                        dialog.discard(self._resources, index, now=now)
                    elif keep:
                        dialog.supersede(self._resources, index, now=now)
                    else:
                        dialog.replace(self._resources, index, now=now)
                party.superseded.append((index, group))
        self.participants.close_superseded(party)
