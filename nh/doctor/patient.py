"""What `nh doctor` looks at: this host, and the nh that runs or would."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from nh.config import Settings
from nh.config.sources import LoadedSettings, with_origin
from nh.doctor.comparison import Comparison, compare
from nh.doctor.host import Host
from nh.errors import NhError
from nh.supervisor.running_nh import RunningNh, lock_is_hidden, running_pid


class Patient(NamedTuple):
    """What a check looks at.

    Attributes:
        host: the host.
        settings: those that nh runs with, or would.
        pid: of the nh that runs with the runtime directory; 0: it is not known; None: none runs.
        compared: the settings of the nh that runs and those given; None: it does not tell its own.
        origins: where the settings came from, see LoadedSettings.
        running: the nh that runs, for the checks of a start: all judge by what it told once.
        file: of the settings given; None: none was named.
    """

    host: Host
    settings: Settings
    pid: int | None
    compared: Comparison | None = None
    origins: Mapping[str, str] = MappingProxyType({})
    running: RunningNh | None = None
    file: Path | None = None

    def with_origin(self, exc: NhError) -> str:
        """What an error says about `settings`, with where the value of the setting came from."""
        return with_origin(str(exc), self.origins)

    @property
    def is_hidden(self) -> bool:
        """Whether an nh may run that this user cannot see."""
        return self.pid is None and lock_is_hidden(self.settings.runtime_path)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The ranges of media ports, each once, in order."""
        own = {self.settings.port_range} | {each.ports for each in self.settings.interfaces if each.ports}
        return sorted(own)

    @property
    def shards(self) -> int:
        """How many shards nh has with these settings."""
        return self.settings.shards or self.host.cpus


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
    running = RunningNh(given.runtime_path) if pid is not None else None
    in_force = running.in_force if running is not None else None
    if in_force is not None:
        if loaded.file is None and in_force.file:
            loaded = reread(Path(in_force.file))
        with contextlib.suppress(msgspec.ValidationError):  # of another release
            settings, compared = compare(in_force, loaded, given.runtime_path)
            return Patient(Host(), settings, pid, compared, in_force.origins, running)
    return Patient(Host(), given, pid, origins=loaded.origins, running=running, file=loaded.file)
