"""Snapshots of ICE: the credentials of a call, which are secrets, and what checks have shown to its legs."""

import itertools
from collections.abc import Sequence
from typing import Annotated, Self

import msgspec

from nh.calls.offer_answer.offered import of_media
from nh.calls.offer_answer.party import Party
from nh.calls.protocols.ice import EndIce
from nh.calls.snapshots.values import Count, Index, Port, Time, TimeShift, require, require_index
from nh.calls.sockets.group import SocketGroup
from nh.errors import SnapshotUnreadable
from nh.ice.agent import ICE_OPTIONS, MAX_SOURCES, Checked, CheckResult, IceAgent, IceComponent
from nh.ice.credentials import MAX_CHARACTERS, IceCredentials
from nh.ip_address import MAX_ADDRESS_CHARACTERS

Ufrag = Annotated[str, msgspec.Meta(max_length=MAX_CHARACTERS)]
Place = tuple[Annotated[str, msgspec.Meta(max_length=MAX_ADDRESS_CHARACTERS + 17)], Port]
"""Address, with its zone if it is link-local, and port."""

_MAX_CREDENTIALS = 2
_MAX_OPTIONS = 16  # more than this nh knows: another may know more


class CredentialsSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A nh.ice.credentials.IceCredentials; its text form tells nothing of the password."""

    ufrag: Ufrag
    password: Ufrag

    def __repr__(self) -> str:
        return f"CredentialsSnapshot({self.ufrag})"

    @classmethod
    def take(cls, credentials: IceCredentials) -> Self:
        """The snapshot of `credentials`."""
        return cls(credentials.ufrag, credentials.password)

    def rebuild(self) -> IceCredentials:
        """The credentials.

        Raises:
            SnapshotUnreadable: they are none.
        """
        try:
            return IceCredentials(self.ufrag, self.password)
        except ValueError as exc:
            raise SnapshotUnreadable(f"snapshot: {exc}") from exc


class AgentSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A nh.ice.agent.IceAgent."""

    credentials: Annotated[list[CredentialsSnapshot], msgspec.Meta(min_length=1, max_length=_MAX_CREDENTIALS)]
    remote_ufrag: Ufrag
    earlier_ufrag: Ufrag
    remote_lite: bool
    options: Annotated[list[Ufrag], msgspec.Meta(max_length=_MAX_OPTIONS)] = []

    @classmethod
    def take(cls, agent: IceAgent) -> Self:
        """The snapshot of `agent`."""
        taken = [CredentialsSnapshot.take(each) for each in agent.credentials]
        options = list(agent.options)
        return cls(taken, agent.remote_ufrag, agent.earlier_ufrag, agent.remote_lite, options)

    def rebuild(self) -> IceAgent:
        """The agent as it was.

        Raises:
            SnapshotUnreadable: its credentials are none.
        """
        credentials = tuple([each.rebuild() for each in self.credentials])
        return IceAgent(
            credentials,
            self.remote_ufrag,
            self.earlier_ufrag,
            remote_lite=self.remote_lite,
            options=tuple([each for each in ICE_OPTIONS if each in self.options]),
        )


class PartyIce(msgspec.Struct, array_like=True, frozen=True):
    """The ICE of a party.

    Attributes:
        agents: for each medium, the index of an agent.
        offered: for each medium, what the relay offered in its place.
    """

    party: Index
    agents: list[Index | None]
    offered: list[CredentialsSnapshot | None]


