"""Opens the store that the setting `state` names: its URL scheme chooses the engine, a path means SQLite."""

import contextlib
import functools
import importlib.util
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import structs

from nh.config import Settings
from nh.config.table import StateAway
from nh.errors import ConfigError, DirectoryInUse, NhError, NotNow, StoreUnavailable
from nh.ipc.handover_socket import shards_listen
from nh.ipc.inherited import NOTHING_INHERITED, Inherited
from nh.paths import real_path
from nh.supervisor.host.locked_dir import STATE_DIR, Lock, locked_dir
from nh.supervisor.store.engine import StoreEngine, StoreRefused
from nh.supervisor.store.sealed import SealedEngine, key_check, read_state_key
from nh.supervisor.store.store import Store
from nh.supervisor.store.valkey.url import SCHEMES, parse_url

if TYPE_CHECKING:
    from nh.supervisor.store.valkey.follower import Follower
    from nh.supervisor.store.valkey.followers import Followers

logger = logging.getLogger(__name__)

STORE_NAME: Final = "calls.sqlite3"
SQLITE: Final = "sqlite"


class OpenedStore(NamedTuple):
    """A store, and the lock that keeps other relays from it; None: calls are not stored.

    Attributes:
        store: None if calls are not stored.
        lock: None if the engine needs none on this host.
    """

    store: Store | None = None
    lock: Lock | None = None


class WantedGroup(NamedTuple):
    """Which calls of a server a relay opens.

    Attributes:
        name: the prefix; "": that of the URL.
        follower: has a warm copy of them; None: there is none.
        force: whether they are taken from a relay that lives.
    """

    name: str = ""
    follower: "Follower | None" = None
    force: bool = False


OWN_GROUP: Final = WantedGroup()


class StateKey(NamedTuple):
    """The key of `state_key_file`, as it was read once: the file may be replaced while nh starts.

    Attributes:
        key: see SealedEngine.
        check: its check value; "": there is no key, or calls are not stored.
    """

    key: bytes | None
    check: str


@contextlib.contextmanager
def open_store(
    settings: Settings,
    inherited: Inherited = NOTHING_INHERITED,
    group: WantedGroup = OWN_GROUP,
    *,
    key: StateKey | None = None,
) -> Iterator[OpenedStore]:
    """Open the store of the relay with these settings for the duration of the block.

    A default directory that cannot be used is no error, because no operator asked for it; a log line says so.
    Behind the block another relay gets the calls of a server at once, unless a shard of this one still relays
    them: a shard whose supervisor was killed does so until a start has its calls.

    Args:
        settings: `state`, and the runtime directory, which identifies the relay and has the journal.
        inherited: may have the lock already.
        group: see WantedGroup.
        key: encrypts the calls; None: it is read now.

    Raises:
        DirectoryInUse: another nh uses the state directory.
        ConfigError: the store that `state` names cannot be used, or the key of `state_key_file`.
        NotNow: it cannot be opened or read now.
    """
    scheme, location = locate(settings)
    if not scheme:
        yield OpenedStore()
        return
    _check_extra(scheme)
    key = key or state_key(settings)

    def goes_on() -> bool:
        """Whether calls are relayed behind the block."""
        return inherited.goes_on_elsewhere or shards_listen(settings.runtime_path)

    with contextlib.ExitStack() as stack:
        try:
            runtime = real_path(settings.runtime_path)
            opened = _ENGINES[scheme](location, Wanted(settings, inherited, group, key.check))
            engine, lock = stack.enter_context(opened)
            # a standby that cannot reach the server has not got the calls, and follows on
            away = scheme != SQLITE and settings.state_away is StateAway.TAKE and group.follower is None
            sealed = SealedEngine(engine, key.key, remote=scheme != SQLITE)
            if sealed.lease is not None:  # what goes on if this start fails has it, too
                sealed.lease.is_kept = goes_on()
            store = Store(sealed, runtime, may_be_away=away)
            stack.callback(lambda: store.close(keep_lease=goes_on()))
        except DirectoryInUse:
            raise
        except (ConfigError, StoreUnavailable) as exc:
            stack.close()
            _do_without(settings, exc)
            yield OpenedStore()
        else:
            yield OpenedStore(store, lock)


def followers(settings: Settings, key: StateKey) -> "Followers | None":
    """One for each group that the relay with these settings is a standby for; None: for none.

    Args:
        settings: see open_store().
        key: opens the calls.

    Raises:
        ConfigError: the store that `state` names cannot be used: the calls could not be taken over.
    """
    if not settings.groups:
        return None
    scheme, location = locate(settings)
    _check_extra(scheme)
    from nh.supervisor.store.valkey.follower import Follower  # noqa: PLC0415  needs the extra valkey
    from nh.supervisor.store.valkey.followers import Followers  # noqa: PLC0415  as above

    target = parse_url(scheme, location)
    names = dict.fromkeys(name or target.prefix for name in settings.groups)
    holder = holder_name(settings)
    return Followers(
        [Follower(structs.replace(target, prefix=name), holder, key_check=key.check) for name in names]
    )


def prefix_of(settings: Settings, group: WantedGroup) -> str:
    """The prefix under which the calls of a group are on a server; "": they are on none."""
    scheme, location = locate(settings)
    return group.name or parse_url(scheme, location).prefix if scheme in SCHEMES else ""


