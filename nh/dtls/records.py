"""Datagrams of DTLS and the records in them (RFC 6347 4.1, RFC 9147 4)."""

import enum
import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

HEADER_BYTES: Final = 13
CLIENT_HELLO: Final = 1

_read_header = struct.Struct("!BHHHIH").unpack_from
_VERSION_MAJOR: Final = 0xFE


class ContentType(enum.IntEnum):
    """What a record carries (RFC 5246 6.2.1)."""

    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23


class DtlsRecord(NamedTuple):
    """One record.

    Attributes:
        content_type: see ContentType; other numbers are thinkable.
        epoch: 0: not encrypted.
        whole: the record with its header.
    """

    content_type: int
    epoch: int
    whole: bytes

    @property
    def payload(self) -> bytes:
        """What follows the header."""
        return self.whole[HEADER_BYTES:]

    @property
    def is_client_hello(self) -> bool:
        """Whether it begins a ClientHello, or is the first fragment of one."""
        return self._is_hello and self.payload[6:9] == b"\0\0\0"

    @property
    def is_hello_fragment(self) -> bool:
        """Whether it is any fragment of a ClientHello that is longer than the record."""
        return self._is_hello and self.payload[1:4] != self.payload[9:12]

    @property
    def _is_hello(self) -> bool:
        whole, plain = self.whole, self.epoch == 0 and self.content_type == ContentType.HANDSHAKE
        return plain and len(whole) > HEADER_BYTES + 12 and whole[HEADER_BYTES] == CLIENT_HELLO


def split(data: bytes) -> Iterator[DtlsRecord]:
    """The records in one datagram, or in several that follow each other; what is no record ends it."""
    at = 0
    while at + HEADER_BYTES <= len(data):
        content_type, version, epoch, _, _, size = _read_header(data, at)
        end = at + HEADER_BYTES + size
        if version >> 8 != _VERSION_MAJOR or end > len(data):
            return
        yield DtlsRecord(content_type, epoch, data[at:end])
        at = end


def pack(records: Iterable[DtlsRecord], mtu: int) -> list[bytes]:
    """Datagrams with these records in their order, each as long as the MTU permits.

    Args:
        records: of one flight.
        mtu: most bytes of a datagram; a longer record has one of its own.
    """
    datagrams: list[bytes] = []
    current: list[bytes] = []
    size = 0
    for record in records:
        if current and size + len(record.whole) > mtu:
            datagrams.append(b"".join(current))
            current, size = [], 0
        current.append(record.whole)
        size += len(record.whole)
    if current:
        datagrams.append(b"".join(current))
    return datagrams
