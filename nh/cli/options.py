"""Options that several subcommands have in common, and the settings that follow from them."""

from pathlib import Path
from typing import Annotated

import typer

from nh.config import Settings, load_settings

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file with settings, named as the flags of nh run with _ for - (default: $NH_CONFIG)",
        show_default=False,
    ),
]

RuntimeDir = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="Runtime directory of the nh run that is meant (default: $NH_RUNTIME_DIR, "
        "else /run/nh for root, else nh in $XDG_RUNTIME_DIR)",
        show_default=False,
    ),
]

RpcAddress = Annotated[
    str | None,
    typer.Option(
        "--rpc",
        metavar="ADDRESS",
        help="RPC address of the nh that is meant, as given to nh run "
        "(default: $NH_RPC, else nh.sock in the runtime directory)",
        show_default=False,
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_of(
    config: Path | None = None, runtime_dir: str | None = None, rpc: str | None = None
) -> Settings:
    """The settings by which to find a running nh; None for what was not given. Raises ConfigError."""
    return load_settings(flags={"runtime_dir": runtime_dir, "rpc": [rpc] if rpc else None}, file=config)
