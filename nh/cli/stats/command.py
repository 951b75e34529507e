"""`nh stats`: the counters in shared memory, live, once or as JSON. It needs no connection to nh."""

import sys
from contextlib import suppress
from typing import Annotated

import typer

from nh.cli.options import AsJson, ConfigFile, RuntimeDir, read_seconds, settings_of
from nh.cli.terminal import is_dumb

_INTERVAL_S = 1.0


def stats(
    *,
    interval: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time between two pictures, over which rates are measured; 0.1 to 3600 s (default: 1)",
            show_default=False,
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Print one picture and everything counted since the start.")
    ] = False,
    as_json: AsJson = False,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """Show what the relay does: a row for each shard, rates and totals, live.

    Where standard output is no terminal, or a dumb one, it prints one picture, as with --once. --json prints
    one reading; with --interval and without --once, a line of JSON every so often.
    """
    every = None if interval is None else read_seconds("--interval", interval, 0.1, 3600)
    from nh.cli.stats import live  # noqa: PLC0415  rich and what it draws take a while to import

    with live.Watch(settings_of(config, runtime_dir).runtime_path) as watch, suppress(KeyboardInterrupt):
        if as_json:
            live.print_json(watch, None if once else every)
        elif once or is_dumb() or not sys.stdout.isatty():
            live.print_once(watch, every or _INTERVAL_S)
        else:
            live.show(watch, every or _INTERVAL_S)
