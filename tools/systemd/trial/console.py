"""What the container tells the host: lines on its console, where its systemd may say things, too."""

from typing import Final, NamedTuple

MAX_SHOWN: Final = 30
"""Where all streams stand still, one line of each says no more than some."""

_MARK: Final = "nh-trial| "


def mark(text: str) -> str:
    """The text as lines that the host knows for the trial's."""
    return "".join(f"{_MARK}{line}\n" for line in text.splitlines())


def told(line: str) -> str | None:
    """What the trial reports in a line of the console; None: the line is of another program."""
    _, found, text = line.rstrip().partition(_MARK)
    return text if found else None


class Seen(NamedTuple):
    """What came of a scenario.

    Args:
        said: what was seen.
        failures: what was not as promised.
    """

    said: str
    failures: list[str]


def report(name: str, promised: str, seen: Seen, took_s: float) -> None:
    """Print a scenario and what came of it."""
    tell(f"{'NOT SO' if seen.failures else 'ok'}  {name} ({took_s:.0f} s)")
    tell(f"    promised: {promised}")
    if seen.said:
        tell(f"    seen: {seen.said}")
    for failure in seen.failures[:MAX_SHOWN]:
        tell(f"    NOT SO: {failure}")
    if len(seen.failures) > MAX_SHOWN:
        tell(f"    NOT SO: and {len(seen.failures) - MAX_SHOWN} more")


def tell(text: str) -> None:
    """Print it as a report of the trial."""
    print(mark(text), end="", flush=True)
