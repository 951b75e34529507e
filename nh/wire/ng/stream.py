"""Messages of ng out of a byte stream: `cookie SP dictionary` in bencode, one directly behind the other.

A message has no length in front: it ends where its dictionary ends. Same contract as nh.wire.framing.Framer.
"""

import re
from typing import Final

from nh.errors import MalformedFrame
from nh.wire.ng.bencode import MAX_DEPTH, STRING, TOKEN
from nh.wire.ng.requests import MAX_COOKIE_BYTES

MAX_MESSAGE_BYTES: Final = 65_535
"""Longest message in bytes: the longest UDP datagram."""

_DICTIONARY: Final = ord("d")

_DEPTHS: Final = {b"d": 1, b"l": 1, b"e": -1}

_LONGEST_TOKEN: Final = len("i-e") + 18

_BETWEEN: Final = b"\r\n"
"""What a person at a terminal types between messages; skipped."""


class NgFramer:
    """Cuts one stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._end: MessageEnd | None = None

    @property
    def pending_bytes(self) -> int:
        """Bytes that were fed and not yet returned in messages."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add bytes of the stream, in any portions."""
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The next complete message, cookie and all; None if it is incomplete.

        Raises:
            MalformedFrame: the stream cannot be followed any further.
        """
        if self._end is None:
            self._begin()
        if self._end is None or (end := self._end.find(self._buffer)) is None:
            return None
        message = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._end = None
        return message

    def _begin(self) -> None:
        while self._buffer and self._buffer[0] in _BETWEEN:
            del self._buffer[0]
        space = self._buffer.find(b" ", 0, MAX_COOKIE_BYTES + 1)
        if space > 0:
            self._end = MessageEnd(space + 1)
        elif space == 0 or len(self._buffer) > MAX_COOKIE_BYTES:
            raise MalformedFrame(
                f"ng: a message does not begin with a cookie of at most {MAX_COOKIE_BYTES} bytes and a space"
            )


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
        at, depth = self._at, self._depth
        if not depth and at < len(buffer) and buffer[at] != _DICTIONARY:
            raise MalformedFrame("ng: a message is not a dictionary")
        longest = self._begin + MAX_MESSAGE_BYTES
        stop = min(len(buffer), longest + 1)
        while at < stop:
            token = TOKEN.match(buffer, at)
            if token is None:
                if len(buffer) - at < _LONGEST_TOKEN and _may_become_token(buffer[at:]):
                    break
                raise MalformedFrame(f"ng: no bencode at byte {at} of the message")
            at = token.end()
            if length := token[STRING]:  # as nearly all tokens are
                at += int(length)
                continue
            depth += _DEPTHS.get(token[0], 0)
            if depth > MAX_DEPTH:
                raise MalformedFrame(f"ng: more than {MAX_DEPTH} values within each other")
            if not depth:
                break
        if at > longest:
            raise MalformedFrame(f"ng: a message is longer than {MAX_MESSAGE_BYTES} bytes")
        self._at, self._depth = at, depth
        return at if at > self._begin and not depth else None


def _may_become_token(rest: bytes | bytearray) -> bool:
    """Whether the last bytes received may be the beginning of a token."""
    return re.fullmatch(rb"(?:0|[1-9][0-9]{0,5})|i-?[0-9]{0,18}", rest) is not None
