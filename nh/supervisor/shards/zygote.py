"""The spare: a process with everything imported, of which shards are forked, so that a start is short.

Shards are forked of it at the start and after a death, within milliseconds. Where it cannot be used, a shard
is started as a program of its own; if it dies, another one is started, later from death to death.
"""

import contextlib
import logging
from collections.abc import Callable
from typing import Final

from nh.ipc.link_messages import Waiting
from nh.loop import Loop, Timer
from nh.supervisor.shards.process import NotForked, ShardProcess

logger = logging.getLogger(__name__)

LOAD_S: Final = 10.0
"""How long it may take to import everything; then shards are started without it."""

FORK_S: Final = 0.5
"""How long it may take to fork, in which the supervisor waits; it takes 3 ms."""

REFILL_S: Final = 0.1
LONGEST_REFILL_S: Final = 60.0


class Zygote:
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
        self._zygote: ShardProcess | None = None
        self._loaded = False
        self._on_known: Callable[[], None] | None = None
        self._refill_s = REFILL_S
        self._timer: Timer | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process id of a spare that can be forked; None: there is none now."""
        return self._zygote.pid if self._zygote is not None and self._loaded else None

    def fill(self, on_known: Callable[[], None]) -> None:
        """Have a spare from now on.

        Arguments:
            on_known: called once when it can be forked, or when it shows that there will be none for a while.
        """
        self._on_known = on_known
        self._fill()

    def new_process(self) -> ShardProcess:
        """A process that waits for its settings: forked, or started. OSError if that is impossible."""
        if self._zygote is not None and self._loaded:
            try:
                process = self._zygote.fork(FORK_S)
            except NotForked as exc:
                self._discard(f"cannot be used, it is ended: {exc}")
            except OSError as exc:
                logger.warning("the spare process cannot fork: %s", exc.strerror)
            else:
                self._refill_s = REFILL_S
                return process
        return self._start()

    def close(self) -> None:
        """End the spare and start none again."""
        self._closed = True
        self._on_known = None
        self._cancel_timer()
        self._end()

    def _fill(self) -> None:
        self._cancel_timer()
        if not self._wanted or self._closed:
            self._tell()
            return
        try:
            self._zygote = self._start()
            self._loop.add_reader(self._zygote.pidfd, lambda: self._discard("died"))
            self._loop.add_reader(self._zygote.link.fileno(), self._on_word)
        except OSError as exc:
            self._discard(f"cannot be started: {exc.strerror}")
            return
        self._timer = self._loop.call_later(
            LOAD_S, lambda: self._discard(f"did not load within {LOAD_S:g} s")
        )

    def _on_word(self) -> None:
        if self._zygote is None:
            return
        self._loop.remove_reader(self._zygote.link.fileno())
        with contextlib.suppress(OSError):  # its end is about to be seen
            if isinstance(self._zygote.hear(0), Waiting):
                self._cancel_timer()
                self._loaded = True
                self._tell()

    def _discard(self, why: str) -> None:
        """End a spare that is of no use, and start another one later."""
        pid, how = self._zygote.pid if self._zygote is not None else -1, self._end()
        logger.warning("the spare process (pid %d) %s%s", pid, why, f" ({how})" if how else "")
        self._cancel_timer()
        self._timer = self._loop.call_later(self._refill_s, self._fill)
        self._refill_s = min(LONGEST_REFILL_S, self._refill_s * 2)
        self._tell()

    def _end(self) -> str:
        zygote, self._zygote, self._loaded = self._zygote, None, False
        if zygote is None:
            return ""
        self._loop.remove_reader(zygote.pidfd)
        self._loop.remove_reader(zygote.link.fileno())
        zygote.kill()
        zygote.link.close()
        return zygote.reap()

    def _tell(self) -> None:
        on_known, self._on_known = self._on_known, None
        if on_known is not None:
            on_known()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
