"""Reads a Storable image: the bytes of `nfreeze` to plain values.

Blessed objects, code, regexps, tied values, cycles and native byte order are rejected; no object is ever
instantiated. The values are bounded by the length of the image: a declared size that does not fit in the
remaining bytes is rejected before memory is allocated, nesting is limited, and a value that is referred to
several times counts every time.
"""

import math
import struct
from collections.abc import Callable
from typing import Final, TypeAlias

from nh.errors import MalformedFrame
from nh.wire.netsip.storable import tags

Value: TypeAlias = "bool | int | float | bytes | str | list[Value] | dict[bytes | str, Value] | None"

MAX_EXPANDED_BYTES: Final = 131_072
"""Longest image in bytes, with each back reference written out."""

_CONTAINERS: Final = frozenset({tags.ARRAY, tags.HASH, tags.FLAGGED_HASH})

_REFUSED: Final = {
    6: "a native integer",
    11: "a tied array",
    12: "a tied hash",
    13: "a tied scalar",
    17: "a blessed object",
    18: "a blessed object",
    19: "an object with a hook",
    20: "an overloaded reference",
    26: "code",
    27: "a weak reference",
    28: "a weak reference",
    32: "a regular expression",
}
"""Names of the best known rejected tags, for error messages."""


class _Open:
    """An object that is still being read: a reference to it would be a cycle."""


_OPEN: Final = _Open()


def thaw(data: bytes) -> Value:
    """Read the value of an image of `nfreeze`.

    Args:
        data: the complete image, without a length in front.

    Raises:
        MalformedFrame: the image is outside the subset; the message has the tag and its position.
    """
    if data[:1] != bytes((tags.NETWORK_ORDER_2,)):
        raise MalformedFrame(
            f"storable: byte 0 is {data[:1].hex() or 'missing'}, not 05 (major 2, network order)"
        )
    if len(data) < 3 or data[1] not in tags.MINORS:
        raise MalformedFrame(
            f"storable: byte 1 is {data[1:2].hex() or 'missing'}, no minor version from 4 to 12"
        )
    reader = _Reader(data)
    value = reader.read(0, may_contain=True)
    if reader.pos != len(data):
        raise MalformedFrame(f"storable: {len(data) - reader.pos} bytes too many at byte {reader.pos}")
    return value


