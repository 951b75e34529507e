"""The zygote: a process that has imported everything, from which shards are forked (prefork).

A fork takes milliseconds, at the start of nh and after a shard's death; the start of a program takes 0.3 s.
If the zygote cannot fork, a shard is started as a program of its own. If the zygote dies, another one is
started, after a delay that doubles from death to death.
"""

import contextlib
import logging
from collections.abc import Callable
from typing import Final

from nh.ipc.link_messages import Waiting
from nh.loop import Loop, Timer
from nh.reasons import shortage
from nh.supervisor.host.cpu_use import JUST_STARTED, cpu_use
from nh.supervisor.shards.process import NotForked, ShardProcess

logger = logging.getLogger(__name__)

LOAD_S: Final = 10.0
"""The zygote may take so long to import everything, or longer if it waits for a CPU; then shards are started
without it."""

FORK_S: Final = 0.5
"""A fork may take so long, while the supervisor waits, or longer if it waits for a CPU; it takes 3 ms."""

RESTART_S: Final = 0.1
"""First delay between the death of a zygote and the start of the next one."""

MAX_RESTART_S: Final = 60.0


class Zygote:
    """At most one process to fork shards from.

    Args:
        loop: watches it.
        start: starts a process; raises OSError.
        wanted: the setting `prefork`: 1: use a zygote, 0: start each shard as a program.
    """

    def __init__(self, loop: Loop, start: Callable[[], ShardProcess], wanted: int) -> None:
        self._loop = loop
        self._start = start
        self._wanted = wanted
        self._zygote: ShardProcess | None = None
        self._loaded = False
        self._on_settled: Callable[[], None] | None = None
        self._restart_s = RESTART_S
        self._timer: Timer | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process id of a zygote that can fork; None: there is none now."""
        return self._zygote.pid if self._zygote is not None and self._loaded else None

    def start(self, on_settled: Callable[[], None]) -> None:
        """Start a zygote, and another one whenever it dies.

        Args:
            on_settled: called once, when the zygote can fork, or when it is clear that there is none for now.
                A second start() replaces that of the first.
        """
        self._on_settled = on_settled
        if self._loaded or (self._zygote is None and self._timer is not None):
            self._settle()
        elif self._zygote is None:
            self._launch()

    def new_process(self) -> ShardProcess:
        """Fork or start a process, which waits for its settings. Raises OSError if that is impossible."""
        if self._zygote is not None and self._loaded:
            try:
                process = self._zygote.fork(FORK_S)
            except NotForked as exc:
                self._discard(f"cannot fork: {exc}; it is killed")
            except OSError as exc:
                logger.warning("zygote: fork failed: %s; the shard is started as a program", exc.strerror)
            else:
                self._restart_s = RESTART_S
                return process
        return self._start()

    def close(self) -> None:
        """Kill the zygote, and start none any more."""
        self._closed = True
        self._on_settled = None
        self._cancel_timer()
        self._end()

    def _launch(self) -> None:
        self._cancel_timer()
        if not self._wanted or self._closed:
            self._settle()
            return
        try:
            self._zygote = self._start()
            self._loop.add_reader(self._zygote.pidfd, lambda: self._discard("died"))
            self._loop.add_reader(self._zygote.link.fileno(), self._on_message)
        except OSError as exc:
            self._discard(f"cannot be started: {shortage(exc)}")
            return
        self._timer = self._loop.call_later(LOAD_S, self._on_slow_load)

    def _on_slow_load(self) -> None:
        if self._zygote is not None and cpu_use(self._zygote.pid).is_starved(JUST_STARTED, LOAD_S):
            # shards that import everything by themselves would wait for a CPU, too
            self._timer = self._loop.call_later(LOAD_S, self._on_slow_load)
        else:
            self._discard(f"did not load within {LOAD_S:g} s")

    def _on_message(self) -> None:
        if self._zygote is None:
            return
        self._loop.remove_reader(self._zygote.link.fileno())
        with contextlib.suppress(OSError):  # its end is about to be noticed
            if isinstance(self._zygote.receive(0), Waiting):
                self._cancel_timer()
                self._loaded = True
                self._settle()

    def _discard(self, why: str) -> None:
        """Kill a zygote that cannot be used, and start another one later."""
        pid, how = self._zygote.pid if self._zygote is not None else -1, self._end()
        logger.warning(
            "zygote%s %s%s; another one is started in %g s",
            f" (pid {pid})" if pid > 0 else "",
            why,
            f" ({how})" if how else "",
            self._restart_s,
        )
        self._cancel_timer()
        self._timer = self._loop.call_later(self._restart_s, self._launch)
        self._restart_s = min(MAX_RESTART_S, self._restart_s * 2)
        self._settle()

    def _end(self) -> str:
        zygote, self._zygote, self._loaded = self._zygote, None, False
        if zygote is None:
            return ""
        self._loop.remove_reader(zygote.pidfd)
        self._loop.remove_reader(zygote.link.fileno())
        zygote.kill()
        zygote.link.close()
        return zygote.reap()

    def _settle(self) -> None:
        on_settled, self._on_settled = self._on_settled, None
        if on_settled is not None:
            on_settled()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
