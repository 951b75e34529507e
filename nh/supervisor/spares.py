"""Spares: a shard's process that waits for its settings with everything imported, so that a restart is short.

It takes the place of a shard that died; then another one is started, a little later, because just now the
successor needs the CPU. A spare that dies by itself is replaced too, later from death to death.
"""

import logging
from collections.abc import Callable
from typing import Final

from nh.loop import Loop, Timer
from nh.supervisor.process import ShardProcess

logger = logging.getLogger(__name__)

REFILL_S: Final = 0.1
LONGEST_REFILL_S: Final = 60.0


class Spares:
    """At most one spare.

    Arguments:
        loop: watches it.
        start: starts a process; OSError if that is impossible.
        wanted: how many to have, 0 or 1.
    """

    def __init__(self, loop: Loop, start: Callable[[], ShardProcess], wanted: int) -> None:
        self._loop = loop
        self._start = start
        self._wanted = wanted
        self._spare: ShardProcess | None = None
        self._refill_s = REFILL_S
        self._timer: Timer | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The spare's process id; None: there is none now."""
        return self._spare.pid if self._spare is not None else None

    def fill(self) -> None:
        """Start the spare if it is missing; done by itself from then on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._wanted or self._spare is not None or self._closed:
            return
        try:
            self._spare = self._start()
        except OSError as exc:
            logger.warning("a spare process cannot be started: %s", exc.strerror)
            self._fill_later()
            return
        self._loop.add_reader(self._spare.pidfd, self._on_death)

    def take(self) -> ShardProcess:
        """A process that waits for its settings: the spare, or a new one. OSError if that is impossible."""
        spare, self._spare = self._spare, None
        if spare is None:
            return self._start()
        self._loop.remove_reader(spare.pidfd)
        self._refill_s = REFILL_S
        self._fill_later()
        return spare

    def close(self) -> None:
        """End the spare and start none again."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        spare, self._spare = self._spare, None
        if spare is not None:
            self._loop.remove_reader(spare.pidfd)
            spare.kill()
            spare.reap()
            spare.link.close()

    def _on_death(self) -> None:
        spare, self._spare = self._spare, None
        if spare is None:
            return
        self._loop.remove_reader(spare.pidfd)
        logger.warning("the spare process (pid %d) died: %s", spare.pid, spare.reap())
        spare.link.close()
        self._fill_later()
        self._refill_s = min(LONGEST_REFILL_S, self._refill_s * 2)

    def _fill_later(self) -> None:
        if self._wanted and not self._closed:
            self._timer = self._loop.call_later(self._refill_s, self.fill)