class IceSecrets(msgspec.Struct, array_like=True, frozen=True):
    """All of a call.

    Attributes:
        agents: each once.
        groups: (index of a group, index of an agent).
    """

    agents: list[AgentSnapshot]
    groups: list[tuple[Index, Index]]
    parties: list[PartyIce]

    @classmethod
    def take(cls, groups: Sequence[SocketGroup], parties: Sequence[Party]) -> Self | None:
        """The credentials of a call; None if it has none.

        Args:
            groups: all of the call.
            parties: all of the call; indexes are those of a snapshot.
        """
        agents: dict[int, IceAgent] = {}
        for agent in (*(group.ice for group in groups), *(each for party in parties for each in party.ice)):
            if agent is not None:
                agents.setdefault(id(agent), agent)
        offered = any(any(party.relay_offer.ice) for party in parties)
        if not agents and not offered:
            return None
        indexes = {each: index for index, each in enumerate(agents)}
        return cls(
            [AgentSnapshot.take(agent) for agent in agents.values()],
            [(index, indexes[id(group.ice)]) for index, group in enumerate(groups) if group.ice is not None],
            [
                PartyIce(
                    index,
                    [None if agent is None else indexes[id(agent)] for agent in party.ice],
                    [
                        None if each is None else CredentialsSnapshot.take(each)
                        for each in party.relay_offer.ice
                    ],
                )
                for index, party in enumerate(parties)
                if any(party.ice) or any(party.relay_offer.ice)
            ],
        )

    def rebuild(self) -> list[IceAgent]:
        """The agents as they were.

        Raises:
            SnapshotUnreadable: one is none.
        """
        return [each.rebuild() for each in self.agents]

    def apply_to_groups(self, groups: Sequence[SocketGroup], agents: Sequence[IceAgent]) -> None:
        """Give groups their agents; before sessions are made of them.

        Raises:
            SnapshotUnreadable: there is no such group.
        """
        for index, number in self.groups:
            require_index(index, groups, "group")
            require_index(number, agents, "agent of ICE")
            groups[index].ice = agents[number]

    def apply_to_parties(self, parties: Sequence[Party], agents: Sequence[IceAgent]) -> None:
        """Give parties what they have agreed on and were offered.

        Raises:
            SnapshotUnreadable: there is no such party.
        """
        for each in self.parties:
            require_index(each.party, parties, "party")
            for number in each.agents:
                require(number is None or number < len(agents), "no such agent of ICE")
            party = parties[each.party]
            party.ice = of_media([None if number is None else agents[number] for number in each.agents])
            offered = of_media([None if known is None else known.rebuild() for known in each.offered])
            if offered:
                party.relay_offer = party.relay_offer._replace(ice=offered)


class ComponentSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What checks have shown to a leg.

    Attributes:
        sources: where checks came from, with the user fragment of their sender.
        selected: the nominated one.
        results: how often each nh.ice.agent.CheckResult was, by its value.
        locals: which of the relay's candidates those checks came to, where it has several.
        selected_local: the same of the nominated one.
    """

    sources: Annotated[list[tuple[Place, Ufrag]], msgspec.Meta(max_length=MAX_SOURCES)]
    selected: Place | None
    checked_at: Time | None
    results: dict[str, Count]
    locals: Annotated[list[Place | None], msgspec.Meta(max_length=MAX_SOURCES)] = []
    selected_local: Place | None = None

    @classmethod
    def take(cls, ice: EndIce) -> Self:
        """The snapshot of what `ice` has been shown."""
        component = ice.component
        locals_ = [check.local for check in component.sources.values()]
        return cls(
            [
                (source, check.remote.decode("ascii", "replace"))
                for source, check in component.sources.items()
            ],
            component.selected,
            component.checked_at,
            {result.value: count for result, count in component.results.items()},
            locals_ if any(locals_) else [],
            component.selected_local,
        )

    def apply(self, ice: EndIce, times: TimeShift) -> None:
        """Give the ICE of a leg what it had been shown."""
        component: IceComponent = ice.component
        component.sources = {
            source: Checked(remote.encode(), local)
            for (source, remote), local in itertools.zip_longest(self.sources, self.locals)
        }
        component.selected, component.selected_local = self.selected, self.selected_local
        component.checked_at = times.maybe_past(self.checked_at)
        component.results = {
            result: self.results[result.value] for result in CheckResult if result.value in self.results
        }
