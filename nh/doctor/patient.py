"""Finds what `nh doctor` looks at: this host, and the nh that runs or would."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from nh.config.sources import LoadedSettings
from nh.doctor.comparison import compare
from nh.doctor.host import Host, Patient
from nh.supervisor.settings_in_force import read_in_force
from nh.supervisor.start_checks import running_pid


def find_patient(loaded: LoadedSettings, reread: Callable[[Path], LoadedSettings]) -> Patient:
    """This host with the settings of the nh that runs; with those given where none runs, or it tells none.

    Args:
        loaded: the settings given.
        reread: reads them with another file of settings: that of the nh that runs, where none was named.

    Raises:
        ConfigError: the file of the nh that runs cannot be used.
    """
    given = loaded.settings
    pid = running_pid(given.runtime_path)
    in_force = read_in_force(given.runtime_path) if pid is not None else None
    if in_force is not None:
        if loaded.file is None and in_force.file:
            loaded = reread(Path(in_force.file))
        with contextlib.suppress(msgspec.ValidationError):  # of another release
            settings, compared = compare(in_force, loaded)
            return Patient(Host(), settings, pid, compared, in_force.origins)
    return Patient(Host(), given, pid, origins=loaded.origins)
