"""The event loop that nh needs, as an interface, and nh's own implementation of it.

`SelectorLoop` is the default. nh.asyncio_loop runs nh inside an asyncio loop, uvloop too.
A relay does not add its media sockets one by one: it watches them in an epoll set of its own and adds the
descriptor of that (nh.shard.media.poll). So the packet path is the same under every loop, and a command waits
for one batch of packets at most.
"""

import heapq
import itertools
import logging
import os
import selectors
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

logger = logging.getLogger(__name__)

Callback = Callable[[], None]

PROBE_TURNS: Final = 16
"""See TurnReads."""

AT_ONCE_S: Final = 0.000_015
"""A wait for events that took no longer has found them there already."""

_APART_S: Final = 0.0137
"""How much the clocks of two processes with successive ids differ: see until_next()."""


def until_next(period_s: float, *, now: float) -> float:
    """Seconds from `now` (monotonic) until the next multiple of `period_s` on this process's clock.

    Work of the same period that begins at these times shares its wake-ups. The clocks of processes on one CPU
    differ, so they do not wait for each other.
    """
    return period_s - (now + os.getpid() * _APART_S) % period_s


def call_each(callbacks: Iterable[Callback]) -> None:
    """Call each, in order. One that raises is logged, as in SelectorLoop, and the others are called."""
    for callback in callbacks:
        try:
            callback()
        except Exception:
            logger.exception("a callback failed, what follows it goes on: %r", callback)


class Timer(Protocol):
    """A callback that is due later."""

    def cancel(self) -> None:
        """Never run the callback; no effect if it has run."""


class TurnReads:
    """How many messages a reader takes from its descriptor in one turn of the loop.

    A read that finds no message costs as much as one that finds one. So while messages come one by one, a
    turn reads once; while they come faster, a turn reads until there is none. They come faster if the loop
    did not have to wait for this turn, and only one other turn in PROBE_TURNS tries. What a turn leaves makes
    the descriptor readable in the next turn.

    Args:
        loop: whose turns they are.
        most: most messages of one turn, so that other descriptors get their turn.
    """

    __slots__ = ("_loop", "_most", "_several", "_turns")

    def __init__(self, loop: "Loop", most: int) -> None:
        self._loop = loop
        self._most = most
        self._several = True
        self._turns = 0

    def read(self, read_one: Callable[[], bool]) -> None:
        """Read the messages of one turn.

        Args:
            read_one: reads a message; returns whether there was one.
        """
        self._turns += 1
        if self._several or self._loop.is_behind or self._turns % PROBE_TURNS == 0:
            found = 0
            while found < self._most and read_one():
                found += 1
            self._several = found > 1
        else:
            read_one()


class Loop(Protocol):
    """The event loop that nh needs. All methods are called in the loop's own thread."""

    @property
    def is_behind(self) -> bool:
        """Whether events came before the loop could wait for them, as far as it knows."""

    def now(self) -> float:
        """Monotonic seconds; a loop may read the clock once a turn."""

    def add_reader(self, fd: int, callback: Callback) -> None:
        """Call `callback` whenever `fd` is readable; replaces an earlier reader of `fd`."""

    def remove_reader(self, fd: int) -> None:
        """Stop watching `fd` for input; no effect if it has no reader."""

    def add_writer(self, fd: int, callback: Callback) -> None:
        """Call `callback` whenever `fd` is writable; replaces an earlier writer of `fd`."""

    def remove_writer(self, fd: int) -> None:
        """Stop watching `fd` for output; no effect if it has no writer."""

    def call_later(self, delay_s: float, callback: Callback) -> Timer:
        """Call `callback` once, `delay_s` seconds from now (0: in the next turn)."""


class _Watch:
    """The callbacks of one descriptor."""

    __slots__ = ("reader", "writer")

    def __init__(self) -> None:
        self.reader: Callback | None = None
        self.writer: Callback | None = None

    @property
    def events(self) -> int:
        return (selectors.EVENT_READ if self.reader else 0) | (selectors.EVENT_WRITE if self.writer else 0)


