"""The state directory, and the store in it: where a relay keeps its calls while it does not run."""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from nh.config import Settings
from nh.errors import ConfigError, DirectoryInUse, StoreUnavailable
from nh.ipc.inherited import NOTHING_INHERITED, InheritedFds
from nh.supervisor.host.locked_dir import Lock, Purpose, locked_dir
from nh.supervisor.store.store import Store

logger = logging.getLogger(__name__)

STORE_NAME: Final = "calls.sqlite3"

_PURPOSE: Final = Purpose("state", "have calls of theirs restored")


class OpenStore(NamedTuple):
    """A store and the lock of its directory; None: calls are not stored."""

    store: Store | None = None
    lock: Lock | None = None


@contextlib.contextmanager
def open_store(settings: Settings, inherited: InheritedFds = NOTHING_INHERITED) -> Iterator[OpenStore]:
    """The store of the relay with these settings, to itself, within the block; None: it does without.

    Arguments:
        settings: see Settings.
        inherited: may have the directory's lock already.

    A default directory that cannot be used is no error, as nobody asked for it; a line says so.

    Raises DirectoryInUse if another nh has the directory, any other ConfigError if one that was asked for
    cannot be used.
    """
    path = settings.state_path
    if path is None:
        yield OpenStore()
        return
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(locked_dir(path, _PURPOSE, inherited))
            # whose calls they are is told by the runtime directory, as with all that a relay has
            runtime = settings.runtime_path.resolve()
            store = Store(path / STORE_NAME, os.fsencode(runtime), notes_dir=runtime)
            stack.callback(store.close)
        except DirectoryInUse:
            raise
        except (ConfigError, StoreUnavailable) as exc:
            stack.close()
            why = str(exc).removeprefix(f"{_PURPOSE.setting}: ")
            if settings.state:
                raise ConfigError(f"state: {why}; --no-state does without") from exc
            logger.warning(
                "calls are not stored, and a restart of everything loses them: %s;"
                " name a directory with --state, or say --no-state",
                why,
            )
            yield OpenStore()
        else:
            yield OpenStore(store, lock)
