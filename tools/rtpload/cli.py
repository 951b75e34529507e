"""The command line of the load generator."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from nh.cli.parser import USAGE_ERROR, Command
from nh.cli.usage import usage_message
from nh.errors import ConfigError, NhError
from tools.rtpload.coordinator.session import run_once, search
from tools.rtpload.errors import LoadFailed
from tools.rtpload.flags import nh_address, read_options, takes_load_options
from tools.rtpload.options import MAX_CALLS
from tools.rtpload.report.files import check_file
from tools.rtpload.report.plot import check_plot

MAX_STEPS: Final = 1000
"""Of a search: from 1 call to the most, and back in halves, takes a few dozen."""

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(cls=Command)
@takes_load_options
def main(
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="The relay's control socket: a path or HOST:PORT (default: that of the nh on this host)",
            show_default=False,
        ),
    ] = "",
    *,
    find_capacity: Annotated[
        bool, typer.Option("--find-capacity", help="search for the highest number of calls it carries well")
    ] = False,
    max_calls: Annotated[int, typer.Option(help="highest number of calls to try")] = 20_000,
    max_steps: Annotated[int, typer.Option(help="most numbers of calls to try")] = 12,
    json: Annotated[Path | None, typer.Option(help="write the report there as JSON")] = None,
    plot: Annotated[Path | None, typer.Option(help="draw it there: .png or .svg (needs matplotlib)")] = None,
    **options: Any,
) -> None:
    """Set up calls through an RTP relay, play media both ways, and report loss, delay and jitter.

    Ctrl-C ends the calls and prints the report; a second one ends at once.
    """
    console = Console()
    try:
        load = read_options(address or nh_address(options), options)
        _check_files(json, plot, find_capacity=find_capacity)
        if find_capacity:
            _check_bounds(max_calls, max_steps)
            status = search(load, console, json, highest=max_calls, max_steps=max_steps)
        else:
            status = run_once(load, console, json, plot)
    except (NhError, LoadFailed) as exc:
        print(f"{_short_name()}: {exc}", file=sys.stderr)
        raise typer.Exit(2 if isinstance(exc, ConfigError) else 1) from exc
    raise typer.Exit(status)


def run() -> int:
    """Run the command line of this process; returns the exit status."""
    program = os.environ.get("RTPLOAD_NAME", "python -m tools.rtpload")
    try:
        return app(prog_name=program, standalone_mode=False) or 0
    except USAGE_ERROR as exc:
        print(f"{_short_name()}: {usage_message(exc, program)}", file=sys.stderr)
        return 2
    except typer.Abort:
        return 130


def _short_name() -> str:
    """What begins each line of this program's errors."""
    return os.environ.get("RTPLOAD_NAME", "rtpload")


def _check_files(json: Path | None, plot: Path | None, *, find_capacity: bool) -> None:
    """Raises ConfigError if a file of the report cannot be written, or has nothing to show."""
    if json is not None:
        check_file("--json", json)
    if plot is not None and find_capacity:
        raise ConfigError("--plot: it draws one load, and --find-capacity runs many; leave one of them out")
    if plot is not None:
        check_plot(plot)


def _check_bounds(max_calls: int, max_steps: int) -> None:
    """Raises ConfigError if a search would come to a load that cannot be run, or to none."""
    for flag, value, most in (("--max-calls", max_calls, MAX_CALLS), ("--max-steps", max_steps, MAX_STEPS)):
        if not 1 <= value <= most:
            raise ConfigError(f"{flag}: {value} is not in 1 to {most}")
