"""The dictionary of an ng message, in bencode or JSON, and its fields.

Clients differ in the spelling of keys and in the types of values, so a Dictionary treats spaces, hyphens and
underscores alike, ignores case, and reads text as an integer and one value as a list of one. A null of JSON
is a field that is missing. Knows no commands.
"""

import enum
import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from nh.errors import MalformedRequest
from nh.wire.ng import bencode


class Encoding(enum.Enum):
    """A message's encoding, known from its first byte; a reply has that of its request."""

    BENCODE = b"d"
    JSON = b"{"


_BENCODE, _JSON = Encoding.BENCODE.value, Encoding.JSON.value

_LINE_END: Final = b"\r\n"
"""What a person at a terminal sends behind a message."""

_MAX_REMEMBERED_BYTES: Final = 512
"""Most characters of a request's keys that are normalized once only."""

NO: Final = frozenset({b"", b"no", b"off", b"false", b"none", b"default", b"disable", b"disabled"})
"""Values with which a client asks for nothing; where no number is meant, so does 0."""

_SPELLING: Final = bytes.maketrans(b" _", b"--")
_decode: Final[Callable[[bytes], str]] = operator.methodcaller("decode", "utf-8", "backslashreplace")
_json_encoder: Final = msgspec.json.Encoder()
_json_decoder: Final = msgspec.json.Decoder(dict[str, object])


def normalize_key(text: bytes) -> bytes:
    """Normalize a key or flag: lower case, words joined by hyphens."""
    return text.translate(_SPELLING).lower()


def _keys(names: Iterable[bytes | str]) -> tuple[bytes, ...]:
    return tuple(
        [
            normalize_key(name if isinstance(name, bytes) else name.encode(errors="surrogatepass"))
            for name in names
        ]
    )


@functools.lru_cache(maxsize=256)  # clients send the same few with each command
def _remembered_keys(names: tuple[bytes | str, ...]) -> tuple[bytes, ...]:
    return _keys(names)


class Dictionary:
    """The fields of a request. Of keys that differ only in spelling, the last one counts.

    Args:
        items: from a decoder; its keys are text or bytes.
    """

    def __init__(self, items: Mapping[bytes, object] | Mapping[str, object]) -> None:
        names: tuple[bytes | str, ...] = tuple(items)
        keys = _remembered_keys(names) if sum(map(len, names)) <= _MAX_REMEMBERED_BYTES else _keys(names)
        fields = zip(keys, items.values(), strict=True)
        if None in items.values():  # which JSON alone has
            self._items: dict[bytes, object] = {key: item for key, item in fields if item is not None}
        else:
            self._items = dict(fields)

    def __iter__(self) -> Iterator[tuple[bytes, object]]:
        return iter(list(self._items.items()))

    def put(self, name: bytes, value: object) -> None:
        """Set a field; replaces one of the same name."""
        self._items[normalize_key(name)] = value

    def find(self, name: bytes) -> bytes:
        """The text of a field as bytes; b"" if it is missing, a list or a dictionary."""
        value = self._items.get(name)
        if type(value) is str:  # as nearly all in JSON are
            return value.encode(errors="surrogatepass")
        return value if isinstance(value, bytes) else _octets(value) or b""

    def has_text(self, name: bytes) -> bool:
        """Whether a field is there as text, which may be empty."""
        return _octets(self._items.get(name)) is not None

    def read_text(self, name: bytes) -> bytes:
        """The text of a field as find() has it.

        Raises:
            MalformedRequest: the field is there, and is not text.
        """
        value = self._items.get(name, b"")
        text = value if isinstance(value, bytes) else _octets(value)
        if text is None:
            raise MalformedRequest(f"Invalid value for '{text_of(name)}': is {_kind_of(value)}, not text")
        return text

    def find_integer(self, name: bytes) -> int | None:
        """The integer of a field, see integer_of(); None if it is missing or empty text."""
        value = self._items.get(name)
        return None if value in (None, "", b"") else integer_of(value, name)


