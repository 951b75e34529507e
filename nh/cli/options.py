"""Options that several subcommands have in common, and how their values are read."""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from nh.calls.settings import in_range
from nh.config import Settings
from nh.config.sources import load_settings
from nh.durations import parse_seconds
from nh.errors import ConfigError, MalformedFrame, NhError, NotRunning, StatsUnavailable, Unavailable

if TYPE_CHECKING:
    from nh.client import NativeClient

_WHICH_NH: Final = "Which nh"

REPLY_S: Final = 5.0
"""How long nh may take for a command."""


def _config_file(panel: str | None) -> Any:
    return typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file with settings, named like the flags of nh run, with _ for - (default: $NH_CONFIG)",
        show_default=False,
        rich_help_panel=panel,
        readable=False,  # who reads the file says why it cannot be read
    )


SettingsFile = Annotated[Path | None, _config_file(None)]
"""Of a command that reads all settings."""

ConfigFile = Annotated[Path | None, _config_file(_WHICH_NH)]
"""Of a command that reads how to reach the running nh."""

RuntimeDir = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="Runtime directory of the running nh (default: $NH_RUNTIME_DIR, "
        "else /run/nh for root, else nh in $XDG_RUNTIME_DIR, else /tmp/nh-UID)",
        show_default=False,
        rich_help_panel=_WHICH_NH,
    ),
]

RpcAddress = Annotated[
    str | None,
    typer.Option(
        "--rpc",
        metavar="ADDRESS",
        help="RPC address of the running nh, as given to nh run "
        "(default: $NH_RPC, else nh.sock in the runtime directory)",
        show_default=False,
        rich_help_panel=_WHICH_NH,
    ),
]

_LONGEST_NUMBER: Final = 20

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_of(
    config: Path | None = None, runtime_dir: str | None = None, rpc: str | None = None
) -> Settings:
    """The settings that lead to a running nh; None: the option is not given. Raises ConfigError.

    Where none names an RPC address, and the default socket is not there, it is the one that the nh tells.
    """
    settings = load_settings(flags={"runtime_dir": runtime_dir, "rpc": [rpc] if rpc else None}, file=config)
    if settings.rpc or os.access(settings.rpc_addresses[0], os.F_OK):  # False also where a user may not look
        return settings
    from nh.supervisor.settings_in_force import addresses_in_force  # noqa: PLC0415  for few nh

    return msgspec.structs.replace(settings, rpc=addresses_in_force(settings.runtime_path, "rpc"))


@contextmanager
def connect(config: Path | None, runtime_dir: str | None, rpc: str | None) -> Iterator["NativeClient"]:
    """A connection to the first RPC address that the options, the environment or the file name.

    Raises:
        ConfigError: an option cannot be used.
        Unavailable: nothing answers at the address.
    """
    with connect_to(settings_of(config, runtime_dir, rpc)) as client:
        yield client


@contextmanager
def connect_to(settings: Settings, *, timeout_s: float = REPLY_S) -> Iterator["NativeClient"]:
    """A connection to the first RPC address of the settings.

    Args:
        settings: that lead to a running nh.
        timeout_s: seconds that nh may take for one command.

    Raises:
        Unavailable: nothing answers at the address.
    """
    from nh.client import NativeClient  # noqa: PLC0415  only a command that speaks to nh loads it

    address = settings.rpc_addresses[0]
    try:
        with naming_runtime_dir(settings), NativeClient(address, timeout_s=timeout_s) as client:
            yield client
    except MalformedFrame as exc:
        raise Unavailable(f"{address}: what answers there is not nh's RPC ({exc}); see --rpc") from exc


@contextmanager
def naming_runtime_dir(settings: Settings) -> Iterator[None]:
    """Let the error of missing statistics, or of a missing default socket, name the runtime directory."""
    try:
        yield
    except StatsUnavailable as exc:
        if not isinstance(exc.__cause__, FileNotFoundError):
            raise
        raise not_running(settings.runtime_path) from exc
    except NotRunning as exc:
        if settings.rpc or not isinstance(exc.__cause__, FileNotFoundError):
            raise
        from nh.supervisor.running_nh import running_pid  # noqa: PLC0415  only this error needs it

        if running_pid(settings.runtime_path) is None:
            raise not_running(settings.runtime_path) from exc
        raise Unavailable(
            f"nh runs with runtime directory {settings.runtime_path}, and serves no RPC there: if it was"
            " given --rpc, name the same with --rpc or NH_RPC; if it starts, try again"
        ) from exc


def not_running(runtime_path: Path) -> NotRunning:
    """The error of a command that finds no nh with this runtime directory."""
    from nh.supervisor.running_nh import system_runtime_dir  # noqa: PLC0415  only this error needs it

    other = system_runtime_dir(runtime_path)
    return NotRunning(
        f"nh does not run with runtime directory {runtime_path}; start it, or name another with"
        f" --runtime-dir or NH_RUNTIME_DIR{f', such as {other}' if other else ''}"
    )


def no_statistics(runtime_path: Path) -> NhError:
    """The error of a command that finds no statistics of an nh with this runtime directory."""
    from nh.supervisor.running_nh import running_pid  # noqa: PLC0415  only this error needs it

    if running_pid(runtime_path) is None:
        return not_running(runtime_path)
    return Unavailable(
        f"nh runs with runtime directory {runtime_path}, and has no statistics: if it starts, try again; if"
        " another program removed them from /dev/shm, `nh upgrade` makes them anew"
    )


def completing(words: Iterable[str]) -> Callable[[str], list[str]]:
    """What completes the value of an option that is one of some words."""
    known = list(words)
    return lambda incomplete: [word for word in known if word.startswith(incomplete)]


def read_number(name: str, text: str, low: int, high: float = math.inf) -> int:
    """Read a whole number of the command line.

    Raises:
        ConfigError: `text` is none, or it is not in `low` to `high`; the message begins with `name`.
    """
    try:
        number = int(text[:_LONGEST_NUMBER])
    except ValueError as exc:
        raise ConfigError(f"command line: {name}: {text[:80]!r} is not a whole number") from exc
    return int(_in_range(name, number, low, high))


def read_seconds(name: str, text: str, low: float, high: float) -> float:
    """Read a span of time of the command line; returns seconds.

    Raises:
        ConfigError: `text` is none, or it is not in `low` to `high` seconds; the message begins with `name`.
    """
    try:
        seconds = parse_seconds(text)
    except ValueError as exc:
        raise ConfigError(f"command line: {name}: {exc}") from exc
    return _in_range(name, seconds, low, high, seconds=True)


def _in_range(name: str, value: float, low: float, high: float, *, seconds: bool = False) -> float:
    try:
        in_range(name, value, low, high, seconds=seconds)
    except ValueError as exc:
        raise ConfigError(f"command line: {exc}") from exc
    return value