class _Reader:
    """Reads one image. `objects` has the objects by Storable's numbers, with their expanded sizes."""

    __slots__ = ("data", "extra_bytes", "objects", "pos")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 2
        self.extra_bytes = 0  # bytes that back references would take if written out
        self.objects: list[tuple[Value | _Open, int]] = []

    def read(self, depth: int, *, may_contain: bool = False) -> Value:
        """Read the object at `pos`; `may_contain` allows arrays and hashes, not only references to them."""
        data, start, extra_before = self.data, self.pos, self.extra_bytes
        # a short string that is whole, as most objects are, without a step for each of its parts
        if start + 1 < len(data) and data[start] == tags.STRING and depth <= tags.MAX_DEPTH:
            end = start + 2 + data[start + 1]
            if end <= len(data):
                text = data[start + 2 : end]
                self.pos = end
                self.objects.append((text, end - start))
                return text
        tag = self.take(1)[0]
        if depth > tags.MAX_DEPTH:
            raise MalformedFrame(f"storable: nested deeper than {tags.MAX_DEPTH} at byte {start}")
        if tag == tags.BACK_REFERENCE:
            return self.back_reference(start)
        parse = _PARSERS.get(tag)
        if parse is None or (tag in _CONTAINERS and not may_contain):
            what = _REFUSED.get(tag, "an array or hash without a reference" if parse else "not in the subset")
            raise MalformedFrame(f"storable: tag {tag:#04x} at byte {start}: {what}")
        # Storable numbers an object before the objects inside of it
        number = len(self.objects)
        self.objects.append((_OPEN, 0))
        value = parse(self, depth)
        self.objects[number] = (value, self.pos - start + self.extra_bytes - extra_before)
        return value

    def back_reference(self, start: int) -> Value:
        number = self.take_u32()
        if number >= len(self.objects):
            raise MalformedFrame(f"storable: byte {start} refers to object {number}, which is not there yet")
        value, size_bytes = self.objects[number]
        if isinstance(value, _Open):
            raise MalformedFrame(f"storable: byte {start} refers to object {number} around it: a cycle")
        self.extra_bytes += size_bytes
        if self.pos + self.extra_bytes > MAX_EXPANDED_BYTES:
            raise MalformedFrame(
                f"storable: at byte {start}, references expand to over {MAX_EXPANDED_BYTES} bytes"
            )
        return value

    def take(self, size: int) -> bytes:
        end = self.pos + size
        if end > len(self.data):
            left = len(self.data) - self.pos
            raise MalformedFrame(f"storable: {size} bytes are needed at byte {self.pos}, {left} are left")
        chunk = self.data[self.pos : end]
        self.pos = end
        return chunk

    def take_u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def take_count(self, least_bytes: int) -> int:
        """A count of entries, each of which takes at least `least_bytes`."""
        count = self.take_u32()
        left = len(self.data) - self.pos
        if count * least_bytes > left:
            raise MalformedFrame(
                f"storable: {count} entries at byte {self.pos - 4}, but {left} bytes are left"
            )
        return count

    def text(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError as exc:
            at = self.pos - len(raw) + exc.start
            raise MalformedFrame(f"storable: text is not UTF-8 at byte {at}") from exc

    def double(self, _depth: int) -> float:
        value = struct.unpack("<d", self.take(8))[0]  # Storable leaves doubles in the host's order
        if not math.isfinite(value):
            raise MalformedFrame(f"storable: the number at byte {self.pos - 8} is {value}")
        return float(value)

    def array(self, depth: int) -> Value:
        return [self.read(depth + 1) for _ in range(self.take_count(1))]

    def hash(self, depth: int) -> Value:
        result: dict[bytes | str, Value] = {}
        for _ in range(self.take_count(5)):
            value = self.read(depth + 1)
            self.put(result, self.take(self.take_u32()), value)
        return result

    def flagged_hash(self, depth: int) -> Value:
        flags = self.take(1)[0]
        if flags & ~tags.RESTRICTED:
            raise MalformedFrame(f"storable: hash flags {flags:#04x} at byte {self.pos - 1}")
        result: dict[bytes | str, Value] = {}
        for _ in range(self.take_count(6)):
            value = self.read(depth + 1)
            flags = self.take(1)[0]
            if flags & ~tags.KEY_FLAGS:
                raise MalformedFrame(f"storable: key flags {flags:#04x} at byte {self.pos - 1}")
            raw = self.take(self.take_u32())
            key: bytes | str = raw
            if flags & tags.KEY_UTF8:
                key = self.text(raw)
            elif flags & tags.KEY_WAS_UTF8:
                key = raw.decode("latin-1")
            if not flags & tags.KEY_PLACEHOLDER:
                self.put(result, raw if raw.isascii() else key, value)
        return result

    def put(self, result: dict[bytes | str, Value], key: bytes | str, value: Value) -> None:
        if key in result:
            raise MalformedFrame(
                f"storable: the key {_shown(key)!r} ends at byte {self.pos} for the second time"
            )
        result[key] = value


def _shown(key: bytes | str) -> str:
    return key[:32].decode("ascii", "backslashreplace") if isinstance(key, bytes) else key[:32]


_PARSERS: Final[dict[int, Callable[[_Reader, int], Value]]] = {
    tags.LONG_STRING: lambda reader, _: reader.take(reader.take_u32()),
    tags.ARRAY: _Reader.array,
    tags.HASH: _Reader.hash,
    tags.REFERENCE: lambda reader, depth: reader.read(depth + 1, may_contain=True),
    tags.UNDEF: lambda _reader, _: None,
    tags.DOUBLE: _Reader.double,
    tags.BYTE: lambda reader, _: reader.take(1)[0] - 128,
    tags.INT32: lambda reader, _: int.from_bytes(reader.take(4), "big", signed=True),
    tags.STRING: lambda reader, _: reader.take(reader.take(1)[0]),
    tags.SV_UNDEF: lambda _reader, _: None,
    tags.SV_YES: lambda _reader, _: True,
    tags.SV_NO: lambda _reader, _: False,
    tags.UTF8: lambda reader, _: reader.text(reader.take(reader.take(1)[0])),
    tags.LONG_UTF8: lambda reader, _: reader.text(reader.take(reader.take_u32())),
    tags.FLAGGED_HASH: _Reader.flagged_hash,
    tags.UNDEF_ELEMENT: lambda _reader, _: None,
    tags.TRUE: lambda _reader, _: True,
    tags.FALSE: lambda _reader, _: False,
}
