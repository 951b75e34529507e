"""`nh run`: reads the settings from flags, environment and file, then runs the supervisor."""

import gc
import logging
import os
import sys
from typing import Annotated, Any

import typer

from nh.cli.options import SettingsFile
from nh.cli.setting_options import takes_settings
from nh.cli.terminal import tell
from nh.config import Settings, check_served_addresses
from nh.config.sources import LoadedSettings, read_settings, unknown_variables

EPILOG = (
    "Every setting can be in the file or in the environment too: silent_s = 60 in the file, "
    "NH_SILENT_S=60 in the environment. Flags win over the environment, the environment over the file. "
    "SIGTERM or SIGINT (Ctrl-C) ends the relay. SIGHUP reads the file of settings again, like nh reload. "
    "SIGUSR1 drains the relay, like nh drain. SIGUSR2 replaces it by the installed code with the current "
    "settings, like nh upgrade."
)

Takeover = Annotated[
    bool,
    typer.Option(
        "--takeover",
        help="Take over the calls of the nh with this runtime directory, also of one in another container.",
        show_default=False,
    ),
]

Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Check that nh could start with these settings on this host, or be upgraded to them, and exit.",
        show_default=False,
    ),
]

PreflightFlag = Annotated[bool, typer.Option("--preflight", hidden=True)]


@takes_settings
def run(
    config: SettingsFile = None,
    takeover: Takeover = False,
    check: Check = False,
    preflight: PreflightFlag = False,
    **settings: Any,
) -> None:
    """Run the relay until SIGTERM or SIGINT. It prints `ready` when every shard is up."""
    for warning in unknown_variables(os.environ):
        tell(f"nh: {warning}", err=True)

    def reread() -> LoadedSettings:
        return read_settings(flags=settings, file=config)

    def read() -> LoadedSettings:
        loaded = reread()
        with loaded.naming_origins():
            _check_served(loaded.settings)
        return loaded

    gc.disable()  # see nh.__main__
    from nh.supervisor.main import run as supervise  # noqa: PLC0415  other subcommands do without

    gc.freeze()
    gc.enable()

    if check or preflight:
        from nh.supervisor.handover.preflight import check_in  # noqa: PLC0415

        logging.basicConfig(stream=sys.stderr, format="nh: %(message)s")
        loaded = read()
        with loaded.naming_origins():
            checked_in = check_in(loaded.settings, takes_over=preflight)
        tell(checked_in if preflight else _sentence(loaded.settings))
        return
    raise typer.Exit(supervise(read, takeover=takeover, reread=reread))


def _check_served(settings: Settings) -> None:
    check_served_addresses(settings)
    if settings.http:
        from nh.supervisor.http import check_http_extra  # noqa: PLC0415

        check_http_extra(settings)


def _sentence(settings: Settings) -> str:
    """What `nh run --check` says of settings that can be used."""
    from nh.supervisor.running_nh import running_pid  # noqa: PLC0415

    pid = running_pid(settings.runtime_path)
    if pid is None:
        return f"nh can start with these settings (runtime directory {settings.runtime_path})"
    return f"these settings can be used: `nh upgrade` brings them to the nh that runs (pid {pid})"
