r"""How numbers are shown, and bytes and texts of peers: on one line, with escapes for what steers a terminal.

Printable UTF-8 stands for itself, a backslash is `\\`, every other byte is `\xNN`. Each bytes value has
exactly one shown form, and nh.cli.calls.call_id reads that form back.
"""

from collections.abc import Sequence
from typing import Final

SHORT_BYTES: Final = 128
"""Most bytes of an identifier in a line of the log or in a message."""


def show_id(identifier: bytes) -> str:
    """The text that stands for `identifier`; printable, on one line."""
    # surrogateescape keeps each byte that is no UTF-8 as one character, and those are not printable
    text = identifier.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_show, text))


def counted(number: int, thing: str) -> str:
    """A number of things: `1 call`, `5 calls`. `thing` is a noun whose plural ends in s."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def show_text(text: str) -> str:
    """Text that a peer sent, in the same form: nothing in it can steer the terminal."""
    return show_id(text.encode("utf-8", "surrogatepass"))


def short_id(identifier: bytes) -> str:
    """The text for `identifier` in logs and messages: SHORT_BYTES bytes of it, and `…` if it has more."""
    if len(identifier) <= SHORT_BYTES:
        return show_id(identifier)
    return show_id(identifier[:SHORT_BYTES]) + "…"


def listed(names: Sequence[str], most_bytes: int) -> str:
    """Names that a text of so many bytes has room for, one at least; `…` stands for those behind them."""
    text = ", ".join(names)
    if len(names) <= 1 or len(text.encode()) <= most_bytes:
        return text
    kept, *others = names
    for name in others:
        longer = f"{kept}, {name}"
        if len(f"{longer}, …".encode()) > most_bytes:
            break
        kept = longer
    return f"{kept}, …"


def escaped(text: str) -> str:
    """A line with text of peers in it, which may be escaped already: only what is not printable changes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _show(char) for char in text)


def _show(char: str) -> str:
    if char == "\\":
        return r"\\"
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
