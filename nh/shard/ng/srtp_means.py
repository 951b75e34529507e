"""Means of SRTP: by which of SDES and DTLS an end may have it with the relay, and for which ends of an offer.

nh prefers DTLS where an end has both, as rtpengine does. Where both sides have SRTP by the same means, it
passes through as it is: then the ends agree with each other, and the path in the kernel serves them.
"""

import functools
from typing import Final, NamedTuple

from nh.calls.protocols.dtls_security import has_dtls
from nh.calls.protocols.media_security import MediaSecurity
from nh.commands import OfferOptions, SdesOptions
from nh.sdp.crypto import CryptoAttribute, suite_of
from nh.sdp.description import Medium
from nh.sdp.dtls import DtlsDescription
from nh.shard.ng import dtls, sdes

_PLAIN: Final = ("RTP/AVP", "RTP/AVPF")
_SDES_OR_DTLS: Final = ("RTP/SAVP", "RTP/SAVPF")
_DTLS: Final = ("UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF")
_SECURE: Final = (*_SDES_OR_DTLS, *_DTLS)


class Means(NamedTuple):
    """How an end may have SRTP with the relay."""

    sdes: bool
    dtls: bool

    def __bool__(self) -> bool:
        return self.sdes or self.dtls


NO_MEANS: Final = Means(sdes=False, dtls=False)
"""Of an end that has no SRTP with the relay."""

Taken = CryptoAttribute | DtlsDescription
"""What nh takes of what a medium offers: a key, or DTLS."""


@functools.lru_cache(maxsize=256)  # there are hardly ten protos
def converts(proto: str, other: str) -> bool:
    """Whether SRTP may end between two transports: at least one has it."""
    both = (proto.upper(), other.upper())
    return all(each in _PLAIN or each in _SECURE for each in both) and any(each in _SECURE for each in both)


def can_secure(medium: Medium, wanted: str, options: OfferOptions, *, keys: bool) -> bool:
    """Whether a medium of an offer can have another transport, with SRTP that ends at the relay or passes.

    Args:
        medium, wanted, options: as of secure_offer().
        keys: the receiver has a key of the relay's for it.
    """
    return _passes(medium, wanted, options) or _can_end(medium, wanted, options, keys=keys)


def _can_end(medium: Medium, wanted: str, options: OfferOptions, *, keys: bool) -> bool:
    """Whether SRTP of a medium can end at the relay, on one side or both."""
    here, there = is_secure(medium.proto), is_secure(wanted)
    if here is None or there is None or not (here or there):
        return False
    return (not here or _taken(medium, options) is not None) and (
        not there or bool(offerable(wanted, options, keys=keys))
    )


def why_not(medium: Medium) -> str:
    """What of a medium is in the way of SRTP that ends at the relay; "" if nothing is known."""
    if dtls.usable_dtls(medium) is not None:
        return ""
    missing = "it has no a=crypto or a=fingerprint that nh can use" if is_secure(medium.proto) else ""
    return dtls.why_not(medium) or missing


def where_it_ends(
    medium: Medium,
    wanted: str,
    options: OfferOptions,
    *,
    agreed: bool,
    towards: MediaSecurity | None,
    usual: Means,
    on_both: bool,
    dtls_passes: bool,
) -> tuple[Taken | None, Means] | None:
    """By what SRTP of a medium's sender ends at the relay, if it does, and how the receiver is offered it.

    None: it ends nowhere.

    Args:
        medium, wanted, options: as of secure_offer().
        agreed: the sender has SRTP with the relay.
        towards: what the receiver has.
        usual: by which means the receiver has this medium, or else another one: media of one transport have
            the same.
        on_both: the medium is new, and SRTP of the others ends at the relay on both sides: so does its own.
        dtls_passes: DTLS of the two ends passes through, as they have agreed, and goes on to do so.
    """
    if medium.rejected:
        return None
    secure = is_secure(medium.proto)
    both = bool(secure) and (on_both or (agreed and towards is not None))
    if not wanted and secure and (both or not _passes(medium, medium.proto, options)):
        wanted = medium.proto
    if wanted and converts(medium.proto, wanted):
        if _passes(medium, wanted, options, agreed=dtls_passes) and not both:
            return None
        keys, found = has_keys(towards), _taken(medium, options) if secure else None
        required = offerable(wanted, options, keys=keys)
        if (secure and found is None) or (is_secure(wanted) and not required):
            return None
        means = required or _optional(options, wanted=options.osrtp_offer, keys=keys)
        return found, _as_agreed(means, usual)
    if secure is not False or is_secure(wanted or medium.proto) is not False:
        return None
    optional = _where_optional_ends(medium, options, agreed=agreed, towards=towards)
    return None if optional is None else (optional[0], _as_agreed(optional[1], usual))