class _SelectorTimer:
    """An entry of SelectorLoop's heap; a cancelled one stays there until it is due."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class SelectorLoop:
    """A loop over any selector of the standard library.

    Args:
        selector: watches the descriptors; selectors.DefaultSelector() if None.

    If a callback raises, the loop logs that and goes on: one bad connection must not end all calls.
    """

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        self._selector = selector if selector is not None else selectors.DefaultSelector()
        self._watches: dict[int, _Watch] = {}
        self._timers: list[tuple[float, int, _SelectorTimer]] = []
        self._order = itertools.count()
        self._now = self._begun = time.monotonic()
        self._running = False

    @property
    def is_behind(self) -> bool:
        """See Loop."""
        return self._now - self._begun < AT_ONCE_S

    def now(self) -> float:
        """Monotonic seconds, read once a turn."""
        return self._now

    def add_reader(self, fd: int, callback: Callback) -> None:
        """See Loop."""
        watch, events = self._watch(fd)
        watch.reader = callback
        self._update(fd, watch, events)

    def add_writer(self, fd: int, callback: Callback) -> None:
        """See Loop."""
        watch, events = self._watch(fd)
        watch.writer = callback
        self._update(fd, watch, events)

    def remove_reader(self, fd: int) -> None:
        """See Loop."""
        if watch := self._watches.get(fd):
            events, watch.reader = watch.events, None
            self._update(fd, watch, events)

    def remove_writer(self, fd: int) -> None:
        """See Loop."""
        if watch := self._watches.get(fd):
            events, watch.writer = watch.events, None
            self._update(fd, watch, events)

    def call_later(self, delay_s: float, callback: Callback) -> Timer:
        """See Loop."""
        timer = _SelectorTimer(callback)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), timer))
        return timer

    def run(self) -> None:
        """Turn until stop() is called from a callback."""
        self._running = True
        while self._running:
            self.turn()

    def stop(self) -> None:
        """Let run() return after this turn."""
        self._running = False

    def turn(self, timeout_s: float | None = None) -> None:
        """One turn: wait for events or timers, `timeout_s` at most (None: for ever), and serve them."""
        ready = self._selector.select(self._wait(timeout_s))
        self._now = time.monotonic()
        for key, mask in ready:
            watch: _Watch = key.data
            if mask & selectors.EVENT_READ and watch.reader is not None:
                self._call(watch.reader)
            if mask & selectors.EVENT_WRITE and watch.writer is not None:
                self._call(watch.writer)
        if self._timers and self._timers[0][0] <= self._now:
            self._run_timers()

    def close(self) -> None:
        """Close the selector; the watched descriptors stay open."""
        self._selector.close()

    def _watch(self, fd: int) -> tuple[_Watch, int]:
        watch = self._watches.get(fd)
        if watch is None:
            watch = self._watches[fd] = _Watch()
        return watch, watch.events

    def _update(self, fd: int, watch: _Watch, before: int) -> None:
        events = watch.events
        if events == before:
            return
        if not events:
            self._selector.unregister(fd)
            del self._watches[fd]
            return
        try:
            if before:
                self._selector.modify(fd, events, watch)
            else:
                self._selector.register(fd, events, watch)
        except BaseException:
            # the selector refused it (a regular file, a closed descriptor). It must not stay in the table,
            # or the next descriptor with this number would never be registered
            del self._watches[fd]
            raise

    def _wait(self, timeout_s: float | None) -> float | None:
        timers = self._timers
        while timers and timers[0][2].callback is None:
            heapq.heappop(timers)
        self._begun = time.monotonic()
        if not timers:
            return timeout_s
        due_s = max(0.0, timers[0][0] - self._begun)
        return due_s if timeout_s is None else min(due_s, timeout_s)

    def _run_timers(self) -> None:
        # only timers that are due at the start of the turn: a timer that restarts itself without delay must
        # not starve the descriptors
        due: list[_SelectorTimer] = []
        while self._timers and self._timers[0][0] <= self._now:
            due.append(heapq.heappop(self._timers)[2])
        for timer in due:
            callback, timer.callback = timer.callback, None
            if callback is not None:
                self._call(callback)

    @staticmethod
    def _call(callback: Callback) -> None:
        try:
            callback()
        except Exception:
            logger.exception("a callback of the event loop failed, the loop goes on: %r", callback)
