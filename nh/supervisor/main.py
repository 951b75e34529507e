"""`nh run`: a supervisor, from its first log line to its exit status."""

import contextlib
import logging
import os
import sys
from collections.abc import Sequence

from nh.config import Settings
from nh.errors import ConfigError, NhError
from nh.supervisor.handover.receive import receive_after_exec, take_over
from nh.supervisor.shards.process import SHARD_ARGV
from nh.supervisor.supervisor import Supervisor

logger = logging.getLogger(__name__)


def run(settings: Settings, *, takeover: bool = False, shard_argv: Sequence[str] = SHARD_ARGV) -> int:
    """Run the relay until SIGTERM or SIGINT, or until it is drained; in the main thread only.

    Args:
        settings: see Settings.
        takeover: take over the calls of the nh that runs in the same runtime directory, which ends then.
        shard_argv: the program of a shard.

    Returns:
        The exit status: 0 after a signal, a drain or a takeover by another nh. If nh cannot start, the log
        says why: 2, a setting cannot be used; 1, any other reason.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        with contextlib.ExitStack() as stack:
            inherited = receive_after_exec(os.environ)
            stack.callback(inherited.close)
            if takeover and not inherited:
                inherited = take_over(settings.runtime_path)
                stack.callback(inherited.close)
            return Supervisor(settings, shard_argv, stack, inherited).run()
    except NhError as exc:
        logger.error("nh cannot start: %s", exc)
        return 2 if isinstance(exc, ConfigError) else 1
