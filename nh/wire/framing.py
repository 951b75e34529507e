"""Frames on a byte stream: a 32-bit big-endian length, then that many bytes of payload.

Both protocols, Net::SIP's and the native one, travel in these frames; the payload's first byte tells them
apart. The module knows neither of them, and no sockets: bytes are fed in as they come.
"""

from typing import Protocol

from nh.errors import MalformedFrame

MAX_FRAME_BYTES = 32_768
"""Longest payload of a request, and of a Net::SIP reply (Net::SIP::NATHelper refuses longer ones)."""

HEADER_BYTES = 4


class Framing(Protocol):
    """What takes a stream apart: Framer, and others for protocols with other frames."""

    @property
    def pending_bytes(self) -> int:
        """How many bytes were fed and not yet taken as frames."""

    def feed(self, data: bytes) -> None:
        """Add what the stream brought, in any portions."""

    def next_frame(self) -> bytes | None:
        """The next payload, None if it is not complete yet; raises MalformedFrame if there can be none."""


class Framer:
    """Cuts a stream into payloads. After every `feed`, take frames until there is none.

    Arguments:
        max_bytes: longest payload to accept.
    """

    __slots__ = ("_buffer", "_max_bytes")

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_bytes

    @property
    def pending_bytes(self) -> int:
        """How many bytes were fed and not yet taken as frames: not 0 at the end is a torn frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add what the stream brought, in any portions."""
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The payload of the next frame, 1 to `max_bytes` bytes, or None if it is not complete yet.

        Raises MalformedFrame as soon as a length of 0 or over the maximum is there, and again whenever it
        is called after that: the stream cannot be followed any more.
        """
        buffer = self._buffer
        if len(buffer) < HEADER_BYTES:
            return None
        size = int.from_bytes(buffer[:HEADER_BYTES], "big")
        if not 1 <= size <= self._max_bytes:
            raise MalformedFrame(f"frame: a length of {size} bytes is not in 1..{self._max_bytes}")
        end = HEADER_BYTES + size
        if len(buffer) < end:
            return None
        payload = bytes(buffer[HEADER_BYTES:end])
        del buffer[:end]
        return payload


def frame(payload: bytes) -> bytes:
    """`payload` with its length in front, ready for the stream."""
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload
