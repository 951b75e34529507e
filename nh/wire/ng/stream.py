"""Messages of ng out of a byte stream: `cookie SP dictionary` in bencode, one right behind the other.

No length is told: where a message ends is where its dictionary does. Same contract as nh.wire.framing.Framer.
"""

from typing import Final

from nh.errors import MalformedFrame
from nh.wire.ng.bencode import MessageEnd
from nh.wire.ng.requests import MAX_COOKIE_BYTES

_BETWEEN: Final = b"\r\n"
"""What a person at a terminal puts between messages."""


class NgFramer:
    """The messages of one stream."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._end: MessageEnd | None = None

    @property
    def pending_bytes(self) -> int:
        """How many bytes wait for the rest of their message."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The next whole message with its cookie, None if it has not come yet.

        Raises MalformedFrame as soon as there can be none: the stream cannot be followed any more.
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
                f"ng: a message begins with no cookie of at most {MAX_COOKIE_BYTES} bytes and a space"
            )
