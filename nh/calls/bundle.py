"""Bundles: media of an end that share one transport (BUNDLE, RFC 9143), and which of them a packet is of.

All media of a bundle come to the port of the first one, the tagged medium, and are sent from there. Its leg
has the transport: the source and the keys. Each medium has its own leg for all else: what it counts, and
where its packets go. No I/O.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Final, Generic, NamedTuple, TypeVar

MAX_MID_BYTES: Final = 255
"""Longest a=mid of a bundled medium: what a header extension has room for (RFC 8285 4.3)."""

MAX_SSRCS: Final = 256
"""Most SSRCs of one bundle that are known by their medium; the oldest give way."""

_RTP_BYTES: Final = 12
_ONE_BYTE_HEADERS: Final = 0xBEDE
_TWO_BYTE_HEADERS: Final = 0x1000
_read_ssrc: Final = Struct("!I").unpack_from
_read_extension: Final = Struct("!HH").unpack_from


class BundledMedium(NamedTuple):
    """One medium of a bundle.

    Attributes:
        medium: index of its m= line.
        mid: its a=mid, 1 to MAX_MID_BYTES bytes.
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
        learnt: whether a packet has shown an SSRC since this was set to False.
    """

    __slots__ = (
        "_by_mid",
        "_by_payload_type",
        "_by_ssrc",
        "_mid_extension",
        "_payload_types",
        "learnt",
        "members",
    )

    def __init__(
        self,
        members: Sequence[tuple[BundledMedium, MemberT]],
        payload_types: Sequence[Sequence[int]],
        mid_extension: int = 0,
        known: Mapping[int, MemberT] | None = None,
    ) -> None:
        self.members = tuple([member for _, member in members])
        self.learnt = False
        self._mid_extension = mid_extension
        self._by_mid = {medium.mid.encode("ascii", "backslashreplace"): member for medium, member in members}
        self._by_ssrc: dict[int, MemberT] = {
            ssrc: member for medium, member in members for ssrc in medium.ssrcs[:MAX_SSRCS]
        }
        self._by_ssrc.update(known or {})
        self._payload_types = {
            id(member): frozenset(types) for (_, member), types in zip(members, payload_types, strict=True)
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
        if len(packet) < _RTP_BYTES:
            return None
        (ssrc,) = _read_ssrc(packet, 8)
        payload_type = packet[1] & 0x7F
        known = member = self._by_ssrc.get(ssrc)
        mid = read_extension(packet, self._mid_extension) if self._mid_extension else None
        if mid is not None:
            member = self._by_mid.get(mid)
        elif known is None:
            member = self._by_payload_type.get(payload_type)
        if member is None or not self._may_send(member, payload_type):
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
        self.learnt = True

    def _may_send(self, member: MemberT, payload_type: int) -> bool:
        types = self._payload_types[id(member)]
        return not types or payload_type in types


def read_extension(packet: memoryview, number: int) -> bytes | None:
    """The first element of a packet's header extension with this id (RFC 8285); None without one.

    Args:
        packet: RTP, of any length.
        number: 1 to 255.
    """
    at = _RTP_BYTES + 4 * (packet[0] & 0x0F)
    if not packet[0] & 0x10 or len(packet) < at + 4:
        return None
    profile, words = _read_extension(packet, at)
    data = packet[at + 4 : at + 4 + 4 * words]
    if profile == _ONE_BYTE_HEADERS:
        elements = _one_byte_elements(data)
    elif profile & 0xFFF0 == _TWO_BYTE_HEADERS:
        elements = _two_byte_elements(data)
    else:
        return None
    return next((bytes(value) for found, value in elements if found == number), None)


def _one_byte_elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Ids and values (RFC 8285 4.2); zeros are padding, and nothing is read after the id 15."""
    at = 0
    while at < len(data) and data[at] >> 4 != 15:
        size = (data[at] & 0x0F) + 1
        if data[at] and at + 1 + size <= len(data):
            yield data[at] >> 4, data[at + 1 : at + 1 + size]
        at += 1 + size if data[at] else 1


def _two_byte_elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The same (RFC 8285 4.3)."""
    at = 0
    while at + 1 < len(data):
        size = data[at + 1]
        if data[at] and at + 2 + size <= len(data):
            yield data[at], data[at + 2 : at + 2 + size]
        at += 2 + size if data[at] else 1
