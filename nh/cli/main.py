"""The command `nh`: its subcommands, and how their errors are shown.

Every NhError becomes one line on standard error. The exit status is 2 for errors of the operator
(ConfigError), 1 for all others. A subcommand imports what is heavy when it runs.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nh.cli import drain, run, upgrade
from nh.cli.calls import commands as calls
from nh.cli.options import Command, take_text_as_it_is
from nh.cli.stats import command as stats
from nh.errors import ConfigError, NhError
from nh.version import __version__


class _Group(TyperGroup):
    """Runs a subcommand and prints its NhError as one line."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, as typer's parser takes them."""
        return take_text_as_it_is(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        """See the class."""
        try:
            return super().invoke(ctx)
        except NhError as exc:
            typer.echo(f"nh: {exc}", err=True)
            raise typer.Exit(2 if isinstance(exc, ConfigError) else 1) from exc


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nh {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """RTP media relay (NAT helper) for SIP proxies, on every CPU of the host."""


app.command("run", cls=Command, epilog=run.EPILOG)(run.run)
app.command("stats", cls=Command)(stats.stats)
app.command("calls", cls=Command)(calls.calls)
app.command("close", cls=Command)(calls.close)
app.command("drain", cls=Command)(drain.drain)
app.command("undrain", cls=Command)(drain.undrain)
app.command("upgrade", cls=Command)(upgrade.upgrade)
app.command("shards", cls=Command)(upgrade.shards)
