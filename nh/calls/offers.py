"""Offers: the parties and dialogues of one call, and the rules between them (rtpengine's offer and answer).

An offer is applied at once, as rtpengine does. What was agreed before goes on beside it until the answer, and
for good if there is none: a phone may refuse a re-INVITE and talk on (RFC 3261 14.1).
"""

import math
from collections.abc import Iterable, Iterator, Sequence

from nh.calls.branches import Branch, Branches
from nh.calls.dialogue import Dialogue
from nh.calls.media import Side
from nh.calls.party import MediumRequest, Party, open_groups
from nh.calls.resources import Resources
from nh.calls.session import Session
from nh.calls.socket_group import SocketGroup
from nh.calls.source import SourcePolicy
from nh.errors import LimitReached, UnknownCall, WrongDialogue

MAX_PARTIES = 64
"""Most ends of one call: forks, and what a client invents."""


class Offers:
    """Offer and answer within one call.

    Arguments:
        resources: sockets, limits, plane.
    """

    __slots__ = ("_branches", "_resources", "dialogues", "last_signal", "parties")

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self.parties: dict[bytes, Party] = {}
        self.dialogues: list[Dialogue] = []
        self.last_signal = 0.0
        self._branches = Branches()

    @property
    def is_empty(self) -> bool:
        """Whether nobody is left."""
        return not self.parties

    @property
    def running(self) -> Iterator[Session]:
        """All sessions."""
        for dialogue in self._all_dialogues:
            yield from (session for _, session in dialogue.running)

    @property
    def groups(self) -> Iterator[SocketGroup]:
        """All groups of all parties, and of those who will answer."""
        for party in self.parties.values():
            yield from (group for group in party.groups if group is not None)
            yield from (group for _, group in party.former)
            if party.early is not None:
                yield from (group for group in party.early.callee.groups if group is not None)

    def get_party(self, tag: bytes) -> Party:
        """The end with this tag. Raises UnknownCall."""
        party = self.parties.get(tag)
        if party is None:
            raise UnknownCall("nobody in the call has this tag")
        return party

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
        Raises WrongDialogue if both ends are known, but not to each other; LimitReached, PortsExhausted,
        AddressUnavailable.
        """
        dialogue = self._find_dialogue(from_tag, to_tag)
        known = from_tag in self.parties and to_tag in self.parties
        if known and from_tag != to_tag and dialogue is None:
            raise WrongDialogue("these two ends are in the call, but not in a dialogue with each other")
        self._branches.check_room(branch)
        party = self._find_or_make(from_tag, Side.FROM, now=now)
        early = self._early_of(party, now=now) if expected else None
        ready = open_groups(self._resources, early.callee, expected, now=now) if early is not None else []
        try:
            self._announce(party, requests, policy, keep=True, now=now)
        except BaseException:
            self._close_groups(group for group in ready if early and group not in early.callee.groups)
            raise
        self.parties[from_tag] = party
        party.waiting_since = now
        if early is not None:
            party.early = early
            self._take_groups(early.callee, ready, keep=False, now=now)
            early.refresh(self._resources, early.callee, now=now)
        self._branches.offered(branch, party, dialogue, self.dialogues)
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
            raise WrongDialogue("an end cannot answer its own offer")
        answerer = self._find_or_make(to_tag, Side.TO, now=now)
        early = offerer.early if to_tag not in self.parties else None
        if early is not None:
            answerer = early.callee
        self._announce(answerer, requests, policy, keep=False, now=now)
        if early is not None:
            # who answers first has the sockets that were ready
            answerer.take_tag(to_tag)
            offerer.early = None
            self.dialogues.append(early)
        self.parties[to_tag] = answerer
        for party in (offerer, answerer):
            party.waiting_since = None
            self._drop_early(party, now=now)
            for each in self._dialogues_of(party):
                each.settle(self._resources, now=now)
        self._close_unneeded()
        self._branches.answered(branch, offerer, self.dialogues)
        dialogue = self._find_dialogue(from_tag, to_tag)
        if dialogue is None:
            dialogue = Dialogue(offerer, answerer, branch=branch, now=now)
            self.dialogues.append(dialogue)
            dialogue.refresh(self._resources, answerer, now=now)
        dialogue.branch = branch or dialogue.branch
        for index, ends in enumerate(muxes):
            dialogue.set_mux(self._resources, index, offerer=offerer, muxes=ends)
        return answerer.groups

    def block(self, tag: bytes, *, blocked: bool) -> None:
        """Pass on nothing of what one end sends (of all ends: b""), or do again. Raises UnknownCall."""
        chosen = [party for party in self.parties.values() if tag in (b"", party.tag)]
        if not chosen:
            raise UnknownCall("nobody in the call has this tag")
        for party in chosen:
            party.blocked = blocked
        for dialogue in self._all_dialogues:
            dialogue.block(self._resources)

    def delete(self, *, from_tag: bytes, to_tag: bytes, branch: bytes, at: float, now: float) -> None:
        """Take dialogues out, and the parties that are left alone, unless somebody offers or answers before.

        Arguments:
            from_tag: b"" for everything.
            to_tag: b"" if it does not count.
            branch: if it is known, it decides; else the tags do.
            at: monotonic seconds when that is to happen.

        Raises UnknownCall if nothing matches.
        """
        chosen = self._find(from_tag, to_tag, branch)
        if not chosen:
            raise UnknownCall("no dialogue of these tags")
        for each in chosen:
            each.delete_at = min(each.delete_at, at)
        self._delete_due(now=now)

    def close(self, *, now: float) -> None:
        """End everything."""
        for dialogue in self.dialogues:
            dialogue.stop_all(self._resources, now=now)
        self.dialogues.clear()
        for party in list(self.parties.values()):
            self._close_party(party, now=now)

    def expire(self, *, now: float) -> tuple[list[Session], int]:
        """End dialogues that fell silent, and parties whose offer nobody answered or who are left alone.

        Returns the sessions that ended, and the number of groups that never had one.
        """
        rules = self._resources.settings
        self._delete_due(now=now)
        silent: list[Session] = []
        for dialogue in list(self.dialogues):
            if now >= dialogue.expires_at(rules):
                silent += [session for _, session in dialogue.running]
                dialogue.stop_all(self._resources, now=now)
                self.dialogues.remove(dialogue)
        self._close_unneeded()
        unused = 0
        for tag in self._alone():
            party = self.parties[tag]
            if now >= party.ends_at(rules):
                unused += sum(group is not None and group.idle_since is None for group in party.groups)
                self._close_party(party, now=now)
        return silent, unused

    def next_expiry(self) -> float:
        """Monotonic seconds before which nothing in here can expire."""
        rules = self._resources.settings
        times = [dialogue.expires_at(rules) for dialogue in self.dialogues]
        times += [self.parties[tag].ends_at(rules) for tag in self._alone()]
        times += [each.delete_at for each in self._deletable]
        return min(times, default=math.inf)

    @property
    def _all_dialogues(self) -> Iterator[Dialogue]:
        yield from self.dialogues
        for party in self.parties.values():
            if party.early is not None:
                yield party.early

    @property
    def _deletable(self) -> Iterator[Dialogue | Party | Branch]:
        yield from self.dialogues
        yield from self.parties.values()
        yield from self._branches

    def _find_or_make(self, tag: bytes, side: Side, *, now: float) -> Party:
        """The party with this tag, or a new one that is yet to be kept."""
        party = self.parties.get(tag)
        if party is None and len(self.parties) >= MAX_PARTIES:
            raise LimitReached(f"the call has {MAX_PARTIES} ends, the most that one may have")
        return party or Party(tag, side, now=now)

    def _early_of(self, offerer: Party, *, now: float) -> Dialogue | None:
        """The dialogue with whoever will answer a first offer; None if it is no first one."""
        if any(dialogue.has(offerer) for dialogue in self.dialogues):
            return None
        return offerer.early or Dialogue(offerer, Party(b"", Side.TO, now=now), branch=b"", now=now)

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
            keep: see _take_groups().
        """
        groups = open_groups(self._resources, party, requests, now=now)
        self.last_signal = now
        for each in self._deletable:
            each.delete_at = math.inf
        party.policy = policy
        self._take_groups(party, groups, keep=keep, now=now)
        for group, request in zip(groups, requests, strict=True):
            if group is not None and request.media is not None:
                group.renew([request.media])
        for dialogue in self._dialogues_of(party):
            dialogue.refresh(self._resources, party, now=now)

    def _take_groups(self, party: Party, groups: list[SocketGroup | None], *, keep: bool, now: float) -> None:
        """Give a party its groups, and close those that it had and that are not among them.

        Arguments:
            keep: those that are in dialogues stay until somebody agrees.
        """
        before, party.groups = party.groups, groups
        party.former = [(index, group) for index, group in party.former if group not in groups]
        for index, group in enumerate(before):
            if group is not None and party.find_group(index) is not group:
                for dialogue in self._dialogues_of(party):
                    agreed = dialogue in self.dialogues
                    dialogue.leave(self._resources, index, keep=keep and agreed, now=now)
                party.former.append((index, group))
        self._close_former(party)

    def _close_unneeded(self) -> None:
        for party in self.parties.values():
            self._close_former(party)

    def _close_former(self, party: Party) -> None:
        """Close what no session needs any more of the groups that an offer replaced."""
        needed = [(index, group) for index, group in party.former if group.users]
        self._close_groups(group for _, group in party.former if not group.users)
        party.former = needed

    def _dialogues_of(self, party: Party) -> list[Dialogue]:
        return [dialogue for dialogue in self._all_dialogues if dialogue.has(party)]

    def _drop_early(self, party: Party, *, now: float) -> None:
        """Close what was ready for an answer that does not come any more."""
        if party.early is not None:
            party.early.stop_all(self._resources, now=now)
            self._close_groups(party.early.callee.groups)
            party.early = None

    def _find(self, from_tag: bytes, to_tag: bytes, branch: bytes) -> list[Dialogue | Party | Branch]:
        """What a delete is about."""
        if not from_tag:
            return list(self._deletable)
        if branch and (found := [each for each in self.dialogues if each.branch == branch]):
            return [*found]
        if waiting := self._branches.find(branch):
            return [waiting]
        chosen: list[Dialogue | Party | Branch] = [
            each for each in self.dialogues if from_tag in each.tags and (not to_tag or to_tag in each.tags)
        ]
        if from_tag in self.parties and (not to_tag or from_tag in self._alone()):
            chosen.append(self.parties[from_tag])
        return chosen

    def _delete_due(self, *, now: float) -> None:
        left: set[bytes] = set()
        for dialogue in [each for each in self.dialogues if now >= each.delete_at]:
            dialogue.stop_all(self._resources, now=now)
            self.dialogues.remove(dialogue)
            left |= dialogue.tags
        left |= self._branches.take_due(now=now)
        # who has offered to others, too, waits for them
        left -= self._branches.tags
        self._close_unneeded()
        for tag in self._alone():
            if tag in left or now >= self.parties[tag].delete_at:
                self._close_party(self.parties[tag], now=now)

    def _find_dialogue(self, one: bytes, other: bytes) -> Dialogue | None:
        return next((d for d in self.dialogues if d.tags == {one, other}), None)

    def _alone(self) -> set[bytes]:
        return self.parties.keys() - {tag for dialogue in self.dialogues for tag in dialogue.tags}

    def _close_party(self, party: Party, *, now: float) -> None:
        del self.parties[party.tag]
        self._branches.forget(party)
        self._drop_early(party, now=now)
        self._close_groups([*party.groups, *(group for _, group in party.former)])
        party.groups, party.former = [], []

    def _close_groups(self, groups: Iterable[SocketGroup | None]) -> None:
        for group in groups:
            if group is not None:
                self._resources.close_group(group)
