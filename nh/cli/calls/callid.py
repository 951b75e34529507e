r"""How identifiers, which are bytes, are shown and typed: as text, with escapes for what text cannot show.

Printable UTF-8 stands for itself, a backslash is `\\`, every other byte is `\xNN`. Each bytes value has
exactly one shown form, and reading that form gives the bytes back.
"""

import re
from typing import Final

import msgspec

from nh.errors import ConfigError

_ESCAPE: Final = re.compile(rb"\\(?:(\\)|x([0-9a-fA-F]{2})|)")


def show_id(identifier: bytes) -> str:
    """The text that stands for `identifier`; printable, on one line."""
    # surrogateescape keeps each byte that is no UTF-8 as one character, and those are not printable
    return "".join(_show(char) for char in identifier.decode("utf-8", "surrogateescape"))


def show_text(text: str) -> str:
    """Text that a peer sent, in the same form: nothing in it can steer the terminal."""
    return show_id(text.encode("utf-8", "surrogatepass"))


def read_id(text: str) -> bytes:
    r"""The identifier that `text` stands for.

    Args:
        text: as show_id gives it; what is not escaped, printable or not, stands for itself.

    Raises ConfigError for a backslash that begins neither `\\` nor `\xNN`.
    """
    return _ESCAPE.sub(_read, text.encode("utf-8", "surrogateescape"))


def json_text(value: object) -> bytes:
    """`value` as one line of JSON for scripts: identifiers have the form that the command line takes."""
    return msgspec.json.encode(_plain(msgspec.to_builtins(value, builtin_types=(bytes,))))


def _plain(value: object) -> object:
    match value:
        case bytes():
            return show_id(value)
        case dict():
            return {name: _plain(part) for name, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case _:
            return value


def _show(char: str) -> str:
    if char == "\\":
        return r"\\"
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def _read(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return b"\\"
    if match[2]:
        return bytes.fromhex(match[2].decode())
    raise ConfigError(
        f"{match.string.decode(errors='replace')}: a backslash in an id is written \\\\, any other byte "
        "\\xNN; there is one that begins neither"
    )
