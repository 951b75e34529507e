"""Bundles: media of an end that share one transport (BUNDLE, RFC 9143), and which of them a packet is of.

All media of a bundle come to the port of the first one, the tagged medium, and are sent from there. Its leg
has the transport: the source and the keys. Each medium has its own leg for all else: what it counts, and
where its packets go. No I/O.
"""

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import Final, Generic, NamedTuple, TypeVar

from nh.rtp.packet import RTP_HEADER_BYTES

MAX_MID_BYTES: Final = 255
"""Longest a=mid of a bundled medium: what a header extension has room for (RFC 8285 4.3)."""

TOKEN_ENCODING: Final = "iso-8859-1"
"""How a token of an SDP, as of a=mid, is text: it should be ASCII, and bytes beyond that pass unchanged."""

MAX_SSRCS: Final = 256
"""Most SSRCs of one bundle that are known by their medium; the oldest give way."""

_ONE_BYTE_HEADERS: Final = 0xBEDE
_TWO_BYTE_HEADERS: Final = 0x1000
_HAS_EXTENSION: Final = 0x10
_STOP: Final = 15
_ANY_PAYLOAD_TYPE: Final = frozenset(range(128))
_read_header: Final = Struct("!BB6xI").unpack_from
_read_extension: Final = Struct("!HH").unpack_from


class BundledMedium(NamedTuple):
    """One medium of a bundle.

    Attributes:
        medium: index of its m= line.
        mid: its a=mid, 1 to MAX_MID_BYTES bytes in TOKEN_ENCODING.
        ssrcs: of its a=ssrc.
    """

    medium: int
    mid: str
    ssrcs: tuple[int, ...] = ()


class Bundle(NamedTuple):
    """A bundle, as an SDP of its end describes it.

    Attributes:
        media: the tagged medium first; all media come to the port of that one.
        mid_extension: 1 to 255: the id of the header extension with the mid (RFC 9143 15); 0: there is none.
    """

    media: tuple[BundledMedium, ...]
    mid_extension: int = 0

    def without(self, indexes: Iterable[int]) -> "Bundle":
        """What is left of it without some media; the first that is left is the tagged one."""
        gone = frozenset(indexes)
        return self._replace(media=tuple([each for each in self.media if each.medium not in gone]))


MemberT = TypeVar("MemberT")


class Demultiplexer(Generic[MemberT]):
    """Tells the media of one bundle apart, by the rules of RFC 9143 9.2.

    Args:
        members: the media with what stands for each of them, the tagged one first.
        payload_types: of each medium; () if they are not known.
        mid_extension: see Bundle.
        known: further SSRCs that are known by their member, such as those that packets have shown before.

    Attributes:
        members: see above.
        learned: whether a packet has shown an SSRC since this was set to False.
    """

    __slots__ = (
        "_by_mid",
        "_by_payload_type",
        "_by_ssrc",
        "_mid_extension",
        "_payload_types",
        "learned",
        "members",
    )

    def __init__(
        self,
        members: Sequence[tuple[BundledMedium, MemberT]],
        payload_types: Sequence[Sequence[int]],
        mid_extension: int,
        known: Mapping[int, MemberT] | None = None,
    ) -> None:
        self.members = tuple([member for _, member in members])
        self.learned = False
        self._mid_extension = mid_extension
        self._by_mid = {medium.mid.encode(TOKEN_ENCODING): member for medium, member in members}
        self._by_ssrc: dict[int, MemberT] = {
            ssrc: member for medium, member in members for ssrc in medium.ssrcs[:MAX_SSRCS]
        }
        self._by_ssrc.update(known or {})
        self._payload_types = {
            id(member): frozenset(types) or _ANY_PAYLOAD_TYPE
            for (_, member), types in zip(members, payload_types, strict=True)
        }
        counted: dict[int, list[MemberT]] = {}
        for (_, member), types in zip(members, payload_types, strict=True):
            for number in dict.fromkeys(types):
                counted.setdefault(number, []).append(member)
        self._by_payload_type = {number: found[0] for number, found in counted.items() if len(found) == 1}

    def find(self, packet: memoryview) -> MemberT | None:
        """The medium that a packet of RTP is of; None if it is of none.

        Its mid comes before its SSRC, and that before its payload type.
        """
        if len(packet) < RTP_HEADER_BYTES:
            return None
        first, second, ssrc = _read_header(packet)
        payload_type = second & 0x7F
        known = member = self._by_ssrc.get(ssrc)
        number = self._mid_extension
        mid = read_extension(packet, number) if number and first & _HAS_EXTENSION else None
        if mid is not None:
            member = self._by_mid.get(mid)
        elif known is None:
            member = self._by_payload_type.get(payload_type)
        if member is None or payload_type not in self._payload_types[id(member)]:
            return None
        if member is not known:
            self._learn(ssrc, member)
        return member

    def find_sender(self, ssrc: int) -> MemberT | None:
        """The medium that an SSRC of the end is of."""
        return self._by_ssrc.get(ssrc)

    def discard(self, member: MemberT) -> None:
        """Have a medium no more: what comes of it is of none."""
        self.members = tuple([each for each in self.members if each is not member])
        self._by_mid = {mid: found for mid, found in self._by_mid.items() if found is not member}
        self._by_ssrc = {ssrc: found for ssrc, found in self._by_ssrc.items() if found is not member}
        self._by_payload_type = {
            number: found for number, found in self._by_payload_type.items() if found is not member
        }

    def known(self) -> dict[int, MemberT]:
        """The SSRCs that are known by their medium, the oldest first."""
        return dict(self._by_ssrc)

    def _learn(self, ssrc: int, member: MemberT) -> None:
        self._by_ssrc.pop(ssrc, None)
        if len(self._by_ssrc) >= MAX_SSRCS:
            del self._by_ssrc[next(iter(self._by_ssrc))]
        self._by_ssrc[ssrc] = member
        self.learned = True


def read_extension(packet: memoryview, number: int) -> bytes | None:
    """The first element of a packet's header extension with this id (RFC 8285); None without one.

    Args:
        packet: RTP, of any length.
        number: 1 to 255.
    """
    at = RTP_HEADER_BYTES + 4 * (packet[0] & 0x0F)
    if not packet[0] & _HAS_EXTENSION or len(packet) < at + 4:
        return None
    profile, words = _read_extension(packet, at)
    at += 4
    end = min(at + 4 * words, len(packet))
    if profile == _ONE_BYTE_HEADERS:
        return _find_one_byte(packet, at, end, number) if number < _STOP else None
    if profile & 0xFFF0 == _TWO_BYTE_HEADERS:
        return _find_two_byte(packet, at, end, number)
    return None


def _find_one_byte(packet: memoryview, at: int, end: int, number: int) -> bytes | None:
    """An element by its id (RFC 8285 4.2); zeros are padding, and nothing is read after the id 15."""
    while at < end:
        header = packet[at]
        at += 1
        if not header:
            continue
        behind = at + (header & 0x0F) + 1
        if header >> 4 == number and behind <= end:
            return bytes(packet[at:behind])
        if header >> 4 == _STOP:
            return None
        at = behind
    return None


def _find_two_byte(packet: memoryview, at: int, end: int, number: int) -> bytes | None:
    """The same (RFC 8285 4.3)."""
    while at + 1 < end:
        found, size = packet[at], packet[at + 1]
        if not found:
            at += 1
            continue
        at += 2 + size
        if found == number and at <= end:
            return bytes(packet[at - size : at])
    return None
