"""Why and when a run of nh ends, and with which status. It ends once, for the first reason."""

import logging
import signal
from collections.abc import Callable

from nh.loop import call_each
from nh.supervisor.orphans.orphaned_shards import OrphanedShards
from nh.supervisor.runtime import Runtime
from nh.supervisor.standby.hooks import Hook

logger = logging.getLogger(__name__)


class ShutdownController:
    """The end of a run.

    Args:
        runtime: says that nh stops; its loop is stopped at last.
        orphans: while some are pending, a signal has nh end when their calls are restored.
        end: called once, when the end begins: closes what serves, has the shards end, then calls on_stopped.
        kill: kills the shards.

    Attributes:
        begun: whether it has begun.
        status: the exit status of nh.
        demoted: whether the calls are another relay's.
    """

    def __init__(
        self,
        runtime: Runtime,
        orphans: OrphanedShards,
        *,
        end: Callable[[], None],
        kill: Callable[[], None],
    ) -> None:
        self.begun = False
        self.status = 0
        self.demoted = False
        self._runtime = runtime
        self._orphans = orphans
        self._end = end
        self._kill = kill
        self._signalled = False
        self._deferred = False

    @property
    def wanted(self) -> bool:
        """Whether it has begun, or is to begin when every shard is up."""
        return self.begun or self._deferred

    @property
    def becomes_standby(self) -> bool:
        """Whether this relay is to be started anew afterwards: it is a standby, its calls are given away."""
        ends = self._signalled or self.status
        return self.demoted and not ends and bool(self._runtime.settings.groups)

    def on_signal(self, number: signal.Signals) -> None:
        """SIGTERM or SIGINT: end; at the second one, without the grace."""
        self._signalled = True
        if self.begun:
            logger.warning("%s again: killing the shards", number.name)
            self._kill()
        elif self._orphans.pending and not self._deferred:
            logger.info(
                "%s during a takeover: ending after the previous run's calls are restored", number.name
            )
            self._deferred = True
        else:
            logger.info("%s: ending", number.name)
            self.begin()

    def on_drained(self, why: str) -> None:
        """The drain is over."""
        if not self.begun:
            logger.info("drained: %s; ending", why)
        self.begin()

    def on_given_up(self, why: str) -> None:
        """A shard cannot be started."""
        logger.error("nh cannot start: %s; the lines above may say why", why)
        self.status = 1
        self.begin()

    def on_calls_lost(self, why: str) -> None:
        """The calls are another relay's, which may relay them already: the shards have no grace."""
        if self.begun:
            return
        logger.error("store: %s; this relay ends at once", why)
        self.demoted = True
        self.status = 1
        deadline = self._runtime.storage.deadline
        # a step that fails must leave no shard that sends
        call_each((*((deadline.set_past,) if deadline is not None else ()), self.begin, self._kill))

    def begin(self) -> None:
        """End. No effect if it has begun."""
        if self.begun:
            return
        self.begun = True
        self._runtime.storage.announce_end()
        if not self.becomes_standby:
            self._runtime.notifier.stopping()
        self._end()

    def on_stopped(self) -> None:
        """No shard is left: run the hook of a relay that becomes a standby, then stop the loop."""
        runtime, loop, settings = self._runtime, self._runtime.loop, self._runtime.settings
        if self.demoted and settings.groups:
            command = settings.on_demote
            Hook(loop, "on_demote", command, runtime.storage.group, stats=runtime.stats, then=loop.stop)
        else:
            loop.stop()
