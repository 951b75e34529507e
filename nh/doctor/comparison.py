"""How the settings of the nh that runs differ from those that `nh doctor` was given."""

from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from nh.config import Settings
from nh.config.sources import DEFAULT, LoadedSettings, plain_settings
from nh.paths import real_path
from nh.supervisor.settings_in_force import InForce

_WHERE_IT_RUNS: Final = "runtime_dir"
"""The nh that runs was found by it, and may name it otherwise, as in a container."""


class Value(NamedTuple):
    """A setting's value as JSON has it, and where it came from (see LoadedSettings; or DEFAULT)."""

    value: Any
    origin: str


class Difference(NamedTuple):
    """A setting that is not in force as it was given."""

    name: str
    in_force: Value
    given: Value


class Comparison(NamedTuple):
    """The settings of the nh that runs beside those given.

    Attributes:
        given: what `nh doctor` was given, and where it came from.
        differences: what is not in force so. A secret counts as equal.
    """

    given: LoadedSettings
    differences: tuple[Difference, ...]


def compare(in_force: InForce, loaded: LoadedSettings, found_at: Path) -> tuple[Settings, Comparison]:
    """The settings of the nh that runs, and how they differ from those given.

    Args:
        in_force: what the nh that runs tells.
        loaded: what `nh doctor` was given.
        found_at: the runtime directory of the nh that runs.

    Raises:
        msgspec.ValidationError: the settings in force are none of this release.
    """
    given = plain_settings(loaded.settings)
    stays = real_path(loaded.settings.runtime_path) == real_path(found_at)
    told = in_force.settings | {_WHERE_IT_RUNS: given[_WHERE_IT_RUNS] if stays else str(found_at)}
    differences = tuple(
        Difference(
            name,
            Value(told[name], in_force.origins.get(name, DEFAULT)),
            Value(value, loaded.origins.get(name, DEFAULT)),
        )
        for name, value in given.items()
        if told.get(name, value) != value
    )
    running = msgspec.to_builtins(loaded.settings) | {each.name: each.in_force.value for each in differences}
    settings = msgspec.convert(running | {"shards": in_force.shards}, Settings)
    return settings, Comparison(loaded, differences)
