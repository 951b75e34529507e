"""Perl's scalars as the types that commands need: in Perl, numbers and strings are interchangeable.

Every function takes any value, and raises MalformedRequest, which begins with `where`, if it cannot convert
the value.
"""

from typing import Final

import msgspec

from nh.errors import MalformedRequest
from nh.printable import short_id

_MAX_DIGITS: Final = 10


def to_number(value: object, where: str) -> int:
    """An integer of an integer, a boolean, decimal digits, or "", which is Perl's false and its 0."""
    if isinstance(value, int):
        return int(value)
    if value in (b"", ""):
        return 0
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if not isinstance(text, str) or not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS:
        raise MalformedRequest(f"{where}: {excerpt(value)} is not a number of at most {_MAX_DIGITS} digits")
    return int(text)


def to_octets(value: object, where: str) -> bytes:
    """The bytes of a string, of text in UTF-8, or of an integer's digits."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as exc:
            raise MalformedRequest(f"{where}: character {exc.start} has no UTF-8") from exc
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value).encode()
    raise MalformedRequest(f"{where}: {excerpt(value)} is not a string")


def to_ascii(value: object, where: str) -> str:
    """The text of an ASCII string."""
    octets = to_octets(value, where)
    if not octets.isascii():
        raise MalformedRequest(f"{where}: {excerpt(value)} is not ASCII")
    return octets.decode("ascii")


def to_unflagged(value: object) -> object:
    """Text as the bytes of the equal string without Perl's UTF-8 flag, if there is one; else `value`.

    For Perl, text of characters up to U+00FF equals the Latin-1 bytes of it, whether it has the flag or not.
    """
    if not isinstance(value, str):
        return value
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value


def to_display(value: object) -> str:
    """Plain data as text for people.

    Args:
        value: of a thawed image.

    Returns:
        A scalar as it is: undef is empty, bytes that are not UTF-8 are escaped. An array or hash as JSON.
    """
    match value:
        case None:
            return ""
        case bool() | float():
            return format(value, ".15g")
        case bytes():
            return value.decode(errors="backslashreplace")
        case list() | dict():
            return msgspec.json.encode(_to_json(value)).decode()
        case _:
            return str(value)


def _to_json(value: object) -> object:
    match value:
        case list():
            return [_to_json(item) for item in value]
        case dict():
            return {to_display(key): _to_json(item) for key, item in value.items()}
        case bytes():
            return to_display(value)
        case _:
            return value


def excerpt(value: object) -> str:
    """A scalar, shortened, or the type of anything else, for error messages."""
    if value is None:
        return "undef"
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return f"'{short_id(value)}'"
    return repr(value) if isinstance(value, int | float) else type(value).__name__
