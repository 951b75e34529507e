"""Keys of an offer that the answer decides about: those of OSRTP, and those beside DTLS.

In OSRTP (RFC 8643) an end that offers plain RTP with keys leaves it to the other end whether there is SRTP.
nh hands such an offer through: the ends agree with each other. Where the other end takes none of these keys,
and the client says so, the answer is completed: the offerer has SRTP with nh, and the other end plain RTP, or
SRTP by the keys that nh has offered it.

Of an offer with both, nh takes DTLS, unless the answer's client wants none.
"""

from collections.abc import Sequence

from nh.calls.offer_answer.offered import member_at, of_media
from nh.calls.offer_answer.party import Party
from nh.calls.protocols.dtls_security import DtlsSecurity
from nh.calls.protocols.media_security import MediaSecurity, OptionalKey, require_srtp
from nh.commands import SdesOptions
from nh.sdp.crypto import CryptoAttribute
from nh.sdp.description import SessionDescription
from nh.shard.ng import sdes
from nh.shard.ng.secured import Secured
from nh.shard.ng.srtp_means import is_secure


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
        opportunistic = each.security is None and is_secure(medium.proto) is False
        if (opportunistic or isinstance(each.security, DtlsSecurity)) and not medium.rejected:
            line = sdes.find_preferred(medium, options)
        found.append(None if line is None else OptionalKey(line.tag, line.key))
    return found


def is_open(offerer: Party, index: int) -> bool:
    """Whether an offer has left SRTP to the answer: one of plain RTP with keys."""
    return _has_key(offerer, index) and is_secure(offerer.offered[index].proto) is False


def has_keys_beside_dtls(offerer: Party, index: int) -> bool:
    """Whether an offer of DTLS to the relay has a key, too."""
    return _has_key(offerer, index) and bool(is_secure(offerer.offered[index].proto))


def _has_key(offerer: Party, index: int) -> bool:
    return member_at(offerer.relay_offer.optional_keys, index) is not None


def complete(offerer: Party, index: int, current: MediaSecurity | None) -> MediaSecurity | None:
    """What the relay has with an offerer by its key: the other end takes no SRTP, or the client no DTLS.

    Args:
        offerer: the party.
        index: of a medium of its that is open, or has a key beside DTLS.
        current: what it has agreed on before.

    Raises:
        Unsupported: `cryptography` is not installed.
    """
    key = offerer.relay_offer.optional_keys[index]
    if key is None:
        return None
    require_srtp()
    return sdes.security_of_offer(CryptoAttribute(key.tag, key.master), current, ())


def note_completed(offerer: Party, secured: Sequence[Secured]) -> None:
    """Note at an offerer what SRTP its media have, where that was left to the answer: the latest counts."""
    if not offerer.security and not offerer.relay_offer.optional_keys:
        return
    before, found = offerer.security, []
    for index in range(len(offerer.groups)):
        completed = secured[index].completed if index < len(secured) else None
        kept = None if is_open(offerer, index) else member_at(before, index)
        found.append(completed or kept)
    offerer.security = of_media(found)
