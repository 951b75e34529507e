"""The command `nh`: its subcommands, and how their errors are shown.

Every NhError, and every fault of the command line, becomes one line on standard error. The exit status is 2
for errors of the operator (ConfigError), 1 for all others. Only the subcommand that runs is loaded and built;
help builds all of them.
"""

import errno
import importlib
import inspect
import io
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from nh.cli.examples import epilog
from nh.cli.parser import USAGE_ERROR, Command, Parameters
from nh.cli.terminal import tell
from nh.errors import ConfigError, NhError
from nh.printable import escaped
from nh.start_again import start_again
from nh.version import __version__

_MODULES: Final = {
    "run": "nh.cli.run",
    "stats": "nh.cli.stats.command",
    "health": "nh.cli.health",
    "calls": "nh.cli.calls.commands",
    "why": "nh.cli.calls.why",
    "close": "nh.cli.calls.commands",
    "drain": "nh.cli.drain",
    "undrain": "nh.cli.drain",
    "promote": "nh.cli.promote",
    "move": "nh.cli.move",
    "upgrade": "nh.cli.upgrade",
    "shards": "nh.cli.upgrade",
    "reload": "nh.cli.reload",
    "log": "nh.cli.reload",
    "config": "nh.cli.config",
    "doctor": "nh.cli.doctor",
    "load": "nh.cli.load",
}
"""Where the function of each subcommand is, in the order of the help."""

_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What a write to standard output fails with if that is a file; typer sees to EPIPE."""


def notes_on(name: str) -> str:
    """What the help of a subcommand says below its options, above the examples; "" for nothing."""
    return str(getattr(importlib.import_module(_MODULES[name]), "EPILOG", ""))


def _flowing(text: str | None) -> str:
    """Text whose paragraphs are lines: typer keeps the line ends within all paragraphs but the first."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


class _Subcommands(Mapping[str, Any]):
    """The subcommands by name, each built when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        module = importlib.import_module(_MODULES[name])
        alone = typer.Typer(add_completion=False)
        text = epilog(name, notes_on(name))
        context = getattr(module, "CONTEXT", None)
        command = getattr(module, name)
        about = _flowing(command.__doc__)
        alone.command(name, cls=Command, help=about, epilog=text, context_settings=context)(command)
        return get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


class _Group(Parameters, TyperGroup):
    """Runs a subcommand and prints its NhError as one line."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Subcommands()  # type: ignore[assignment]  # typer changes them nowhere

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The subcommand of this name. Raises ConfigError if there is none."""
        command = super().get_command(ctx, cmd_name)
        if command is None and not cmd_name.startswith("-") and not ctx.resilient_parsing:
            from nh.cli.usage import no_command  # noqa: PLC0415  most command lines have no fault

            raise ConfigError(no_command(cmd_name, self.commands))
        return command

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command line; its errors become one line in nh's words."""
        standalone = options.get("standalone_mode", True)
        options["standalone_mode"] = False
        _print_in_any_locale()
        try:
            status = super().main(*args, **options)
        except NhError as exc:
            tell(_named(escaped(str(exc))), err=True)
            status = 2 if isinstance(exc, ConfigError) else 1
        except USAGE_ERROR as exc:
            # no command at all: the exception has printed the help when it was made
            if type(exc).__name__ != "NoArgsIsHelpError":
                from nh.cli.usage import usage_message  # noqa: PLC0415

                tell(f"nh: {usage_message(exc)}", err=True)
            status = 2
        except typer.Abort:
            status = 130
        except OSError as exc:
            if exc.errno not in _NO_ROOM or exc.filename is not None:
                raise
            start_again(exc)  # a module cannot be read, behind execve(2)
            tell(f"nh: standard output cannot be written: {exc.strerror}", err=True)
            status = 1
        if standalone:
            sys.exit(status)
        return status


def _named(message: str) -> str:
    """A message that begins with the name of the program."""
    return message if message.startswith("nh ") else f"nh: {message}"


def _print_in_any_locale() -> None:
    """A character that the encoding of standard output does not have, such as an arrow, becomes a `?`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


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
