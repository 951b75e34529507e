"""Identities: certificates of the relay, ready for handshakes.

They are self-signed, since the SDP has their fingerprints (RFC 8122 6.2). A certificate belongs to the calls
that were announced it, and is part of their snapshots. A relay makes one for its first call with DTLS, and a
new one for new calls in time before it expires.
"""

import datetime
import hmac
import secrets
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from OpenSSL import SSL, crypto

from nh.dtls.certificate import Certificate
from nh.dtls.profiles import PROFILES

LIFETIME_S: Final = 90 * 86_400.0
"""How long a certificate is valid."""

RENEWED_S: Final = 7 * 86_400.0
"""How long it is used for new calls."""

_BEFORE_S: Final = 86_400.0
"""How long ago its validity begins: the clocks of phones differ."""

_DTLS_1_2: Final = 0xFEFD
_CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES"


class Peer(Protocol):
    """The other side of a handshake: the application data of its connection."""

    source: bytes
    """Identifies it for the cookie."""

    def accepts(self, certificate: bytes) -> bool:
        """Whether it may have a certificate (DER)."""


class Identity:
    """A certificate of the relay, ready for handshakes.

    Args:
        certificate: with its key.

    Attributes:
        certificate: with its key.
        context: of the connections of OpenSSL that present it.

    Raises:
        ValueError: the certificate is damaged.
    """

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate
        self._secret = secrets.token_bytes(32)
        try:
            self.context = self._new_context(*_load(certificate))
        # what the libraries raise for damaged bytes beside ValueError
        except (UnsupportedAlgorithm, x509.InvalidVersion, SSL.Error, crypto.Error) as error:
            raise ValueError("a certificate that cannot be used") from error

    def _new_context(self, own: x509.Certificate, key: EllipticCurvePrivateKey) -> SSL.Context:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(_DTLS_1_2)
        context.set_max_proto_version(_DTLS_1_2)  # records of 1.3 have another header (RFC 9147 4)
        context.set_cipher_list(_CIPHERS)
        context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.use_certificate(own)
        context.use_privatekey(key)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _check)
        context.set_tlsext_use_srtp(":".join(PROFILES).encode())
        context.set_cookie_generate_callback(self._cookie)
        context.set_cookie_verify_callback(self._is_cookie)
        return context

    def _cookie(self, connection: SSL.Connection) -> bytes:
        peer: Peer = connection.get_app_data()
        return hmac.digest(self._secret, peer.source, "sha256")[:16]

    def _is_cookie(self, connection: SSL.Connection, cookie: bytes) -> bool:
        return hmac.compare_digest(self._cookie(connection), cookie)


def new_certificate(*, wall: float) -> Certificate:
    """A new certificate of P-256.

    Args:
        wall: seconds since 1970.
    """
    key = generate_private_key(SECP256R1())
    # says nothing of the relay: it is sent in clear
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, secrets.token_hex(8))])
    at = datetime.datetime.fromtimestamp(wall, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - datetime.timedelta(seconds=_BEFORE_S))
        .not_valid_after(at + datetime.timedelta(seconds=LIFETIME_S))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return Certificate(certificate.public_bytes(Encoding.DER), private, wall)


def _load(certificate: Certificate) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    """A certificate and its key.

    Raises:
        ValueError: they are damaged, or do not belong together.
    """
    own, key = x509.load_der_x509_certificate(certificate.der), load_der_private_key(certificate.key, None)
    if not isinstance(key, EllipticCurvePrivateKey) or own.public_key() != key.public_key():
        raise ValueError("a certificate with the key of another one")
    return own, key


def _check(connection: SSL.Connection, certificate: crypto.X509, _error: int, depth: int, _ok: int) -> bool:
    """Whether a certificate in the peer's chain is right: its own has the fingerprint, others do not matter.

    Its validity does not either: the fingerprint says which certificate it is (RFC 8122 6.2), and clocks of
    phones are wrong.
    """
    peer: Peer = connection.get_app_data()
    if depth:
        return True
    return peer.accepts(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))
