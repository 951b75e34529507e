"""The ciphers of SRTP over the primitives of `cryptography`: packets and indexes in, packets out.

A cipher belongs to one master key, and protects RTP or RTCP with it. What it writes is in a buffer that many
ciphers share, so a packet is valid until the next one.
"""

from hmac import compare_digest
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

    def decrypt(self, packet: memoryview, end: int, clear: int, position: int, trailer: bytes) -> bool:
        """Write the packet without protection into the buffer.

        Args:
            packet: the protected packet. Its tag is what it ends with, or stands at `end`: see the ciphers.
            end: where the packet ends without protection.
            clear, position, trailer: see above. With clear == end, nothing is encrypted.

        Returns:
            Whether the packet is authentic.
        """


class CounterModeCipher:
    """AES in counter mode with HMAC-SHA1 (RFC 3711 4.1.1, 4.2.1; RFC 6188 for keys of 256 bits).

    Args:
        keys: the session keys.
        tag_bytes: length of the authentication tag, 4 or 10.
        buffer: where packets are written, of BUFFER_BYTES.
    """

    __slots__ = ("_copy_hmac", "_reset", "_salt", "_update", "_view", "tag_bytes")

    def __init__(self, keys: SessionKeys, tag_bytes: int, buffer: bytearray) -> None:
        self.tag_bytes = tag_bytes
        self._view = memoryview(buffer)
        self._salt = int.from_bytes(keys.salt, "big")
        # the same operation in both directions; a new object would cost ten times as much as a packet
        context: CipherContext = Cipher(AES(keys.cipher_key), CTR(bytes(_BLOCK_BYTES))).encryptor()
        self._reset, self._update = context.reset_nonce, context.update_into
        self._copy_hmac = HMAC(keys.auth_key, SHA1()).copy

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
        code = self._copy_hmac()
        code.update(view[:size])
        code.update(trailer)
        view[size:end] = code.finalize()[: self.tag_bytes]
        return end

    def decrypt(self, packet: memoryview, end: int, clear: int, position: int, trailer: bytes) -> bool:
        """See PacketCipher; the tag is what the packet ends with."""
        tag_bytes = self.tag_bytes
        code = self._copy_hmac()
        code.update(packet[:end])
        code.update(trailer)
        if not compare_digest(code.finalize()[:tag_bytes], packet[-tag_bytes:]):
            return False
        view = self._view
        view[:clear] = packet[:clear]
        if clear < end:
            self._reset(((self._salt ^ position) << 16).to_bytes(_BLOCK_BYTES, "big"))
            self._update(packet[clear:end], view[clear:])
        return True


class GcmCipher:
    """AES in Galois/counter mode (RFC 7714).

    Args:
        keys: the session keys.
        buffer: where packets are written, of BUFFER_BYTES.

    Attributes:
        tag_bytes: length of the authentication tag.
    """

    __slots__ = ("_open", "_salt", "_seal", "_view", "tag_bytes")

    def __init__(self, keys: SessionKeys, buffer: bytearray) -> None:
        self.tag_bytes = GCM_TAG_BYTES
        self._view = memoryview(buffer)
        self._salt = int.from_bytes(keys.salt, "big")
        gcm = AESGCM(keys.cipher_key)
        self._seal, self._open = gcm.encrypt_into, gcm.decrypt_into

    def encrypt(self, packet: memoryview, clear: int, position: int, trailer: bytes) -> int:
        """See PacketCipher."""
        header, end, view = packet[:clear], len(packet) + GCM_TAG_BYTES, self._view
        view[:clear] = header
        known = b"".join((header, trailer)) if trailer else header
        nonce = (self._salt ^ position).to_bytes(_GCM_NONCE_BYTES, "big")
        self._seal(nonce, packet[clear:], known, view[clear:end])
        return end

    def decrypt(self, packet: memoryview, end: int, clear: int, position: int, trailer: bytes) -> bool:
        """See PacketCipher; the tag stands at `end`, since it is part of what AES-GCM encrypts."""
        header, view = packet[:clear], self._view
        known = b"".join((header, trailer)) if trailer else header
        nonce = (self._salt ^ position).to_bytes(_GCM_NONCE_BYTES, "big")
        try:
            self._open(nonce, packet[clear : end + GCM_TAG_BYTES], known, view[clear:end])
        except InvalidTag:
            return False
        view[:clear] = header
        return True
