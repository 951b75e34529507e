"""What the container tells the host: lines on its console, where its systemd may say things, too."""

from typing import Final

_MARK: Final = "nh-trial| "


def mark(text: str) -> str:
    """The text as lines that the host knows for the trial's."""
    return "".join(f"{_MARK}{line}\n" for line in text.splitlines())


def told(line: str) -> str | None:
    """What the trial reports in a line of the console; None: the line is of another program."""
    _, found, text = line.rstrip().partition(_MARK)
    return text if found else None
