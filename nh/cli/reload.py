"""`nh reload` and `nh log`: change settings and levels of the log of a running nh."""

from typing import Annotated

import typer

from nh.cli.json_text import json_text
from nh.cli.options import AsJson, ConfigFile, RpcAddress, RuntimeDir, completing, connect
from nh.cli.terminal import tell
from nh.commands import Reload, SetLog
from nh.errors import ConfigError
from nh.logs.settings import AREAS, LogLevel

_LEVELS = tuple(LogLevel)


def reload(
    *,
    as_json: AsJson = False,
    rpc: RpcAddress = None,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """Have the running nh read its file of settings again, and apply what can change at run time.

    It names the settings that need nh upgrade, which ends no call either. SIGHUP does the same.
    """
    with connect(config, runtime_dir, rpc) as client:
        done = client.request(Reload())
    if as_json:
        tell(json_text(done))
        return
    for line in done.lines():
        tell(line)


def log(
    level: Annotated[
        str,
        typer.Argument(
            metavar="LEVEL",
            help=f"{', '.join(_LEVELS)}; none: print the levels",
            show_default=False,
            autocompletion=completing(_LEVELS),
        ),
    ] = "",
    area: Annotated[
        str,
        typer.Argument(
            metavar="AREA",
            help=f"{', '.join(AREAS)}; none: all",
            show_default=False,
            autocompletion=completing(AREAS),
        ),
    ] = "",
    *,
    as_json: AsJson = False,
    rpc: RpcAddress = None,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """Print or change how much the running nh logs, of all areas or of one.

    It holds until the next nh reload, nh upgrade or start; the settings log_level and log_areas make it last.
    """
    if level and level not in _LEVELS:
        raise ConfigError(f"command line: LEVEL: {level[:80]!r} is not one of {', '.join(_LEVELS)}")
    if area and area not in AREAS:
        raise ConfigError(f"command line: AREA: {area[:80]!r} is not one of {', '.join(AREAS)}")
    with connect(config, runtime_dir, rpc) as client:
        state = client.request(SetLog(LogLevel(level) if level else None, area))
    if as_json:
        tell(json_text(state))
        return
    others = ", ".join(f"{name} {each}" for name, each in state.areas.items())
    tell(f"log level {state.level}" + (f"; {others}" if others else ""))
