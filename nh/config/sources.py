"""Where settings come from: flags win over the environment, that over the TOML file.

The module reads the given file and environment, and knows nothing of processes.
"""

import contextlib
import enum
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, get_type_hints

import msgspec

from nh.config.addresses import URL_PASSWORD, has_password
from nh.config.settings import Settings
from nh.durations import parse_seconds
from nh.errors import ConfigError, NhError
from nh.printable import escaped
from nh.start_again import HANDOVER_FD, TRY_UNTIL

ENVIRONMENT_PREFIX: Final = "NH_"

MAX_FILE_BYTES: Final = 1 << 20
"""Longest file of settings; a device such as /dev/zero is no such file."""

_LONGEST_DECIMAL: Final = 256
"""Bits; a file may have longer numbers in hexadecimal, which Python refuses to write in decimal."""

DEFAULT: Final = "default"
COMMAND_LINE: Final = "command line"
ENVIRONMENT: Final = "environment"

SECRET: Final = "(secret)"
_SECRET_NAMES: Final = re.compile(r".*_(?:token|password|secret)")

_OTHER_VARIABLES = frozenset({"NH_CONFIG", HANDOVER_FD, TRY_UNTIL})
"""Variables of nh that are no settings: the file, and what nh tells itself at an upgrade."""

_KINDS: Final = {
    int: "a whole number",
    float: "a span of time, such as 30, 30s, 5m or 1h30m",
    bool: "true or false",
    str: "text in quotes",
}


_HINTS: Final = get_type_hints(Settings)

_LISTS: Final = frozenset(name for name, kind in _HINTS.items() if kind == tuple[str, ...])
"""Settings that have several values, separated by commas in the environment."""


class LoadedSettings(NamedTuple):
    """Settings, and where each of them came from.

    Attributes:
        settings: the settings.
        origins: by name, without those that have their default: FILE:LINE, ENVIRONMENT or COMMAND_LINE.
        file: the file that was read; None: none was named.
        without_effect: by name, where other values came from, which one that goes before them differs from.
    """

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None = None
    without_effect: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    @contextlib.contextmanager
    def naming_origins(self) -> Iterator[None]:
        """Let an error of the block say where the value of the setting came from; see with_origin()."""
        try:
            yield
        except NhError as exc:
            exc.args = (with_origin(str(exc), self.origins),)
            raise


class _Given(NamedTuple):
    """A value before it is checked."""

    value: object
    origin: str


