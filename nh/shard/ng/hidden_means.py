"""Hidden means: what a client turns off of SRTP that passes through, and what of it its receiver still sees.

SRTP that passes through has been offered by an end, so the relay can hide one of two means, and no only one.
Of plain RTP with optional keys (OSRTP, RFC 8643) it can hide any: plain RTP is left.
"""

from collections.abc import Sequence

from nh.commands import OfferOptions
from nh.sdp.description import Medium
from nh.shard.ng.secured import UNCHANGED, Secured
from nh.shard.ng.srtp_means import is_secure, means_of


def hide_means(secured: Secured, medium: Medium, wanted: str, options: OfferOptions) -> Secured:
    """What becomes of a medium of an offer whose SRTP passes, without the means that the client turns off.

    The receiver sees the others alone, as in rtpengine.

    Args:
        secured: what becomes of it by secure_offer().
        medium: as the receiver sees it, but for its transport.
        wanted: its transport there, "" if that stays.
        options: of the command.
    """
    proto = wanted or medium.proto
    required = is_secure(proto)
    if secured != UNCHANGED or required is None or not (options.dtls.off or options.sdes.off):
        return secured
    if not required:
        return _hide_optional(secured, medium, options)
    offered = means_of(medium, proto, options.sdes)
    if options.dtls.off and offered.sdes and not options.sdes.off:
        return secured._replace(dtls=())
    if options.sdes.off and offered.dtls and not options.dtls.off:
        return secured._replace(lines=())
    return secured


def _hide_optional(secured: Secured, medium: Medium, options: OfferOptions) -> Secured:
    """What becomes of plain RTP with optional keys, without the means that the client turns off."""
    if options.dtls.off and medium.applying("fingerprint"):
        secured = secured._replace(dtls=())
    if options.sdes.off and medium.attributes.get("crypto"):
        secured = secured._replace(lines=())
    return secured


def kept_means(media: Sequence[Medium], secured: Sequence[Secured], options: OfferOptions) -> list[str]:
    """Which means the client turns off, and the receiver of an SDP sees all the same, as options of ng.

    Args:
        media: of the SDP, as the receiver sees them.
        secured: what becomes of each.
        options: of the command.
    """
    pairs = [pair for pair in zip(media, secured, strict=True) if pair[0].rtp and not pair[0].rejected]
    kept = []
    if options.dtls.off and any(
        medium.applying("fingerprint") if each.dtls is None else each.dtls for medium, each in pairs
    ):
        kept.append("DTLS=off")
    if options.sdes.off and any(
        medium.attributes.get("crypto") if each.lines is None else each.lines for medium, each in pairs
    ):
        kept.append("SDES=off")
    return kept
