"""Securing: for each medium of an offer and its answer, where SRTP ends at the relay, and with which keys.

SRTP has its keys from SDP (nh.shard.ng.sdes) or from DTLS (nh.shard.ng.dtls); nh.shard.ng.srtp_means says by
which of them an end has it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from nh.calls.offer_answer.offered import member_at
from nh.calls.offer_answer.party import Party
from nh.calls.protocols.dtls_security import DtlsSecurity, OfferedDtls, require_dtls
from nh.calls.protocols.media_security import MediaSecurity, OfferedKey, require_srtp
from nh.commands import OfferOptions
from nh.errors import UnusableSdp
from nh.sdp.crypto import CryptoAttribute
from nh.sdp.description import Medium, SessionDescription
from nh.sdp.dtls import Setup
from nh.shard.ng import dtls, optional_srtp, sdes
from nh.shard.ng.agreed_transports import usual_means
from nh.shard.ng.offer_ends import OfferEnds
from nh.shard.ng.secured import UNCHANGED, Secured
from nh.shard.ng.srtp_means import (
    Means,
    Taken,
    has_keys,
    is_dtls,
    is_secure,
    means_towards,
    where_it_ends,
)

_PLAIN: Final = Secured(lines=(), dtls=())
"""The forwarded SDP has no line of SRTP, and the relay has none with the author."""


def secure_offer(
    description: SessionDescription,
    transports: Sequence[str],
    options: OfferOptions,
    ends: OfferEnds,
    *,
    certificate: dtls.NewCertificate,
) -> list[Secured]:
    """What becomes of the media of an offer.

    Args:
        description: the offer.
        transports: see wanted_transports().
        options: of the command.
        ends: who offers, and who will be offered to.
        certificate: of the relay, for a new call.

    Raises:
        Unsupported: `cryptography` or pyOpenSSL is not installed.
    """
    sender, receiver = ends.sender, ends.receiver
    on_both, dtls_passes = _ends_on_both(sender, receiver), _dtls_passes(sender, receiver)
    agreed = [_security(receiver, index) for index in range(len(description.media))]
    usual = usual_means(agreed, ends)
    media: list[Secured] = []
    for index, (medium, wanted) in enumerate(zip(description.media, transports, strict=True)):
        current = _security(sender, index)
        known = [each for party in ends.same_end if (each := _security(party, index)) is not None]
        ending = where_it_ends(
            medium,
            wanted,
            options,
            agreed=bool(known) or current is not None,
            towards=agreed[index],
            usual=means_towards(agreed[index]) or usual,
            on_both=on_both and not _is_known(index, sender, receiver),
            dtls_passes=dtls_passes,
        )
        if ending is None:
            media.append(UNCHANGED)
            continue
        require_srtp()
        taken, offerable = ending
        secured = _secure_sender(
            medium, taken, options, current=current, known=known, certificate=certificate
        )
        before = _offered_keys(sender, index), _offered_dtls(sender, index)
        media.append(
            _offer(secured, offerable, options, before=before, towards=agreed[index], certificate=certificate)
        )
    return media


def _secure_sender(
    medium: Medium,
    taken: Taken | None,
    options: OfferOptions,
    *,
    current: MediaSecurity | None,
    known: Sequence[MediaSecurity],
    certificate: dtls.NewCertificate,
) -> Secured:
    """What the relay has with the author of an offer, by what it takes of the offer."""
    if taken is None:
        return _PLAIN
    if isinstance(taken, CryptoAttribute):
        return _PLAIN._replace(security=sdes.security_of_offer(taken, current, known))
    require_dtls()
    security = dtls.security_of_offer(
        medium, taken, options.dtls, current=current, known=known, certificate=certificate
    )
    return _PLAIN._replace(security=security, open_role=taken.setup is Setup.ACTPASS)


def _offer(
    secured: Secured,
    offerable: Means,
    options: OfferOptions,
    *,
    before: tuple[tuple[OfferedKey, ...], OfferedDtls | None],
    towards: MediaSecurity | None,
    certificate: dtls.NewCertificate,
) -> Secured:
    """With what the relay offers to the receiver, which has been offered `before`."""
    keys, association = before
    if offerable.sdes:
        keys = sdes.keys_to_offer(options.sdes, keys, towards)
        secured = secured._replace(offered=keys, lines=sdes.offer_lines(keys, options.sdes))
    if offerable.dtls:
        require_dtls()
        association = dtls.dtls_to_offer(association, towards, certificate)
        lines = dtls.offer_lines(association, options.dtls)
        secured = secured._replace(offered_dtls=association, dtls=lines)
    return secured


def keyed_media(receiver: Party | None, count: int) -> frozenset[int]:
    """Which of some media the receiver of an offer has a key of the relay's for."""
    return frozenset(index for index in range(count) if has_keys(_security(receiver, index)))


def _is_known(index: int, *ends: Party | None) -> bool:
    """Whether both ends of a dialog have taken a medium."""
    return all(party is not None and party.find_group(index) is not None for party in ends)


def _ends_on_both(sender: Party | None, receiver: Party | None) -> bool:
    """Whether SRTP of media of a dialog ends at the relay on both sides, as it was agreed on."""
    return sender is not None and receiver is not None and bool(_secured(sender) & _secured(receiver))


