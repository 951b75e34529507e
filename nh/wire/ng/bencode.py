"""Bencode (BEP 3) as ng's clients write it, without I/O: encode, decode, find the end of a message.

Kamailio and OpenSIPS write the keys of a dictionary in any order, and may write one twice. Bencode libraries
reject that, or accept it and can be hung by a message: docs/explanation/architecture.md has the comparison.
Decoding does not recurse, stops at MAX_DEPTH, and takes time proportional to the message's length.
"""

import functools
import re
from collections.abc import Callable
from typing import Final

from nh.errors import MalformedFrame, MalformedRequest

MAX_DEPTH: Final = 16
"""Most lists and dictionaries within each other; ng's own messages have four."""

MAX_MESSAGE_BYTES: Final = 65_535
"""Longest message in bytes: the longest UDP datagram."""

_TOKEN: Final = re.compile(rb"(0|[1-9][0-9]{0,5}):|i(-?[0-9]{1,18})e|[dle]")
_LONGEST_TOKEN: Final = len("i-e") + 18
_STRING, _INTEGER = 1, 2  # groups of _TOKEN


def decode(data: bytes) -> object:
    """Decode one message.

    Args:
        data: one value and nothing behind it.

    Returns:
        Dicts with bytes as keys (of equal keys, the last one counts), lists, bytes and ints.

    Raises:
        MalformedRequest: `data` is anything else, or deeper than MAX_DEPTH.
    """
    outer: list[tuple[bytes, list[object]]] = []  # the containers around the one that is being read
    kind, items = b"", list[object]()
    at, size, match = 0, len(data), _TOKEN.match
    while at < size:
        token = match(data, at)
        if token is None:
            raise MalformedRequest(f"bencode: no value begins at byte {at}")
        at = token.end()
        if token.lastindex == _STRING:
            begin, at = at, at + int(token[_STRING])
            if at > size:
                raise MalformedRequest(f"bencode: the string at byte {token.start()} is cut short")
            items.append(data[begin:at])
        elif token.lastindex == _INTEGER:
            items.append(_integer(token))
        elif token[0] != b"e":
            if len(outer) == MAX_DEPTH:
                raise MalformedRequest(f"bencode: more than {MAX_DEPTH} values within each other")
            outer.append((kind, items))
            kind, items = token[0], []
        elif outer:
            value = _dictionary(items) if kind == b"d" else items
            kind, items = outer.pop()
            items.append(value)
        else:
            raise MalformedRequest(f"bencode: nothing ends at byte {at - 1}")
    if outer or len(items) != 1:
        raise MalformedRequest(f"bencode: is cut short, or more than one value, in {size} bytes")
    return items[0]


def _integer(token: re.Match[bytes]) -> int:
    value = int(token[_INTEGER])
    if b"%d" % value != token[_INTEGER]:
        raise MalformedRequest(f"bencode: the integer at byte {token.start()} has leading zeros")
    return value


def _dictionary(items: list[object]) -> dict[bytes, object]:
    """The dictionary of keys and values in turn."""
    keys = [key for key in items[::2] if isinstance(key, bytes)]
    if len(keys) * 2 != len(items):
        raise MalformedRequest("bencode: a key is not a string, or the last key has no value")
    return dict(zip(keys, items[1::2], strict=True))


def encode(value: object) -> bytes:
    """Encode plain values: dicts with all str or all bytes as keys, lists, str (as UTF-8), bytes and ints.

    The keys of a dictionary are written in order, as strict clients require.
    """
    parts: list[bytes] = []
    _write(value, parts.append)
    return b"".join(parts)


def _write(value: object, write: Callable[[bytes], None]) -> None:
    match value:
        case str():
            write(_string(value.encode()))
        case bytes():
            write(_string(value))
        case int():
            write(b"i%de" % value)
        case dict():
            write(b"d")
            for key in sorted(value):
                write(_key(key))
                _write(value[key], write)
            write(b"e")
        case list():
            write(b"l")
            for item in value:
                _write(item, write)
            write(b"e")
        case _:
            raise TypeError(f"bencode: {type(value).__name__} has no form")


def _string(value: bytes) -> bytes:
    return b"%d:%b" % (len(value), value)


@functools.lru_cache(maxsize=256)  # a query's reply has hundreds of keys out of some thirty
def _key(key: str | bytes) -> bytes:
    return _string(key.encode() if isinstance(key, str) else key)


class MessageEnd:
    """Finds the end of a dictionary in a growing buffer, looking at each byte once.

    Args:
        at: index in the buffer at which the dictionary begins.
    """

    __slots__ = ("_at", "_begin", "_depth")

    def __init__(self, at: int) -> None:
        self._begin = self._at = at
        self._depth = 0

    def find(self, buffer: bytes | bytearray) -> int | None:
        """The index behind the dictionary; None while it is incomplete.

        Args:
            buffer: what was received so far; between calls it may only grow at its end.

        Raises:
            MalformedFrame: what was received cannot become a dictionary, or is too deep or too long.
        """
        while self._at < len(buffer):
            token = _TOKEN.match(buffer, self._at)
            if token is None:
                if len(buffer) - self._at < _LONGEST_TOKEN and _may_become_token(buffer[self._at :]):
                    return None
                raise MalformedFrame(f"ng: no bencode at byte {self._at} of the message")
            self._step(token)
            if self._at - self._begin > MAX_MESSAGE_BYTES:
                raise MalformedFrame(f"ng: a message is longer than {MAX_MESSAGE_BYTES} bytes")
            if not self._depth:
                return self._at
        return None

    def _step(self, token: re.Match[bytes]) -> None:
        kind = token[0][:1]
        if not self._depth and kind != b"d":
            raise MalformedFrame("ng: a message is not a dictionary")
        if kind in b"dl":
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise MalformedFrame(f"ng: more than {MAX_DEPTH} values within each other")
        elif kind == b"e":
            self._depth -= 1
        self._at = token.end() + int(token[_STRING] or 0)


def _may_become_token(rest: bytes | bytearray) -> bool:
    """Whether the last bytes received may be the beginning of a token."""
    return re.fullmatch(rb"(?:0|[1-9][0-9]{0,5})|i-?[0-9]{0,18}", rest) is not None
