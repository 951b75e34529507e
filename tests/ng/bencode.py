"""Bencode as the SIP modules write it, with nothing of nh's own codec.

Keys go out in the order in which they were put in: neither SIP module sorts them.
"""

from typing import Any


def bencode(value: object) -> bytes:
    """Dictionaries, lists, integers, text and bytes."""
    match value:
        case dict():
            return b"d" + b"".join(bencode(key) + bencode(item) for key, item in value.items()) + b"e"
        case list() | tuple():
            return b"l" + b"".join(map(bencode, value)) + b"e"
        case int():
            return b"i%de" % value
        case str():
            return bencode(value.encode())
        case bytes():
            return b"%d:%s" % (len(value), value)
    raise TypeError(f"bencode has no {type(value)}")


def bdecode(data: bytes) -> Any:
    """The one value in `data`; strings are decoded as latin-1, so that no byte is lost."""
    value, end = _read(data, 0)
    assert end == len(data), f"more behind it: {data[end:]!r}"
    return value


def _read(data: bytes, at: int) -> tuple[Any, int]:
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = _read(data, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2], strict=True))), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode("latin-1"), end
