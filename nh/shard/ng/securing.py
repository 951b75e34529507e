"""Securing: for each medium of an offer and its answer, where SRTP ends at the relay, and with which keys.

SRTP has its keys from SDP (nh.shard.ng.sdes) or from DTLS (nh.shard.ng.dtls), which nh prefers where an end
has both, as rtpengine does. Where both sides have SRTP by the same means, it passes through as it is: then
the ends agree with each other, and the path in the kernel serves them.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from nh.calls.dtls_security import DtlsSecurity, OfferedDtls, has_dtls, require_dtls
from nh.calls.media_security import MediaSecurity, OfferedKey, require_srtp
from nh.calls.offer_answer.party import Party
from nh.commands import OfferOptions
from nh.errors import UnusableSdp
from nh.sdp.description import Medium, SessionDescription
from nh.sdp.dtls import applying
from nh.shard.ng import dtls, sdes

_PLAIN: Final = ("RTP/AVP", "RTP/AVPF")
_SDES_OR_DTLS: Final = ("RTP/SAVP", "RTP/SAVPF")
_DTLS: Final = ("UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF")
_SECURE: Final = (*_SDES_OR_DTLS, *_DTLS)


class Secured(NamedTuple):
    """What becomes of one medium.

    Attributes:
        security: SRTP between the end that the SDP is of and the relay; None: none.
        offered: the keys that the relay offers to the other end.
        lines: the a=crypto lines of the forwarded SDP; None leaves those of the SDP.
        offered_dtls: the association that the relay offers to the other end; None: none.
        dtls: the lines of DTLS of the forwarded SDP; None leaves those of the SDP.
    """

    security: MediaSecurity | None = None
    offered: tuple[OfferedKey, ...] = ()
    lines: tuple[bytes, ...] | None = None
    offered_dtls: OfferedDtls | None = None
    dtls: tuple[bytes, ...] | None = None

    @property
    def offers(self) -> bool:
        """Whether the relay offers SRTP to the other end."""
        return bool(self.offered) or self.offered_dtls is not None


UNCHANGED: Final = Secured()
"""The medium is the same on both sides: plain, or SRTP that passes through."""


class _Means(NamedTuple):
    """How an end may have SRTP with the relay."""

    sdes: bool
    dtls: bool

    def __bool__(self) -> bool:
        return self.sdes or self.dtls


def converts(proto: str, other: str) -> bool:
    """Whether SRTP may end between two transports: at least one has it."""
    both = (proto.upper(), other.upper())
    return all(each in _PLAIN or each in _SECURE for each in both) and any(each in _SECURE for each in both)


def can_secure(medium: Medium, wanted: str, options: OfferOptions) -> bool:
    """Whether a medium of an offer can have another transport, with SRTP that ends at the relay or passes."""
    here, there = _is_secure(medium.proto), _is_secure(wanted)
    if here is None or there is None or not (here or there):
        return False
    if here and there and _passes(medium, wanted, options):
        return True
    return bool((not here or _taken(medium, options)) and (not there or _offerable(wanted, options)))


def why_not(medium: Medium) -> str:
    """What of a medium is in the way of SRTP that ends at the relay; "" if nothing is known."""
    return dtls.why_not(medium) if dtls.usable_dtls(medium) is None else ""


def secure_offer(
    description: SessionDescription,
    wanted: str,
    options: OfferOptions,
    *,
    sender: Party | None,
    same_end: Sequence[Party] = (),
    receiver: Party | None,
    certificate: dtls.NewCertificate,
) -> list[Secured]:
    """What becomes of the media of an offer.

    Args:
        description: the offer.
        wanted: the transport that the client asks for, "" if the SDP's stays.
        options: of the command.
        sender: who offers; None: it is new.
        same_end: all parties of that end: a new one may go on with the key of another.
        receiver: who will be offered to, if that end has answered before.
        certificate: of the relay, for a new call.

    Raises:
        Unsupported: `cryptography` or pyOpenSSL is not installed.
    """
    return [
        _secure_offered(
            medium,
            wanted,
            options,
            before=sender,
            index=index,
            known=[each for party in same_end if (each := _security(party, index)) is not None],
            towards=_security(receiver, index),
            certificate=certificate,
        )
        for index, medium in enumerate(description.media)
    ]


def _secure_offered(
    medium: Medium,
    wanted: str,
    options: OfferOptions,
    *,
    before: Party | None,
    index: int,
    known: Sequence[MediaSecurity],
    towards: MediaSecurity | None,
    certificate: dtls.NewCertificate,
) -> Secured:
    if medium.rejected or not wanted or not converts(medium.proto, wanted):
        return UNCHANGED
    if not can_secure(medium, wanted, options) or _passes(medium, wanted, options):
        return UNCHANGED
    require_srtp()
    secured = Secured(lines=(), dtls=())
    if _is_secure(medium.proto):
        current = _security(before, index)
        secured = secured._replace(security=_security_of_offer(medium, options, current, known, certificate))
    offerable = _offerable(wanted, options)
    if offerable.sdes:
        offered = sdes.keys_to_offer(options.sdes, _offered_keys(before, index), towards)
        secured = secured._replace(offered=offered, lines=sdes.offer_lines(offered, options.sdes))
    if offerable.dtls:
        require_dtls()
        association = dtls.dtls_to_offer(_offered_dtls(before, index), towards, certificate)
        lines = dtls.offer_lines(association, options.dtls)
        secured = secured._replace(offered_dtls=association, dtls=lines)
    return secured


def _security_of_offer(
    medium: Medium,
    options: OfferOptions,
    current: MediaSecurity | None,
    known: Sequence[MediaSecurity],
    certificate: dtls.NewCertificate,
) -> MediaSecurity:
    """What the relay has with the author of an offer."""
    if _taken(medium, options).dtls:
        require_dtls()
        described = dtls.usable_dtls(medium)
        assert described is not None, "it can be taken"
        return dtls.security_of_offer(
            medium, described, options.dtls, current=current, known=known, certificate=certificate
        )
    line = sdes.find_preferred(medium, options.sdes)
    assert line is not None, "it can be taken"
    return sdes.security_of_offer(line, current, known)


def secure_answer(
    description: SessionDescription, options: OfferOptions, *, offerer: Party, answerer: Party | None
) -> list[Secured]:
    """What becomes of the media of an answer.

    Args:
        description: the answer.
        options: how lines are written.
        offerer: whose offer it answers.
        answerer: who answers; None: it is new.

    Raises:
        UnusableSdp: it takes nothing that was offered.
    """
    return [
        _secure_answered(medium, index, options, offerer, _security(answerer, index))
        for index, medium in enumerate(description.media)
    ]


def _secure_answered(
    medium: Medium, index: int, options: OfferOptions, offerer: Party, current: MediaSecurity | None
) -> Secured:
    if medium.rejected or index >= len(offerer.offered):
        return UNCHANGED
    secured = Secured()
    keys, association = _offered_keys(offerer, index), _offered_dtls(offerer, index)
    if (keys or association is not None) and _is_secure(medium.proto):
        secured = Secured(_security_of_answer(medium, keys, association, current), lines=(), dtls=())
    security = offerer.security[index] if index < len(offerer.security) else None
    if security is None or not converts(medium.proto, offerer.offered[index].proto):
        return secured
    if isinstance(security, DtlsSecurity):
        return secured._replace(dtls=dtls.answer_lines(security, options.dtls), lines=())
    if security.sender is not None:
        return secured._replace(lines=sdes.answer_lines(security, options.sdes), dtls=())
    return secured


def _security_of_answer(
    medium: Medium,
    keys: tuple[OfferedKey, ...],
    association: OfferedDtls | None,
    current: MediaSecurity | None,
) -> MediaSecurity:
    """What the relay has with the author of an answer.

    Raises:
        UnusableSdp: it takes nothing that was offered.
    """
    described = dtls.usable_dtls(medium)
    if association is not None and described is not None:
        return dtls.security_of_answer(medium, described, association, current)
    taken = sdes.security_of_answer(medium, keys, current)
    if taken is not None:
        return taken
    where = f"SDP medium {medium.number}"
    if association is None or medium.has("crypto"):
        raise UnusableSdp(f"{where}: its a=crypto takes no line that was offered")
    raise UnusableSdp(
        f"{where}: {dtls.why_not(medium) or 'it takes neither DTLS nor a key that was offered'}"
    )


def _is_secure(proto: str) -> bool | None:
    """Whether a transport is SRTP; None: it is neither that nor plain RTP."""
    upper = proto.upper()
    return True if upper in _SECURE else False if upper in _PLAIN else None


def _taken(medium: Medium, options: OfferOptions) -> _Means:
    """What nh takes of what a medium offers: DTLS, unless the client wants it off and there are keys."""
    keys = medium.proto.upper() in _SDES_OR_DTLS and sdes.find_preferred(medium, options.sdes) is not None
    handshake = dtls.usable_dtls(medium) is not None
    if keys and (not has_dtls() or options.dtls.off):
        handshake = False
    return _Means(sdes=keys and not handshake, dtls=handshake)


def _offerable(wanted: str, options: OfferOptions) -> _Means:
    """What nh offers for a transport: both if it may, as rtpengine does."""
    keys = wanted.upper() in _SDES_OR_DTLS and not options.sdes.off
    handshake = wanted.upper() in _SECURE and not options.dtls.off and (has_dtls() or not keys)
    return _Means(keys, handshake)


def _passes(medium: Medium, wanted: str, options: OfferOptions) -> bool:
    """Whether the ends can agree with each other: what the medium offers may be on the other side, too."""
    if not (_is_secure(medium.proto) and _is_secure(wanted)):
        return False
    keys = bool(medium.attributes.get("crypto")) and wanted.upper() in _SDES_OR_DTLS and not options.sdes.off
    handshake = bool(applying(medium, "fingerprint")) and not options.dtls.off
    return keys or handshake


def _security(party: Party | None, index: int) -> MediaSecurity | None:
    """What a party has agreed on for a medium, or has offered since."""
    if party is None:
        return None
    # an offer of T.38 may have been refused: then what it superseded is agreed still
    superseded = [group for medium, group in reversed(party.superseded) if medium == index]
    for group in (party.find_group(index), *superseded):
        if group is not None and group.security is not None:
            return group.security
    return party.security[index] if index < len(party.security) else None


def _offered_keys(party: Party | None, index: int) -> tuple[OfferedKey, ...]:
    """The keys that the relay has offered in the place of a party."""
    return party.offered_keys[index] if party is not None and index < len(party.offered_keys) else ()


def _offered_dtls(party: Party | None, index: int) -> OfferedDtls | None:
    """The association that the relay has offered in the place of a party."""
    return party.offered_dtls[index] if party is not None and index < len(party.offered_dtls) else None
