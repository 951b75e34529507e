"""The settings in force, as a running nh tells them: a file in its runtime directory.

The flags, the environment and the file of the nh that runs are not those of another command, and all may have
changed since. `nh doctor` reads the file, and judges by it. It has no secrets.
"""

import contextlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from nh.config import Settings
from nh.config.sources import LoadedSettings, plain_settings
from nh.paths import open_private
from nh.reasons import reason
from nh.supervisor.host.locked_dir import LOCK_NAME

logger = logging.getLogger(__name__)

NAME: Final = "settings.json"
MAX_BYTES: Final = 1 << 20


class InForce(msgspec.Struct, frozen=True):
    """What the file says.

    Attributes:
        shards: how many shards nh has.
        file: the file of settings that nh has read, an absolute path; "": none.
        settings: all settings as plain values (nh.config.sources.plain_settings).
        origins: where they came from, see LoadedSettings; RUN_TIME for what a command has changed.
        state_key: the check value of the store's key (nh.supervisor.store.sealed), read at the start of nh.
    """

    shards: int
    file: str
    settings: dict[str, Any]
    origins: dict[str, str]
    state_key: str = ""


RUN_TIME: Final = "nh log"
"""The origin of a setting that a command has changed at run time."""


class SettingsInForce:
    """Keeps the file up to date. Close it.

    Args:
        loaded: the settings of the start.
        shards: how many shards there are.
        state_key: see InForce.

    Attributes:
        loaded: the settings in force with their secrets, and where they came from.
    """

    def __init__(self, loaded: LoadedSettings, shards: int, *, state_key: str = "") -> None:
        self._path = loaded.settings.runtime_path / NAME
        self._file = str(loaded.file.absolute()) if loaded.file is not None else ""
        self._shards = shards
        self._state_key = state_key
        self.loaded = loaded
        self._lacks = False
        self._write()

    def write_again(self, *, is_older_than_lock: bool = False) -> None:
        """Write the file if that was impossible, or it was removed; to be called from time to time.

        Args:
            is_older_than_lock: whether the lock was renewed, so that the file counts no more.
        """
        if self._lacks or is_older_than_lock or not os.path.lexists(self._path):
            self._write()

    def change(self, settings: Settings, origins: Mapping[str, str | None]) -> None:
        """Some settings have changed.

        Args:
            settings: all that are in force now.
            origins: where those that have changed came from; None: they have their default.
        """
        changed = {**self.loaded.origins, **origins}
        kept = {name: origin for name, origin in changed.items() if origin is not None}
        self.loaded = self.loaded._replace(settings=settings, origins=kept)
        self._write()

    def close(self) -> None:
        """Remove the file: nh has ended."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        plain = plain_settings(self.loaded.settings)
        content = InForce(self._shards, self._file, plain, dict(self.loaded.origins), self._state_key)
        new = self._path.with_suffix(".new")
        try:
            new.unlink(missing_ok=True)
            with open(new, "xb", opener=open_private) as stream:
                stream.write(msgspec.json.encode(content))
            self._date_after_lock(new)
            new.replace(self._path)
        except OSError as exc:  # a full disk is no reason not to relay
            if not self._lacks:
                logger.warning(
                    "%s cannot be written: %s; until it can, nh doctor does not know the settings of this nh",
                    self._path,
                    reason(exc),
                )
            self._lacks = True
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            self.close()
        else:
            self._lacks = False

    def _date_after_lock(self, new: Path) -> None:
        """Let the file be newer than the lock (see read_in_force()), also if the clock was set back since."""
        locked_ns = self._path.with_name(LOCK_NAME).stat().st_mtime_ns
        if new.stat().st_mtime_ns < locked_ns:
            os.utime(new, ns=(locked_ns, locked_ns))


def read_in_force(runtime_path: Path) -> InForce | None:
    """The settings of the nh that runs with a runtime directory; None: it tells none, or they cannot be read.

    Each start of nh writes to the lock. So a file that is older than that is one of another start: nh was
    killed, or replaced by a release that does not write it.
    """
    path = runtime_path / NAME
    try:
        if path.stat().st_mtime_ns < (runtime_path / LOCK_NAME).stat().st_mtime_ns:
            return None
        with path.open("rb") as stream:
            return msgspec.json.decode(stream.read(MAX_BYTES), type=InForce)
    except (OSError, msgspec.DecodeError):
        return None


def addresses_in_force(runtime_path: Path, name: str) -> tuple[str, ...]:
    """What the nh that runs with a runtime directory has in `rpc`, `ng` or the like; (): it tells none."""
    in_force = read_in_force(runtime_path)
    if in_force is None:
        return ()
    try:
        return msgspec.convert(in_force.settings.get(name), tuple[str, ...])
    except msgspec.ValidationError:
        return ()
