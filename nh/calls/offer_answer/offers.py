"""Offers: the parties and dialogs of one call, and the rules between them (rtpengine's offer and answer).

An offer is applied at once, as rtpengine does. What was agreed before goes on beside it until the answer, and
for good if there is none: a phone may refuse a re-INVITE and talk on (RFC 3261 14.1). So an end that offers
to put a medium on hold is sent to until that is agreed; it has to expect as much (RFC 3264 8.3).
"""

import math
from collections.abc import Iterator, Sequence

from nh.calls.media import Side
from nh.calls.offer_answer.deletion import delete_due, schedule
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.participants import Participants
from nh.calls.offer_answer.party import MediumRequest, Party, open_groups
from nh.calls.resources import Resources
from nh.calls.session import Session
from nh.calls.socket_group import SocketGroup
from nh.calls.source import SourcePolicy
from nh.errors import UnknownCall, WrongDialog


class Offers:
    """Offer and answer within one call.

    Arguments:
        resources: sockets, limits, plane.
    """

    __slots__ = ("_ends", "_resources", "last_signal")

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._ends = Participants(resources)
        self.last_signal = 0.0

    @property
    def parties(self) -> dict[bytes, Party]:
        """The ends of the call by their tags."""
        return self._ends.parties

    @property
    def dialogs(self) -> list[Dialog]:
        """Those that were agreed."""
        return self._ends.dialogs

    @property
    def ends(self) -> Participants:
        """All of the above, for snapshots."""
        return self._ends

    @property
    def is_empty(self) -> bool:
        """Whether nobody is left."""
        return not self.parties

    @property
    def running(self) -> Iterator[Session]:
        """All sessions."""
        for dialog in self._ends.all_dialogues:
            yield from (session for _, session in dialog.running)

    @property
    def groups(self) -> Iterator[SocketGroup]:
        """All groups of all parties, and of those who will answer."""
        return self._ends.groups

    def get_party(self, tag: bytes) -> Party:
        """The end with this tag. Raises UnknownCall."""
        return self._ends.get_party(tag)

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
        """`from_tag` offers media, to `to_tag` if that is known (else b"").

        Arguments:
            branch: the Via branch that the offer goes out on, b"" if not told.
            expected: what the answer will ask for, as far as that can be told: its sockets are there from
                the first offer on, so that there is room for it, and media may come before it.
            policy: who may send in the offerer's place; None: as set.

        Returns its groups, one a medium, None where nothing is relayed.
        Raises WrongDialog if both ends are known, but not to each other; LimitReached, PortsExhausted,
        AddressUnavailable.
        """
        dialog = self._ends.find_dialogue(from_tag, to_tag)
        known = from_tag in self.parties and to_tag in self.parties
        if known and from_tag != to_tag and dialog is None:
            raise WrongDialog("these two ends are in the call, but not in a dialog with each other")
        self._ends.branches.check_room(branch)
        party = self._ends.find_or_make(from_tag, Side.FROM, now=now)
        early = self._early_of(party, now=now) if expected else None
        ready = open_groups(self._resources, early.callee, expected, now=now) if early is not None else []
        try:
            self._announce(party, requests, policy, keep=True, now=now)
        except BaseException:
            self._ends.close_groups(group for group in ready if early and group not in early.callee.groups)
            raise
        self.parties[from_tag] = party
        party.waiting_since = now
        if early is not None:
            party.early = early
            self._take_groups(early.callee, ready, keep=False, now=now)
            early.refresh(self._resources, early.callee, now=now)
        self._ends.branches.offered(branch, party, dialog, self.dialogs)
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
        """`to_tag` answers the offer of `from_tag`: media between the two are relayed from now on.

        Arguments:
            branch: the Via branch that the offer came on, b"" if not told.
            policy: who may send in the answerer's place; None: as set.
            muxes: of each medium whether the offerer and whether the answerer sends RTCP on its RTP port.

        Returns the answerer's groups, one a medium. Raises UnknownCall without that offer, and as offer().
        """
        offerer = self.get_party(from_tag)
        if from_tag == to_tag:
            raise WrongDialog("an end cannot answer its own offer")
        answerer = self._ends.find_or_make(to_tag, Side.TO, now=now)
        early = offerer.early if to_tag not in self.parties else None
        if early is not None:
            answerer = early.callee
        self._announce(answerer, requests, policy, keep=False, now=now)
        self._put_on_hold(offerer, now=now)
        if early is not None:
            # who answers first has the sockets that were ready
            answerer.take_tag(to_tag)
            offerer.early = None
            self.dialogs.append(early)
        self.parties[to_tag] = answerer
        for party in (offerer, answerer):
            party.waiting_since = None
            self._ends.drop_early(party, now=now)
            for each in self._ends.dialogues_of(party):
                each.settle(self._resources, now=now)
        self._ends.close_unneeded()
        self._ends.branches.answered(branch, offerer, self.dialogs)
        dialog = self._ends.find_dialogue(from_tag, to_tag)
        if dialog is None:
            dialog = Dialog(offerer, answerer, branch=branch, now=now)
            self.dialogs.append(dialog)
            dialog.refresh(self._resources, answerer, now=now)
        dialog.branch = branch or dialog.branch
        for index, ends in enumerate(muxes):
            dialog.set_mux(self._resources, index, offerer=offerer, muxes=ends)
        return answerer.groups

    def block(self, tag: bytes, *, blocked: bool) -> None:
        """Pass on nothing of what one end sends (of all ends: b""), or do again. Raises UnknownCall."""
        chosen = [party for party in self.parties.values() if tag in (b"", party.tag)]
        if not chosen:
            raise UnknownCall("nobody in the call has this tag")
        for party in chosen:
            party.blocked = blocked
        for dialog in self._ends.all_dialogues:
            dialog.block(self._resources)

    def delete(self, *, from_tag: bytes, to_tag: bytes, branch: bytes, at: float, now: float) -> None:
        """Take dialogs out, and the parties that are left alone, unless somebody offers or answers before.

        Arguments:
            from_tag: b"" for everything.
            to_tag: b"" if it does not count.
            branch: if it is known, it decides; else the tags do.
            at: monotonic seconds when that is to happen.

        Raises UnknownCall if nothing matches.
        """
        schedule(self._ends, from_tag=from_tag, to_tag=to_tag, branch=branch, at=at)
        delete_due(self._ends, now=now)

    def close(self, *, now: float) -> None:
        """End everything."""
        for dialog in self.dialogs:
            dialog.stop_all(self._resources, now=now)
        self.dialogs.clear()
        for party in list(self.parties.values()):
            self._ends.close_party(party, now=now)

    def expire(self, *, now: float) -> tuple[list[Session], int]:
        """End dialogs that fell silent, and parties whose offer nobody answered or who are left alone.

        Returns the sessions that ended, and the number of groups that never had one.
        """
        rules = self._resources.settings
        delete_due(self._ends, now=now)
        silent: list[Session] = []
        for dialog in list(self.dialogs):
            if now >= dialog.expires_at(rules):
                silent += [session for _, session in dialog.running]
                self._ends.end_dialogue(dialog, now=now)
        self._ends.close_unneeded()
        unused = 0
        for tag in self._ends.alone:
            party = self.parties[tag]
            if now >= party.ends_at(rules):
                unused += sum(group is not None and group.idle_since is None for group in party.groups)
                self._ends.close_party(party, now=now)
        return silent, unused

    def next_expiry(self) -> float:
        """Monotonic seconds before which nothing in here can expire."""
        rules = self._resources.settings
        times = [dialog.expires_at(rules) for dialog in self.dialogs]
        times += [self.parties[tag].ends_at(rules) for tag in self._ends.alone]
        times += [each.delete_at for each in self._ends.deletable]
        return min(times, default=math.inf)

    def _early_of(self, offerer: Party, *, now: float) -> Dialog | None:
        """The dialog with whoever will answer a first offer; None if it is no first one."""
        if any(dialog.has(offerer) for dialog in self.dialogs):
            return None
        return offerer.early or Dialog(offerer, Party(b"", Side.TO, now=now), branch=b"", now=now)

    def _announce(
        self,
        party: Party,
        requests: list[MediumRequest],
        policy: SourcePolicy | None,
        *,
        keep: bool,
        now: float,
    ) -> None:
        """A party has a new SDP; if there is no room for that, nothing changes.

        Arguments:
            keep: see _take_groups(); and what is put on hold is so not before somebody agrees.
        """
        groups = open_groups(self._resources, party, requests, now=now)
        self.last_signal = now
        for each in self._ends.deletable:
            each.delete_at = math.inf
        party.policy = policy
        self._take_groups(party, groups, keep=keep, now=now)
        party.holds = {}
        for index, (group, request) in enumerate(zip(groups, requests, strict=True)):
            if group is None or request.media is None:
                continue
            if keep and group.media[0].active and not request.media.active and self._has_agreed(party, index):
                party.holds[index] = request.media
            else:
                group.renew([request.media])
        for dialog in self._ends.dialogues_of(party):
            dialog.refresh(self._resources, party, now=now)

    def _has_agreed(self, party: Party, index: int) -> bool:
        """Whether somebody agreed to what a party has for a medium now."""
        return any(dialog.has(party) and index in dialog.sessions for dialog in self.dialogs)

    def _put_on_hold(self, party: Party, *, now: float) -> None:
        """Somebody agreed to what a party offered to put on hold."""
        holds, party.holds = party.holds, {}
        for index, media in holds.items():
            group = party.find_group(index)
            if group is not None:
                group.renew([media])
        for dialog in self._ends.dialogues_of(party) if holds else ():
            dialog.refresh(self._resources, party, now=now)

    def _take_groups(self, party: Party, groups: list[SocketGroup | None], *, keep: bool, now: float) -> None:
        """Give a party its groups, and close those that it had and that are not among them.

        Arguments:
            keep: those that are in dialogs stay until somebody agrees.
        """
        before, party.groups = party.groups, groups
        party.former = [(index, group) for index, group in party.former if group not in groups]
        for index, group in enumerate(before):
            if group is not None and party.find_group(index) is not group:
                for dialog in self._ends.dialogues_of(party):
                    agreed = dialog in self.dialogs
                    dialog.leave(self._resources, index, keep=keep and agreed, now=now)
                party.former.append((index, group))
        self._ends.close_former(party)
