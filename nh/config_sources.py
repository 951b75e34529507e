"""Where settings come from: flags win over the environment, that over the TOML file.

The module reads the given file and environment, and knows nothing of processes.
"""

import enum
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_type_hints

import msgspec

from nh.config import Settings
from nh.errors import ConfigError

ENVIRONMENT_PREFIX: Final = "NH_"

_LISTS = frozenset({"rpc", "ng", "interface", "kernel_interface"})
"""Settings that have several values, separated by commas in the environment."""

_OTHER_VARIABLES = frozenset({"NH_CONFIG", "NH_HANDOVER_FD"})
"""Variables of nh that are no settings: the file, and the descriptor that nh gives itself at an upgrade."""

_KINDS: Final = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def load_settings(
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """The settings of this run.

    Args:
        flags: values from the command line by field name; None: the flag is not given.
        environment: variables such as NH_PORTS; os.environ if None. Lists are separated by commas.
        file: a TOML file with the fields at its top level; NH_CONFIG in the environment if None.

    Raises:
        ConfigError: the message names the setting, its source, and the values that are accepted.
    """
    environment = os.environ if environment is None else environment
    if file is None and environment.get("NH_CONFIG"):
        file = Path(environment["NH_CONFIG"])
    values: dict[str, Any] = {}
    for origin, layer in (
        (str(file), _from_file(file)),
        ("environment", _from_environment(environment)),
        ("command line", {name: value for name, value in (flags or {}).items() if value is not None}),
    ):
        _convert(layer, origin)  # alone first, so that an error can say where the value came from
        values |= layer
    settings = _convert(values, "settings")
    # only now: each of the two may come from another place
    if settings.ng and not settings.interfaces:
        raise ConfigError(
            "ng: needs an address for media; say --address IP, or --interface NAME/IP for each of several"
        )
    return settings


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """A warning for each variable that begins like a setting and is none; its value has no effect.

    It is no error, because such variables may be for other programs: Kubernetes gives every container
    NH_SERVICE_HOST and NH_PORT if the cluster has a service `nh`.
    """
    known = {ENVIRONMENT_PREFIX + name.upper() for name in Settings.__struct_fields__}
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known | _OTHER_VARIABLES:
            import difflib  # noqa: PLC0415  most environments have no such variable

            similar = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            remedy = f"did you mean {similar[0]}?" if similar else "`nh run --help` lists all"
            yield f"environment: {name} is no setting; {remedy}"


def _convert(values: Mapping[str, Any], origin: str) -> Settings:
    unknown = sorted(set(values) - set(Settings.__struct_fields__))
    if unknown:
        raise ConfigError(
            f"{origin}: unknown setting {unknown[0]!r}; see docs/reference/configuration.md for all of them"
        )
    try:
        return msgspec.convert(dict(values), Settings, strict=False)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{origin}: {_in_words(exc, values)}") from exc
    except ValueError as exc:
        raise ConfigError(f"{origin}: {exc}") from exc


def _in_words(error: msgspec.ValidationError, values: Mapping[str, Any]) -> str:
    """What an error of msgspec says, such as Expected `int`, got `str` - at `$.shards`, for people."""
    found = re.fullmatch(r".* - at `\$\.(\w+)`", str(error))
    if found is None:
        return str(error)  # a rule of Settings: it names the setting
    name = found[1]
    kind = get_type_hints(Settings)[name]
    wanted = (
        f"one of {', '.join(kind)}" if isinstance(kind, enum.EnumMeta) else _KINDS.get(kind, "a list of text")
    )
    return f"{name}: {values[name]!r} is not {wanted}"


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    import tomllib  # noqa: PLC0415  most runs have no file

    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{file}: not valid TOML: {exc}") from exc


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in Settings.__struct_fields__:
        text = environment.get(ENVIRONMENT_PREFIX + field.upper())
        if text is not None:
            values[field] = [part for part in text.split(",") if part] if field in _LISTS else text
    return values
