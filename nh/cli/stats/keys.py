"""Keys of the live view: how rows are sorted, which are shown, and the end."""

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from nh.cli.stats.rates import Rates, drops, hangs
from nh.stats.layout import ShardState
from nh.stats.reading import ShardReading

Row = tuple[ShardReading, Rates | None]

SORTS: Final[Mapping[str, Callable[[Row], float]]] = {
    "shard": lambda row: row[0].shard,
    "CPU": lambda row: -row[1]["cpu_s"] if row[1] is not None else 0,
    "calls": lambda row: -row[0].calls,
    "packets": lambda row: -row[1]["packets_in"] if row[1] is not None else 0,
    "drops": lambda row: -drops(row[1]) if row[1] is not None else 0,
}
"""The orders of rows by name, the first is the usual one; in all others the largest value comes first."""


@dataclass(slots=True)
class Choice:
    """What the operator has chosen by keys.

    Attributes:
        sort: a name in SORTS.
        only_unwell: show only shards that are not up, hang, drop packets or have been restarted.
        ended: whether to end.
    """

    sort: str = "shard"
    only_unwell: bool = False
    ended: bool = False

    def press(self, key: str) -> None:
        """A key was pressed; keys without a meaning do nothing."""
        names = list(SORTS)
        if key in ("q", "Q", "\x1b"):
            self.ended = True
        elif key == "s":
            self.sort = names[(names.index(self.sort) + 1) % len(names)]
        elif key == "S":
            self.sort = names[names.index(self.sort) - 1]
        elif key == "f":
            self.only_unwell = not self.only_unwell

    def rows(self, rows: list[Row]) -> list[Row]:
        """The rows to show, in their order."""
        shown = [row for row in rows if _is_unwell(*row)] if self.only_unwell else rows
        return sorted(shown, key=SORTS[self.sort])

    @property
    def legend(self) -> str:
        """One line about the keys."""
        shown = "unwell" if self.only_unwell else "all"
        return f"q quit · s sort: {self.sort} · f filter: {shown}"


def _is_unwell(shard: ShardReading, rates: Rates | None) -> bool:
    return (
        shard.state is not ShardState.UP
        or hangs(shard)
        or bool(shard.restarts)
        or (rates is not None and drops(rates) > 0)
    )


@contextlib.contextmanager
def keys_of_terminal() -> Iterator[Callable[[float], str]]:
    """Within the block standard input gives single keys; gives a function that waits for the next one.

    The function takes seconds and returns a key, "" if none came in that time. Without a terminal on standard
    input it only waits.
    """
    if not sys.stdin.isatty():
        yield _wait
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)  # Ctrl-C still interrupts
    try:
        yield lambda seconds: _next_key(fd, seconds)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _wait(seconds: float) -> str:
    time.sleep(seconds)
    return ""


def _next_key(fd: int, seconds: float) -> str:
    readable, _, _ = select.select([fd], [], [], max(0.0, seconds))
    if not readable:
        return ""
    data = os.read(fd, 32)
    if not data:  # the terminal is gone
        return "q"
    # an arrow key or the like comes as several bytes, and has no meaning here
    return data.decode("ascii", "replace") if len(data) == 1 else ""
