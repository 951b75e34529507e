"""Messages of STUN (RFC 8489), as far as ICE needs them.

A message is accepted whole or not at all: its length, its attributes, and its FINGERPRINT, which every
message of ICE has (RFC 8445 7.1), have to be right. Integrity is a question of its own, because the key
depends on the user name.
"""

import enum
import functools
import hmac
import ipaddress
import struct
import zlib
from collections.abc import Iterable
from typing import Final, NamedTuple

HEADER_BYTES: Final = 20
MAX_BYTES: Final = 1280
"""The longest message that is read: no check of ICE is longer than the smallest MTU of IPv6."""

BINDING: Final = 0x001
"""The only method of ICE."""

_COOKIE: Final = 0x2112A442
_COOKIE_BYTES: Final = _COOKIE.to_bytes(4)
_FINGERPRINT_XOR: Final = 0x5354554E
_MAC_BYTES: Final = {8: 20, 0x1C: 32}

_header: Final = struct.Struct("!HH4s12s")
_attribute: Final = struct.Struct("!HH")
_u16: Final = struct.Struct("!H")
_u32: Final = struct.Struct("!I")


class StunClass(enum.IntEnum):
    """The class of a message, as its two bits of the type (RFC 8489 5)."""

    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


class StunAttribute(enum.IntEnum):
    """The attributes that nh reads or writes. Those below 0x8000 have to be understood (RFC 8489 14)."""

    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    XOR_MAPPED_ADDRESS = 0x0020
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    SOFTWARE = 0x8022
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A


MACS: Final = {StunAttribute.MESSAGE_INTEGRITY_SHA256: "sha256", StunAttribute.MESSAGE_INTEGRITY: "sha1"}
"""The attributes that authenticate a message, the stronger first, and their hashes."""

_UNDERSTOOD: Final = frozenset(StunAttribute)


class NotStun(Exception):
    """Bytes are no message of STUN, or a damaged one."""


class StunMessage(NamedTuple):
    """A message that was received.

    Attributes:
        kind: its class.
        method: BINDING, or another of 12 bits.
        transaction: its id, 12 bytes.
        attributes: the value of the first attribute of each type. Those behind the integrity are left out,
            because nothing protects them (RFC 8489 14.5).
        macs: of each attribute that authenticates, what it covers but for the header.
    """

    kind: StunClass
    method: int
    transaction: bytes
    attributes: dict[int, bytes]
    macs: dict[int, bytes]

    @property
    def unknown(self) -> list[int]:
        """The types of the attributes that have to be understood, and are not."""
        return [kind for kind in self.attributes if kind < 0x8000 and kind not in _UNDERSTOOD]

    def authenticated_by(self, key: bytes) -> int | None:
        """The attribute that shows that its sender has the key; None: none does.

        The stronger one of two decides (RFC 8489 9.1.3.1).
        """
        for kind, name in MACS.items():
            if kind in self.macs:
                mac = hmac.digest(key, self._covered(kind), name)
                return int(kind) if hmac.compare_digest(mac, self.attributes[kind]) else None
        return None

    def _covered(self, kind: int) -> bytes:
        """What an attribute covers: the length in the header is that up to its end (RFC 8489 14.5)."""
        body = self.macs[kind]
        size = len(body) + _attribute.size + _MAC_BYTES[kind]
        return _header.pack(_type(self.kind, self.method), size, _COOKIE_BYTES, self.transaction) + body


def is_stun(packet: memoryview | bytes) -> bool:
    """Whether a packet looks like STUN (RFC 7983 7, RFC 8489 5)."""
    return len(packet) >= HEADER_BYTES and packet[0] < 4 and packet[4:8] == _COOKIE_BYTES


def decode(packet: memoryview | bytes) -> StunMessage:
    """The message that a packet is.

    Args:
        packet: of any length.

    Raises:
        NotStun: it is none, is damaged, or has no FINGERPRINT.
    """
    size = len(packet)
    if not HEADER_BYTES <= size <= MAX_BYTES:
        raise NotStun(f"{size} bytes")
    data = bytes(packet)
    kind, length, cookie, transaction = _header.unpack_from(data)
    if kind & 0xC000 or cookie != _COOKIE_BYTES or length != size - HEADER_BYTES or length % 4:
        raise NotStun("no header of STUN")
    attributes, macs = _read_attributes(data)
    return StunMessage(
        StunClass(kind & 0x0110),
        (kind & 0x000F) | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2,
        transaction,
        attributes,
        macs,
    )


