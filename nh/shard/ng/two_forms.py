"""Media in two forms: those that an SDP has twice, one beside the other, as plain RTP and as SRTP.

So phones offered SRTP that the other end may take before RFC 8643, as rtpengine's `offer-legacy` does. The
call knows such a medium as one, in the form that is used: the other one is left out of what comes from such
an end, and put into what it gets. A fax takes the place of one of the forms, and the other one is rejected.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from nh.calls.media import MAX_MEDIA
from nh.calls.offer_answer.offered import OfferedMedium, of_media
from nh.calls.offer_answer.participants import Participants
from nh.commands import OfferOptions
from nh.errors import UnusableSdp
from nh.sdp.bundles import leave_groups
from nh.sdp.description import Medium, SessionDescription
from nh.sdp.fields import write_medium_port, write_medium_proto
from nh.sdp.lines import Edits
from nh.sdp.parse import parse_own
from nh.shard.ng.srtp_means import is_secure

Forms = tuple[str, ...]
"""The transports of both forms of a medium, in the order of the SDP; () for a medium of one form.

One of them is no RTP where a fax of the end has its place.
"""

_OF_SRTP: Final = ("crypto", "fingerprint", "setup", "tls-id", "mid")
"""Attributes that the plain form of an offered medium lacks; a name is of one medium (RFC 5888 4)."""


def known_forms(participants: Participants, tag: bytes) -> Sequence[Forms]:
    """The forms of each medium that an end has in its SDPs; () if it is in no dialog.

    Args:
        participants: those of the call.
        tag: of the end.
    """
    dialog = next((each for each in reversed(participants.dialogs) if tag in each.tags), None)
    if dialog is None:
        return ()
    party = dialog.party_with(tag)
    hidden = sum(each.hidden for each in dialog.other(party).offered[: len(party.groups)])
    return party.forms or ((),) * (len(party.groups) - hidden)


def read_forms(description: SessionDescription, known: Sequence[Forms], *, new: bool) -> tuple[Forms, ...]:
    """The forms of each medium of an offer; () if all have one.

    Args:
        description: the offer as it came.
        known: see known_forms(). What has been a medium by itself stays one.
        new: there may be further media of two forms.
    """
    if not new and not any(known):
        return ()
    media, found = description.media, list[Forms]()
    at, known_places = dict[int, Forms](), 0  # by the place of the first line, which is for good (RFC 3264 8)
    for before in known:
        at[known_places] = before
        known_places += len(before) or 1
    place = 0
    while place < len(media):
        before = at.get(place, ())
        both = media[place : place + 2]
        forms: Forms = ()
        if _are_two_forms(both) and (before or (new and place + 1 >= known_places)):
            forms = tuple([each.proto for each in both])
        elif before and _stand_for_one(both):
            forms = _forms_after(before, both)
        found.append(forms)
        place += 2 if forms else 1
    return of_media(found)


def with_one_form(description: SessionDescription, forms: Sequence[Forms]) -> SessionDescription:
    """An SDP of an end with media of two forms, without those that are not used: SRTP is if it has a port.

    Args:
        description: the SDP as it came.
        forms: of each medium.
    """
    gone = frozenset(_unused(description.media, forms))
    if not gone:
        return description
    edits = Edits(description.lines)
    leave_groups(edits, description, gone, ())
    for index in gone:
        medium = description.media[index]
        for line in range(medium.first, medium.last + 1):
            edits.drop(line)
    return parse_own(edits.render())


def write_forms(body: bytes, forms: Sequence[Forms]) -> bytes:
    """An SDP for an end with media of two forms.

    Args:
        body: the SDP, in which each medium has one form. Plain RTP with keys comes out in both; of other
            media the form that is not used comes out rejected, beside a fax, too.
        forms: of each medium.

    Raises:
        UnusableSdp: it would have more media than an SDP may have.
    """
    description = parse_own(body)
    count = len(description.media) + sum(map(bool, forms))
    if count > MAX_MEDIA:
        raise UnusableSdp(f"it would have {count} media, with both forms of some; {MAX_MEDIA} are possible")
    edits = Edits(description.lines)
    for medium, pair in zip(description.media, forms, strict=False):
        if not pair:
            continue
        both, place = _both_of_rtp(pair), _place_of(medium, pair)
        other = both[1 - place]
        has_keys = medium.has("crypto") or medium.has("fingerprint")
        if is_secure(medium.proto) is False and has_keys and not medium.rejected:
            edits.replace(medium.first, write_medium_proto(edits.text(medium.first), other))
            lines, place = _plain_form(description, medium), 1 - place
        else:
            lines = _rejected_form(description, medium, other)
        for text in lines:
            edits.insert_after(medium.first - 1 if place else medium.last, text)
    return edits.render()


def forms_to_offer(
    description: SessionDescription,
    transports: Sequence[str],
    offered: Sequence[OfferedMedium],
    options: OfferOptions,
    known: Sequence[Forms],
) -> tuple[Forms, ...]:
    """The forms of each medium that the receiver of an offer sees; () if all have one.

    Args:
        description: the offer.
        transports: see wanted_transports().
        offered: the m= lines.
        options: of the command.
        known: see known_forms(), of the receiver. What has been a medium by itself stays one.
    """
    if not options.osrtp_offer_twice and not any(known):
        return ()
    found = list[Forms]()
    for medium, wanted, announced in zip(description.media, transports, offered, strict=True):
        if announced.hidden:
            continue
        proto = wanted or medium.proto
        is_rtp = is_secure(medium.proto) is not None and not medium.rejected
        new = options.osrtp_offer_twice and is_rtp and is_secure(proto)
        pair = (_plain_of(proto), proto) if new else ()
        found.append(tuple(known[len(found)]) if len(found) < len(known) else pair)
    return of_media(found)


def with_plain_form(
    description: SessionDescription,
    transports: Sequence[str],
    offered: Sequence[OfferedMedium],
    forms: Sequence[Forms],
) -> list[str]:
    """The transports of an offer, in which media of two forms are plain RTP: with keys, it comes out as both.

    Args:
        description, transports, offered: see forms_to_offer().
        forms: what that returned.
    """
    seen = iter(forms)
    pairs = [() if announced.hidden else next(seen) for announced in offered]
    media = zip(description.media, transports, pairs, strict=True)
    return [_plain_of(wanted or medium.proto) if pair else wanted for medium, wanted, pair in media]


def _plain_of(proto: str) -> str:
    """The transport of plain RTP beside one of SRTP."""
    if not is_secure(proto):
        return proto
    return proto.upper().removeprefix("UDP/TLS/").replace("SAVP", "AVP")


def _other_form(proto: str) -> str:
    """The transport of plain RTP beside one of SRTP, and the reverse."""
    return _plain_of(proto) if is_secure(proto) else proto.upper().replace("AVP", "SAVP")


def _both_of_rtp(pair: Forms) -> Forms:
    """Two forms as they are without a fax."""
    first, second = pair
    if is_secure(first) is None:
        return _other_form(second), second
    if is_secure(second) is None:
        return first, _other_form(first)
    return pair


def _place_of(medium: Medium, pair: Forms) -> int:
    """Which of two m= lines a medium has, 0 or 1: a fax that of the fax before, or else that of plain RTP."""
    fax = [index for index, proto in enumerate(pair) if is_secure(proto) is None]
    if is_secure(medium.proto) is None and fax:
        return fax[0]
    return int(bool(is_secure(_both_of_rtp(pair)[0])) is not bool(is_secure(medium.proto)))


def _forms_after(before: Forms, media: Sequence[Medium]) -> Forms:
    """The forms of a known medium by an SDP that rejects one of them: the used one is as it is there."""
    used = _used_of(media)
    proto, forms = media[used].proto, list(_both_of_rtp(before))
    if is_secure(proto) not in (None, is_secure(forms[used])):
        forms.reverse()
    forms[used] = proto
    return tuple(forms)


def _are_two_forms(media: Sequence[Medium]) -> bool:
    if len(media) < 2:
        return False
    one, other = media
    return one.kind == other.kind and {is_secure(one.proto), is_secure(other.proto)} == {True, False}


def _stand_for_one(media: Sequence[Medium]) -> bool:
    """Whether two media are those of a known medium of two forms; what uses one of them may be a fax."""
    return _are_two_forms(media) or (len(media) == 2 and any(each.rejected for each in media))


def _used_of(media: Sequence[Medium]) -> int:
    """Which of two forms is used, 0 or 1: that with a port, and of two of them a fax, then SRTP."""

    def rank(index: int) -> tuple[bool, bool, bool]:
        secure = is_secure(media[index].proto)
        return media[index].rejected, secure is not None, not secure

    return min((0, 1), key=rank)


def _unused(media: Sequence[Medium], forms: Sequence[Forms]) -> Iterator[int]:
    """The media, by index, that are the unused form of another one beside them."""
    place = 0
    for pair in forms:
        both = media[place : place + 2]
        if pair and _stand_for_one(both):
            yield place + 1 - _used_of(both)
            place += 1
        place += 1


def _plain_form(description: SessionDescription, medium: Medium) -> Iterator[bytes]:
    """The lines of a medium without its keys."""
    dropped = {each.line for name in _OF_SRTP for each in medium.attributes.get(name, ())}
    for index in range(medium.first, medium.last + 1):
        if index not in dropped:
            yield description.lines[index].text


def _rejected_form(description: SessionDescription, medium: Medium, proto: str) -> Iterator[bytes]:
    """The lines of the form that is not used; beside a fax it is that of the audio before."""
    if is_secure(medium.proto) is None:
        yield f"m=audio 0 {proto} 0".encode()
    else:
        line = write_medium_proto(description.lines[medium.first].text, proto)
        yield write_medium_port(line, 0)
    if description.session.own_connection is None:
        yield b"c=IN IP4 0.0.0.0"
