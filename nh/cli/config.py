"""`nh config`: the settings that `nh run` would have, and where each one comes from."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import typer

from nh.cli.options import AsJson, SettingsFile
from nh.cli.setting_options import takes_settings
from nh.config import Settings
from nh.config.sources import DEFAULT, plain_settings, read_settings, unknown_variables
from nh.supervisor.host.cpus import usable_cpus
from nh.supervisor.settings_in_force import read_in_force

EPILOG = "The output is a valid file of settings: `nh config > nh.toml`."


class Shown(NamedTuple):
    """A setting as it is printed.

    Attributes:
        value: a secret is replaced (nh.config.sources.SECRET).
        origin: FILE:LINE, "environment", "command line" or "default".
        effective: what an empty value, or 0, amounts to here; "": the value says it itself.
    """

    value: Any
    origin: str
    effective: str


@takes_settings
def config(config: SettingsFile = None, as_json: AsJson = False, **settings: Any) -> None:
    """Print all settings, each with its origin: command line, environment, line of the file, or default.

    It takes the flags of nh run, and reads the same file and environment.
    """
    for warning in unknown_variables(os.environ):
        typer.echo(f"nh: {warning}", err=True)
    loaded = read_settings(flags=settings, file=config)
    if loaded.file is None and (other := _file_of_running(loaded.settings.runtime_path)):
        typer.echo(f"nh: the nh that runs has read {other}: add --config {other} to print it, too", err=True)
    shown = shown_settings(loaded.settings, loaded.origins)
    if as_json:
        typer.echo(msgspec.json.encode({name: each._asdict() for name, each in shown.items()}))
        return
    for name, each in shown.items():
        here = f"; here {each.effective}" if each.effective else ""
        typer.echo(f"{f'{name} = {_toml(each.value)}':<34} # {each.origin}{here}")


def _file_of_running(runtime_path: Path) -> str:
    """The file of settings of the nh that runs with a runtime directory; "" if it has none, or none runs."""
    in_force = read_in_force(runtime_path)
    if in_force is None or not in_force.file:
        return ""
    from nh.supervisor.start_checks import running_pid  # noqa: PLC0415  it takes a while to import

    return in_force.file if running_pid(runtime_path) is not None else ""


def shown_settings(settings: Settings, origins: Mapping[str, str]) -> dict[str, Shown]:
    """All settings by name; secrets are not in it.

    Args:
        settings: the settings.
        origins: as read_settings() gives them.
    """
    effective = _effective(settings)
    return {
        name: Shown(value, origins.get(name, DEFAULT), effective.get(name, ""))
        for name, value in plain_settings(settings).items()
    }


def _effective(settings: Settings) -> dict[str, str]:
    """What settings amount to here that say "as usual" by an empty value."""
    here = {
        "shards": "" if settings.shards else str(len(usable_cpus())),
        "rpc": "" if settings.rpc else settings.rpc_addresses[0],
        "runtime_dir": "" if settings.runtime_dir else str(settings.runtime_path),
        "state": "" if settings.state else str(settings.state_path),
    }
    return {name: value for name, value in here.items() if value}


def _toml(value: Any) -> str:
    """A value as TOML has it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return msgspec.json.encode(value).decode()  # texts, numbers and booleans look the same in both