def _where_optional_ends(
    medium: Medium, options: OfferOptions, *, agreed: bool, towards: MediaSecurity | None
) -> tuple[Taken | None, Means] | None:
    """The same of plain RTP on both sides, where either may have SRTP (OSRTP)."""
    found = _taken(medium, options)
    if found is not None and not agreed:
        return None  # the ends may agree with each other
    means = _optional(options, wanted=options.osrtp_offer, keys=has_keys(towards))
    if not means and towards is not None and not wanted_transport(options):
        # an end that has SRTP is offered the same again, unless the client says what it is to have
        keys = towards.dtls is None
        means = Means(sdes=keys and not options.sdes.off, dtls=not keys and not options.dtls.off)
    return (found, means) if found is not None or means else None


def _as_agreed(means: Means, usual: Means) -> Means:
    """What an end is offered: what it has agreed on alone, if the client permits that."""
    agreed = Means(means.sdes and usual.sdes, means.dtls and usual.dtls)
    return agreed or means


def wanted_transport(options: OfferOptions) -> str:
    """The transport that the client asks for, "" if the SDP's stays."""
    wanted = options.transport_protocol
    return "" if wanted.lower() == "accept" else wanted


def _optional(options: OfferOptions, *, wanted: bool, keys: bool) -> Means:
    """What nh offers beside plain RTP (OSRTP, RFC 8643)."""
    return offerable("RTP/SAVP", options, keys=keys) if wanted else NO_MEANS


@functools.lru_cache(maxsize=256)
def is_secure(proto: str) -> bool | None:
    """Whether a transport is SRTP; None: it is neither that nor plain RTP."""
    upper = proto.upper()
    return True if upper in _SECURE else False if upper in _PLAIN else None


def means_of(medium: Medium, proto: str, options: SdesOptions) -> Means:
    """What a medium offers by itself, whether nh can use it or not.

    Args:
        medium: of an offer.
        proto: its transport.
        options: which crypto suites the client permits.
    """
    keys = proto.upper() in _SDES_OR_DTLS and _has_permitted(medium, options)
    return Means(sdes=keys, dtls=bool(medium.applying("fingerprint")))


def _has_permitted(medium: Medium, options: SdesOptions) -> bool:
    """Whether a medium has a key of a suite that the client permits."""
    return any(options.permits(suite_of(each.value)) for each in medium.attributes.get("crypto", ()))


def _taken(medium: Medium, options: OfferOptions) -> Taken | None:
    """What nh takes of what a medium offers: DTLS, unless there are keys and the client wants these."""
    if not medium.attributes.get("crypto") and not medium.applying("fingerprint"):
        return None  # as of nearly all media
    key = None
    if medium.proto.upper() in (*_SDES_OR_DTLS, *_PLAIN):
        key = sdes.find_preferred(medium, options.sdes)
    if key is not None and (not has_dtls() or options.dtls.off or options.sdes.prefer):
        return key
    return dtls.usable_dtls(medium) or key


def is_dtls(proto: str) -> bool:
    """Whether a transport is SRTP by DTLS alone."""
    return proto.upper() in _DTLS


def offerable(wanted: str, options: OfferOptions, *, keys: bool) -> Means:
    """What nh offers for a transport: both if it may, as rtpengine does.

    Args:
        wanted: the transport.
        options: of the command.
        keys: the receiver has a key of the relay's, which is no new one.
    """
    by_sdes = wanted.upper() in _SDES_OR_DTLS and not options.sdes.off and (keys or not options.sdes.no_new)
    handshake = wanted.upper() in _SECURE and not options.dtls.off and (has_dtls() or not by_sdes)
    return Means(by_sdes, handshake)


def means_towards(security: MediaSecurity | None) -> Means:
    """By which means an end has SRTP with the relay; by none where it has agreed on nothing."""
    return NO_MEANS if security is None else Means(has_keys(security), security.dtls is not None)


def has_keys(towards: MediaSecurity | None) -> bool:
    """Whether an end has agreed on a key by SDP with the relay."""
    return towards is not None and towards.dtls is None and towards.sender is not None


def _passes(medium: Medium, wanted: str, options: OfferOptions, *, agreed: bool = False) -> bool:
    """Whether the ends can agree with each other: what the medium offers may be on the other side, too.

    Args:
        medium, wanted, options: as of where_it_ends().
        agreed: they have agreed by DTLS before.
    """
    if options.recrypt or not (is_secure(medium.proto) and is_secure(wanted)):
        return False
    permitted = _has_permitted(medium, options.sdes)
    keys = permitted and wanted.upper() in _SDES_OR_DTLS and not options.sdes.off
    # who has RTP/SAVP made of DTLS alone has phones with keys in the SDP behind it
    to_keys = is_dtls(medium.proto) and wanted.upper() in _SDES_OR_DTLS and not options.sdes.off
    handshake = bool(medium.applying("fingerprint")) and not options.dtls.off and (agreed or not to_keys)
    return keys or handshake