def _read_attributes(data: bytes) -> tuple[dict[int, bytes], dict[int, bytes]]:
    attributes: dict[int, bytes] = {}
    macs: dict[int, bytes] = {}
    at, end = HEADER_BYTES, len(data)
    while at < end:
        kind, size = _attribute.unpack_from(data, at)  # the length is a multiple of four
        value_at = at + _attribute.size
        after = value_at + (size + 3 & ~3)
        if after > end:
            raise NotStun("an attribute exceeds the message")
        value = data[value_at : value_at + size]
        if kind == StunAttribute.FINGERPRINT:
            crc = zlib.crc32(data[:at]) ^ _FINGERPRINT_XOR
            if after != end or value != _u32.pack(crc):
                raise NotStun("a wrong FINGERPRINT")
            return attributes, macs
        if kind in _MAC_BYTES:
            if size != _MAC_BYTES[kind]:
                raise NotStun("an integrity of a wrong length")
            if kind not in macs and StunAttribute.MESSAGE_INTEGRITY_SHA256 not in macs:
                attributes[kind] = value
                macs[kind] = data[HEADER_BYTES:at]
        elif not macs:
            attributes.setdefault(kind, value)
        at = after
    raise NotStun("no FINGERPRINT")


def encode(
    kind: StunClass,
    transaction: bytes,
    attributes: Iterable[tuple[int, bytes]],
    *,
    key: bytes | None = None,
    mac: int = StunAttribute.MESSAGE_INTEGRITY,
    method: int = BINDING,
) -> bytes:
    """A message as bytes, with FINGERPRINT.

    Args:
        kind: its class.
        transaction: its id, 12 bytes.
        attributes: type and value of each, without integrity and FINGERPRINT.
        key: of the integrity; None: without.
        mac: the attribute that has the integrity.
        method: of 12 bits.
    """
    body = b"".join(map(_write_attribute, attributes))
    type_ = _type(kind, method)
    if key is not None:
        size = len(body) + _attribute.size + _MAC_BYTES[mac]
        covered = _header.pack(type_, size, _COOKIE_BYTES, transaction) + body
        body += _write_attribute((mac, hmac.digest(key, covered, MACS[StunAttribute(mac)])))
    head = _header.pack(type_, len(body) + 8, _COOKIE_BYTES, transaction) + body
    return head + _write_attribute(
        (StunAttribute.FINGERPRINT, _u32.pack(zlib.crc32(head) ^ _FINGERPRINT_XOR))
    )


def _write_attribute(attribute: tuple[int, bytes]) -> bytes:
    kind, value = attribute
    return _attribute.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def _type(kind: StunClass, method: int) -> int:
    return kind | method & 0x000F | (method & 0x0070) << 1 | (method & 0x0F80) << 2


def error_code(code: int, phrase: str) -> tuple[int, bytes]:
    """ERROR-CODE (RFC 8489 14.8).

    Args:
        code: 300 to 699.
        phrase: its reason, for people.
    """
    return StunAttribute.ERROR_CODE, bytes((0, 0, code // 100, code % 100)) + phrase.encode()


def unknown_attributes(kinds: Iterable[int]) -> tuple[int, bytes]:
    """UNKNOWN-ATTRIBUTES (RFC 8489 14.9)."""
    return StunAttribute.UNKNOWN_ATTRIBUTES, b"".join(map(_u16.pack, kinds))


def xor_mapped_address(address: str, port: int, transaction: bytes) -> tuple[int, bytes]:
    """XOR-MAPPED-ADDRESS (RFC 8489 14.2).

    Args:
        address: IPv4 or IPv6; a zone is left out.
        port: 1 to 65535.
        transaction: of the request.
    """
    packed = _packed(address)
    mask = _COOKIE_BYTES + transaction
    hidden = bytes(a ^ b for a, b in zip(packed, mask, strict=False))
    family = 1 if len(packed) == 4 else 2
    return StunAttribute.XOR_MAPPED_ADDRESS, bytes((0, family)) + _u16.pack(port ^ _COOKIE >> 16) + hidden


@functools.lru_cache(maxsize=4096)
def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address.partition("%")[0]).packed
