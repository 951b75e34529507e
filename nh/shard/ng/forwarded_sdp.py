"""Forwarded SDPs: what an end gets of the other end's offer or answer, with the relay's ports."""

import itertools
from collections.abc import Sequence
from typing import Final

import msgspec

from nh.calls.interfaces import Interface
from nh.calls.offer_answer.party import Mux, OfferedMedium, Party
from nh.calls.socket_group import SocketGroup
from nh.commands import MAX_FORWARDED_BYTES, OfferOptions
from nh.errors import SdpTooLong
from nh.sdp.attributes import edit_attributes
from nh.sdp.description import SessionDescription
from nh.sdp.origin import control_origin
from nh.sdp.rewrite import MediumPlan, MuxAction, RewritePlan, rewrite
from nh.shard.ng.bundles import AnsweredBundles, OfferedBundles
from nh.shard.ng.hidden_media import rejection
from nh.shard.ng.ice import NegotiatedIce, write_ice
from nh.shard.ng.media_plans import (
    answer_plan,
    bundled,
    medium_plan,
    mux_towards_answerer,
    with_port_of_first,
)
from nh.shard.ng.secured import Secured

_MAX_ESCAPED: Final = 6
"""Most bytes of JSON for one byte of an SDP: \\u0000, and for bytes that are no UTF-8, \\\\xff."""


def forward_offer(
    description: SessionDescription,
    groups: Sequence[SocketGroup | None],
    options: OfferOptions,
    *,
    muxes: Sequence[Mux],
    offered: Sequence[OfferedMedium],
    transports: Sequence[str],
    receiver: Party | None,
    secured: Sequence[Secured],
    bundles: OfferedBundles,
    ice: NegotiatedIce,
    address: str,
    further: Sequence[Interface],
    mark: str,
) -> bytes:
    """The offer for the other end, which from now on has been sent it.

    Args:
        description: the offer as it came, with the media that are hidden from its sender.
        groups: the relay's sockets for each medium; None without any.
        options: of the command.
        muxes: what becomes of the offer of rtcp-mux, for each medium.
        offered: the m= lines of the offer.
        transports: of each medium, the one that is wanted; "" leaves the SDP's.
        receiver: the party that gets the offer; None if that is not known.
        secured: of each medium, its keys.
        bundles: what becomes of the bundles.
        ice: what becomes of its ICE.
        address: of the relay, to announce.
        further: whose addresses are those of further candidates.
        mark: id of the relay for loop protection.

    Raises:
        SdpTooLong: then `receiver` is as it was.
    """
    actions = [mux_towards_answerer(mux, required=options.mux_require) for mux in muxes]
    plans = [
        medium_plan(medium, group, address, mux, proto=proto, secured=each, further=further)
        for medium, group, mux, proto, each in zip(
            description.media, groups, actions, transports, secured, strict=True
        )
    ]
    hidden = frozenset(index for index, medium in enumerate(offered) if medium.hidden)
    if bundles.one_port:
        plans = with_port_of_first(plans, bundles.bundled, strict=bundles.strict)
    plan = _plan(plans, address, options, mark, ice=ice, hidden=hidden, bundles=bundles)
    return _forward(description, plan, options, receiver)


