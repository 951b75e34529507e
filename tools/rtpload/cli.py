"""The command line of the load generator."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from nh.cli.parser import USAGE_ERROR, Command
from nh.cli.usage import usage_message
from nh.errors import ConfigError, NhError
from tools.rtpload.coordinator.session import run_once, search
from tools.rtpload.errors import LoadFailed
from tools.rtpload.flags import nh_address, read_options, takes_load_options
from tools.rtpload.report.plot import check_plot

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
        if plot is not None:
            check_plot(plot)
        if find_capacity:
            status = search(load, console, json, highest=max_calls, max_steps=max_steps)
        else:
            status = run_once(load, console, json, plot)
    except (NhError, LoadFailed) as exc:
        print(f"{os.environ.get('RTPLOAD_NAME', 'rtpload')}: {exc}", file=sys.stderr)
        raise typer.Exit(2 if isinstance(exc, ConfigError) else 1) from exc
    raise typer.Exit(status)


def run() -> int:
    """Run the command line of this process; returns the exit status."""
    program = os.environ.get("RTPLOAD_NAME", "python -m tools.rtpload")
    try:
        return app(prog_name=program, standalone_mode=False) or 0
    except USAGE_ERROR as exc:
        print(f"{os.environ.get('RTPLOAD_NAME', 'rtpload')}: {usage_message(exc, program)}", file=sys.stderr)
        return 2
    except typer.Abort:
        return 130
