"""Bencode (BEP 3) as ng's clients write it: bytes to values, values to bytes.

Kamailio and OpenSIPS write the keys of a dictionary in any order, and may write one twice. Bencode libraries
reject that, or accept it and can be hung by a message: docs/explanation/architecture.md has the comparison.
Decoding does not recurse, stops at MAX_DEPTH, and takes time proportional to the message's length.
"""

import functools
import re
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
    return b"".join(_parts(value, []))


def _parts(value: object, parts: list[bytes]) -> list[bytes]:
    """Append the parts of a value to `parts`."""
    if isinstance(value, str):
        value = value.encode()
        parts.append(b"%d:%b" % (len(value), value))
    elif isinstance(value, int):
        parts.append(b"i%de" % value)
    elif isinstance(value, dict):
        parts.append(b"d")
        for key, begin in _keys(tuple(value)):
            parts.append(begin)
            _parts(value[key], parts)
        parts.append(b"e")
    elif isinstance(value, list):
        parts.append(b"l")
        for item in value:
            _parts(item, parts)
        parts.append(b"e")
    elif isinstance(value, bytes):
        parts.append(b"%d:%b" % (len(value), value))
    else:
        raise TypeError(f"bencode: {type(value).__name__} has no form")
    return parts


@functools.lru_cache(maxsize=256)  # a query's reply has dozens of dictionaries with the same few sets of keys
def _keys(keys: tuple[str | bytes, ...]) -> list[tuple[str | bytes, bytes]]:
    """The keys of a dictionary in order, each with its bencode."""
    return [(key, encode(key)) for key in sorted(keys)]
