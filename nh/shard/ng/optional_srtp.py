"""OSRTP (RFC 8643): an end that offers plain RTP with keys leaves it to the other end whether there is SRTP.

nh hands such an offer through: the ends agree with each other. Where the other end takes no key, and the
client says so, the answer is completed: the offerer has SRTP with nh, and the other end plain RTP.
"""

from collections.abc import Sequence

from nh.calls.media_security import MediaSecurity, OptionalKey, require_srtp
from nh.calls.offer_answer.party import Party, of_media
from nh.commands import SdesOptions
from nh.sdp.crypto import CryptoAttribute
from nh.sdp.description import SessionDescription
from nh.shard.ng import sdes
from nh.shard.ng.secured import Secured


def optional_keys(
    description: SessionDescription, secured: Sequence[Secured], options: SdesOptions
) -> list[OptionalKey | None]:
    """For each medium of an offer, the key that an answer may be completed with.

    Args:
        description: the offer.
        secured: what becomes of its media.
        options: which suites the client permits.
    """
    found: list[OptionalKey | None] = []
    for medium, each in zip(description.media, secured, strict=True):
        line = None
        if each.lines is None and medium.proto.upper() in ("RTP/AVP", "RTP/AVPF") and not medium.rejected:
            line = sdes.find_preferred(medium, options)
        found.append(None if line is None else OptionalKey(line.tag, line.key))
    return found


def is_open(offerer: Party, index: int) -> bool:
    """Whether an offer has left SRTP to the answer, and passed through."""
    keys = offerer.relay_offer.optional_keys
    return index < len(keys) and keys[index] is not None


def complete(offerer: Party, index: int, current: MediaSecurity | None) -> MediaSecurity | None:
    """What the relay has with an offerer whose offer of SRTP the other end does not take.

    Args:
        offerer: its medium `index` is open.
        current: what it has agreed on before.

    Returns:
        None: its media are a bundle, of which the ends agree on the keys of one transport.

    Raises:
        Unsupported: `cryptography` is not installed.
    """
    key = offerer.relay_offer.optional_keys[index]
    if key is None or offerer.bundles:
        return None
    require_srtp()
    return sdes.security_of_offer(CryptoAttribute(key.tag, key.master), current, ())


def note_completed(offerer: Party, secured: Sequence[Secured]) -> None:
    """Note at an offerer with which of its open media it has SRTP: the latest answer counts."""
    if not offerer.security and not offerer.relay_offer.optional_keys:
        return
    before = dict(enumerate(offerer.security))
    offerer.security = of_media(
        [
            secured[index].completed
            if index < len(secured) and is_open(offerer, index)
            else before.get(index)
            for index in range(len(offerer.groups))
        ]
    )
