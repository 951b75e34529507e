"""Perl's scalars as the types that commands need: in Perl, numbers and strings are interchangeable.

Every function takes any value, and raises MalformedRequest, which begins with `where`, if it cannot convert
the value.
"""

from typing import Final

from nh.errors import MalformedRequest

_MAX_DIGITS: Final = 10


def to_number(value: object, where: str) -> int:
    """An integer of an integer, a boolean (the result of Perl's comparisons), or decimal digits."""
    if isinstance(value, int):
        return int(value)
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if not isinstance(text, str) or not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS:
        raise MalformedRequest(f"{where}: {_excerpt(value)} is not a number of at most {_MAX_DIGITS} digits")
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
    raise MalformedRequest(f"{where}: {_excerpt(value)} is not a string")


def to_ascii(value: object, where: str) -> str:
    """The text of an ASCII string."""
    octets = to_octets(value, where)
    if not octets.isascii():
        raise MalformedRequest(f"{where}: {_excerpt(value)} is not ASCII")
    return octets.decode("ascii")


def to_display(value: object, where: str) -> str:
    """Any scalar as text for people: undef is empty, bytes that are not UTF-8 are escaped."""
    if value is None:
        return ""
    if isinstance(value, bool | float):
        return format(value, ".15g")
    return to_octets(value, where).decode(errors="backslashreplace")


def _excerpt(value: object) -> str:
    """A scalar, shortened, or the type of anything else, for error messages."""
    if value is None:
        return "undef"
    if isinstance(value, bytes | str):
        return repr(value[:64])
    return repr(value) if isinstance(value, int | float) else type(value).__name__
