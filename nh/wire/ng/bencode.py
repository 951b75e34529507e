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

_ZERO, _NINE, _DICTIONARY, _LIST, _END = b"09dle"

_LENGTH_DIGITS: Final = 6
"""Most digits of a string's length, as in TOKEN."""


def decode(data: bytes) -> object:
    """Decode one message.

    Args:
        data: one value and nothing behind it.

    Returns:
        Dicts with bytes as keys (of equal keys, the last one counts), lists, bytes and ints.

    Raises:
        MalformedRequest: `data` is anything else, or deeper than MAX_DEPTH.
    """
    outer: list[tuple[int, list[object]]] = []  # the containers around the one that is being read
    kind, items = 0, list[object]()
    at, size, find = 0, len(data), data.find
    while at < size:
        first = data[at]
        if _ZERO <= first <= _NINE:
            # without TOKEN, which takes twice as long: nearly all that a message has are strings
            colon = find(b":", at, at + _LENGTH_DIGITS + 1)
            digits = data[at:colon]
            if colon < 0 or not digits.isdigit() or (first == _ZERO and colon > at + 1):
                raise MalformedRequest(f"bencode: no value begins at byte {at}")
            begin, at = colon + 1, colon + 1 + int(digits)
            if at > size:
                raise MalformedRequest(f"bencode: the string before byte {begin} is cut short")
            items.append(data[begin:at])
        elif first in (_DICTIONARY, _LIST):
            if len(outer) == MAX_DEPTH:
                raise MalformedRequest(f"bencode: more than {MAX_DEPTH} values within each other")
            outer.append((kind, items))
            kind, items = first, []
            at += 1
        elif first == _END:
            if not outer:
                raise MalformedRequest(f"bencode: nothing ends at byte {at}")
            value = _dictionary(items) if kind == _DICTIONARY else items
            kind, items = outer.pop()
            items.append(value)
            at += 1
        else:
            token = TOKEN.match(data, at)
            if token is None:
                raise MalformedRequest(f"bencode: no value begins at byte {at}")
            items.append(_integer(token))
            at = token.end()
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

    The keys of a dictionary are written in order, as strict clients require. Those that are not nh's own
    words are to be bytes.
    """
    parts: list[bytes] = []
    _add(value, parts.append)
    return b"".join(parts)


def _add(value: object, add: Callable[[bytes], None]) -> None:
    """Add the parts of a value."""
    if isinstance(value, bytes):
        add(b"%d:%b" % (len(value), value))
    elif isinstance(value, str):
        text = value.encode()
        add(b"%d:%b" % (len(text), text))
    elif isinstance(value, int):
        add(b"i%de" % value)
    elif isinstance(value, dict):
        add(b"d")
        keys = tuple(value)
        is_own = not keys or type(keys[0]) is str
        for key, begin in _keys(keys) if is_own else _in_order(keys):
            item = value[key]
            if type(item) is int:  # as most are in a query's reply: a call less for each
                add(b"%bi%de" % (begin, item))
            else:
                add(begin)
                _add(item, add)
        add(b"e")
    elif isinstance(value, list):
        add(b"l")
        for item in value:
            _add(item, add)
        add(b"e")
    else:
        raise TypeError(f"bencode: {type(value).__name__} has no form")


def _in_order(keys: tuple[str | bytes, ...]) -> list[tuple[str | bytes, bytes]]:
    """The keys of a dictionary in order, each with its bencode."""
    return [(key, encode(key)) for key in sorted(keys)]


_keys: Final = functools.lru_cache(maxsize=256)(_in_order)
"""The same for keys that are nh's own words: a query's reply has dozens of dictionaries with the same few.

Keys of peers, such as tags, are bytes; they are of any length, and come once.
"""
