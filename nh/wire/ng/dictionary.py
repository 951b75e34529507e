"""The dictionary of an ng message, in bencode or JSON, and its fields as ng's clients mean them.

Clients differ in how they spell keys and what types they give values, so a Dictionary takes spaces, hyphens,
underscores and cases alike, text for integers and one value for a list of one. Knows no commands.
"""

import enum
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from nh.errors import MalformedRequest
from nh.wire.ng import bencode


class Encoding(enum.Enum):
    """How a message is written, told by its first byte; a reply is written as its request was."""

    BENCODE = b"d"
    JSON = b"{"


_SPELLING: Final = bytes.maketrans(b" _", b"--")
_json_decoder: Final = msgspec.json.Decoder(dict[str, object])


def normalize_key(text: bytes) -> bytes:
    """A key or a flag in the one spelling that nh looks for: lower case, words joined by hyphens."""
    return text.translate(_SPELLING).lower()


class Dictionary:
    """The fields of a request. Of keys that differ in their spelling only, the last counts.

    Arguments:
        items: what a decoder gave; keys that are neither text nor bytes cannot be there.
    """

    def __init__(self, items: Mapping[Any, object]) -> None:
        self._items = {normalize_key(_octets(key) or b""): value for key, value in items.items()}

    def __iter__(self) -> Iterator[tuple[bytes, object]]:
        return iter(list(self._items.items()))

    def put(self, name: bytes, value: object) -> None:
        """One more field, in place of one of the same name."""
        self._items[normalize_key(name)] = value

    def find(self, name: bytes) -> bytes:
        """The text of a field as bytes; b"" where it is missing, or a list or dictionary."""
        return _octets(self._items.get(name)) or b""

    def find_integer(self, name: bytes) -> int | None:
        """See integer_of; None where it is missing."""
        value = self._items.get(name)
        return None if value is None else integer_of(value, name)


def _octets(value: object) -> bytes | None:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    if isinstance(value, int):  # a tag of digits is a number to some JSON writers
        return str(int(value)).encode()
    return None


def words_of(value: object) -> tuple[bytes, ...]:
    """The strings in a list, or the one string that stands for a list; everything else in it is left out."""
    items = value if isinstance(value, list) else [value]
    words = (_octets(item) for item in items)
    return tuple(word for word in words if word)


def text_of(value: object) -> str:
    """A value as text for people and for fields that are ASCII by their nature."""
    return (_octets(value) or b"").decode("utf-8", "backslashreplace")


def integer_of(value: object, name: bytes) -> int:
    """An integer, or the digits of one.

    Raises MalformedRequest naming the field for anything else.
    """
    if isinstance(value, int):
        return int(value)
    digits = _octets(value) or b""
    if len(digits) <= 19 and digits.removeprefix(b"-").isdigit():
        return int(digits)
    raise MalformedRequest(f"Invalid value for '{text_of(name)}': is no integer")


def decode(payload: bytes) -> Dictionary:
    """The dictionary in the payload of a request.

    Raises MalformedRequest with the text that rtpengine answers.
    """
    first = payload[:1]
    if first == Encoding.BENCODE.value:
        try:
            value = bencode.decode(payload)
        except MalformedRequest as exc:
            raise MalformedRequest("Could not decode bencode dictionary") from exc
        if isinstance(value, dict):
            return Dictionary(value)
    if first == Encoding.JSON.value:
        try:
            return Dictionary(_json_decoder.decode(payload))
        # what msgspec raises for bytes that are no JSON, no UTF-8, or nested too deep
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
            raise MalformedRequest("Failed to parse JSON document") from exc
    raise MalformedRequest("Invalid NG data format" if payload else "Invalid data (no payload)")


def encode(reply: dict[Any, object], encoding: Encoding) -> bytes:
    """A reply's payload.

    Arguments:
        reply: dicts with text or bytes as keys, lists, text, bytes, integers.
        encoding: which the request had. In JSON bytes are their UTF-8; what is none is shown as \\xNN.
    """
    return bencode.encode(reply) if encoding is Encoding.BENCODE else msgspec.json.encode(_to_json(reply))


def _to_json(value: object) -> object:
    # a reading has hundreds of these: what is text already need not be made so
    if isinstance(value, dict):
        return {key if isinstance(key, str) else text_of(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    return text_of(value) if isinstance(value, bytes) else value
