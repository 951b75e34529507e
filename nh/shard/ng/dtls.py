"""DTLS-SRTP on one side of a call: which association an offer and its answer agree on (RFC 5763, RFC 8842).

Pure functions between the views of nh.sdp and the domain.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Final

from nh.calls.media import Endpoint
from nh.calls.protocols.dtls_security import DtlsParameters, DtlsSecurity, OfferedDtls
from nh.calls.protocols.media_security import MediaSecurity
from nh.commands import DtlsOptions
from nh.dtls.certificate import Certificate
from nh.dtls.fingerprints import fingerprint_of
from nh.sdp.description import Medium
from nh.sdp.dtls import DtlsDescription, Setup, read_dtls, write_dtls
from nh.shard.ng.secured import Secured

NewCertificate = Callable[[], Certificate]
"""The certificate for new calls."""

DEFAULT_ALGORITHM: Final = "sha-256"

_TLS_ID_BYTES: Final = 16


def usable_dtls(medium: Medium) -> DtlsDescription | None:
    """What a medium says of DTLS, None if nh can make nothing of it."""
    described = read_dtls(medium)
    return described if described is not None and described.fingerprints else None


def why_not(medium: Medium) -> str:
    """Why nh can make nothing of what a medium says of DTLS; "" if it says nothing."""
    if not medium.applying("fingerprint"):
        return ""
    return "none of its a=fingerprint is of SHA-256, SHA-384 or SHA-512, which nh takes"


def dtls_to_offer(
    before: OfferedDtls | None, towards: MediaSecurity | None, certificate: NewCertificate
) -> OfferedDtls:
    """What an end is offered: what it has, what it has been offered, or a new association.

    Args:
        before: that of the last offer for the same end.
        towards: what the end that gets the offer has agreed on.
        certificate: for a new call.
    """
    if isinstance(towards, DtlsSecurity):
        return OfferedDtls(towards.parameters.certificate, towards.parameters.tls_id)
    return before or OfferedDtls(certificate(), secrets.token_hex(_TLS_ID_BYTES))


def offer_lines(offered: OfferedDtls, options: DtlsOptions) -> tuple[bytes, ...]:
    """The lines of an offer: its receiver chooses who begins (RFC 5763 5)."""
    fingerprint = fingerprint_of(offered.certificate.der, options.algorithm or DEFAULT_ALGORITHM)
    return write_dtls(fingerprint, Setup.ACTPASS, "" if options.no_tls_id else offered.tls_id)


def security_of_offer(
    medium: Medium,
    described: DtlsDescription,
    options: DtlsOptions,
    *,
    current: MediaSecurity | None,
    known: Sequence[MediaSecurity],
    certificate: NewCertificate,
) -> DtlsSecurity:
    """What the relay has with an end that offers DTLS: what it had, if nothing changed.

    Args:
        medium, described: of the offer.
        options: of the command.
        current: what the end has agreed on.
        known: what its other parties have: it may go on with that.
        certificate: for a new call.
    """
    had = [each for each in (current, *reversed(known)) if isinstance(each, DtlsSecurity)]
    for each in had:
        active = _is_active(described.setup or Setup.ACTIVE, each.parameters.active)
        own = OfferedDtls(each.parameters.certificate, each.parameters.tls_id)
        wanted = _parameters(medium, described, own, active=active, had=each.parameters)
        if wanted == each.parameters:
            return each
    used = had[0].parameters.certificate if had else certificate()
    new = OfferedDtls(used, secrets.token_hex(_TLS_ID_BYTES))
    active = _is_active(described.setup or Setup.ACTIVE, bool(options.active))
    return DtlsSecurity.begin(_parameters(medium, described, new, active=active))


def note_roles(secured: Sequence[Secured]) -> None:
    """Note what an offer leaves to its answer: the last offer counts, also with the association before."""
    for each in secured:
        if isinstance(each.security, DtlsSecurity):
            each.security.open_role = each.open_role


def security_of_answer(
    medium: Medium, described: DtlsDescription, offered: OfferedDtls, current: MediaSecurity | None
) -> DtlsSecurity:
    """What the relay has with an end that answers its offer of DTLS: what it had, if nothing changed."""
    had = current.parameters if isinstance(current, DtlsSecurity) else None
    active = _is_active(described.setup or Setup.PASSIVE, had is not None and had.active)
    wanted = _parameters(medium, described, offered, active=active, had=had)
    return current if isinstance(current, DtlsSecurity) and wanted == had else DtlsSecurity.begin(wanted)


def in_role_of_answer(security: DtlsSecurity, options: DtlsOptions) -> DtlsSecurity:
    """What the relay has with an end that has offered DTLS, in the role that the answer's client wants.

    As long as there are no keys: an association that is there keeps its roles (RFC 8842 5.5).
    """
    parameters = security.parameters
    decided = options.active is None or not security.open_role or security.receiver is not None
    if decided or options.active is parameters.active:
        return security
    return DtlsSecurity.begin(parameters._replace(active=bool(options.active)), open_role=True)


def answer_lines(security: DtlsSecurity, options: DtlsOptions) -> tuple[bytes, ...]:
    """The lines of the answer for an end that has offered DTLS.

    Args:
        security: what the relay has with it.
        options: of the command.
    """
    parameters = security.parameters
    algorithm = options.algorithm or parameters.fingerprints[0].algorithm
    setup = Setup.ACTIVE if parameters.active else Setup.PASSIVE
    tls_id = parameters.tls_id if parameters.peer_tls_id and not options.no_tls_id else ""
    return write_dtls(fingerprint_of(parameters.certificate.der, algorithm), setup, tls_id)


def _is_active(setup: Setup, preferred: bool) -> bool:
    """Whether the relay begins, by what the end says of itself."""
    return setup is Setup.PASSIVE or (setup is Setup.ACTPASS and preferred)


def _parameters(
    medium: Medium,
    described: DtlsDescription,
    own: OfferedDtls,
    *,
    active: bool,
    had: DtlsParameters | None = None,
) -> DtlsParameters:
    """What an SDP comes to; an end on hold is where it was."""
    endpoint = None
    if not medium.ice:
        here = Endpoint(medium.connection or "", medium.port)
        endpoint = had.endpoint if had is not None and (medium.held or not medium.port) else here
    return DtlsParameters(
        own.certificate, own.tls_id, described.fingerprints, active, described.tls_id, endpoint
    )
