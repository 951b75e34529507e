"""The ciphers of SRTP over the primitives of `cryptography`: packets and indices in, packets out.

A cipher belongs to one master key, and protects RTP or RTCP with it. What it writes is in a buffer that many
ciphers share, so a packet is valid until the next one.
"""

import hmac
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.hmac import HMAC

from nh.srtp.derivation import SessionKeys

BUFFER_BYTES: Final = 65_536 + 256
"""Room for any datagram, with what protection adds."""

GCM_TAG_BYTES: Final = 16

_BLOCK_BYTES: Final = 16
_GCM_NONCE_BYTES: Final = 12


class PacketCipher(Protocol):
    """Protects packets of one kind with one key.

    `clear` bytes at the begin of a packet are authenticated only, `trailer` is authenticated, too. `position`
    is where the key stream begins: the SSRC (32 bits), then the index of RTP or RTCP (48 bits).
    """

    tag_bytes: int
    """How many bytes authentication adds."""

    def encrypt(self, packet: memoryview, clear: int, position: int, trailer: bytes) -> int:
        """Write the protected packet without `trailer` into the buffer; its tag is at the end.

        Returns:
            How many bytes were written.
        """

    def decrypt(self, packet: memoryview, tag: memoryview, clear: int, position: int, trailer: bytes) -> int:
        """Write the packet without protection into the buffer.

        Args:
            packet: the protected packet without tag.
            tag: its tag.
            clear, position, trailer: see above. With clear == len(packet), nothing is encrypted.

        Returns:
            How many bytes were written; -1: the packet is not authentic.
        """


class CounterModeCipher:
    """AES in counter mode with HMAC-SHA1 (RFC 3711 4.1.1, 4.2.1; RFC 6188 for keys of 256 bits).

    Args:
        keys: the session keys.
        tag_bytes: length of the authentication tag, 4 or 10.
        buffer: where packets are written, of BUFFER_BYTES.
    """

    __slots__ = ("_buffer", "_hmac", "_reset", "_salt", "_update", "_view", "tag_bytes")

    def __init__(self, keys: SessionKeys, tag_bytes: int, buffer: bytearray) -> None:
        self.tag_bytes = tag_bytes
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._salt = int.from_bytes(keys.salt, "big")
        # the same operation in both directions; a new object would cost ten times as much as a packet
        context: CipherContext = Cipher(AES(keys.cipher_key), CTR(bytes(_BLOCK_BYTES))).encryptor()
        self._reset, self._update = context.reset_nonce, context.update_into
        self._hmac = HMAC(keys.auth_key, SHA1())

    def encrypt(self, packet: memoryview, clear: int, position: int, trailer: bytes) -> int:
        """See PacketCipher."""
        size = len(packet)
        end = size + self.tag_bytes
        view = self._view
        view[:clear] = packet[:clear]
        if clear < size:
            # the last 16 bits count the blocks
            self._reset(((self._salt ^ position) << 16).to_bytes(_BLOCK_BYTES, "big"))
            self._update(packet[clear:], view[clear:])
        code = self._hmac.copy()
        code.update(view[:size])
        code.update(trailer)
        view[size:end] = code.finalize()[: self.tag_bytes]
        return end

    def decrypt(self, packet: memoryview, tag: memoryview, clear: int, position: int, trailer: bytes) -> int:
        """See PacketCipher."""
        code = self._hmac.copy()
        code.update(packet)
        code.update(trailer)
        if not hmac.compare_digest(code.finalize()[: self.tag_bytes], tag):
            return -1
        size = len(packet)
        view = self._view
        view[:clear] = packet[:clear]
        if clear < size:
            self._reset(((self._salt ^ position) << 16).to_bytes(_BLOCK_BYTES, "big"))
            self._update(packet[clear:], view[clear:])
        return size


class GcmCipher:
    """AES in Galois/counter mode (RFC 7714).

    Args:
        keys: the session keys.
        buffer: where packets are written, of BUFFER_BYTES.
    """

    __slots__ = ("_buffer", "_gcm", "_salt", "_view", "tag_bytes")

    def __init__(self, keys: SessionKeys, buffer: bytearray) -> None:
        self.tag_bytes = GCM_TAG_BYTES
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._salt = int.from_bytes(keys.salt, "big")
        self._gcm = AESGCM(keys.cipher_key)

    def encrypt(self, packet: memoryview, clear: int, position: int, trailer: bytes) -> int:
        """See PacketCipher."""
        header = packet[:clear]
        end = len(packet) + GCM_TAG_BYTES
        self._view[:clear] = header
        nonce = self._nonce(position)
        self._gcm.encrypt_into(nonce, packet[clear:], _joined(header, trailer), self._view[clear:end])
        return end

    def decrypt(self, packet: memoryview, tag: memoryview, clear: int, position: int, trailer: bytes) -> int:
        """See PacketCipher."""
        header, size = packet[:clear], len(packet)
        sealed = b"".join((packet[clear:], tag))
        try:
            self._gcm.decrypt_into(
                self._nonce(position), sealed, _joined(header, trailer), self._view[clear:size]
            )
        except InvalidTag:
            return -1
        self._view[:clear] = header
        return size

    def _nonce(self, position: int) -> bytes:
        return (self._salt ^ position).to_bytes(_GCM_NONCE_BYTES, "big")


def _joined(header: memoryview, trailer: bytes) -> bytes | memoryview:
    return b"".join((header, trailer)) if trailer else header
