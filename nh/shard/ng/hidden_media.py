"""Hidden media: those of an offer that its receiver never sees (ng's sdp-media-remove).

The receiver answers, and offers in turn, without them. The end that has offered them must find them in each
SDP, at their place and rejected (RFC 3264 6 and 8), so they are put in on the way to it and left out on the
way back.
"""

from collections.abc import Collection, Sequence
from typing import Final

from nh.calls.bundle import MAX_MID_BYTES, TOKEN_ENCODING
from nh.calls.offer_answer.offered import OfferedMedium
from nh.calls.offer_answer.party import Party
from nh.commands import OfferOptions
from nh.errors import MalformedRequest, UnusableSdp
from nh.sdp.description import Medium, SessionDescription
from nh.sdp.lines import Edits
from nh.sdp.parse import parse_own
from nh.shard.ng.offer_ends import OfferEnds

MAX_FORMAT_BYTES: Final = 64
"""Most bytes of a format that are kept."""

_KNOWN_KINDS: Final = frozenset({"audio", "video", "text", "application", "message", "image"})


def offered_media(
    description: SessionDescription, options: OfferOptions, ends: OfferEnds
) -> list[OfferedMedium]:
    """What an answer has to match, and what of it one end does not see.

    Args:
        description: an offer, with the media that are hidden from its sender.
        options: of the command: the kinds of media that the receiver is not to see. What it has seen before
            stays in its SDPs (RFC 3264 8), see removed_media().
        ends: who offers, and who gets the offer.
    """
    inserted = hidden_of(ends.receiver.offered) if ends.receiver is not None else frozenset()
    hidden_before = hidden_of(ends.sender.offered) if ends.sender is not None else frozenset()
    seen = _answered(ends.sender, ends.receiver) - hidden_before
    return [
        OfferedMedium(
            medium.kind,
            medium.proto,
            _format_of(medium),
            mid_of(medium),
            hidden=index not in seen and _is_of(medium, options.text.removed_media),
            inserted=index in inserted,
        )
        for index, medium in enumerate(description.media)
    ]


def _format_of(medium: Medium) -> str:
    """Its first format, as far as it is kept for as long as the call: a rejected medium may have any."""
    formats = medium.field.formats
    return formats[0][:MAX_FORMAT_BYTES].decode(TOKEN_ENCODING) if formats else "*"


def mid_of(medium: Medium) -> str:
    """Its a=mid; "" also for one that is too long for a bundle."""
    mid = medium.mid or ""
    return mid if len(mid) <= MAX_MID_BYTES else ""


def hidden_of(offered: Sequence[OfferedMedium]) -> frozenset[int]:
    """The media, by index, that their receiver never sees."""
    return frozenset([index for index, medium in enumerate(offered) if medium.hidden])


def removed_media(
    description: SessionDescription, kinds: Collection[str], offered: Sequence[OfferedMedium]
) -> frozenset[int]:
    """The media of an offer that its receiver is not to see, but knows: they are rejected for it."""
    media = zip(description.media, offered, strict=True) if kinds else ()
    return frozenset(
        index
        for index, (medium, announced) in enumerate(media)
        if not announced.hidden and _is_of(medium, kinds)
    )


def with_hidden(description: SessionDescription, offered: Sequence[OfferedMedium]) -> SessionDescription:
    """An SDP of an end from which some of the media that the other end has offered are hidden.

    Args:
        description: the SDP.
        offered: the media of the other end's offer.

    Returns:
        The SDP with the hidden media, rejected, among its own; so are media before them that it lacks.

    Raises:
        UnusableSdp: it would have more media than an SDP may have.
    """
    hidden = hidden_of(offered)
    if not hidden:
        return description
    edits = Edits(description.lines)
    own = iter(description.media)
    after = description.session.last
    last_hidden = max(hidden)
    # the end has not seen the names of hidden media, and may have given them to its own
    taken = {medium.mid for medium in description.media}
    for index, medium in enumerate(offered):
        if not medium.hidden and (seen := next(own, None)) is not None:
            after = seen.last
        elif index <= last_hidden:
            named = medium._replace(mid="") if medium.mid in taken else medium
            for line in rejection(named, description):
                edits.insert_after(after, line)
    try:
        return parse_own(edits.render())
    except MalformedRequest as exc:
        raise UnusableSdp(f"with the media of sdp-media-remove: {exc}") from exc


def rejection(medium: OfferedMedium, description: SessionDescription) -> list[bytes]:
    """The lines that reject an offered medium in an SDP: m=, c= if the session has none, and a=mid."""
    lines = [f"m={medium.kind} 0 {medium.proto} {medium.format}"]
    if description.session.own_connection is None:
        lines.append("c=IN IP4 0.0.0.0")
    if medium.mid:
        lines.append(f"a=mid:{medium.mid}")
    return [line.encode(TOKEN_ENCODING) for line in lines]


def _answered(sender: Party | None, receiver: Party | None) -> set[int]:
    """The media, by index, that were answered before, also if the receiver of the offer does not see them."""
    if sender is None or receiver is None:
        return set()
    return set(range(max(len(sender.groups), len(receiver.groups))))


def _is_of(medium: Medium, kinds: Collection[str]) -> bool:
    kind = medium.kind.lower()
    return kind in kinds or ("other" in kinds and kind not in _KNOWN_KINDS)
