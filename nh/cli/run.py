"""`nh run`: settings from flags, environment and file, then the supervisor."""

from typing import Any

import typer

from nh.cli.flags import takes_settings
from nh.cli.options import ConfigFile
from nh.config import load_settings

EPILOG = (
    "Every setting can stand in the file or in the environment too: silent_s = 60 in the file, "
    "NH_SILENT_S=60 in the environment. Flags win over the environment, the environment over the file. "
    "SIGTERM or SIGINT (Ctrl-C) ends the relay; SIGUSR1 drains it, see nh drain."
)


@takes_settings
def run(config: ConfigFile = None, **settings: Any) -> None:
    """Run the relay until SIGTERM or SIGINT. It says `ready` once every shard is up."""
    loaded = load_settings(flags=settings, file=config)
    from nh.supervisor.main import run as supervise  # noqa: PLC0415  other subcommands do without

    raise typer.Exit(supervise(loaded))
