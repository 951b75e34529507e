"""Ethernet frames with UDP in them, written and read without any of nh's own code."""

import dataclasses
import ipaddress
import struct

from nh.calls.media import Endpoint

ETHERNET = 14
"""Bytes before the IP header."""

PHONES_MAC = bytes.fromhex("020000000001")
"""Of the interface that packets come in on."""

LOOPBACK_MAC = bytes(6)


@dataclasses.dataclass(frozen=True)
class Datagram:
    """A UDP datagram in an IP packet.

    `checksum` is "right", "none" (0, IPv4 only) or "wrong"; `label` is IPv6's flow label.
    """

    source: Endpoint
    target: Endpoint
    payload: bytes
    ttl: int = 64
    tos: int = 0
    label: int = 0
    checksum: str = "right"


def internet_sum(data: bytes) -> int:
    """The ones' complement sum of 16-bit words (RFC 1071), 0 to 0xffff."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def frame_of(datagram: Datagram, *, mac: bytes = PHONES_MAC) -> bytes:
    """The frame that carries the datagram."""
    source = ipaddress.ip_address(datagram.source.address).packed
    target = ipaddress.ip_address(datagram.target.address).packed
    length = 8 + len(datagram.payload)
    ports = struct.pack("!HHH", datagram.source.port, datagram.target.port, length)
    summed = source + target + struct.pack("!IHH", length, 0, 17) + ports + b"\0\0" + datagram.payload
    check = (~internet_sum(summed) & 0xFFFF) or 0xFFFF
    check = {"right": check, "none": 0, "wrong": check ^ 0x0101}[datagram.checksum]
    udp = ports + struct.pack("!H", check) + datagram.payload
    if len(source) == 16:
        first = 6 << 28 | datagram.tos << 20 | datagram.label
        ip = struct.pack("!IHBB", first, length, 17, datagram.ttl) + source + target
        return mac + LOOPBACK_MAC + b"\x86\xdd" + ip + udp
    head = struct.pack("!BBHHHBB", 0x45, datagram.tos, 20 + length, 0x1234, 0x4000, datagram.ttl, 17)
    check = ~internet_sum(head + source + target) & 0xFFFF
    return mac + LOOPBACK_MAC + b"\x08\x00" + head + struct.pack("!H", check) + source + target + udp


def datagram_in(frame: bytes) -> Datagram:
    """What a frame carries. The IPv4 header's checksum must be right."""
    ip = frame[ETHERNET:]
    if frame[12:14] == b"\x86\xdd":
        (first, length) = struct.unpack_from("!IH", ip)
        source, target, udp, ttl = ip[8:24], ip[24:40], ip[40 : 40 + length], ip[7]
        tos, label = first >> 20 & 0xFF, first & 0xFFFFF
    else:
        assert internet_sum(ip[:20]) == 0xFFFF, "the IP header's checksum is wrong"
        (length,) = struct.unpack_from("!H", ip, 2)
        source, target, udp, ttl = ip[12:16], ip[16:20], ip[20:length], ip[8]
        tos, label = ip[1], 0
    ports = struct.unpack_from("!HH", udp)
    summed = internet_sum(source + target + struct.pack("!IHH", len(udp), 0, 17) + udp)
    state = "none" if udp[6:8] == b"\0\0" else "right" if summed == 0xFFFF else "wrong"
    return Datagram(
        Endpoint(str(ipaddress.ip_address(source)), ports[0]),
        Endpoint(str(ipaddress.ip_address(target)), ports[1]),
        udp[8:],
        ttl,
        tos,
        label,
        state,
    )


def changed(frame: bytes, at: int, data: bytes) -> bytes:
    """The frame with other bytes from offset `at` of its IP header on."""
    start = ETHERNET + at
    return frame[:start] + data + frame[start + len(data) :]


def rtp(sequence: int, *, ssrc: int = 1, timestamp: int = 0, payload_type: int = 0, size: int = 160) -> bytes:
    """An RTP packet with `size` bytes of media; numbers wrap around."""
    head = struct.pack("!BBHII", 0x80, payload_type, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    return head + b"\xd5" * size
