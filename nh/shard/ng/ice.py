"""ICE that ends at nh: which agents and credentials an offer and its answer come to.

Where both ends have ICE and their media pass unchanged, it passes through: they check the path through the
relay with each other. Where a client wants it (`ICE=force`, `remove`, `optional`), where SRTP ends at the
relay, or where one end alone may multiplex RTCP, nh is a lite agent for each end that has ICE. Pure functions
between the views of nh.sdp and the domain.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import structs

from nh.calls.interfaces import Interface
from nh.calls.offer_answer.offered import MediumRequest, member_at, of_media
from nh.calls.offer_answer.party import Party
from nh.commands import IceHandling, OfferOptions
from nh.ice.agent import ICE_OPTIONS, IceAgent
from nh.ice.credentials import IceCredentials, new_credentials
from nh.sdp.description import SessionDescription
from nh.sdp.ice import IceAction
from nh.sdp.rewrite import MediumPlan
from nh.shard.ng.ice_agents import (
    agent_for,
    agent_of_offer,
    agents_towards,
    has_agents,
    has_offered_ice,
)
from nh.shard.ng.ice_sockets import known_credentials
from nh.shard.ng.offer_ends import OfferEnds


class MediumIce(NamedTuple):
    """What becomes of the ICE of one medium.

    Attributes:
        agent: the relay's agent towards the end that the SDP is of; None: none.
        offered: the credentials that the relay offers to the other end; None: none.
        written: the credentials in the forwarded SDP; None: none of the relay's.
        options: what a=ice-options says beside these.
    """

    agent: IceAgent | None = None
    offered: IceCredentials | None = None
    written: IceCredentials | None = None
    options: tuple[str, ...] = ()


class NegotiatedIce(NamedTuple):
    """What becomes of the ICE of an SDP.

    Attributes:
        action: what is done with its attributes.
        media: one for each medium.
    """

    action: IceAction
    media: list[MediumIce]


_PASSED: Final = {
    IceHandling.DEFAULT: IceAction.REPLACE,
    IceHandling.REMOVE: IceAction.REMOVE,
    IceHandling.OPTIONAL: IceAction.ADD,
    IceHandling.FORCE: IceAction.REPLACE,
    IceHandling.FORCE_RELAY: IceAction.RELAY,
}
"""What is done where nh has no agent."""

_AROUND: Final = frozenset({IceAction.ADD, IceAction.RELAY})
"""Those with which the ends may find a path around the relay."""

_NONE: Final = MediumIce()


def write_ice(plans: Sequence[MediumPlan | None], ice: NegotiatedIce) -> list[MediumPlan | None]:
    """The plans of media with the credentials of the relay."""
    return [
        plan
        if plan is None or plan.bundle_only or each.written is None
        else structs.replace(plan, credentials=each.written, ice_options=each.options)
        for plan, each in zip(plans, ice.media, strict=True)
    ]


def request_ice(
    requests: Sequence[MediumRequest],
    ice: NegotiatedIce,
    further: Sequence[Interface],
    *,
    latching: bool | None,
) -> list[MediumRequest]:
    """The requests of media with the relay's agents.

    The end that the SDP goes to keeps the sockets that it has checked, as long as no ICE restart gives it
    others (RFC 8839 4.4.1.1.1).

    Args:
        requests: what the SDP requests without ICE.
        ice: what becomes of its ICE.
        further: where the relay has further candidates for the end that the SDP goes to.
        latching: what the client says of keeping sockets whose peer's port has changed; None: nothing.
    """
    return [
        request
        if request.media is None or each is _NONE
        else request._replace(
            ice=each.agent,
            further=_addresses(further, each.written),
            latch=request.latch or (each.written is not None and latching is None),
        )
        for request, each in zip(requests, ice.media, strict=True)
    ]


def expect_ice(
    requests: Sequence[MediumRequest], ice: NegotiatedIce, further: Sequence[Interface]
) -> list[MediumRequest]:
    """What answers will request: checks may come before them, and their user fragments are not known yet.

    Args:
        requests, ice: see request_ice().
        further: where the relay has further candidates for the end that the SDP comes from.
    """
    return [
        request
        if request.media is None or each is _NONE
        else request._replace(
            ice=None if each.offered is None else IceAgent((each.offered,)),
            further=_addresses(further, each.agent),
        )
        for request, each in zip(requests, ice.media, strict=True)
    ]


def _addresses(further: Sequence[Interface], ice: IceAgent | IceCredentials | None) -> tuple[str, ...]:
    """Their local addresses, if the relay has ICE there."""
    return () if ice is None else tuple([each.address for each in further])


class _Agents(NamedTuple):
    """For which ends nh is an agent: the one that the offer is of, and the one that it goes to."""

    near: bool
    far: bool


def ice_of_offer(
    description: SessionDescription,
    options: OfferOptions,
    ends: OfferEnds,
    *,
    converts: bool,
    bundled: bool,
    address: str,
) -> NegotiatedIce:
    """What becomes of the ICE of an offer.

    Args:
        description: the offer.
        options: of the command.
        ends: who offers, and who will be offered to.
        converts: SRTP of a medium ends at the relay, or one end alone may multiplex RTCP.
        bundled: a bundle does.
        address: local IP address of the relay for the receiver.
    """
    sender, receiver = ends.sender, ends.receiver
    agents = _agents_of_offer(description, options, sender, receiver, converts=converts)
    if agents is None:
        return _passed(description, options, bundled=bundled)
    if not agents.near and not agents.far:  # as with `ICE=remove` of most proxies: no credentials are needed
        return NegotiatedIce(IceAction.OWN, [_NONE] * len(description.media))
    # the media of an end have the same credentials: they may share a transport (RFC 9143)
    near, far = new_credentials(), new_credentials()
    media = []
    for index, medium in enumerate(description.media):
        if medium.rejected or not medium.relayable:
            media.append(_NONE)
            continue
        agent = agent_of_offer(medium, near, sender, index) if agents.near and medium.ice else None
        offered = (known_credentials(medium, ends, index, options, address) or far) if agents.far else None
        said = _options_towards(next(agents_towards(receiver, index), None), options)
        media.append(MediumIce(agent, offered, offered, said))
    return NegotiatedIce(IceAction.OWN, media)


def _agents_of_offer(
    description: SessionDescription,
    options: OfferOptions,
    sender: Party | None,
    receiver: Party | None,
    *,
    converts: bool,
) -> _Agents | None:
    """For which ends nh is an agent; None: ICE passes through, if there is any."""
    has_ice = any(medium.ice for medium in description.media if not medium.rejected)
    near = has_ice and not options.reject_ice
    known = has_agents(receiver)
    match options.ice:
        case IceHandling.REMOVE:
            return _Agents(near, far=False)
        case IceHandling.FORCE:
            return _Agents(near, far=True)
        case IceHandling.OPTIONAL if not has_ice:
            return _Agents(near, far=True)
    if options.reject_ice:
        return _Agents(near=False, far=known)
    if known or has_agents(sender):
        return _Agents(near, far=known)
    return _Agents(near, far=True) if has_ice and converts else None


def _passed(description: SessionDescription, options: OfferOptions, *, bundled: bool) -> NegotiatedIce:
    """ICE that passes through; where only one end has a bundle, no path goes around the relay."""
    action = _PASSED[options.ice]
    if bundled and action in _AROUND:
        action = IceAction.REPLACE
    return NegotiatedIce(action, [_NONE] * len(description.media))


def ice_of_answer(
    description: SessionDescription,
    options: OfferOptions,
    *,
    offerer: Party,
    answerer: Party | None,
    tagged: Mapping[int, int],
    bundled: bool,
) -> NegotiatedIce:
    """What becomes of the ICE of an answer.

    Args:
        description: the answer.
        options: of the command.
        offerer: whose offer it answers.
        answerer: who answers; None: it is new.
        tagged: of the media of the offerer's bundles, the tagged ones, whose ICE the others have.
        bundled: a bundle ends at the relay.
    """
    if not any(offerer.ice) and not any(offerer.relay_offer.ice):
        if has_offered_ice(offerer):
            return _passed(description, options, bundled=bundled)
        return NegotiatedIce(IceAction.REMOVE, [_NONE] * len(description.media))
    media = []
    for index, medium in enumerate(description.media):
        offered = member_at(offerer.relay_offer.ice, index)
        agent = None
        if offered is not None and medium.ice and not medium.rejected:
            agent = agent_for(medium, offered, list(agents_towards(answerer, index)))
        towards = member_at(offerer.ice, tagged.get(index, index))
        written = None if towards is None or options.ice is IceHandling.REMOVE else towards.credentials[0]
        media.append(MediumIce(agent, written=written, options=_options_towards(towards, options)))
    return NegotiatedIce(IceAction.OWN, media)


def _options_towards(agent: IceAgent | None, options: OfferOptions) -> tuple[str, ...]:
    """What an end is told that the relay supports: what it says itself, as in rtpengine, and the flags.

    An end that trickles waits for the other one to say that it can take that (RFC 8840 4.1).
    """
    wanted = {"trickle": options.trickle, "ice2": options.ice2}
    known = () if agent is None else agent.options
    return tuple([each for each in ICE_OPTIONS if wanted[each] or each in known])


def drop_unanswered(offerer: Party, answer: NegotiatedIce) -> None:
    """Have no ICE with an offerer whose answer has none, because its client has removed it."""
    if answer.action is IceAction.OWN:
        unanswered = {index for index, medium in enumerate(answer.media) if medium.written is None}
        offerer.ice = of_media(
            [None if index in unanswered else agent for index, agent in enumerate(offerer.ice)]
        )
