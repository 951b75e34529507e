"""The session keys that are derived from a master key (RFC 3711 4.3)."""

from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
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


def derive_keys(master: MasterKey) -> tuple[SessionKeys, SessionKeys]:
    """The session keys for RTP, and those for RTCP; the key derivation rate is 0."""
    # one object of the cipher for all: a new one takes longer than what it does here
    context = Cipher(AES(master.key), CTR(bytes(_BLOCK_BYTES))).encryptor()
    return _derive(master, context, _RTP_LABELS), _derive(master, context, _RTCP_LABELS)


def _derive(master: MasterKey, context: CipherContext, labels: tuple[int, int, int]) -> SessionKeys:
    suite = master.suite
    # the function takes 112 bits of salt; the 96 of AES-GCM are followed by zeros (RFC 7714 11)
    salt = int.from_bytes(master.salt.ljust(_PRF_SALT_BYTES, b"\0"), "big")

    def generate(label: int, size: int) -> bytes:
        context.reset_nonce(((salt ^ label << 48) << 16).to_bytes(_BLOCK_BYTES, "big"))
        return context.update(bytes(size))

    cipher, auth, salting = labels
    return SessionKeys(
        generate(cipher, suite.key_bytes),
        b"" if suite.aead else generate(auth, _HMAC_KEY_BYTES),
        generate(salting, suite.salt_bytes),
    )
