"""`nh run`: settings from flags, environment and file, then the supervisor."""

import gc
from typing import Annotated, Any

import typer

from nh.cli.flags import takes_settings
from nh.cli.options import ConfigFile
from nh.config import NO_STATE, load_settings
from nh.errors import ConfigError

EPILOG = (
    "Every setting can stand in the file or in the environment too: silent_s = 60 in the file, "
    "NH_SILENT_S=60 in the environment. Flags win over the environment, the environment over the file. "
    "SIGTERM or SIGINT (Ctrl-C) ends the relay; SIGUSR1 drains it, see nh drain; SIGUSR2 has it go on with "
    "the code and the settings that there are now, see nh upgrade."
)


NoState = Annotated[
    bool, typer.Option("--no-state", help="Store no calls: the same as --state off.", show_default=False)
]


Takeover = Annotated[
    bool,
    typer.Option(
        "--takeover",
        help="Have the nh that runs with this runtime directory, in another container too, leave its calls.",
        show_default=False,
    ),
]

Check = Annotated[
    bool,
    typer.Option(
        "--check", help="Look whether these settings can be used, and run nothing.", show_default=False
    ),
]


@takes_settings
def run(
    config: ConfigFile = None,
    no_state: NoState = False,
    takeover: Takeover = False,
    check: Check = False,
    **settings: Any,
) -> None:
    """Run the relay until SIGTERM or SIGINT. It says `ready` once every shard is up."""
    if no_state:
        if settings["state"] not in (None, NO_STATE):
            raise ConfigError("command line: --state and --no-state contradict each other; say one of them")
        settings["state"] = NO_STATE
    loaded = load_settings(flags=settings, file=config)
    gc.disable()  # see nh.__main__
    from nh.supervisor.main import run as supervise  # noqa: PLC0415  other subcommands do without

    gc.freeze()
    gc.enable()

    if check:
        from nh.supervisor.handover.preflight import check_in  # noqa: PLC0415

        typer.echo(check_in(loaded))
        return
    raise typer.Exit(supervise(loaded, takeover=takeover))
