"""Seen media: what the receiver of an offer or answer sees of its media, by their codecs, kinds and bundles.

A medium that only its receiver sees rejected may be the tagged one of a bundle that passes: the next medium
of that bundle takes its transport over (RFC 9143 7.3.1).
"""

from collections.abc import Sequence
from typing import NamedTuple

from nh.calls.offer_answer.agreement import NO_CARRIERS, Carriers
from nh.calls.offer_answer.offered import OfferedMedium
from nh.commands import OfferOptions
from nh.sdp.bundles import new_tagged_media
from nh.sdp.crypto import limit_suites
from nh.sdp.description import SessionDescription
from nh.shard.ng.bundle_transports import with_new_tagged
from nh.shard.ng.bundles import OfferedBundles
from nh.shard.ng.carriers import carriers_of_offer
from nh.shard.ng.hidden_media import hidden_of, removed_media
from nh.shard.ng.secured import UNCHANGED, Secured
from nh.shard.ng.shown_codecs import ShownSdp, show_codecs


class SeenOffer(NamedTuple):
    """What the receiver of an offer sees of its media.

    Attributes:
        description: the offer.
        shown: the offer with the codecs that the receiver sees.
        bundles: what becomes of its bundles.
        unseen: indexes of the media that the relay has no sockets for, since the receiver sees them rejected.
        carriers: of its bundles that pass.
    """

    description: SessionDescription
    shown: ShownSdp
    bundles: OfferedBundles
    unseen: frozenset[int]
    carriers: Carriers


class SeenAnswer(NamedTuple):
    """What the receiver of an answer sees of its media.

    Attributes:
        description: the answer, without the media that only the receiver sees rejected.
        shown: the answer with the codecs that the receiver sees.
        unseen: indexes of the media that `description` has still, since others have their transport.
    """

    description: SessionDescription
    shown: ShownSdp
    unseen: frozenset[int]


def see_offer(
    description: SessionDescription,
    options: OfferOptions,
    secured: Sequence[Secured],
    bundles: OfferedBundles,
    offered: Sequence[OfferedMedium],
    *,
    agreed: Carriers,
) -> SeenOffer:
    """What the receiver of an offer sees of its media.

    Args:
        description: the offer, with the media that are hidden from its sender.
        options: of the command.
        secured: of each medium, its keys: of those that pass, the receiver sees the suites that the client
            permits.
        bundles: what becomes of its bundles.
        offered: the m= lines.
        agreed: the carriers of the dialog.

    Raises:
        Unsupported: it needs transcoding.
    """
    passing = [index for index, each in enumerate(secured) if each == UNCHANGED]
    shown = show_codecs(limit_suites(description, passing, options.sdes), options, offer=True)
    rejected = shown.unseen_of(description)
    # media of a bundle that ends here go on without a codec: others have their transport
    unseen = bundles.without_transport | (rejected - bundles.accepted_media)
    unseen |= removed_media(description, options.text.removed_media, offered)
    bundles = bundles.without(rejected | unseen)
    if bundles.ends:
        return SeenOffer(description, shown, bundles, unseen, NO_CARRIERS)
    gone = unseen | hidden_of(offered)
    carriers = carriers_of_offer(description, agreed, gone=gone)
    new_tagged = new_tagged_media(description, gone)
    if new_tagged:
        shown = shown._replace(description=with_new_tagged(shown.description, new_tagged, description))
        description = with_new_tagged(description, new_tagged, description)
    return SeenOffer(description, shown, bundles, unseen, carriers)


def see_answer(description: SessionDescription, options: OfferOptions) -> SeenAnswer:
    """What the receiver of an answer sees of its media.

    Args:
        description: the answer, with the media that are hidden from its sender.
        options: of the command.
    """
    shown = show_codecs(description, options, offer=False)
    unseen = shown.unseen_of(description)
    new_tagged = new_tagged_media(description, unseen)
    kept = unseen.intersection(new_tagged.values())
    if new_tagged:
        shown = shown._replace(description=with_new_tagged(shown.description, new_tagged, description))
    return SeenAnswer(shown.without(unseen - kept, description), shown, kept)
