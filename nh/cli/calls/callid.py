r"""How identifiers, which are bytes, are typed, and how JSON has them: in the form of nh.printable."""

import re
from typing import Final

import msgspec

from nh.calls.media import Side
from nh.errors import ConfigError
from nh.printable import show_id

_ESCAPE: Final = re.compile(rb"\\(?:(\\)|x([0-9a-fA-F]{2})|)")


def read_id(text: str) -> bytes:
    r"""The identifier that `text` stands for.

    Args:
        text: as show_id gives it; what is not escaped, printable or not, stands for itself.

    Raises ConfigError for a backslash that begins neither `\\` nor `\xNN`.
    """
    return _ESCAPE.sub(_read, text.encode("utf-8", "surrogateescape"))


def json_text(value: object) -> bytes:
    """`value` as one line of JSON for scripts, with the fields of the native protocol.

    Identifiers have the form that the command line takes.
    """
    return msgspec.json.encode(_plain(value))


def _plain(value: object) -> object:
    match value:
        case bytes():
            return show_id(value)
        case Side():
            return value.name.lower()
        case msgspec.Struct():
            names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
            return {name: _plain(getattr(value, field)) for field, name in names}
        case dict():
            return {name: _plain(part) for name, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case _:
            return value


def _read(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return b"\\"
    if match[2]:
        return bytes.fromhex(match[2].decode())
    raise ConfigError(
        f"{match.string.decode(errors='replace')}: a backslash in an id is written \\\\, any other byte "
        "\\xNN; there is one that begins neither"
    )