def forward_answer(
    description: SessionDescription,
    answered: SessionDescription,
    groups: Sequence[SocketGroup | None],
    options: OfferOptions,
    *,
    offerer: Party,
    muxes: Sequence[tuple[bool, bool]],
    secured: Sequence[Secured],
    bundles: AnsweredBundles,
    ice: NegotiatedIce,
    address: str,
    further: Sequence[Interface],
    mark: str,
) -> bytes:
    """The answer for the offerer: it has the media of the offer, in number and transport.

    Media that the answer lacks are added as rejected, those beyond the offer are rejected (RFC 3264 6).

    Args:
        description: the answer with the codecs that the offerer sees.
        answered: the answer as it came, with the media that are hidden from its sender. A medium that only
            `description` rejects leaves with port 0, and the media of its bundle at its port.
        groups: the relay's sockets for each medium; None without any.
        options: of the command.
        offerer: the party that gets the answer.
        muxes: of each medium, whether the offerer and whether the answerer sends RTCP on its RTP port.
        secured: of each medium, its keys.
        bundles: what becomes of the bundles.
        ice: what becomes of its ICE.
        address: of the relay, to announce.
        further: whose addresses are those of further candidates.
        mark: id of the relay for loop protection.

    Raises:
        SdpTooLong: then `offerer` is as it was.
    """
    actions = [(MuxAction.ADD if muxed else MuxAction.REMOVE, muxed) for muxed, _ in muxes]
    plans = [
        answer_plan(medium, group, address, mux, offerer=offerer, index=index, secured=each, further=further)
        for index, (medium, group, mux, each) in enumerate(
            zip(answered.media, groups, actions, secured, strict=True)
        )
    ]
    if not bundles.ends:
        plans = bundled(answered, plans)
    for each in bundles.offerer:
        plans = with_port_of_first(plans, [member.medium for member in each.media])
    missing = offerer.offered[len(description.media) :]
    hidden = frozenset(index for index, medium in enumerate(offerer.offered) if medium.inserted)
    plan = _plan(
        plans,
        address,
        options,
        mark,
        ice=ice,
        hidden=hidden,
        bundles=bundles,
        unnamed=_unnamed(description, offerer, bundles, options),
        appended=tuple(
            itertools.chain.from_iterable(
                rejection(medium, description) for medium in missing if not medium.inserted
            )
        ),
    )
    return _forward(description, plan, options, offerer)


def _unnamed(
    answer: SessionDescription, offerer: Party, bundles: AnsweredBundles, options: OfferOptions
) -> frozenset[int]:
    """The media of an answer that the offerer has not named, but perhaps the relay, towards the answerer."""
    found = frozenset(
        index
        for index, (offered, medium) in enumerate(zip(offerer.offered, answer.media, strict=False))
        if not offered.mid and medium.has("mid")
    )
    if not found or options.text.generate_mid:
        return frozenset()
    return found.difference(each.medium for bundle in bundles.offerer for each in bundle.media)


def _plan(
    plans: Sequence[MediumPlan | None],
    address: str,
    options: OfferOptions,
    mark: str,
    *,
    ice: NegotiatedIce,
    hidden: frozenset[int],
    bundles: OfferedBundles | AnsweredBundles,
    unnamed: frozenset[int] = frozenset(),
    appended: tuple[bytes, ...] = (),
) -> RewritePlan:
    return RewritePlan(
        media=tuple(write_ice(plans, ice)),
        appended=appended,
        hidden=hidden,
        connection=address,
        origin=address if options.replace_origin else None,
        ice=ice.action,
        ice_options=tuple(
            name for name, wanted in (("trickle", options.trickle), ("ice2", options.ice2)) if wanted
        ),
        mark=mark if options.loop_protect else "",
        bundles=bundles.groups,
        mids=bundles.mids,
        unnamed=unnamed,
        text=options.text,
    )


def _forward(
    description: SessionDescription, plan: RewritePlan, options: OfferOptions, receiver: Party | None
) -> bytes:
    """The SDP by its plan, with what a client wants of its text beside that.

    Its receiver keeps its o= and s= from the moment at which a client wants any of it kept.

    Raises:
        SdpTooLong: then the receiver keeps what it had.
    """
    body = rewrite(description, plan)
    text = options.text
    if text.attributes:
        body = edit_attributes(body, text.attributes)
    sent_origin = receiver.sent_origin if receiver is not None else None
    if receiver is not None and (sent_origin or text.controls_origin):
        body, sent_origin = control_origin(body, sent_origin, text)
    size = written_bytes(body, escaped=options.escaped)
    if size > MAX_FORWARDED_BYTES:
        raise SdpTooLong(f"the SDP would have {size} bytes in the reply; {MAX_FORWARDED_BYTES} are possible")
    if receiver is not None:
        receiver.sent_origin = sent_origin
    return body


def written_bytes(body: bytes, *, escaped: bool) -> int:
    """How many bytes of a reply an SDP takes.

    Args:
        body: the SDP.
        escaped: whether the reply writes it as a string of JSON, in which a byte takes up to six.
    """
    if not escaped or _MAX_ESCAPED * len(body) <= MAX_FORWARDED_BYTES:
        return len(body)
    return len(msgspec.json.encode(body.decode("utf-8", "backslashreplace")))
