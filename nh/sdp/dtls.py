"""DTLS-SRTP in SDP: a=fingerprint, a=setup, a=tls-id (RFC 8122, RFC 4145, RFC 5763, RFC 8842)."""

import enum
import functools
import re
from typing import Final, NamedTuple

from nh.dtls.fingerprints import Fingerprint, read_fingerprints, write_fingerprint
from nh.sdp.description import Medium

_TLS_ID: Final = re.compile(r"[A-Za-z0-9+/_-]{20,255}\Z")


class Setup(enum.StrEnum):
    """Who begins, from the point of view of the sender of the SDP (RFC 4145 4)."""

    ACTIVE = "active"
    PASSIVE = "passive"
    ACTPASS = "actpass"
    HOLDCONN = "holdconn"


_SETUPS: Final = {setup.value: setup for setup in Setup}


class DtlsDescription(NamedTuple):
    """What a medium says of DTLS.

    Attributes:
        fingerprints: those that nh takes; there may be none.
        setup: None: it says nothing, or nothing of RFC 4145.
        tls_id: its a=tls-id, "" without one.
    """

    fingerprints: tuple[Fingerprint, ...]
    setup: Setup | None
    tls_id: str = ""


def read_dtls(medium: Medium) -> DtlsDescription | None:
    """What a medium, or the session for it, says of DTLS; None: it has no a=fingerprint."""
    found = medium.applying("fingerprint")
    if not found:
        return None
    values = tuple([each.value for each in found])
    return _describe(values, _first(medium, "setup"), _first(medium, "tls-id"))


@functools.lru_cache(maxsize=4)  # one offer asks four times for each medium
def _describe(fingerprints: tuple[bytes, ...], setup: str, tls_id: str) -> DtlsDescription:
    tls_id = tls_id.strip()
    return DtlsDescription(
        tuple([each for each in read_fingerprints(fingerprints) if each.usable]),
        _setup(setup),
        tls_id if _TLS_ID.match(tls_id) else "",
    )


def write_dtls(fingerprint: Fingerprint, setup: Setup, tls_id: str) -> tuple[bytes, ...]:
    """The lines of a medium; without a=tls-id if that is empty."""
    lines = (f"a=setup:{setup}".encode(), write_fingerprint(fingerprint))
    return (*lines, f"a=tls-id:{tls_id}".encode()) if tls_id else lines


def _setup(value: str) -> Setup | None:
    return _SETUPS.get(value.strip().lower())


def _first(medium: Medium, name: str) -> str:
    found = medium.applying(name)
    return found[0].value.decode("ascii", "replace") if found else ""
