"""The three outputs of `nh stats`: a picture refreshed in place, one picture, JSON."""

import time

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from nh.cli.stats.counters import counters_table
from nh.cli.stats.rates import Meter
from nh.cli.stats.view import History, StatsView
from nh.cli.stats.watch import Watch

__all__ = ["Watch", "print_json", "print_once", "show"]


def show(watch: Watch, interval_s: float) -> None:
    """Draw the picture anew every `interval_s` seconds, until KeyboardInterrupt."""
    meter, packets, calls = Meter(), History(), History()
    with Live(auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            reading = watch.read()
            measured = meter.measure(reading)
            if measured.total is not None:
                packets.add(measured.total["packets_in"])
            calls.add(reading.totals.calls)
            view = StatsView(reading, measured, packets, calls, watch.warning(reading), stopped=watch.stopped)
            live.update(view, refresh=True)
            time.sleep(interval_s)


def print_once(watch: Watch, interval_s: float) -> None:
    """Print one picture with rates over `interval_s` seconds, then everything counted since the start."""
    meter = Meter()
    meter.measure(watch.read())
    time.sleep(interval_s)
    reading = watch.read()
    console = Console()
    warning = watch.warning(reading)
    console.print(StatsView(reading, meter.measure(reading), warning=warning, stopped=watch.stopped))
    console.print(Text(), counters_table(reading), sep="\n")


def print_json(watch: Watch, interval_s: float | None) -> None:
    """Print a reading as one line of JSON; one every `interval_s` seconds unless that is None."""
    while True:
        typer.echo(msgspec.json.encode(watch.read().to_builtins()))
        if interval_s is None:
            return
        time.sleep(interval_s)
