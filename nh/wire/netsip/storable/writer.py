"""Writes a Storable image: plain values to the bytes of `nfreeze`."""

import math
from collections.abc import Mapping, Sequence

from nh.wire.netsip.storable import tags


def freeze(value: object, minor: int = tags.MINOR_WRITTEN) -> bytes:
    r"""Write a value as Perl's `nfreeze(\$value)`: an array or hash is behind a reference, a scalar is not.

    Args:
        value: None, bool, int, finite float, bytes, str, and sequences and mappings of them with bytes or
            str as keys. Integers beyond 32 bits and floats are written as decimal strings, booleans as
            Perl's 1 and "", as nfreeze does.
        minor: the minor version that the image claims; 5 or more for a key that is not ASCII.

    Raises:
        TypeError: a value has another type.
        ValueError: a value is nested too deep or not finite.
    """
    out = bytearray((tags.NETWORK_ORDER_2, minor))
    _write(out, value, 0)
    return bytes(out)


def freeze_array(items: Sequence[object]) -> bytes:
    r"""Write an array as Perl's `nfreeze(\@items)`: the array itself is the root. See freeze()."""
    out = bytearray((tags.NETWORK_ORDER_2, tags.MINOR_WRITTEN))
    _write_array(out, items, 0)
    return bytes(out)


def _write(out: bytearray, value: object, depth: int) -> None:
    if depth > tags.MAX_DEPTH:
        raise ValueError(f"storable: nested deeper than {tags.MAX_DEPTH}")
    match value:
        case None:
            out.append(tags.UNDEF)
        case bool():
            _write_string(out, b"1" if value else b"", tags.STRING, tags.LONG_STRING)
        case int():
            _write_int(out, value)
        case float():
            if not math.isfinite(value):
                raise ValueError(f"storable: {value} is not a number that Perl would send")
            _write_string(out, format(value, ".15g").encode(), tags.STRING, tags.LONG_STRING)
        case bytes():
            _write_string(out, value, tags.STRING, tags.LONG_STRING)
        case str():
            _write_string(out, value.encode(), tags.UTF8, tags.LONG_UTF8)
        case Mapping():
            out.append(tags.REFERENCE)
            _write_hash(out, value, depth + 1)
        case Sequence():
            out.append(tags.REFERENCE)
            _write_array(out, value, depth + 1)
        case _:
            raise TypeError(f"storable: no form for {type(value).__name__}")


def _write_int(out: bytearray, value: int) -> None:
    if -128 <= value <= 127:
        out += bytes((tags.BYTE, value + 128))
    elif -(2**31) <= value < 2**31:
        out.append(tags.INT32)
        out += value.to_bytes(4, "big", signed=True)
    else:
        _write_string(out, str(value).encode(), tags.STRING, tags.LONG_STRING)


def _write_string(out: bytearray, raw: bytes, short: int, long: int) -> None:
    out += bytes((short, len(raw))) if len(raw) <= 255 else bytes((long,)) + len(raw).to_bytes(4, "big")
    out += raw


def _write_array(out: bytearray, items: Sequence[object], depth: int) -> None:
    out.append(tags.ARRAY)
    out += len(items).to_bytes(4, "big")
    for item in items:
        _write(out, item, depth + 1)


def _write_hash(out: bytearray, entries: Mapping[object, object], depth: int) -> None:
    flagged = any(isinstance(key, str) and not key.isascii() for key in entries)
    out += bytes((tags.FLAGGED_HASH, 0)) if flagged else bytes((tags.HASH,))
    out += len(entries).to_bytes(4, "big")
    for key, value in entries.items():
        _write(out, value, depth + 1)
        if not isinstance(key, bytes | str):
            raise TypeError(f"storable: a key must be bytes or str, not {type(key).__name__}")
        raw = key.encode() if isinstance(key, str) else key
        if flagged:
            out.append(tags.KEY_UTF8 if isinstance(key, str) and not key.isascii() else 0)
        out += len(raw).to_bytes(4, "big")
        out += raw
