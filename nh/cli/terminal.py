"""What the terminal can show, and what its user wants to see: as rich decides it for its own output."""

import os
from typing import Final

import typer

_DUMB: Final = ("dumb", "unknown")


def is_dumb() -> bool:
    """Whether the terminal moves no cursor and has no colours, such as the shell of an editor ($TERM)."""
    return os.environ.get("TERM", "").lower() in _DUMB


def coloured(text: str, colour: str) -> str:
    """Text in a colour of typer.colors, unless the terminal has none or the user wants none.

    See https://no-color.org. typer.echo() removes colours where no terminal is.
    """
    return text if is_dumb() or os.environ.get("NO_COLOR") else typer.style(text, fg=colour)
