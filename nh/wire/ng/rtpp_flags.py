"""Raw flags: the string `rtpp-flags` with which Kamailio passes on the flags of its script.

Words are separated by spaces. A word is a flag, or `key=value`; a value may be a list in brackets. A list may
have lists, and one of `key=[…]` is a dictionary. nh.wire.ng.options knows what the words mean.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Final

_TRANSPORTS: Final = {
    0: b"RTP/AVP",
    1: b"RTP/SAVP",
    2: b"RTP/AVPF",
    3: b"RTP/SAVPF",
    4: b"UDP/TLS/RTP/SAVP",
    6: b"UDP/TLS/RTP/SAVPF",
}
"""By the sum of: 1 for SRTP, 2 for feedback, 4 for DTLS."""

_WHOLE: Final = {name: number for number, name in _TRANSPORTS.items()}
_SET: Final = {b"SRTP": 1, b"AVPF": 2, b"DTLS": 4}
_CLEAR: Final = {b"RTP": 1, b"AVP": 2}
_TOKENS: Final = re.compile(rb"[\[\]]|[^\s\[\]]+")


def split(text: bytes) -> Iterator[tuple[bytes, object]]:
    """Split a raw flags string.

    Yields:
        (flag, None) and (key, value), where a value is bytes, a list or a dictionary, in their order; then
        one `direction` for all `direction=`, and one `transport-protocol` for words such as RTP/SAVP or SRTP.
    """
    transport: int | None = None
    direction: list[object] = []
    for word in _words(text):
        key, equals, value = word.partition(b"=")
        if not equals:
            if (changed := _transport(key, transport)) is not None:
                transport = changed
            elif key in (b"internal", b"external"):
                direction.append(key)
            else:
                yield key, None
        elif value.startswith(b"["):
            yield key, _nested(value)
        elif key == b"direction":
            direction.append(value)
        else:
            yield (key, value) if value else (key, None)
    if direction:
        yield b"direction", direction
    if transport in _TRANSPORTS:
        yield b"transport-protocol", _TRANSPORTS[transport]


def _transport(word: bytes, before: int | None) -> int | None:
    """The transport after `word`; None if the word is not about transports."""
    if word in _WHOLE:
        return _WHOLE[word]
    if word in _SET:
        return (before or 0) | _SET[word]
    if word in _CLEAR:
        return (before or 0) & ~_CLEAR[word]
    return None


def _nested(text: bytes) -> object:
    """The value of a text in brackets; one that is unclosed ends with the text."""
    open_lists: list[list[object]] = [[]]
    for token in _TOKENS.findall(text):
        if token == b"[":
            open_lists.append([])
        elif token != b"]":
            open_lists[-1].append(token)
        elif len(open_lists) > 1:
            _close_list(open_lists)
    while len(open_lists) > 1:
        _close_list(open_lists)
    (values,) = open_lists
    return values[0] if len(values) == 1 else values


def _close_list(open_lists: list[list[object]]) -> None:
    """Put the innermost list into the one around it: as a dictionary, if it has `key=` before a list."""
    closed = open_lists.pop()
    named = {
        before[:-1]: value
        for before, value in itertools.pairwise(closed)
        if isinstance(before, bytes) and before.endswith(b"=") and not isinstance(value, bytes)
    }
    open_lists[-1].append(named or closed)


def _words(text: bytes) -> Iterator[bytes]:
    """The words between spaces outside of brackets; an unclosed bracket ends with the text."""
    word: list[bytes] = []
    depth = 0
    for part in re.split(rb"([\s\[\]])", text):
        depth += (part == b"[") - (part == b"]" and depth > 0)
        if part.isspace() and not depth:
            if word:
                yield b"".join(word)
            word = []
        elif part:
            word.append(part)
    if word:
        yield b"".join(word)
