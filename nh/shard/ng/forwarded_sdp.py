"""Forwarded SDPs: what an end gets of the other end's offer or answer, with the relay's ports."""

import itertools
from collections.abc import Sequence
from typing import Final

from nh.calls.offer_answer.party import Party
from nh.calls.socket_group import SocketGroup
from nh.commands import IceHandling, OfferOptions
from nh.sdp.attributes import edit_attributes
from nh.sdp.description import SessionDescription
from nh.sdp.origin import control_origin
from nh.sdp.rewrite import IceAction, MediumPlan, MuxAction, RewritePlan, rewrite
from nh.shard.ng.hidden_media import rejection
from nh.shard.ng.negotiation import (
    answer_plan,
    bundled,
    medium_plan,
    mux_towards_answerer,
    wanted_transport,
)

_ICE_ACTIONS: Final = {
    IceHandling.DEFAULT: IceAction.REPLACE,
    IceHandling.REMOVE: IceAction.REMOVE,
    IceHandling.OPTIONAL: IceAction.ADD,
    IceHandling.FORCE: IceAction.REPLACE,
}


def forward_offer(
    description: SessionDescription,
    groups: Sequence[SocketGroup | None],
    options: OfferOptions,
    *,
    sender: Party,
    receiver: Party | None,
    address: str,
    mark: str,
) -> bytes:
    """The offer for the other end.

    Args:
        description: the offer as it came, with the media that are hidden from its sender.
        groups: the relay's sockets for each medium; None without any.
        options: of the command.
        sender: the party that offers, with what it has offered.
        receiver: the party that gets the offer.
        address: of the relay, to announce.
        mark: id of the relay for loop protection.
    """
    proto = wanted_transport(options)
    muxes = [mux_towards_answerer(mux, required=options.mux_require) for mux in sender.mux]
    plans = [
        medium_plan(medium, group, address, mux, proto=proto)
        for medium, group, mux in zip(description.media, groups, muxes, strict=True)
    ]
    hidden = frozenset(index for index, medium in enumerate(sender.offered) if medium.hidden)
    return _forward(description, _plan(plans, address, options, mark, hidden=hidden), options, receiver)


def forward_answer(
    description: SessionDescription,
    groups: Sequence[SocketGroup | None],
    options: OfferOptions,
    *,
    offerer: Party,
    muxes: Sequence[tuple[bool, bool]],
    address: str,
    mark: str,
) -> bytes:
    """The answer for the offerer: it has the media of the offer, in number and transport.

    Media that the answer lacks are added as rejected, those beyond the offer are rejected (RFC 3264 6).

    Args:
        description: the answer as it came, with the media that are hidden from its sender.
        groups: the relay's sockets for each medium; None without any.
        options: of the command.
        offerer: the party that gets the answer.
        muxes: of each medium, whether the offerer and whether the answerer sends RTCP on its RTP port.
        address: of the relay, to announce.
        mark: id of the relay for loop protection.
    """
    actions = [(MuxAction.ADD if muxed else MuxAction.REMOVE, muxed) for muxed, _ in muxes]
    plans = [
        answer_plan(medium, group, address, mux, offerer=offerer, index=index)
        for index, (medium, group, mux) in enumerate(zip(description.media, groups, actions, strict=True))
    ]
    missing = offerer.offered[len(description.media) :]
    hidden = frozenset(index for index, medium in enumerate(offerer.offered) if medium.inserted)
    plan = _plan(
        bundled(description, plans),
        address,
        options,
        mark,
        hidden=hidden,
        appended=tuple(
            itertools.chain.from_iterable(
                rejection(medium, description) for medium in missing if not medium.inserted
            )
        ),
    )
    return _forward(description, plan, options, offerer)


def _plan(
    plans: Sequence[MediumPlan | None],
    address: str,
    options: OfferOptions,
    mark: str,
    *,
    hidden: frozenset[int],
    appended: tuple[bytes, ...] = (),
) -> RewritePlan:
    return RewritePlan(
        media=tuple(plans),
        appended=appended,
        hidden=hidden,
        connection=address,
        origin=address if options.replace_origin else None,
        ice=_ICE_ACTIONS[options.ice],
        mark=mark if options.loop_protect else "",
        text=options.text,
    )


def _forward(
    description: SessionDescription, plan: RewritePlan, options: OfferOptions, receiver: Party | None
) -> bytes:
    """The SDP by its plan, with what a client wants of its text beside that.

    Its receiver keeps its o= and s= from the moment at which a client wants any of it kept.

    Raises:
        UnusableSdp: the SDP would become too long.
    """
    body = rewrite(description, plan)
    text = options.text
    if text.attributes:
        body = edit_attributes(body, text.attributes)
    if receiver is not None and (receiver.sent_origin or text.controls_origin):
        body, receiver.sent_origin = control_origin(body, receiver.sent_origin, text)
    return body
