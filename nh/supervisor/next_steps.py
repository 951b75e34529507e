"""What an operator who starts nh in a terminal can do next."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nh.config import Settings

_COMMANDS: Final = {"stats": "live view", "calls": "the calls", "load": "relay test calls"}
"""What to type first, and what it shows."""


def next_steps(settings: Settings, argv: Sequence[str] | None = None) -> list[str]:
    """Lines below the ready line, for a terminal.

    Args:
        settings: those of the relay.
        argv: the command line of this process; None: sys.argv.
    """
    nh = _command((sys.argv if argv is None else argv)[0])
    where = f" --runtime-dir {shlex.quote(settings.runtime_dir)}" if settings.runtime_dir else ""
    lines = ["In another terminal:"]
    lines += [f"  {nh} {name}{where}  # {what}" for name, what in _COMMANDS.items()]
    if settings.http:
        lines.append(f"The live page: http://{settings.http[0]}/")
    return [*lines, "Ctrl-C ends the relay."]


def _command(program: str) -> str:
    """How a shell in the same directory starts the program that this process was started with."""
    path = Path(program)
    if path.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m {path.parent.name}"
    found = shutil.which(path.name)
    return path.name if found is not None and Path(found).samefile(path) else shlex.quote(program)
