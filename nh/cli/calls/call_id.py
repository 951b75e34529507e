r"""How identifiers, which are bytes, are typed: in the form of nh.printable."""

import re
from typing import Final

from nh.errors import ConfigError

_ESCAPE: Final = re.compile(rb"\\(?:(\\)|x([0-9a-fA-F]{2})|)")


def read_id(text: str) -> bytes:
    r"""The identifier that `text` stands for.

    Args:
        text: as show_id gives it; what is not escaped, printable or not, stands for itself.

    Raises:
        ConfigError: a backslash begins neither `\\` nor `\xNN`.
    """
    return _ESCAPE.sub(_read, text.encode("utf-8", "surrogateescape"))


def _read(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return b"\\"
    if match[2]:
        return bytes.fromhex(match[2].decode())
    raise ConfigError(
        f"{match.string.decode(errors='replace')}: a backslash in an id is written \\\\, any other byte "
        "\\xNN; there is one that begins neither"
    )