def holder_name(settings: Settings) -> str:
    """What a server and other relays know this relay by: its host and its runtime directory."""
    runtime = os.fsencode(real_path(settings.runtime_path))
    return f"{socket.gethostname()}:{runtime.decode(errors='backslashreplace')}"


def check_store(settings: Settings) -> None:
    """Check what open_store() needs besides the directory or the server. Nothing is opened.

    Raises:
        ConfigError: a setting cannot be used, or an extra is missing.
    """
    scheme, _ = locate(settings)
    if scheme:
        _check_extra(scheme)
        _ = read_state_key(settings.state_key_file)


def state_key(settings: Settings) -> StateKey:
    """Read the key that `state_key_file` has now.

    Raises:
        ConfigError: the file cannot be used, or the store.
    """
    scheme, _ = locate(settings)
    key = read_state_key(settings.state_key_file) if scheme else None
    return StateKey(key, key_check(key))


def check_server(settings: Settings) -> None:
    """Check whether open_store() can have the store's server now; a store in a file is left alone.

    Raises:
        ConfigError: a setting cannot be used, or the server refuses this relay.
        NotNow: the server is away, and the settings want no start without it.
    """
    scheme, location = locate(settings)
    if scheme not in SCHEMES:
        return
    _check_extra(scheme)
    from nh.supervisor.store.valkey.connection import connect  # noqa: PLC0415  needs the extra valkey
    from nh.supervisor.store.valkey.failures import failures  # noqa: PLC0415  as above

    target = parse_url(scheme, location)
    try:
        with failures(target.name), contextlib.closing(connect(target)) as server:
            server.ping()
    except StoreRefused as exc:
        raise ConfigError(f"state: {_without_setting(exc)}") from exc
    except StoreUnavailable as exc:
        if settings.state_away is not StateAway.TAKE:
            raise NotNow(f"state: {_without_setting(exc)}") from exc


def _do_without(settings: Settings, fault: ConfigError | StoreUnavailable) -> None:
    """Log that there is no store: no operator asked for the default one.

    Raises:
        ConfigError, NotNow: an operator asked for the store.
    """
    why = _without_setting(fault)
    if settings.state:
        # a disk may be mounted later
        kind = ConfigError if isinstance(fault, ConfigError | StoreRefused) else NotNow
        raise kind(f"state: {why}; --no-state runs without a store") from fault
    logger.warning(
        "state: calls are not stored, so a restart of everything loses them: %s, or run with --no-state", why
    )


def _without_setting(exc: NhError) -> str:
    """The message of an error, which may name the setting or not."""
    return str(exc).removeprefix(f"{STATE_DIR.setting}: ")


def locate(settings: Settings) -> tuple[str, str]:
    """Scheme and location of the store; "" as scheme: calls are not stored.

    Raises:
        ConfigError: no engine has the scheme, or the URL cannot be used.
    """
    scheme, separator, location = settings.state.partition("://")
    if settings.groups and scheme not in SCHEMES:
        which = "standby_for" if settings.standby_for else "standby"
        raise ConfigError(f"{which}: follows calls on a server; say --state valkey://HOST/0?prefix=NAME")
    if not separator:
        path = settings.state_path
        return ("", "") if path is None else (SQLITE, str(path))
    if scheme not in _ENGINES:
        known = " or ".join(f"{each}://" for each in _ENGINES)
        raise ConfigError(f"state: there is no store for {scheme}://; name a directory, or {known}")
    if scheme in SCHEMES:
        parse_url(scheme, location)
    return scheme, location


def _check_extra(scheme: str) -> None:
    if scheme in SCHEMES and importlib.util.find_spec("valkey") is None:
        raise ConfigError(
            f"state: {scheme}:// needs the extra `valkey`; in nh's repository: pip install '.[valkey]'"
        )


class Wanted(NamedTuple):
    """What an engine is made of, besides its location; see open_store() and nh.supervisor.store.sealed."""

    settings: Settings
    inherited: Inherited
    group: WantedGroup
    key_check: str


@contextlib.contextmanager
def _sqlite(directory: str, wanted: Wanted) -> Iterator[tuple[StoreEngine, Lock | None]]:
    from nh.supervisor.store.sqlite import SqliteEngine  # noqa: PLC0415  a relay without a store needs none

    settings, path = wanted.settings, Path(directory)
    owner = os.fsencode(real_path(settings.runtime_path))
    with locked_dir(path, STATE_DIR, wanted.inherited, named=bool(settings.state)) as lock:
        yield SqliteEngine(path / STORE_NAME, owner), lock


@contextlib.contextmanager
def _valkey(scheme: str, location: str, wanted: Wanted) -> Iterator[tuple[StoreEngine, Lock | None]]:
    from nh.supervisor.store.valkey.engine import ValkeyEngine  # noqa: PLC0415  needs the extra valkey

    target, (name, follower, force) = parse_url(scheme, location), wanted.group
    target = structs.replace(target, prefix=name or target.prefix)
    holder, check = holder_name(wanted.settings), wanted.key_check
    yield ValkeyEngine(target, holder, follower=follower, force=force, key_check=check), None


_Open = Callable[[str, Wanted], contextlib.AbstractContextManager[tuple[StoreEngine, Lock | None]]]
"""(location, what is wanted): an engine, and the lock that keeps other relays from it."""

_ENGINES: Final[Mapping[str, _Open]] = {
    SQLITE: _sqlite,
    **{scheme: functools.partial(_valkey, scheme) for scheme in SCHEMES},
}
"""Engines by the scheme of the URL; a new engine is a line here."""
