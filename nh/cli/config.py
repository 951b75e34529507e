"""`nh config`: the settings that `nh run` would have, and where each one comes from."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import typer

from nh.cli.options import AsJson, SettingsFile
from nh.cli.setting_options import takes_settings
from nh.config import Settings
from nh.config.sources import DEFAULT, LoadedSettings, plain_settings, read_settings, unknown_variables
from nh.supervisor.host.cpus import usable_cpus
from nh.supervisor.settings_in_force import read_in_force

EPILOG = "The output is a valid file of settings: `nh config > nh.toml`."


class Shown(NamedTuple):
    """A setting as it is printed.

    Attributes:
        value: a secret is replaced (nh.config.sources.SECRET).
        origin: FILE:LINE, "environment", "command line" or "default".
        effective: what an empty value, or 0, amounts to here; "": the value says it itself.
        without_effect: the origins of other values, which this one goes before.
    """

    value: Any
    origin: str
    effective: str
    without_effect: tuple[str, ...] = ()

    @property
    def comment(self) -> str:
        """What is said of the value."""
        others = f"; not that of {', '.join(self.without_effect)}" if self.without_effect else ""
        return f"{self.origin}{others}{f'; here {self.effective}' if self.effective else ''}"


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
    shown = shown_settings(loaded)
    if as_json:
        typer.echo(msgspec.json.encode({name: each._asdict() for name, each in shown.items()}))
        return
    for name, each in shown.items():
        typer.echo(f"{f'{name} = {_toml(each.value)}':<34} # {each.comment}")


def _file_of_running(runtime_path: Path) -> str:
    """The file of settings of the nh that runs with a runtime directory; "" if it has none, or none runs."""
    in_force = read_in_force(runtime_path)
    if in_force is None or not in_force.file:
        return ""
    from nh.supervisor.running_nh import running_pid  # noqa: PLC0415  it takes a while to import

    return in_force.file if running_pid(runtime_path) is not None else ""


def shown_settings(loaded: LoadedSettings) -> dict[str, Shown]:
    """All settings by name; secrets are not in it."""
    effective = _effective(loaded.settings)
    return {
        name: Shown(
            value,
            loaded.origins.get(name, DEFAULT),
            effective.get(name, ""),
            loaded.without_effect.get(name, ()),
        )
        for name, value in plain_settings(loaded.settings).items()
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
