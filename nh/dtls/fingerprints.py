"""Fingerprints of certificates, as SDP has them (a=fingerprint, RFC 8122 5)."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

ALGORITHMS: Final = {"sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}
"""The hash functions that nh takes, by their names in SDP. SHA-1 and SHA-224 are not among them: another
certificate with the same fingerprint is thinkable, or the hash is hardly ever used."""

MAX_LINES: Final = 16
"""Most a=fingerprint lines of one medium that are read."""

_LINE: Final = re.compile(
    rb"[ \t]*+([A-Za-z0-9-]{1,16})[ \t]++((?:[0-9A-Fa-f]{2}:){15,63}[0-9A-Fa-f]{2})[ \t]*+\Z"
)


class Fingerprint(NamedTuple):
    """The hash of a certificate.

    Attributes:
        algorithm: name of the hash function in SDP, in small letters.
        digest: its value.
    """

    algorithm: str
    digest: bytes

    @property
    def usable(self) -> bool:
        """Whether nh takes it: its hash function is strong enough, and its length right."""
        name = ALGORITHMS.get(self.algorithm)
        return name is not None and len(self.digest) == hashlib.new(name).digest_size

    def matches(self, certificate: bytes) -> bool:
        """Whether it is that of a certificate (DER)."""
        return self.usable and hmac.compare_digest(self.digest, hash_of(self.algorithm, certificate))


def hash_of(algorithm: str, certificate: bytes) -> bytes:
    """The hash of a certificate (DER), by one of ALGORITHMS."""
    return hashlib.new(ALGORITHMS[algorithm], certificate).digest()


def fingerprint_of(certificate: bytes, algorithm: str) -> Fingerprint:
    """The fingerprint of a certificate (DER), by one of ALGORITHMS."""
    return Fingerprint(algorithm, hash_of(algorithm, certificate))


def read_fingerprints(values: Sequence[bytes]) -> list[Fingerprint]:
    """The fingerprints in a=fingerprint lines, in their order; what is no fingerprint is left out.

    Args:
        values: what follows `a=fingerprint:` in each line that applies to a medium.
    """
    found = (_LINE.match(value) for value in values[:MAX_LINES])
    return [
        Fingerprint(each[1].decode().lower(), bytes.fromhex(each[2].decode().replace(":", "")))
        for each in found
        if each is not None
    ]


def write_fingerprint(fingerprint: Fingerprint) -> bytes:
    """An a=fingerprint line."""
    digest = fingerprint.digest.hex(":").upper()
    return f"a=fingerprint:{fingerprint.algorithm} {digest}".encode()


def any_matches(fingerprints: Iterable[Fingerprint], certificate: bytes) -> bool:
    """Whether a certificate (DER) has one of these fingerprints (RFC 8122 5)."""
    return any(each.matches(certificate) for each in fingerprints)
