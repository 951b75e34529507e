"""The session keys that are derived from a master key (RFC 3711 4.3)."""

from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from nh.srtp.keys import MasterKey

_HMAC_KEY_BYTES: Final = 20
_PRF_SALT_BYTES: Final = 14
_BLOCK_BYTES: Final = 16

_RTP_LABELS: Final = (0, 1, 2)
_RTCP_LABELS: Final = (3, 4, 5)


class SessionKeys(NamedTuple):
    """What protects the packets of RTP, or those of RTCP."""

    cipher_key: bytes
    auth_key: bytes
    salt: bytes


def derive_rtp_keys(master: MasterKey) -> SessionKeys:
    """The session keys for RTP; the key derivation rate is 0."""
    return _derive(master, _RTP_LABELS)


def derive_rtcp_keys(master: MasterKey) -> SessionKeys:
    """The session keys for RTCP; the key derivation rate is 0."""
    return _derive(master, _RTCP_LABELS)


def _derive(master: MasterKey, labels: tuple[int, int, int]) -> SessionKeys:
    suite = master.suite
    # the function takes 112 bits of salt; the 96 of AES-GCM are followed by zeros (RFC 7714 11)
    salt = int.from_bytes(master.salt.ljust(_PRF_SALT_BYTES, b"\0"), "big")

    def generate(label: int, size: int) -> bytes:
        counter = ((salt ^ label << 48) << 16).to_bytes(_BLOCK_BYTES, "big")
        return Cipher(AES(master.key), CTR(counter)).encryptor().update(bytes(size))

    cipher, auth, salting = labels
    return SessionKeys(
        generate(cipher, suite.key_bytes),
        b"" if suite.aead else generate(auth, _HMAC_KEY_BYTES),
        generate(salting, suite.salt_bytes),
    )
