"""RTCP of a bundle: a compound packet of one end, taken apart by the media that it is about (RFC 9143 9.2).

What an end says of what it sends goes by the SSRC of the sender. What it says of what it receives (report
blocks, feedback) goes by the SSRC that it is about, so each of the other end's media gets what concerns it.
No I/O.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from struct import Struct
from typing import Final, NamedTuple, TypeVar

from nh.rtp.compound import (
    BLOCK_BYTES,
    PAYLOAD_FEEDBACK,
    RECEIVER_REPORT,
    SENDER_BYTES,
    SENDER_REPORT,
    TRANSPORT_FEEDBACK,
    report_blocks,
    split_rtcp,
)

MemberT = TypeVar("MemberT")

MAX_PACKETS: Final = 32
"""Most packets of one compound packet that are looked at; what follows is left out."""

_REPORTS: Final = (SENDER_REPORT, RECEIVER_REPORT)
_REMB: Final = b"REMB"
_read_ssrc: Final = Struct("!I").unpack_from

Find = Callable[[int], MemberT | None]
"""The medium that an SSRC is of."""


class _Packet(NamedTuple):
    """One packet of a compound packet; `sender` is the SSRC that it begins with, None if it has none."""

    kind: int
    sender: int | None
    data: memoryview


def split_compound(
    packet: memoryview, members: Sequence[MemberT], find_sender: Find[MemberT], find_sent: Find[MemberT]
) -> list[tuple[MemberT, memoryview]]:
    """The parts of a compound packet, each with the medium that it is about.

    Args:
        packet: RTCP of any length.
        members: the media, at least one. What is about none of them that is known goes with the first part
            that is, or with the first medium.
        find_sender: whose an SSRC is that the end sends with.
        find_sent: of which medium an SSRC is that the end is sent.
    """
    packets = list(_read(packet))
    pieces = [each for one in packets for each in _pieces(one, find_sender, find_sent)]
    default = next((member for member, _ in pieces if member is not None), members[0])
    by_member: dict[int, tuple[MemberT, list[memoryview]]] = {}
    for member, data in pieces:
        owner = default if member is None else member
        by_member.setdefault(id(owner), (owner, []))[1].append(data)
    if len(by_member) <= 1:
        return [(default, packet)]
    reported = packets[0].kind in _REPORTS
    return [
        (owner, memoryview(b"".join(_with_report(parts, packets[0].data) if reported else parts)))
        for owner, parts in by_member.values()
    ]


def _read(packet: memoryview) -> Iterator[_Packet]:
    """The packets of a compound packet, as far as they are whole."""
    for kind, _, sender, at, end in islice(split_rtcp(packet), MAX_PACKETS):
        yield _Packet(kind, sender, packet[at:end])


def _pieces(
    packet: _Packet, find_sender: Find[MemberT], find_sent: Find[MemberT]
) -> list[tuple[MemberT | None, memoryview]]:
    """A packet with its medium; of a report, the blocks of each medium apart."""
    if packet.sender is None:
        return [(None, packet.data)]
    if packet.kind in _REPORTS:
        return _split_report(packet, find_sender(packet.sender), find_sent)
    if packet.kind in (TRANSPORT_FEEDBACK, PAYLOAD_FEEDBACK):
        for ssrc in _subjects(packet.data):
            if (found := find_sent(ssrc)) is not None:
                return [(found, packet.data)]
    return [(find_sender(packet.sender), packet.data)]


def _split_report(
    packet: _Packet, owner: MemberT | None, find_sent: Find[MemberT]
) -> list[tuple[MemberT | None, memoryview]]:
    """A report of the medium `owner`, with the blocks about each medium apart."""
    blocks: dict[int, tuple[MemberT | None, list[memoryview]]] = {}
    for start in report_blocks(packet.kind, packet.data[0] & 0x1F, 0, len(packet.data)):
        subject = find_sent(_read_ssrc(packet.data, start)[0])
        about = owner if subject is None else subject
        blocks.setdefault(id(about), (about, []))[1].append(packet.data[start : start + BLOCK_BYTES])
    if not blocks or (len(blocks) == 1 and (packet.kind == RECEIVER_REPORT or id(owner) in blocks)):
        return [(next(iter(blocks.values()))[0] if blocks else owner, packet.data)]
    pieces: list[tuple[MemberT | None, memoryview]] = []
    if packet.kind == SENDER_REPORT:
        own = blocks.pop(id(owner), (owner, []))[1]
        pieces.append((owner, _report(packet.kind, packet.data[4:SENDER_BYTES], own)))
    pieces += [(about, _report(RECEIVER_REPORT, packet.data[4:8], own)) for about, own in blocks.values()]
    return pieces


def _report(kind: int, sender: memoryview, blocks: Sequence[memoryview]) -> memoryview:
    """A report of a sender (its SSRC, and of a sender report what follows) with some blocks."""
    body = b"".join([sender, *blocks])
    return memoryview(bytes([0x80 | len(blocks), kind]) + (len(body) // 4).to_bytes(2, "big") + body)


def _subjects(data: memoryview) -> Iterator[int]:
    """The SSRCs that feedback is about: of one stream (RFC 4585 6.1), or of those that REMB lists."""
    if len(data) >= 12:
        yield _read_ssrc(data, 8)[0]
    if len(data) >= 20 and bytes(data[12:16]) == _REMB:
        for at in range(20, min(len(data) - 3, 20 + 4 * data[16]), 4):
            yield _read_ssrc(data, at)[0]


def _with_report(parts: list[memoryview], first: memoryview) -> list[memoryview]:
    """The parts of one medium; they begin with a report, as those of the whole do (RFC 3550 6.1).

    Args:
        first: the report that the whole begins with.
    """
    if parts[0][1] in _REPORTS:
        return parts
    return [_report(RECEIVER_REPORT, first[4:8], ()), *parts]
