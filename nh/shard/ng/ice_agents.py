"""The relay's agents of ICE towards an end: which credentials go on, and which a restart replaces."""

from collections.abc import Iterator, Sequence

from nh.calls.offer_answer.offered import member_at
from nh.calls.offer_answer.party import Party
from nh.ice.agent import ICE_OPTIONS, IceAgent
from nh.ice.credentials import IceCredentials
from nh.sdp.description import Medium


def agent_of_offer(medium: Medium, new: IceCredentials, sender: Party | None, index: int) -> IceAgent:
    """The agent towards an end that offers: the present one, or one with new credentials if it restarts."""
    present = list(agents_towards(sender, index))
    same = next((agent for agent in present if agent.remote_ufrag == medium.ice_ufrag), None)
    return agent_for(medium, new if same is None else same.credentials[0], present)


def agent_for(medium: Medium, ours: IceCredentials, present: Sequence[IceAgent]) -> IceAgent:
    """The agent with these credentials towards an end; those that the end may still use go along."""
    ufrag, lite = medium.ice_ufrag, medium.ice_lite
    said = medium.ice_options
    options = tuple([each for each in ICE_OPTIONS if each in said])
    for agent in present:
        known = (agent.credentials[0], agent.remote_ufrag, agent.remote_lite, agent.options)
        if known == (ours, ufrag, lite, options):
            return agent
    before = next((agent for agent in present if agent.remote_ufrag), None)
    if before is None:
        return IceAgent((ours,), ufrag, remote_lite=lite, options=options)
    others = [each for each in before.credentials if each != ours]
    earlier = before.earlier_ufrag if before.remote_ufrag == ufrag else before.remote_ufrag
    return IceAgent((ours, *others[:1]), ufrag, earlier, remote_lite=lite, options=options)


def has_agents(party: Party | None) -> bool:
    """Whether the relay has an agent towards a party, for any medium, or had one until all were rejected."""
    if party is None:
        return False
    return party.agreed.with_ice or any(party.ice) or any(group and group.ice for group in party.groups)


def has_offered_ice(party: Party) -> bool:
    """Whether the last offer of a party has ICE: an answer to another one has none (RFC 8839 4.2)."""
    groups = [(index, group) for index, group in enumerate(party.groups) if group is not None]
    return any("stun" in party.pending.get(index, group.medium).handshakes for index, group in groups)


def agents_towards(party: Party | None, index: int) -> Iterator[IceAgent]:
    """The agents that the relay has, or has had last, towards a party for a medium."""
    if party is None:
        return
    for group in party.groups_of(index):
        if group.ice is not None:
            yield group.ice
    offered = member_at(party.ice, index)
    if offered is not None:
        yield offered
