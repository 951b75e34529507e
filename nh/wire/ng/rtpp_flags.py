"""Raw flags: the string `rtpp-flags` with which Kamailio passes on the flags of its script.

Words are separated by spaces. A word is a flag, or `key=value`; a value may be a list in brackets. Brackets
within a list are read as spaces: no option of a relay has a list within a list. nh.wire.ng.options knows what
the words mean.
"""

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
_BRACKETS: Final = re.compile(rb"[\s\[\]]+")


def split(text: bytes) -> Iterator[tuple[bytes, object]]:
    """Split a raw flags string.

    Yields:
        (flag, None) and (key, value), where a value is bytes or a list of bytes, in their order; then one
        `direction` for all `direction=`, and one `transport-protocol` for words such as RTP/SAVP or SRTP.
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
            yield key, [part for part in _BRACKETS.split(value) if part]
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
