"""Offers: the parties and dialogues of one call, and the rules between them (rtpengine's offer and answer).

An offer is applied at once, as rtpengine does; what was agreed before it goes on where it did not change.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nh.calls.dialogue import Dialogue, MediumRequest, Party, open_groups, parties_of
from nh.calls.media import Side
from nh.calls.resources import Resources
from nh.calls.session import Session
from nh.calls.socket_group import SocketGroup
from nh.calls.source import SourcePolicy
from nh.errors import LimitReached, UnknownCall, WrongDialogue

MAX_PARTIES = 64
"""Most ends of one call: forks, and what a client invents."""


class DelayedDelete(NamedTuple):
    """A delete that is due at `at` (monotonic seconds); the rest is as in Offers.delete."""

    at: float
    from_tag: bytes
    to_tag: bytes
    branch: bytes


class Offers:
    """Offer and answer within one call.

    Arguments:
        resources: sockets, limits, plane.
    """

    __slots__ = ("_deletes", "_resources", "dialogues", "last_signal", "parties")

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self.parties: dict[bytes, Party] = {}
        self.dialogues: list[Dialogue] = []
        self.last_signal = 0.0
        self._deletes: list[DelayedDelete] = []

    @property
    def is_empty(self) -> bool:
        """Whether nobody is left."""
        return not self.parties

    @property
    def running(self) -> Iterator[Session]:
        """All sessions."""
        for dialogue in self.dialogues:
            yield from dialogue.sessions.values()

    @property
    def groups(self) -> Iterator[SocketGroup]:
        """All groups of all parties."""
        for party in self.parties.values():
            yield from (group for group in party.groups if group is not None)

    def get_party(self, tag: bytes) -> Party:
        """The end with this tag. Raises UnknownCall."""
        party = self.parties.get(tag)
        if party is None:
            raise UnknownCall("nobody in the call has this tag")
        return party

    def offer(
        self, *, from_tag: bytes, to_tag: bytes, requests: list[MediumRequest], now: float
    ) -> list[SocketGroup | None]:
        """`from_tag` offers media, to `to_tag` if that is known (else b"").

        Returns its groups, one a medium, None where nothing is relayed.
        Raises WrongDialogue if both ends are known, but not to each other; LimitReached, PortsExhausted,
        AddressUnavailable, SocketCountMismatch.
        """
        known = (self.parties.get(from_tag), self.parties.get(to_tag))
        if None not in known and from_tag != to_tag and not self._find_dialogue(from_tag, to_tag):
            raise WrongDialogue("these two ends are in the call, but not in a dialogue with each other")
        side = Side.FROM
        for dialogue in self.dialogues:
            if dialogue.callee.tag == from_tag:
                side = Side.TO
        return self._announce(from_tag, requests, side, now=now)

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

        `muxes` says of each medium whether the offerer and whether the answerer sends RTCP on its RTP port.
        Returns the answerer's groups, one a medium. Raises UnknownCall without that offer, and as offer().
        """
        offerer = self.get_party(from_tag)
        if from_tag == to_tag:
            raise WrongDialogue("an end cannot answer its own offer")
        dialogue = self._find_dialogue(from_tag, to_tag)
        side = Side.TO
        if dialogue is not None and dialogue.caller.tag == to_tag:
            side = Side.FROM
        groups = self._announce(to_tag, requests, side, now=now)
        if dialogue is None:
            dialogue = Dialogue(offerer, self.parties[to_tag], branch=branch, policy=policy, now=now)
            self.dialogues.append(dialogue)
            dialogue.refresh(self._resources, self.parties[to_tag], now=now)
        for index, each in enumerate(muxes):
            dialogue.set_mux(self._resources, index, offerer=offerer, muxes=each)
        return groups

    def block(self, tag: bytes, *, blocked: bool) -> None:
        """Pass on nothing of what one end sends (of all ends: b""), or do again. Raises UnknownCall."""
        chosen = [party for party in self.parties.values() if tag in (b"", party.tag)]
        if not chosen:
            raise UnknownCall("nobody in the call has this tag")
        for party in chosen:
            party.blocked = blocked
        for dialogue in self.dialogues:
            dialogue.block(self._resources)

    def delete(self, *, from_tag: bytes, to_tag: bytes, branch: bytes, now: float) -> None:
        """Take dialogues out, and the parties that are left alone.

        Arguments:
            from_tag: b"" for everything.
            to_tag: b"" if it does not count.
            branch: if it is known, it decides; else the tags do.

        Raises UnknownCall if nothing matches.
        """
        chosen = [d for d in self.dialogues if branch and d.branch == branch] or [
            d for d in self.dialogues if from_tag in d.tags and (not to_tag or to_tag in d.tags)
        ]
        if not from_tag:
            chosen = list(self.dialogues)
        lonely = self._alone() if not from_tag else {from_tag} & self._alone()
        if not chosen and not lonely:
            raise UnknownCall("no dialogue of these tags")
        for dialogue in chosen:
            dialogue.stop_all(self._resources, now=now)
            self.dialogues.remove(dialogue)
        for tag in lonely | (self._alone() & {party.tag for party in parties_of(chosen)}):
            self._close_party(self.parties.pop(tag))

    def delete_later(self, delete: DelayedDelete) -> None:
        """As delete(), at its time, unless somebody offers or answers before. Raises UnknownCall."""
        if delete.from_tag and delete.from_tag not in self.parties:
            raise UnknownCall("nobody in the call has this from-tag")
        self._deletes.append(delete)

    def close(self, *, now: float) -> None:
        """End everything."""
        for dialogue in self.dialogues:
            dialogue.stop_all(self._resources, now=now)
        self.dialogues.clear()
        for party in self.parties.values():
            self._close_party(party)
        self.parties.clear()

    def expire(self, *, now: float) -> tuple[list[Session], int]:
        """End dialogues that fell silent, and parties whose offer nobody answered or who are left alone.

        Returns the sessions that ended, and the number of groups that never had one.
        """
        rules = self._resources.settings
        for delete in [delete for delete in self._deletes if now >= delete.at]:
            self._deletes.remove(delete)
            with contextlib.suppress(UnknownCall):  # gone meanwhile, which is what was wanted
                self.delete(from_tag=delete.from_tag, to_tag=delete.to_tag, branch=delete.branch, now=now)
        silent: list[Session] = []
        for dialogue in list(self.dialogues):
            if now >= dialogue.expires_at(rules):
                silent += dialogue.sessions.values()
                dialogue.stop_all(self._resources, now=now)
                self.dialogues.remove(dialogue)
        unused = 0
        for tag in self._alone():
            party = self.parties[tag]
            if now >= self._party_ends_at(party):
                unused += sum(group is not None and group.idle_since is None for group in party.groups)
                self._close_party(self.parties.pop(tag))
        return silent, unused

    def next_expiry(self) -> float:
        """Monotonic seconds before which nothing in here can expire."""
        rules = self._resources.settings
        times = [dialogue.expires_at(rules) for dialogue in self.dialogues]
        times += [self._party_ends_at(self.parties[tag]) for tag in self._alone()]
        times += [delete.at for delete in self._deletes]
        return min(times, default=math.inf)

    def _announce(
        self, tag: bytes, requests: list[MediumRequest], side: Side, *, now: float
    ) -> list[SocketGroup | None]:
        party = self.parties.get(tag)
        if party is None:
            if len(self.parties) >= MAX_PARTIES:
                raise LimitReached(f"the call has {MAX_PARTIES} ends, the most that one may have")
            party = Party(tag, now=now)
        groups = open_groups(self._resources, party, requests, side, now=now)
        self.parties[tag] = party
        self.last_signal = now
        self._deletes.clear()
        before, party.groups = party.groups, groups
        ours = [dialogue for dialogue in self.dialogues if dialogue.has(party)]
        for index, group in enumerate(before):
            if group is not None and party.find_group(index) is not group:
                for dialogue in ours:
                    dialogue.stop(self._resources, index, now=now)
                self._resources.close_group(group)
        for group, request in zip(groups, requests, strict=True):
            if group is not None and request.media is not None:
                group.renew([request.media])
        for dialogue in ours:
            dialogue.refresh(self._resources, party, now=now)
        return groups

    def _find_dialogue(self, one: bytes, other: bytes) -> Dialogue | None:
        return next((d for d in self.dialogues if d.tags == {one, other}), None)

    def _alone(self) -> set[bytes]:
        return self.parties.keys() - {party.tag for party in parties_of(self.dialogues)}

    def _party_ends_at(self, party: Party) -> float:
        """When one who is in no dialogue goes."""
        rules = self._resources.settings
        return max(
            (
                group.expires_at(unused_s=rules.unused_s, replaced_s=rules.replaced_s)
                for group in party.groups
                if group is not None
            ),
            default=party.created + rules.unused_s,
        )

    def _close_party(self, party: Party) -> None:
        for group in party.groups:
            if group is not None:
                self._resources.close_group(group)
        party.groups = []
