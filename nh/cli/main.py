"""The command `nh`: its subcommands, and how their errors are shown.

Every NhError becomes one line on standard error. The exit status is 2 for errors of the operator
(ConfigError), 1 for all others. Only the subcommand that runs is loaded and built; help builds all of them.
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from nh.cli.options import Command, take_text_as_it_is
from nh.errors import ConfigError, NhError
from nh.version import __version__

_MODULES: Final = {
    "run": "nh.cli.run",
    "stats": "nh.cli.stats.command",
    "calls": "nh.cli.calls.commands",
    "close": "nh.cli.calls.commands",
    "drain": "nh.cli.drain",
    "undrain": "nh.cli.drain",
    "upgrade": "nh.cli.upgrade",
    "shards": "nh.cli.upgrade",
}
"""Where the function of each subcommand is, in the order of the help."""


class _Subcommands(Mapping[str, Any]):
    """The subcommands by name, each built when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        module = importlib.import_module(_MODULES[name])
        alone = typer.Typer(add_completion=False)
        alone.command(name, cls=Command, epilog=getattr(module, "EPILOG", None))(getattr(module, name))
        return get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


class _Group(TyperGroup):
    """Runs a subcommand and prints its NhError as one line."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Subcommands()  # type: ignore[assignment]  # typer changes them nowhere

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
