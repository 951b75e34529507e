"""The bundles of an SDP as the domain has them: their media, and how packets of these are told apart."""

import itertools
from collections.abc import Iterator, Sequence

from nh.calls.bundle import MAX_MID_BYTES, Bundle, BundledMedium
from nh.errors import UnusableSdp
from nh.sdp.bundles import mid_extension_of, ssrcs_of
from nh.sdp.description import Medium, SessionDescription


def read_bundles(description: SessionDescription) -> list[Bundle]:
    """The bundles of an SDP, without the media that are rejected there, and without mids that name no medium.

    A proxy that removes a medium may leave its mid in the group.

    Raises:
        UnusableSdp: a mid names two media, or is in two bundles.
    """
    if not description.bundles:
        return []
    by_mid: dict[str, int] = {}
    for index, medium in enumerate(description.media):
        mid = medium.mid
        if mid is not None and by_mid.setdefault(mid, index) != index:
            raise UnusableSdp(f"SDP medium {medium.number}: another medium has its a=mid {mid[:32]!r}, too")
    found: list[Bundle] = []
    taken: set[str] = set()
    for named in description.bundles:
        mids = [mid for mid in named if mid in by_mid]
        for mid in mids:
            if mid in taken or not 1 <= len(mid) <= MAX_MID_BYTES:
                raise UnusableSdp(f"a=group:BUNDLE: {mid[:32]!r} is in two bundles, or too long")
            taken.add(mid)
        media = [description.media[by_mid[mid]] for mid in mids]
        there = [medium for medium in media if not medium.rejected]
        extension = next((number for medium in there if (number := mid_extension_of(medium))), 0)
        members = [BundledMedium(medium.number - 1, medium.mid or "", ssrcs_of(medium)) for medium in there]
        found.append(Bundle(tuple(members), extension))
    return [bundle for bundle in found if bundle.media]


def without_clashes(bundle: Bundle, media: Sequence[Medium], warnings: list[str]) -> Bundle:
    """The bundle without the media whose packets could be another's: the same payload type, and nothing else.

    Args:
        bundle: the bundle.
        media: all media of the SDP.
        warnings: collects, for the client, why media are left out.

    Raises:
        UnusableSdp: such a medium has no port of its own.
    """
    seen: set[bytes] = set()
    left_out: list[int] = []
    for each in bundle.media:
        medium = media[each.medium]
        clash = sorted(seen.intersection(medium.field.formats))
        if clash and not bundle.mid_extension and not each.ssrcs:
            why = (
                f"SDP medium {medium.number} has the payload type {clash[0][:3].decode()} of another medium "
                f"of its bundle, and neither a=ssrc nor the header extension of a=mid"
            )
            if not medium.port:
                raise UnusableSdp(why)
            warnings.append(f"bundle: {why}; it is not bundled")
            left_out.append(each.medium)
        else:
            seen.update(medium.field.formats)
    return bundle.without(left_out)


def mids_for(description: SessionDescription, known: Sequence[str]) -> Iterator[str]:
    """The a=mid of each medium of an offer, towards its receiver.

    That is what the receiver calls the medium, as its a=mid stays (RFC 8829 5.10), or else the offer. Where
    neither names it, it is its number, or the next that no other medium has.

    Args:
        description: the offer.
        known: of its media, the a=mid that the receiver has for them; "" for none.
    """
    taken = {*known, *[medium.mid for medium in description.media]}
    used = set(known)
    for medium, theirs in itertools.zip_longest(description.media, known[: len(description.media)]):
        mid = theirs or medium.mid
        if mid is None or (not theirs and mid in used):
            mid = next(str(number) for number in itertools.count(medium.number) if str(number) not in taken)
            taken.add(mid)
        used.add(mid)
        yield mid


def tagged_of(bundles: Sequence[Bundle]) -> dict[int, int]:
    """The tagged medium of the bundle of each of the other media."""
    return {index: bundle.media[0].medium for bundle in bundles for index in indexes_of(bundle)[1:]}


def indexes_of(bundle: Bundle) -> list[int]:
    """The media of a bundle, the tagged one first."""
    return [each.medium for each in bundle.media]
