"""`nh run`: a supervisor, from its first log line to its exit status."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence

from nh.config import Settings
from nh.config.sources import LoadedSettings, with_origin
from nh.errors import ConfigError, NhError
from nh.ipc.inherited import Inherited
from nh.logs.lines import configure_logging
from nh.room import telling_shortages
from nh.supervisor.handover.another_try import keep_for_another_try, trying_again
from nh.supervisor.handover.receive import receive_after_exec, take_over
from nh.supervisor.handover.send import end_without_undoing, execute_anew
from nh.supervisor.handover.settings import decode_settings
from nh.supervisor.running_nh import find_running
from nh.supervisor.runtime import Runtime, listener_names
from nh.supervisor.shards.process import SHARD_ARGV
from nh.supervisor.standby.phase import Outcome, Standby
from nh.supervisor.store.open import StateKey, followers, state_key
from nh.supervisor.supervisor import Supervisor

logger = logging.getLogger(__name__)


def run(
    read: Callable[[], LoadedSettings],
    *,
    takeover: bool = False,
    shard_argv: Sequence[str] = SHARD_ARGV,
    reread: Callable[[], LoadedSettings] | None = None,
) -> int:
    """Run the relay until SIGTERM or SIGINT, or until it is drained; in the main thread only.

    Args:
        read: reads the settings, see nh.config.Settings, from their sources; it is not called where this
            process goes on with those in force.
        takeover: take over the calls of the nh that runs in the same runtime directory, which ends then.
        shard_argv: the program of a shard.
        reread: reads the settings for a reload; None: as `read`.

    Returns:
        The exit status: 0 after a signal, a drain or a takeover by another nh. If nh cannot start, the log
        says why: 2, a setting cannot be used; 1, any other reason.

    Raises:
        ConfigError: the settings cannot be read.
    """
    inherited = receive_after_exec(os.environ)
    keep_for_another_try(inherited)
    with trying_again(inherited):
        loaded = decode_settings(inherited.message.settings) or read()
    settings = loaded.settings
    configure_logging(settings.log)
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(inherited.close)
            with trying_again(inherited):
                key = state_key(settings)
            if takeover and not inherited:
                _check_takeover(settings, key)
                inherited = take_over(settings.runtime_path, listener_names(settings))
                stack.callback(inherited.close)
            with trying_again(inherited), _undoing_nothing_of_another(inherited, loaded):
                outcome, status = _run(loaded, shard_argv, stack, inherited, key=key, reread=reread or read)
        return _start_anew() if outcome is Outcome.ANEW else status
    except NhError as exc:
        return _not_started(exc, loaded)


def _run(
    loaded: LoadedSettings,
    shard_argv: Sequence[str],
    stack: contextlib.ExitStack,
    inherited: Inherited,
    *,
    key: StateKey,
    reread: Callable[[], LoadedSettings],
) -> tuple[Outcome, int]:
    """One run of nh, as a standby first if it is one; returns how it ended, and the exit status."""
    groups = None if inherited else followers(loaded.settings, key)  # who was handed calls is no standby
    with telling_shortages():
        runtime = Runtime(loaded, shard_argv, stack, inherited, key=key, standby=bool(groups))
        outcome = Standby(runtime, groups).run() if groups else Outcome.PROMOTED
        if outcome is not Outcome.PROMOTED:
            return outcome, 0
        supervisor = Supervisor(runtime, stack, inherited, reread)
        status = supervisor.run()
    return Outcome.ANEW if supervisor.becomes_standby else Outcome.ENDED, status


@contextlib.contextmanager
def _undoing_nothing_of_another(inherited: Inherited, loaded: LoadedSettings) -> Iterator[None]:
    """Within the block, end at once on an error if the supervisor before goes on then.

    The files of its sockets, its locks and its lease are what this process has, too.
    """
    try:
        yield
    except BaseException as exc:
        if inherited.awaited_by is None:
            raise
        if isinstance(exc, NhError):
            end_without_undoing(_not_started(exc, loaded))
        logger.critical("nh cannot start: %s", type(exc).__name__, exc_info=exc)
        end_without_undoing(1)


def _not_started(exc: NhError, loaded: LoadedSettings) -> int:
    """Log why nh cannot start; returns the exit status."""
    logger.error("nh cannot start: %s", with_origin(str(exc), loaded.origins))
    return 2 if isinstance(exc, ConfigError) else 1


def _check_takeover(settings: Settings, key: StateKey) -> None:
    """Check before the other nh yields, if one runs: then its clients wait, and its shards are orphans."""
    if (running := find_running(settings.runtime_path)) is not None:
        from nh.supervisor.start_checks import check_host, check_takeover  # noqa: PLC0415  few take over

        check_host(settings, running)
        check_takeover(settings, running, key)


def _start_anew() -> int:
    """Execute the installed code with the same command line; returns the exit status if that fails."""
    try:
        execute_anew()
    except OSError as exc:
        logger.critical("nh cannot go on: %s: %s; start it again", sys.executable, exc.strerror)
        return 1
