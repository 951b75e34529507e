"""Bencode (BEP 3) as ng's clients write it: bytes to values, values to bytes.

Kamailio and OpenSIPS write the keys of a dictionary in any order, and may write one twice. Bencode libraries
reject that, or accept it and can be hung by a message: docs/explanation/architecture.md has the comparison.
Decoding does not recurse, stops at MAX_DEPTH, and takes time proportional to the message's length.
"""

import functools
import re
from collections.abc import Callable
from typing import Any, Final

from nh.errors import MalformedRequest

MAX_DEPTH: Final = 16
"""Most lists and dictionaries within each other; ng's own messages have four."""

TOKEN: Final = re.compile(rb"(0|[1-9][0-9]{0,5}):|i(-?[0-9]{1,18})e|[dle]")
STRING, _INTEGER = 1, 2  # groups of TOKEN

_ZERO, _NINE, _COLON, _DICTIONARY, _LIST, _END = b"09:dle"

_PREFIX_BYTES: Final = 7
"""Most bytes before a string: the digits of its length and a colon, as in TOKEN."""

_LENGTHS: Final = {b"%d" % length: length for length in range(256)}
"""The lengths of nearly all strings by their digits: a look-up takes less than a check and a conversion."""


def decode(data: bytes) -> object:
    """Decode one message.

    Args:
        data: one value and nothing behind it.

    Returns:
        Dicts with bytes as keys (of equal keys, the last one counts), lists, bytes and ints.

    Raises:
        MalformedRequest: `data` is anything else, or deeper than MAX_DEPTH.
    """
    try:
        return _read(data)
    except (ValueError, IndexError) as exc:  # there is no colon behind what should be a length
        raise MalformedRequest("bencode: a string has no length") from exc


def _read(data: bytes) -> object:
    outer: list[tuple[int, list[object]]] = []  # the containers around the one that is being read
    kind, items = 0, list[object]()
    at, size, index, known = 0, len(data), data.index, _LENGTHS.get
    while at < size:
        first = data[at]
        if _ZERO <= first <= _NINE:  # a string, as nearly all that a message has
            if data[at + 1] == _COLON:  # as most keys have it
                begin = at + 2
                at = begin + first - _ZERO
            else:
                colon = index(b":", at, at + _PREFIX_BYTES)
                digits = data[at:colon]
                begin = colon + 1
                at = begin + (known(digits) or _length(digits))
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
    if outer or len(items) != 1 or at > size:
        raise MalformedRequest(f"bencode: is cut short, or more than one value, in {size} bytes")
    return items[0]


def _length(digits: bytes) -> int:
    """The length of a string that is not among the known ones: two digits or more."""
    if not digits.isdigit() or digits[0] == _ZERO:
        raise MalformedRequest("bencode: a string has no length")
    return int(digits)


def _integer(token: re.Match[bytes]) -> int:
    value = int(token[_INTEGER])
    if b"%d" % value != token[_INTEGER]:
        raise MalformedRequest(f"bencode: the integer at byte {token.start()} has leading zeros")
    return value


def _dictionary(items: list[object]) -> dict[bytes, object]:
    """The dictionary of keys and values in turn."""
    keys: list[Any] = items[::2]
    if len(items) % 2 or not {bytes}.issuperset(map(type, keys)):
        raise MalformedRequest("bencode: a key is not a string, or the last key has no value")
    return dict(zip(keys, items[1::2], strict=True))


def encode(value: object) -> bytes:
    """Encode plain values: dicts with all str or all bytes as keys, lists, str (as UTF-8), bytes and ints.

    The keys of a dictionary are written in order, as strict clients require. Those that are not nh's own
    words are to be bytes.
    """
    parts: list[str] = []
    _add(value, parts.append)
    return "".join(parts).encode("latin-1")


def _add(value: object, add: Callable[[str], None]) -> None:
    """Add the parts of a value, a character for each byte: Python formats text in less time than bytes."""
    if isinstance(value, dict):
        add("d")
        keys = tuple(value)
        is_own = not keys or type(keys[0]) is str
        for key, begin in _keys(keys) if is_own else _in_order(keys):
            item = value[key]
            kind = type(item)
            if kind is int:  # these two without a call, as they are most of a query's reply
                add(f"{begin}i{item}e")
            elif kind is str and item.isascii():
                add(f"{begin}{len(item)}:{item}")
            else:
                add(begin)
                _add(item, add)
        add("e")
    elif isinstance(value, str):
        octets = value if value.isascii() else value.encode().decode("latin-1")
        add(f"{len(octets)}:{octets}")
    elif isinstance(value, list):
        add("l")
        for item in value:
            _add(item, add)
        add("e")
    elif isinstance(value, bytes):
        add(f"{len(value)}:{value.decode('latin-1')}")
    elif isinstance(value, int):
        add(f"i{value:d}e")
    else:
        raise TypeError(f"bencode: {type(value).__name__} has no form")


def _in_order(keys: tuple[str | bytes, ...]) -> list[tuple[str | bytes, str]]:
    """The keys of a dictionary in order, each with its bencode."""
    return [(key, encode(key).decode("latin-1")) for key in sorted(keys)]


_keys: Final = functools.lru_cache(maxsize=256)(_in_order)
"""The same for keys that are nh's own words: a query's reply has dozens of dictionaries with the same few.

Keys of peers, such as tags, are bytes; they are of any length, and come once.
"""
