"""Frames on a byte stream: a 32-bit big-endian length, then that many bytes of payload.

Net::SIP's and the native protocol use these frames. Knows neither of them, and no sockets: the caller feeds
bytes as they were received.
"""

from typing import Protocol

from nh.errors import MalformedFrame

MAX_FRAME_BYTES = 32_768
"""Longest payload of a request, and of a Net::SIP reply (Net::SIP::NATHelper refuses longer ones)."""

HEADER_BYTES = 4


class Framing(Protocol):
    """Cuts a stream into messages: Framer, and others for protocols with other frames."""

    @property
    def pending_bytes(self) -> int:
        """Bytes that were fed and not yet returned in frames."""

    def feed(self, data: bytes) -> None:
        """Add bytes of the stream, in any portions."""

    def next_frame(self) -> bytes | None:
        """The next payload; None if it is incomplete. Raises MalformedFrame if there can be none."""


class Framer:
    """Cuts a stream into payloads. After every feed(), call next_frame() until it returns None.

    Args:
        max_bytes: longest payload accepted.
    """

    __slots__ = ("_buffer", "_max_bytes")

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_bytes

    @property
    def pending_bytes(self) -> int:
        """Bytes that were fed and not yet returned in frames; at the end of the stream, a partial frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add bytes of the stream, in any portions."""
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The payload of the next frame, 1 to `max_bytes` bytes; None if the frame is incomplete.

        Raises:
            MalformedFrame: a length is 0 or above the maximum; also in every call after that.
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
    """The frame of a payload, for the stream."""
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload
