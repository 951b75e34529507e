"""Forwarded SDPs: what an end gets of the other end's offer or answer, with the relay's ports."""

from collections.abc import Sequence
from typing import Final

import msgspec

from nh.calls.offer_answer.party import Party
from nh.calls.sockets.group import SocketGroup
from nh.commands import MAX_FORWARDED_BYTES
from nh.errors import SdpTooLong
from nh.sdp.attributes import edit_attributes
from nh.sdp.origin import control_origin
from nh.sdp.rewrite import MediumPlan, MuxAction, RewritePlan, rewrite
from nh.shard.ng.agreed_transports import agreed_mids, answered_mids
from nh.shard.ng.carriers import of_carriers
from nh.shard.ng.hidden_media import hidden_of, mid_of, rejection
from nh.shard.ng.ice import write_ice
from nh.shard.ng.media_plans import (
    answer_plan,
    bundled,
    medium_plan,
    mux_towards_answerer,
    with_port_of_first,
)
from nh.shard.ng.negotiated_answer import NegotiatedAnswer
from nh.shard.ng.negotiated_offer import NegotiatedOffer
from nh.shard.ng.two_forms import Forms, write_forms

_MAX_ESCAPED: Final = 6
"""Most bytes of JSON for one byte of an SDP: \\u0000, and for bytes that are no UTF-8, \\\\xff."""


def forward_offer(
    negotiated: NegotiatedOffer, groups: Sequence[SocketGroup | None], receiver: Party | None, *, mark: str
) -> bytes:
    """The offer for the other end, which from now on has been sent it.

    Args:
        negotiated: what the offer comes to.
        groups: the relay's sockets for each medium; None without any.
        receiver: the party that gets the offer; None if that is not known.
        mark: id of the relay for loop protection.

    Raises:
        SdpTooLong: then `receiver` is as it was.
    """
    plan = _plan(
        negotiated,
        _plans_of_offer(negotiated, groups),
        hidden=hidden_of(negotiated.offered),
        mids=agreed_mids(negotiated.shown.description, negotiated.bundles.mids, receiver),
        mark=mark,
    )
    sdp = _forward(negotiated, plan, receiver, forms=negotiated.receiver_forms)
    _note_address(groups, negotiated)
    return sdp


def _plans_of_offer(
    negotiated: NegotiatedOffer, groups: Sequence[SocketGroup | None]
) -> list[MediumPlan | None]:
    bundles = negotiated.bundles
    carriers = of_carriers(groups, negotiated.carriers)
    media = zip(
        negotiated.shown.description.media,
        # media that the receiver sees rejected may carry others
        [None if index in negotiated.unseen else group for index, group in enumerate(carriers)],
        negotiated.muxes,
        negotiated.sole,
        negotiated.transports,
        negotiated.seen_secured,
        strict=True,
    )
    plans = [
        medium_plan(
            medium,
            group,
            negotiated.address,
            mux_towards_answerer(mux, sole=sole),
            proto=proto,
            secured=secured,
            further=negotiated.further,
        )
        for medium, group, mux, sole, proto, secured in media
    ]
    if bundles.one_port:
        return with_port_of_first(plans, bundles.bundled, strict=bundles.strict)
    return plans


def forward_answer(negotiated: NegotiatedAnswer, groups: Sequence[SocketGroup | None], *, mark: str) -> bytes:
    """The answer for the offerer: it has the media of the offer, in number and transport.

    Media that the answer lacks are added as rejected, those beyond the offer are rejected (RFC 3264 6).

    Args:
        negotiated: what the answer comes to.
        groups: the relay's sockets for each medium; None without any.
        mark: id of the relay for loop protection.

    Raises:
        SdpTooLong: then the offerer is as it was.
    """
    offered, shown = negotiated.offerer.offered, negotiated.shown.description
    missing = [medium for medium in offered[len(shown.media) :] if not medium.inserted]
    plan = _plan(
        negotiated,
        _plans_of_answer(negotiated, groups),
        appended=[line for medium in missing for line in rejection(medium, shown)],
        hidden=frozenset(index for index, medium in enumerate(offered) if medium.inserted),
        mids=answered_mids(shown, negotiated.bundles.mids, offered),
        unnamed=_unnamed(negotiated),
        mark=mark,
    )
    sdp = _forward(negotiated, plan, negotiated.offerer, forms=negotiated.offerer.forms)
    _note_address(groups, negotiated)
    return sdp


def _plans_of_answer(
    negotiated: NegotiatedAnswer, groups: Sequence[SocketGroup | None]
) -> list[MediumPlan | None]:
    """The plans of an answer, by the media as its sender has them.

    A medium that only the offerer sees rejected leaves with port 0, and the media of its bundle at its port.
    """
    answered, bundles = negotiated.description, negotiated.bundles
    groups = of_carriers(groups, negotiated.carriers)
    media = zip(answered.media, groups, negotiated.muxes, negotiated.secured, strict=True)
    plans = [
        answer_plan(
            medium,
            group,
            negotiated.address,
            (MuxAction.ADD if muxed else MuxAction.REMOVE, muxed),
            offerer=negotiated.offerer,
            index=index,
            secured=secured,
            further=negotiated.further,
        )
        for index, (medium, group, (muxed, _), secured) in enumerate(media)
    ]
    if not bundles.ends:
        return bundled(answered, plans)
    for bundle in bundles.offerer:
        plans = with_port_of_first(plans, [member.medium for member in bundle.media])
    return plans


def _unnamed(negotiated: NegotiatedAnswer) -> frozenset[int]:
    """The media of an answer that the offerer has not named, but perhaps the relay, towards the answerer.

    A longer name than the relay gives is the offerer's own, which is not kept.
    """
    media = zip(negotiated.offerer.offered, negotiated.shown.description.media, strict=False)
    found = frozenset(
        index for index, (offered, medium) in enumerate(media) if not offered.mid and mid_of(medium)
    )
    if not found or negotiated.options.text.generate_mid:
        return frozenset()
    return found.difference(each.medium for bundle in negotiated.bundles.offerer for each in bundle.media)


def _plan(
    negotiated: NegotiatedOffer | NegotiatedAnswer,
    plans: Sequence[MediumPlan | None],
    *,
    appended: Sequence[bytes] = (),
    hidden: frozenset[int],
    mids: tuple[str, ...],
    unnamed: frozenset[int] = frozenset(),
    mark: str,
) -> RewritePlan:
    options, ice, bundles = negotiated.options, negotiated.ice, negotiated.bundles
    return RewritePlan(
        media=tuple(write_ice(plans, ice)),
        appended=tuple(appended),
        hidden=hidden,
        connection=negotiated.address,
        origin=negotiated.address if options.replace_origin else None,
        ice=ice.action,
        mark=mark if options.loop_protect else "",
        bundles=bundles.groups,
        mids=mids,
        unnamed=unnamed,
        text=options.text,
    )


def _note_address(
    groups: Sequence[SocketGroup | None], negotiated: NegotiatedOffer | NegotiatedAnswer
) -> None:
    """Note at the relay's sockets which address their SDP has for them."""
    for group in groups:
        if group is not None:
            group.advertise(negotiated.address)


def _forward(
    negotiated: NegotiatedOffer | NegotiatedAnswer,
    plan: RewritePlan,
    receiver: Party | None,
    *,
    forms: Sequence[Forms],
) -> bytes:
    """The SDP by its plan, with what a client wants of its text beside that.

    Its receiver keeps its o= and s= from the moment at which a client wants any of it kept.

    Args:
        forms: of each medium, as the receiver has it.

    Raises:
        SdpTooLong, UnusableSdp: then the receiver keeps what it had.
    """
    options, text = negotiated.options, negotiated.options.text
    body = rewrite(negotiated.shown.description, plan)
    if text.attributes:
        body = edit_attributes(body, text.attributes)
    if forms:
        body = write_forms(body, forms)
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
