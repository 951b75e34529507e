"""Carriers: of a bundle that passes through, the medium whose sockets carry all of it.

The ends agree by an answer that the media of a bundle come to the port of its tagged medium (RFC 9143 7.3).
Later offers announce this port for all of them. It stays when that medium leaves, because the ends go on
sending to it: the sockets of that medium carry the others then.

Pure functions between the views of nh.sdp and the domain.
"""

from collections.abc import Container, Iterator, Sequence
from typing import TypeVar

import msgspec

from nh.calls.media import Media
from nh.calls.offer_answer.agreement import Carriers
from nh.calls.offer_answer.offered import MediumRequest
from nh.calls.offer_answer.party import Party
from nh.sdp.description import Medium, SessionDescription

T = TypeVar("T")


def carriers_of_offer(
    description: SessionDescription, agreed: Carriers, *, gone: Container[int]
) -> dict[int, int]:
    """The carriers of an offer: of its media at the port of a tagged one, where a bundle has been agreed on.

    Args:
        description: the offer, whose bundles pass.
        agreed: of the dialog.
        gone: media that the receiver sees rejected, or does not see.
    """
    found: dict[int, int] = {}
    for together in _bundles_at_a_port(description, gone) if agreed else ():
        carrier = _known_carrier(together, agreed, description, gone)
        if carrier is not None:
            found |= dict.fromkeys(together, carrier)
    return found


def displaced_carriers(description: SessionDescription, agreed: Carriers) -> Iterator[tuple[int, int]]:
    """The carriers whose place is offered again outside of their bundle, each with a medium of that bundle.

    The bundle stays on their sockets, so that medium is to have these from now on.

    Args:
        description: the offer.
        agreed: of the dialog.
    """
    for together in _bundles_at_a_port(description, ()) if agreed else ():
        carrier = next((agreed[index] for index in together if index in agreed), None)
        if carrier is None or carrier in together or carrier >= len(description.media):
            continue
        if not description.media[carrier].rejected:
            yield carrier, together[0]


def carriers_of_answer(
    description: SessionDescription, agreed: Carriers, *, offerer: Party
) -> dict[int, int]:
    """The carriers of an answer whose bundles pass: all media of one come to the same port.

    An end that does not bundle a medium which was offered at the port of one that is rejected sends it there
    all the same.

    Args:
        description: the answer.
        agreed: of the dialog, before.
        offerer: whose offer it answers.
    """
    found = {
        index: carrier
        for index, carrier in agreed.items()
        if max(index, carrier) < len(description.media)
        and description.media[carrier].rejected
        and _place_of(offerer, index) == _place_of(offerer, carrier) is not None
    }
    not_offered = [index for index in range(len(description.media)) if offerer.find_group(index) is None]
    for members in _bundles_of(description, not_offered):
        carrier = _known_carrier(members, agreed, description, ())
        found |= dict.fromkeys(members, members[0] if carrier is None else carrier)
    return found


def agreed_by(carriers: Carriers) -> Carriers:
    """What a dialog notes of the carriers of an answer: those that are other media."""
    return {index: carrier for index, carrier in carriers.items() if index != carrier}


def carry(
    requests: Sequence[MediumRequest], carriers: Carriers, media: Sequence[Medium]
) -> list[MediumRequest]:
    """The requests, in which carriers that have left the SDP request what the tagged media of theirs do."""
    carried = list(requests)
    for index, carrier in carriers.items():
        request = requests[index]
        if index != carrier:
            carried[index] = request._replace(latch=True)  # nothing comes to its own sockets
        if carried[carrier].media is None and request.media is not None:
            field = media[carrier].field
            here: Media = msgspec.structs.replace(
                request.media, range=field.count * (2 if media[carrier].rtp else 1)
            )
            carried[carrier] = request._replace(media=here)
    return carried


def of_carriers(members: Sequence[T], carriers: Carriers) -> Sequence[T]:
    """What each medium has, as a member of some that are in the order of media, from its carrier."""
    return [members[carriers.get(index, index)] for index in range(len(members))] if carriers else members


def for_carriers(members: Sequence[T], carriers: Carriers, media: Sequence[Medium]) -> list[T]:
    """The same the other way round: carriers that have left the SDP have what their tagged media have."""
    found = list(members)
    for index, carrier in reversed(list(carriers.items())):
        if media[carrier].rejected:
            found[carrier] = members[index]
    return found


def _place_of(offerer: Party, medium: int) -> tuple[str, int] | None:
    """Where an end receives a medium that it offers."""
    group = offerer.find_group(medium)
    return None if group is None else (group.medium.address, group.medium.port)


def _bundles_of(description: SessionDescription, gone: Container[int]) -> Iterator[list[int]]:
    """The media of each bundle, the tagged one first; none without any."""
    by_mid = {
        medium.mid: index
        for index, medium in enumerate(description.media)
        if medium.relayable and not medium.rejected and index not in gone
    }
    for mids in description.bundles:
        members = [by_mid[mid] for mid in mids if mid in by_mid]
        if members:
            yield members


def _bundles_at_a_port(description: SessionDescription, gone: Container[int]) -> Iterator[list[int]]:
    """The same without the media that an offer has at other ports than that of their tagged one."""
    for members in _bundles_of(description, gone):
        port = description.media[members[0]].port
        yield [index for index in members if description.media[index].port in (0, port)]


def _known_carrier(
    members: Sequence[int], agreed: Carriers, description: SessionDescription, gone: Container[int]
) -> int | None:
    """The carrier of some media, by what has been agreed on; None if it has a transport of its own now."""
    used = agreed.values()
    known = (agreed.get(index, index if index in used else None) for index in members)
    carrier = next((each for each in known if each is not None), None)
    if carrier is None or carrier in members:
        return carrier
    there = carrier < len(description.media)
    return carrier if there and (description.media[carrier].rejected or carrier in gone) else None