def _dtls_passes(sender: Party | None, receiver: Party | None) -> bool:
    """Whether DTLS of a dialog passes through, as it was agreed on."""
    if sender is None or receiver is None or _secured(sender) or _secured(receiver):
        return False
    return any(map(is_dtls, sender.agreed.protos))


def _secured(party: Party) -> set[int]:
    """The media of a party whose SRTP ends at the relay, those that it offers to end, too."""
    groups = [*enumerate(party.groups), *party.superseded]
    return {index for index, group in groups if group is not None and group.security}


def secure_answer(
    description: SessionDescription,
    options: OfferOptions,
    *,
    offerer: Party,
    answerer: Party | None,
    tagged: Mapping[int, int],
    tagged_by_answerer: Mapping[int, int],
) -> list[Secured]:
    """What becomes of the media of an answer.

    Args:
        description: the answer.
        options: how lines are written.
        offerer: whose offer it answers.
        answerer: who answers; None: it is new.
        tagged: of the media of the offerer's bundles, the tagged ones, whose keys the others have.
        tagged_by_answerer: the same of the answerer's: the others answer what those were offered.

    Raises:
        UnusableSdp: it takes nothing that was offered.
    """
    decided = _decided_by_answer(offerer, options, tagged)
    return [
        _secure_answered(
            medium,
            index,
            options,
            offerer,
            decided,
            current=_security(answerer, index),
            tagged=tagged.get(index, index),
            answered=tagged_by_answerer.get(index, index),
        )
        for index, medium in enumerate(description.media)
    ]


def _decided_by_answer(
    offerer: Party, options: OfferOptions, tagged: Mapping[int, int]
) -> list[MediaSecurity | None]:
    """What the relay has with an offerer for each medium, where DTLS is as the client of the answer wants it.

    Media of one transport have the same still, the key of the tagged one.

    Args:
        offerer, options, tagged: see secure_answer().
    """
    found: dict[int, MediaSecurity] = {}
    for index, security in enumerate(offerer.security):
        if not isinstance(security, DtlsSecurity) or id(security) in found:
            continue
        by_key, first = None, tagged.get(index, index)
        if options.dtls.off and optional_srtp.has_keys_beside_dtls(offerer, first):
            by_key = optional_srtp.complete(offerer, first, _security(offerer, first))
        found[id(security)] = by_key or dtls.in_role_of_answer(security, options.dtls)
    return [found.get(id(each), each) for each in offerer.security]


def _secure_answered(
    medium: Medium,
    index: int,
    options: OfferOptions,
    offerer: Party,
    decided: Sequence[MediaSecurity | None],
    *,
    current: MediaSecurity | None,
    tagged: int,
    answered: int,
) -> Secured:
    if medium.rejected or index >= len(offerer.offered):
        return UNCHANGED
    secured = Secured()
    keys, association = _offered_keys(offerer, answered), _offered_dtls(offerer, answered)
    if _takes(medium, keys, association):
        secured = Secured(_security_of_answer(medium, keys, association, current), lines=(), dtls=())
    if optional_srtp.is_open(offerer, index):
        passes = secured == UNCHANGED and bool(medium.attributes.get("crypto"))
        # of a bundle that passes through, the ends agree on the keys of one transport
        completes = options.osrtp_accept and not passes and not offerer.bundles
        security = optional_srtp.complete(offerer, index, _security(offerer, index)) if completes else None
        secured = secured._replace(completed=security)
    else:
        security = decided[tagged] if tagged < len(decided) else None
        if security is not None and security is not offerer.security[tagged]:
            secured = secured._replace(completed=security)
    if security is None or None in (is_secure(medium.proto), is_secure(offerer.offered[index].proto)):
        return secured
    if isinstance(security, DtlsSecurity):
        return secured._replace(dtls=dtls.answer_lines(security, options.dtls), lines=())
    if security.sender is not None:
        return secured._replace(lines=sdes.answer_lines(security, options.sdes), dtls=())
    return secured


def _takes(medium: Medium, keys: Sequence[OfferedKey], association: OfferedDtls | None) -> bool:
    """Whether an answer takes SRTP that the relay has offered: plain RTP with keys does, too (RFC 8643)."""
    if is_secure(medium.proto):
        return bool(keys) or association is not None
    if is_secure(medium.proto) is None:
        return False
    by_keys = bool(keys) and bool(medium.attributes.get("crypto"))
    return by_keys or (association is not None and bool(medium.applying("fingerprint")))


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


def _security(party: Party | None, index: int) -> MediaSecurity | None:
    """What a party has agreed on for a medium, or has offered since."""
    if party is None:
        return None
    # an offer of T.38 may have been refused: then what it superseded is agreed still
    for group in party.groups_of(index):
        if group.security is not None:
            return group.security
    return member_at(party.security, index)


def _offered_keys(party: Party | None, index: int) -> tuple[OfferedKey, ...]:
    """The keys that the relay has offered in the place of a party."""
    return () if party is None else member_at(party.relay_offer.keys, index) or ()


def _offered_dtls(party: Party | None, index: int) -> OfferedDtls | None:
    """The association that the relay has offered in the place of a party."""
    return None if party is None else member_at(party.relay_offer.dtls, index)
