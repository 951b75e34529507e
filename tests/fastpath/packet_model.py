"""What the contract says becomes of any frame, in plain Python: taken or not, and how it looks afterwards.

Checksums are compared as numbers modulo 0xffff, where zero has two forms.
"""

import ipaddress
import struct
from typing import NamedTuple

from tests.fastpath.flows import Relayed
from tests.fastpath.frames import ETHERNET, PHONES_MAC


class Headers(NamedTuple):
    """Where a frame has what; offsets in the frame, `length` of the IP packet."""

    length: int
    ttl_at: int
    addresses_at: int
    address_bytes: int
    udp_at: int


def taken(frame: bytes, relayed: Relayed) -> Headers | None:
    """The headers of a frame that the flow is for, or None."""
    family = struct.unpack_from("!H", frame, 12)[0]
    if frame[:6] != PHONES_MAC or family not in (0x0800, 0x86DD):
        return None
    headers = _ipv4(frame) if family == 0x0800 else _ipv6(frame)
    if headers is None or ETHERNET + headers.length > len(frame):
        return None
    flow = relayed.flow
    expected = (
        ipaddress.ip_address(flow.source.address).packed
        + ipaddress.ip_address(relayed.local.address).packed
        + struct.pack("!HH", flow.source.port, relayed.local.port)
    )
    found = frame[headers.addresses_at : headers.udp_at + 4]
    fits = found == expected and headers.length <= flow.mtu_bytes
    return headers if fits and not (flow.leave_rtcp and _may_be_rtcp(frame, headers)) else None


def _may_be_rtcp(frame: bytes, headers: Headers) -> bool:
    payload = frame[headers.udp_at + 8 : ETHERNET + headers.length]
    return len(payload) < 12 or 192 <= payload[1] <= 223


def _ipv4(frame: bytes) -> Headers | None:
    if len(frame) < ETHERNET + 28:
        return None
    first, _, length, _, fragment, ttl, protocol = struct.unpack_from("!BBHHHBB", frame, ETHERNET)
    udp_length = struct.unpack_from("!H", frame, ETHERNET + 24)[0]
    whole = first == 0x45 and fragment & ~0xC000 == 0 and ttl > 1 and protocol == 17
    if not whole or udp_length < 8 or udp_length + 20 != length:
        return None
    return Headers(length, ETHERNET + 8, ETHERNET + 12, 4, ETHERNET + 20)


def _ipv6(frame: bytes) -> Headers | None:
    if len(frame) < ETHERNET + 48:
        return None
    first, length, protocol, ttl = struct.unpack_from("!BxxxHBB", frame, ETHERNET)
    udp_length, check = struct.unpack_from("!HH", frame, ETHERNET + 44)
    if first >> 4 != 6 or protocol != 17 or ttl <= 1 or check == 0 or udp_length < 8 or udp_length != length:
        return None
    return Headers(length + 40, ETHERNET + 7, ETHERNET + 8, 16, ETHERNET + 40)


def rewritten(frame: bytes, headers: Headers, relayed: Relayed) -> bytes:
    """The frame as it is sent on, with checksums that are as right or wrong as they came."""
    flow = relayed.flow
    new = bytearray(frame)
    new[headers.ttl_at] -= 1
    new[headers.addresses_at : headers.udp_at + 4] = (
        ipaddress.ip_address(flow.out.address).packed
        + ipaddress.ip_address(flow.target.address).packed
        + struct.pack("!HH", flow.out.port, flow.target.port)
    )
    if headers.address_bytes == 4:
        new[ETHERNET + 1] = flow.tos
        _mend(frame, new, ETHERNET + 10, slice(ETHERNET, headers.udp_at))
    else:
        (first,) = struct.unpack_from("!I", frame, ETHERNET)
        struct.pack_into("!I", new, ETHERNET, first & ~(0xFF << 20) | flow.tos << 20)
    if frame[headers.udp_at + 6 : headers.udp_at + 8] != b"\0\0":
        _mend(frame, new, headers.udp_at + 6, slice(headers.addresses_at, headers.udp_at + 4))
    return bytes(new)


def _mend(old: bytes, new: bytearray, at: int, covered: slice) -> None:
    """Makes up in the checksum at `at` for what changed in `covered` (which may hold the checksum itself)."""
    grown = _words(bytes(new[covered])) - _words(old[covered])
    (check,) = struct.unpack_from("!H", old, at)
    struct.pack_into("!H", new, at, (check - grown) % 0xFFFF)


def _words(data: bytes) -> int:
    return sum(struct.unpack(f"!{len(data) // 2}H", data))


def comparable(frame: bytes, checksums_at: tuple[int, ...]) -> bytes:
    """The frame with each checksum in one of its two forms of zero."""
    new = bytearray(frame)
    for at in checksums_at:
        (check,) = struct.unpack_from("!H", frame, at)
        struct.pack_into("!H", new, at, check % 0xFFFF)
    return bytes(new)
