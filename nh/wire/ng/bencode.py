"""Bencode (BEP 3) as ng's clients write it: bytes to values, values to bytes.

Kamailio and OpenSIPS write the keys of a dictionary in any order, and may write one twice. Bencode libraries
reject that, or accept it and can be hung by a message: docs/explanation/architecture.md has the comparison.
Decoding does not recurse, stops at MAX_DEPTH, and takes time proportional to the message's length.
"""

import functools
import re
from collections.abc import Callable
from typing import Final

from nh.errors import MalformedRequest

MAX_DEPTH: Final = 16
"""Most lists and dictionaries within each other; ng's own messages have four."""

TOKEN: Final = re.compile(rb"(0|[1-9][0-9]{0,5}):|i(-?[0-9]{1,18})e|[dle]")
STRING, _INTEGER = 1, 2  # groups of TOKEN


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
    at, size, match = 0, len(data), TOKEN.match
    while at < size:
        token = match(data, at)
        if token is None:
            raise MalformedRequest(f"bencode: no value begins at byte {at}")
        at = token.end()
        if token.lastindex == STRING:
            begin, at = at, at + int(token[STRING])
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