def load_settings(
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """The settings of this run; see read_settings()."""
    return read_settings(flags=flags, environment=environment, file=file).settings


def read_settings(
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> LoadedSettings:
    """The settings of this run, and where each came from.

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
    given = {name: _Given(value, COMMAND_LINE) for name, value in (flags or {}).items() if value is not None}
    _refuse_visible_password(given)
    found: dict[str, list[_Given]] = {}
    for layer in (_from_file(file), _from_environment(environment), given):
        for name, each in layer.items():
            found.setdefault(name, []).append(_Given(_convert(name, each), each.origin))
    values = {name: each[-1].value for name, each in found.items()}
    origins = {name: each[-1].origin for name, each in found.items()}
    try:
        return LoadedSettings(_checked(values), origins, file, dict(_without_effect(found)))
    except ValueError as exc:  # a rule of Settings: its message begins with the setting
        message = escaped(str(exc))
        has_origin = message.partition(":")[0] in origins
        raise ConfigError(with_origin(message, origins) if has_origin else f"settings: {message}") from exc


def _without_effect(found: Mapping[str, Sequence[_Given]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, (*others, last) in found.items():
        if origins := tuple(each.origin for each in others if each.value != last.value):
            yield name, origins


def with_origin(message: str, origins: Mapping[str, str]) -> str:
    """A message that begins with a setting, with where its value came from.

    Args:
        message: of an error; it stays as it is unless it begins with a setting that has an origin.
        origins: see LoadedSettings.

    Returns:
        A message that begins as `command line: --ng: `, `environment: NH_NG: ` or `/etc/nh/nh.toml:3: ng: `.
    """
    name, _, rest = message.partition(": ")
    return f"{_source(name, origins[name])}: {rest}" if name in origins else message


def _source(name: str, origin: str) -> str:
    """Where the value of a setting came from, and what it is called there."""
    if origin == COMMAND_LINE:
        return f"{origin}: --{name.replace('_', '-')}"
    return f"{origin}: {ENVIRONMENT_PREFIX}{name.upper()}" if origin == ENVIRONMENT else f"{origin}: {name}"


def plain_settings(settings: Settings) -> dict[str, Any]:
    """All settings by name, as JSON has them; each secret is replaced by SECRET."""
    values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(settings))
    return {name: _without_secrets(name, value) for name, value in values.items()}


def _without_secrets(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(name, each) for each in value]
    if not isinstance(value, str) or not value:
        return value
    return SECRET if _SECRET_NAMES.fullmatch(name) else URL_PASSWORD.sub(rf"\1{SECRET}@", value)


def _refuse_visible_password(given: Mapping[str, _Given]) -> None:
    for name, each in given.items():
        if isinstance(each.value, str) and has_password(each.value):
            raise ConfigError(
                f"{_source(name, COMMAND_LINE)}: every user of the host sees a password there; put the URL"
                f" into the file of settings or {ENVIRONMENT_PREFIX}{name.upper()}, or the password into a"
                " file and password_file=PATH into the URL"
            )


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """A warning for each variable that begins like a setting and is none; its value has no effect.

    It is no error, because such variables may be for other programs: Kubernetes gives every container
    NH_SERVICE_HOST and NH_PORT if the cluster has a service `nh`.
    """
    known = {ENVIRONMENT_PREFIX + name.upper() for name in Settings.__struct_fields__}
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known | _OTHER_VARIABLES:
            yield f"environment: {name} is no setting; {_remedy(name, known)}"


def _checked(values: Mapping[str, Any]) -> Settings:
    settings = Settings(**values)
    # a rule of several settings, each of which may come from another place
    for name in ("ng", "http_ng", "rtpproxy"):
        if getattr(settings, name) and not settings.interfaces:
            raise ValueError(
                f"{name}: needs an address for media; say --address IP, or --interface NAME/IP for each of"
                " several"
            )
    return settings


def _convert(name: str, given: _Given) -> object:
    kind = _HINTS.get(name)
    if kind is None:
        raise ConfigError(f"{given.origin}: {_no_setting(name, given.value)}")
    try:
        if kind is float and isinstance(given.value, str):
            return parse_seconds(given.value)
        return msgspec.convert(given.value, kind, strict=False)
    except (msgspec.ValidationError, ValueError) as exc:
        wanted = (
            f"one of {', '.join(kind)}"
            if isinstance(kind, enum.EnumMeta)
            else _KINDS.get(kind, 'a list of text, such as ["…", "…"]')
        )
        shown = _shown(given.value)
        remedy = f"; write {name} = [{shown}]" if name in _LISTS and isinstance(given.value, str) else ""
        raise ConfigError(f"{_source(name, given.origin)}: {shown} is not {wanted}{remedy}") from exc


def _no_setting(name: str, value: object) -> str:
    if isinstance(value, dict):
        return f"[{name[:80]}] is a table; settings stand at the top of the file, above any table"
    return f"{name[:80]!r} is no setting; {_remedy(name.replace('-', '_').lower(), _HINTS)}"


def _remedy(name: str, known: Iterable[str]) -> str:
    import difflib  # noqa: PLC0415  most runs have no unknown name

    similar = difflib.get_close_matches(name[:80], known, n=1, cutoff=0.7)
    return f"did you mean {similar[0]}?" if similar else "`nh config` lists all"


def _shown(value: object) -> str:
    """A value for people, as TOML would have it, cut where it is long."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return repr(URL_PASSWORD.sub(rf"\1{SECRET}@", value)[:80])
        case int() if value.bit_length() > _LONGEST_DECIMAL:
            return hex(value)[:80]
        case list():
            return f"[{', '.join(map(_shown, value))}]"[:80]
        case dict():
            return f"{{{', '.join(f'{key!r} = {_shown(each)}' for key, each in value.items())}}}"[:80]
        case _:
            return str(value)[:80]


def _from_file(file: Path | None) -> dict[str, _Given]:
    if file is None:
        return {}
    import tomllib  # noqa: PLC0415  most runs have no file

    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be read: {exc.strerror}; name another with --config") from exc
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{file}: is longer than {MAX_FILE_BYTES} bytes, so it is no file of settings")
    try:
        text = content.decode()
        values = tomllib.loads(text)
    except UnicodeDecodeError as exc:
        line = content[: exc.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line}: not UTF-8 text; write it as UTF-8") from exc
    except (ValueError, RecursionError) as exc:  # a number of 5000 digits is no TOMLDecodeError
        raise ConfigError(f"{file}{_where(exc, content.decode())}") from exc
    return {name: _Given(value, f"{file}{_line_of(name, text)}") for name, value in values.items()}


def _where(error: Exception, text: str) -> str:
    """Where and why a file is not TOML."""
    lines = text.splitlines()
    found = re.search(r"\(at line (\d+), column \d+\)", str(error))
    number = int(found[1]) if found else len(lines)
    line = lines[number - 1].strip()[:80] if 0 < number <= len(lines) else ""
    if str(error).startswith("Cannot overwrite a value"):
        return f":{number}: {line!r} sets what another line sets; keep one of them"
    return f":{number}: {line!r} is not valid TOML; a line is NAME = VALUE, with text in quotes"


def _line_of(name: str, text: str) -> str:
    """`:` and the number of the line in which a name gets its value; "" if that is not plain to see."""
    found = re.search(rf"^[ \t]*\[?[ \t]*[\"']?{re.escape(name)}[\"']?[ \t]*[\]=.]", text, re.MULTILINE)
    return f":{text.count(chr(10), 0, found.start()) + 1}" if found else ""


def _from_environment(environment: Mapping[str, str]) -> dict[str, _Given]:
    values: dict[str, _Given] = {}
    for field in Settings.__struct_fields__:
        text = environment.get(ENVIRONMENT_PREFIX + field.upper())
        if text is not None:
            parts = [part.strip() for part in text.split(",")]
            values[field] = _Given([part for part in parts if part] if field in _LISTS else text, ENVIRONMENT)
    return values
