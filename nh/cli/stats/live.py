"""The three outputs of `nh stats`: a picture refreshed in place, one picture, JSON."""

import os
import time
from collections.abc import Callable
from typing import Final

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from nh.cli.stats.counters import counters_table
from nh.cli.stats.keys import Choice, keys_of_terminal
from nh.cli.stats.rates import Meter
from nh.cli.stats.series import Series
from nh.cli.stats.view import StatsView
from nh.cli.stats.watch import Watch
from nh.cli.terminal import unwound_by_sigterm

__all__ = ["Watch", "print_json", "print_once", "show"]

_SIGNAL_S: Final = 0.5
"""Python may enter a system call with a signal that it has not handled yet: no wait for a key is longer."""

_WIDE: Final = 200
"""Columns of a picture that no terminal shows."""


def show(watch: Watch, interval_s: float) -> None:
    """Draw the picture anew every `interval_s` seconds and with each key, until q or KeyboardInterrupt."""
    meter, packets, calls, choice = Meter(), Series(), Series(), Choice()
    with (
        unwound_by_sigterm(),
        keys_of_terminal() as next_key,
        Live(auto_refresh=False, vertical_overflow="crop") as live,
    ):
        while not choice.ended:
            reading = watch.read()
            measured = meter.measure(reading)
            if measured.total is not None:
                packets.add(measured.total["packets_in"])
            calls.add(reading.totals.calls)
            view = StatsView(
                reading,
                measured,
                packets,
                calls,
                warning=watch.warning(reading),
                stopped=watch.stopped,
                choice=choice,
            )
            live.update(view, refresh=True)
            _obey_keys(choice, next_key, interval_s, redraw=live.refresh)


def _obey_keys(
    choice: Choice, next_key: Callable[[float], str], seconds: float, *, redraw: Callable[[], None]
) -> None:
    """Obey keys until the time is over or the view is to end."""
    due = time.monotonic() + seconds
    while not choice.ended and (left_s := due - time.monotonic()) > 0:
        if key := next_key(min(left_s, _SIGNAL_S)):
            choice.press(key)
            redraw()


def print_once(watch: Watch, interval_s: float) -> None:
    """Print one picture with rates over `interval_s` seconds, then everything counted since the start."""
    meter = Meter()
    meter.measure(watch.read())
    time.sleep(interval_s)
    reading = watch.read()
    view = StatsView(reading, meter.measure(reading), warning=watch.warning(reading), stopped=watch.stopped)
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=_WIDE)  # a program that reads it, such as grep, gets no row on two lines
    with console.capture() as printed:
        console.print(view, Text(), counters_table(reading), sep="\n")
    text = printed.get()
    if not console.is_terminal:  # rich fills the lines of a table up to its width
        text = "\n".join(map(str.rstrip, text.split("\n")))
    typer.echo(text, nl=False)


def print_json(watch: Watch, interval_s: float | None) -> None:
    """Print a reading as one line of JSON; one every `interval_s` seconds unless that is None."""
    while True:
        typer.echo(msgspec.json.encode(watch.read().to_builtins()))
        if interval_s is None:
            return
        time.sleep(interval_s)
