"""`nh load`: the load generator, a program of its own that comes with nh."""

import os
import sys
from pathlib import Path

import typer

import nh
from nh.errors import NhError

CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
"""All words are the generator's, --help too."""


def load(ctx: typer.Context) -> None:
    """Set up calls through a relay, play media both ways, and report loss, delay and jitter.

    Without an address it is the nh on this host. nh load --help prints the options of the generator.
    """
    home = _home()
    path = os.pathsep.join(filter(None, (str(home), os.environ.get("PYTHONPATH"))))
    # safe path: a directory of that name where the operator happens to be is not the generator
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "RTPLOAD_NAME": "nh load"}
    os.execve(sys.executable, [sys.executable, "-m", "tools.rtpload", *ctx.args], environment)


def _home() -> Path:
    """Where the generator's package is: within an installed nh, or beside nh in its source tree."""
    package = Path(nh.__file__).parent
    for home in (package / "bundled", package.parent):
        if (home / "tools" / "rtpload").is_dir():
            return home
    raise NhError("this installation of nh has no load generator; install nh from its wheel or source tree")
