"""Packets of HEP: chunks of a vendor, a type and a length, behind a header. No I/O."""

import enum
import ipaddress
import struct
from typing import Final

import msgspec

from nh.calls.media import Endpoint
from nh.errors import MalformedRequest

MAX_PACKET_BYTES: Final = 65_507
"""Longest packet, so that it fits into a datagram; the length field of HEP has 16 bits."""

_MAGIC: Final = b"HEP3"
_head: Final = struct.Struct("!4sH")
_chunk: Final = struct.Struct("!HHH")
_GENERIC: Final = 0
_UDP: Final = 17
_FAMILIES: Final = {4: 2, 6: 10}
"""AF_INET and AF_INET6 of Linux, by IP version."""


class _Type(enum.IntEnum):
    """Types of generic chunks."""

    FAMILY = 0x01
    PROTOCOL = 0x02
    SOURCE_4 = 0x03
    DESTINATION_4 = 0x04
    SOURCE_6 = 0x05
    DESTINATION_6 = 0x06
    SOURCE_PORT = 0x07
    DESTINATION_PORT = 0x08
    SECONDS = 0x09
    MICROSECONDS = 0x0A
    KIND = 0x0B
    CAPTURE_ID = 0x0C
    KEY = 0x0E
    PAYLOAD = 0x0F
    CORRELATION_ID = 0x11


_SIZES: Final = {
    _Type.FAMILY: 1,
    _Type.PROTOCOL: 1,
    _Type.SOURCE_4: 4,
    _Type.DESTINATION_4: 4,
    _Type.SOURCE_6: 16,
    _Type.DESTINATION_6: 16,
    _Type.SOURCE_PORT: 2,
    _Type.DESTINATION_PORT: 2,
    _Type.SECONDS: 4,
    _Type.MICROSECONDS: 4,
    _Type.KIND: 1,
    _Type.CAPTURE_ID: 4,
}
"""Bytes of the chunks that have a fixed length."""


class PacketKind(enum.IntEnum):
    """Protocol type: what the payload is.

    RTCP_JSON: a packet of RTCP, as JSON.
    LOG: anything, which Homer shows among the logs of a call.
    """

    RTCP_JSON = 5
    LOG = 100


class HepPacket(msgspec.Struct, frozen=True):
    """One packet.

    Attributes:
        kind: protocol type, 0 to 255; see PacketKind.
        source, destination: of what was captured, of one IP version.
        at_us: wall-clock microseconds.
        capture_id: number of the agent, 0 to 2**32 - 1.
        correlation_id: the call-id.
        payload: see PacketKind.
        key: with which the agent shows who it is; b"": none.
    """

    kind: int
    source: Endpoint
    destination: Endpoint
    at_us: int
    capture_id: int
    correlation_id: bytes
    payload: bytes
    key: bytes = b""


def encode_packet(packet: HepPacket) -> bytes:
    """The bytes of a packet.

    Raises:
        ValueError: it is longer than MAX_PACKET_BYTES, or its addresses differ in their IP version.
    """
    source = ipaddress.ip_address(packet.source.address)
    destination = ipaddress.ip_address(packet.destination.address)
    if source.version != destination.version:
        raise ValueError(f"{source} and {destination} are of different IP versions")
    v4 = source.version == 4
    seconds, microseconds = divmod(packet.at_us, 1_000_000)
    chunks = [
        _encode(_Type.FAMILY, _FAMILIES[source.version]),
        _encode(_Type.PROTOCOL, _UDP),
        _encode(_Type.SOURCE_4 if v4 else _Type.SOURCE_6, source.packed),
        _encode(_Type.DESTINATION_4 if v4 else _Type.DESTINATION_6, destination.packed),
        _encode(_Type.SOURCE_PORT, packet.source.port),
        _encode(_Type.DESTINATION_PORT, packet.destination.port),
        _encode(_Type.SECONDS, seconds),
        _encode(_Type.MICROSECONDS, microseconds),
        _encode(_Type.KIND, packet.kind),
        _encode(_Type.CAPTURE_ID, packet.capture_id),
        _encode(_Type.CORRELATION_ID, packet.correlation_id),
        _encode(_Type.PAYLOAD, packet.payload),
    ]
    if packet.key:
        chunks.append(_encode(_Type.KEY, packet.key))
    size = _head.size + sum(map(len, chunks))
    if size > MAX_PACKET_BYTES:
        raise ValueError(f"the packet would have {size} bytes, more than {MAX_PACKET_BYTES}")
    return b"".join((_head.pack(_MAGIC, size), *chunks))


def decode_packet(data: bytes) -> HepPacket:
    """The packet of encode_packet(), or of another agent; chunks of vendors and unknown ones are left out.

    Raises:
        MalformedRequest: it is no packet of HEP 3.
    """
    if len(data) < _head.size:
        raise MalformedRequest(f"HEP: {len(data)} bytes are no packet")
    magic, size = _head.unpack_from(data)
    if magic != _MAGIC or size != len(data):
        raise MalformedRequest(f"HEP: the header says {magic!r} and {size} bytes; there are {len(data)}")
    chunks: dict[int, bytes] = {}
    at = _head.size
    while at < size:
        if at + _chunk.size > size:
            raise MalformedRequest(f"HEP: half a chunk at byte {at}")
        vendor, kind, length = _chunk.unpack_from(data, at)
        if length < _chunk.size or at + length > size:
            raise MalformedRequest(f"HEP: a chunk of {length} bytes at byte {at}")
        if vendor == _GENERIC:
            chunks[kind] = data[at + _chunk.size : at + length]
        at += length
    return _packet_of(chunks)


def _encode(kind: _Type, value: int | bytes) -> bytes:
    data = value.to_bytes(_SIZES[kind], "big") if isinstance(value, int) else value
    try:
        return _chunk.pack(_GENERIC, kind, _chunk.size + len(data)) + data
    except struct.error as exc:
        raise ValueError(f"a chunk of {len(data)} bytes is too long") from exc


def _packet_of(chunks: dict[int, bytes]) -> HepPacket:
    for kind, size in _SIZES.items():
        if kind in chunks and len(chunks[kind]) != size:
            raise MalformedRequest(f"HEP: chunk {kind:#x} has {len(chunks[kind])} bytes, not {size}")

    def number(kind: _Type) -> int:
        return int.from_bytes(chunks.get(kind, b""), "big")

    def endpoint(v4: _Type, v6: _Type, port: _Type) -> Endpoint:
        packed = chunks.get(v4) or chunks.get(v6)
        if packed is None:
            raise MalformedRequest("HEP: an address is missing")
        return Endpoint(str(ipaddress.ip_address(packed)), number(port))

    return HepPacket(
        kind=number(_Type.KIND),
        source=endpoint(_Type.SOURCE_4, _Type.SOURCE_6, _Type.SOURCE_PORT),
        destination=endpoint(_Type.DESTINATION_4, _Type.DESTINATION_6, _Type.DESTINATION_PORT),
        at_us=number(_Type.SECONDS) * 1_000_000 + number(_Type.MICROSECONDS),
        capture_id=number(_Type.CAPTURE_ID),
        correlation_id=chunks.get(_Type.CORRELATION_ID, b""),
        payload=chunks.get(_Type.PAYLOAD, b""),
        key=chunks.get(_Type.KEY, b""),
    )
