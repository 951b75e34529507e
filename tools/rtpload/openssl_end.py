"""An end of DTLS-SRTP as phones have it, for tests and the load generator: OpenSSL, and nothing of nh."""

import datetime
import functools
import math
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

Error = SSL.Error
"""A handshake failed."""

LENGTHS: Final = {
    "SRTP_AES128_CM_SHA1_80": (16, 14),
    "SRTP_AES128_CM_SHA1_32": (16, 14),
    "SRTP_AEAD_AES_128_GCM": (16, 12),
    "SRTP_AEAD_AES_256_GCM": (32, 12),
}
"""Bytes of key and salt, by profile."""

SUITES: Final = {
    "SRTP_AES128_CM_SHA1_80": "AES_CM_128_HMAC_SHA1_80",
    "SRTP_AES128_CM_SHA1_32": "AES_CM_128_HMAC_SHA1_32",
    "SRTP_AEAD_AES_128_GCM": "AEAD_AES_128_GCM",
    "SRTP_AEAD_AES_256_GCM": "AEAD_AES_256_GCM",
}
"""SDP's name of what each profile protects with."""


@functools.cache
def _certificate(
    name: str, days: int, rsa_bits: int
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]:
    key = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    )
    valid = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=100))
    return valid.not_valid_after(now + datetime.timedelta(days=days)).sign(key, hashes.SHA256()), key


@functools.cache
def _context(name: str, days: int, rsa_bits: int, profiles: tuple[str, ...], long: bool) -> SSL.Context:
    certificate, key = _certificate(name, days, rsa_bits)
    context = SSL.Context(SSL.DTLS_METHOD)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    if long:
        context.set_alpn_protos([bytes([65 + each]) * 60 for each in range(20)])
    if profiles:
        context.set_tlsext_use_srtp(":".join(profiles).encode())
    return context


class OpensslEnd:
    """One handshake of an end.

    Args:
        client: it begins.
        profiles: that it has.
        name: of its certificate.
        days: how long that is valid still; negative: it has expired.
        rsa_bits: size of an RSA key; 0: P-256.
        long: its ClientHello has two datagrams, as Chromium's has.

    Attributes:
        client: see above.
        fingerprint, sha1: of its certificate, with the name of the hash, as in SDP (RFC 8122).
        done: whether the handshake has ended well.
    """

    def __init__(
        self,
        *,
        client: bool,
        profiles: Sequence[str] = ("SRTP_AES128_CM_SHA1_80",),
        name: str = "phone",
        days: int = 1,
        rsa_bits: int = 0,
        long: bool = False,
    ) -> None:
        self.client = client
        certificate, _ = _certificate(name, days, rsa_bits)
        digest = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        self.fingerprint = f"sha-256 {digest}"
        self.sha1 = "sha-1 " + certificate.fingerprint(hashes.SHA1()).hex(":").upper()
        context = _context(name, days, rsa_bits, tuple(profiles), long)
        self._connection = SSL.Connection(context)
        self._connection.set_ciphertext_mtu(1200)
        self.done = False
        if client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()

    def begin(self) -> list[bytes]:
        """The first flight."""
        return self.receive(b"")

    def receive(self, datagram: bytes) -> list[bytes]:
        """What it answers to a datagram."""
        if datagram:
            self._connection.bio_write(datagram)
        try:
            self._connection.do_handshake()
            self.done = True
        except SSL.WantReadError:
            pass
        return self._output()

    def timeout(self) -> list[bytes]:
        """What it repeats when its timer is due; nothing before."""
        self._connection.DTLSv1_handle_timeout()
        return self._output()

    @property
    def timeout_s(self) -> float:
        """Seconds until that is due; infinite: no timer runs."""
        left_s = self._connection.DTLSv1_get_timeout()
        return math.inf if left_s is None else left_s

    @property
    def profile(self) -> str:
        """What was agreed on."""
        return self._connection.get_selected_srtp_profile().decode()

    @property
    def peer_fingerprint(self) -> str:
        """That of the other end's certificate, as SDP has it."""
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        return (
            ""
            if certificate is None
            else f"sha-256 {certificate.fingerprint(hashes.SHA256()).hex(':').upper()}"
        )

    @property
    def keys(self) -> tuple[bytes, bytes]:
        """Key and salt that it sends with, and those that it receives with."""
        key, salt = LENGTHS[self.profile]
        both = self._connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        of_client = both[:key] + both[2 * key : 2 * key + salt]
        of_server = both[key : 2 * key] + both[2 * key + salt :]
        return (of_client, of_server) if self.client else (of_server, of_client)

    def _output(self) -> list[bytes]:
        try:
            data = self._connection.bio_read(65_536)
        except SSL.WantReadError:
            return []
        records = []
        while data:
            size = 13 + int.from_bytes(data[11:13], "big")
            records.append(data[:size])
            data = data[size:]
        return records