def _octets(value: object) -> bytes | None:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    if isinstance(value, int):  # some JSON encoders write a tag of digits as a number
        return str(int(value)).encode()
    return None


def misfit_of(value: object, *, is_dictionary: bool) -> str:
    """Why a value is neither text nor an integer nor a list of such; "" if it is.

    Args:
        value: of a field.
        is_dictionary: whether it may be a dictionary as well, whatever is in it.
    """
    expected = "a dictionary or a list of words" if is_dictionary else "text or a list of words"
    if isinstance(value, list):
        wrong = next((item for item in value if _octets(item) is None), b"")
        return f"has {_kind_of(wrong)} in its list" if wrong != b"" else ""
    if _octets(value) is not None or (is_dictionary and isinstance(value, dict)):
        return ""
    return f"is {_kind_of(value)}, not {expected}"


def _kind_of(value: object) -> str:
    kinds = {dict: "a dictionary", list: "a list", float: "a fraction", type(None): "null"}
    return kinds.get(type(value), "text")


def items_of(value: object) -> Iterator[tuple[bytes, object]]:
    """The fields of a dictionary, their names normalized; none of another value."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield normalize_key(_octets(name) or b""), item


def words_of(value: object) -> tuple[bytes, ...]:
    """The strings of a list, or those of one string with commas between them; other items are skipped."""
    if isinstance(value, list):
        return strings_of(value)
    return tuple([word for word in (_octets(value) or b"").split(b",") if word])


def strings_of(value: object) -> tuple[bytes, ...]:
    """The strings of a list, or one string as a list of one, whatever is in it; other items are skipped."""
    strings = [_octets(item) for item in value] if isinstance(value, list) else [_octets(value)]
    return tuple([string for string in strings if string])


def normalized_words(value: object) -> Iterator[bytes]:
    """The strings of a list, or one string, each normalized as keys and flags are."""
    return map(normalize_key, words_of(value))


def text_of(value: object) -> str:
    """A value as text, for messages and for fields that are ASCII by definition."""
    return (_octets(value) or b"").decode("utf-8", "backslashreplace")


def integer_of(value: object, name: bytes) -> int:
    """The value of an integer or of its digits.

    Raises:
        MalformedRequest: `value` is neither; the message has the field's `name`.
    """
    if isinstance(value, int):
        return int(value)
    digits = _octets(value) or b""
    if len(digits) <= 19 and digits.removeprefix(b"-").isdigit():
        return int(digits)
    raise MalformedRequest(f"Invalid value for '{text_of(name)}': is not an integer")


def decode(payload: bytes) -> Dictionary:
    """Decode the payload of a request; a line end behind it does not count.

    Raises:
        MalformedRequest: with rtpengine's text.
    """
    first = payload[:1]
    if first == _BENCODE:
        try:
            value = bencode.decode(payload.rstrip(_LINE_END))
        except MalformedRequest as exc:
            raise MalformedRequest("Could not decode bencode dictionary") from exc
        if isinstance(value, dict):
            return Dictionary(value)
    if first == _JSON:
        try:
            return Dictionary(_json_decoder.decode(payload))
        # what msgspec raises for bytes that are not JSON, not UTF-8, or nested too deep
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
            raise MalformedRequest("Failed to parse JSON document") from exc
    raise MalformedRequest("Invalid NG data format" if payload else "Invalid data (no payload)")


def encode(reply: dict[Any, object], encoding: Encoding) -> bytes:
    """Encode a reply's payload.

    Args:
        reply: dicts with text or bytes as keys, lists, text, bytes, integers.
        encoding: that of the request. What comes from peers is as writer_of() has it.
    """
    return bencode.encode(reply) if encoding is Encoding.BENCODE else _json_encoder.encode(reply)


def writer_of(encoding: Encoding) -> Callable[[bytes], bytes | str]:
    """What makes bytes of a peer a value of a reply: bytes in bencode, text in JSON.

    JSON has no bytes: they are decoded as UTF-8, and other bytes become \\xNN.
    """
    return bytes if encoding is Encoding.BENCODE else _decode
