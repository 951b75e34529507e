"""The runtime directory: one `nh run` at a time, and nobody else's hands in it."""

import contextlib
from pathlib import Path
from typing import Final

from nh.ipc.inherited import NOTHING, InheritedFds
from nh.supervisor.host.locked_dir import Lock, Purpose, private_dir

_PURPOSE: Final = Purpose("runtime_dir", "put a socket of theirs in place of nh's")


def runtime_dir(path: Path, inheritance: InheritedFds = NOTHING) -> contextlib.AbstractContextManager[Lock]:
    """Have the runtime directory to oneself within the block: see private_dir, ConfigError's too."""
    return private_dir(path, _PURPOSE, inheritance)
