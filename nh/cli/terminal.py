"""What the terminal can show, and what its user wants to see: as rich decides it for its own output."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
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


def tell(text: str | bytes, *, err: bool = False) -> None:
    """Print what a command has done, or what its exit status says, too.

    A reader that has gone, such as `true` behind a pipe, changes neither: the command goes on.
    """
    try:
        typer.echo(text, err=err)
    except BrokenPipeError:
        stream = sys.stderr if err else sys.stdout
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # what is in the buffer would fail again at the end
        os.close(nowhere)


@contextlib.contextmanager
def outlived(what: str) -> Iterator[None]:
    """Say on Ctrl-C that what a command has begun goes on in nh, and where its outcome is seen."""
    try:
        yield
    except KeyboardInterrupt:
        tell(f"nh: only this command has ended: {what}", err=True)
        raise


class _Terminated(BaseException):
    """SIGTERM has come; as KeyboardInterrupt it is no error that anything handles."""


@contextlib.contextmanager
def unwound_by_sigterm() -> Iterator[None]:
    """Let SIGTERM leave the block as an exception, and then end the process as ever.

    For blocks that change the terminal: without it, `timeout 60 nh stats` would leave a shell that has no
    cursor and shows nothing of what is typed.
    """

    def terminate(_signum: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except _Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
