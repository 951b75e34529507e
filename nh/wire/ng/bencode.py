"""Bencode as ng's clients write it: by bencode2, with the one thing made right that it is too strict about.

Bencode wants the keys of a dictionary in order, and bencode2 insists on it; Kamailio and OpenSIPS write them
as they come, and may write one twice. So a message is walked through once, its dictionaries are put in order,
and bencode2 reads the outcome. The walk does not recurse and goes no deeper than MAX_DEPTH. Knows nothing of
ng's commands and keys.
"""

import re
from typing import Final

from bencode2 import BencodeDecodeError, bdecode, bencode

from nh.errors import MalformedFrame, MalformedRequest

MAX_DEPTH: Final = 16
"""Most lists and dictionaries within each other; ng's own messages have four."""

MAX_MESSAGE_BYTES: Final = 65_535
"""Longest message, as long as a UDP datagram can be."""

_TOKEN: Final = re.compile(rb"(0|[1-9][0-9]{0,5}):|i-?[0-9]{1,18}e|[dle]")
_LONGEST_TOKEN: Final = len("i-e") + 18

__all__ = ["MAX_DEPTH", "MAX_MESSAGE_BYTES", "MessageEnd", "decode", "encode"]


def encode(value: object) -> bytes:
    """The bencode of plain values: dicts with text or bytes as keys, lists, text, bytes, integers."""
    return bencode(value)


def decode(data: bytes) -> object:
    """The value of a message: dicts with bytes as keys (the last of equal ones), lists, bytes, integers.

    Raises MalformedRequest for anything else, in a time that grows with its length only.
    """
    try:
        return bdecode(_in_order(data))
    except BencodeDecodeError as exc:
        raise MalformedRequest(f"bencode: {exc}") from exc


class _Walk:
    """One list or dictionary that is being walked through: what is in it, in bencode."""

    __slots__ = ("is_dictionary", "key", "pairs", "parts")

    def __init__(self, is_dictionary: bool) -> None:
        self.is_dictionary = is_dictionary
        self.parts: list[bytes] = []
        self.pairs: dict[bytes, bytes] = {}
        self.key: bytes | None = None

    def add(self, token: bytes, text: bytes | None) -> None:
        """One more item; `text` is that of a string, None for all else."""
        if not self.is_dictionary:
            self.parts.append(token)
        elif self.key is not None:
            self.pairs[self.key] = token
            self.key = None
        elif text is not None:
            self.key = text
        else:
            raise MalformedRequest("bencode: a key is no string")

    def render(self) -> bytes:
        """All of it, keys in order."""
        if not self.is_dictionary:
            return b"l%be" % b"".join(self.parts)
        if self.key is not None:
            raise MalformedRequest("bencode: the last key has no value")
        pairs = sorted(self.pairs.items())
        return b"d%be" % b"".join(b"%d:%b%b" % (len(key), key, value) for key, value in pairs)


def _in_order(data: bytes) -> bytes:
    """The same value with the keys of every dictionary in order, each of them once."""
    bottom = _Walk(is_dictionary=False)
    stack = [bottom]
    at = 0
    while at < len(data):
        found = _TOKEN.match(data, at)
        if found is None:
            raise MalformedRequest(f"bencode: no value begins at byte {at}")
        at, token, text = found.end(), found[0], None
        if found[1] is not None:
            end = at + int(found[1])
            if end > len(data):
                raise MalformedRequest(f"bencode: the string at byte {found.start()} is cut short")
            token, text, at = data[found.start() : end], data[at:end], end
        elif token in (b"d", b"l"):
            if len(stack) > MAX_DEPTH:
                raise MalformedRequest(f"bencode: more than {MAX_DEPTH} values within each other")
            stack.append(_Walk(token == b"d"))
            continue
        elif token == b"e":
            if len(stack) == 1:
                raise MalformedRequest(f"bencode: nothing ends at byte {at - 1}")
            token = stack.pop().render()
        stack[-1].add(token, text)
    if len(stack) > 1 or len(bottom.parts) != 1:
        raise MalformedRequest(f"bencode: is cut short, or more than one value, in {len(data)} bytes")
    return bottom.parts[0]


class MessageEnd:
    """Finds where a dictionary in a growing buffer ends, looking at each byte once.

    Arguments:
        at: where it begins.
    """

    __slots__ = ("_at", "_begin", "_depth")

    def __init__(self, at: int) -> None:
        self._begin = self._at = at
        self._depth = 0

    def find(self, buffer: bytes | bytearray) -> int | None:
        """The index behind the dictionary, None while it is not complete.

        Arguments:
            buffer: what has come so far; it may only grow from call to call.

        Raises MalformedFrame as soon as it can be no dictionary, is too deep or too long.
        """
        while self._at < len(buffer):
            found = _TOKEN.match(buffer, self._at)
            if found is None:
                if len(buffer) - self._at < _LONGEST_TOKEN and _may_become_token(buffer[self._at :]):
                    return None
                raise MalformedFrame(f"ng: no bencode at byte {self._at} of the message")
            self._step(found)
            if self._at - self._begin > MAX_MESSAGE_BYTES:
                raise MalformedFrame(f"ng: a message is longer than {MAX_MESSAGE_BYTES} bytes")
            if not self._depth:
                return self._at
        return None

    def _step(self, found: re.Match[bytes]) -> None:
        kind = found[0][:1]
        if not self._depth and kind != b"d":
            raise MalformedFrame("ng: a message is no dictionary")
        if kind in b"dl":
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise MalformedFrame(f"ng: more than {MAX_DEPTH} values within each other")
        elif kind == b"e":
            self._depth -= 1
        self._at = found.end() + int(found[1] or 0)


def _may_become_token(rest: bytes | bytearray) -> bool:
    """Whether bytes at the end of what has come so far may be the beginning of a token."""
    return re.fullmatch(rb"(?:0|[1-9][0-9]{0,5})|i-?[0-9]{0,18}", rest) is not None
