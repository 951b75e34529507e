"""A loop whose clock is the test's."""

import heapq
import itertools

from nh.loop import Callback, Timer


class ManualTimer:
    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualLoop:
    """A loop whose time passes when the test says so; it watches no descriptors."""

    is_behind = False

    def __init__(self) -> None:
        self._now = 1000.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, ManualTimer]] = []

    def now(self) -> float:
        return self._now

    def call_later(self, delay_s: float, callback: Callback) -> Timer:
        timer = ManualTimer(callback)
        heapq.heappush(self._timers, (self._now + delay_s, next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            self._now, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
        self._now = end

    def sleep(self, seconds: float) -> None:
        """Time passes, but the process does not run: what was due meanwhile is due at the end of it."""
        self._now += seconds
        self._timers = [(max(due, self._now), order, timer) for due, order, timer in self._timers]
        heapq.heapify(self._timers)

    def add_reader(self, fd: int, callback: Callback) -> None:
        raise NotImplementedError

    def remove_reader(self, fd: int) -> None:
        raise NotImplementedError

    def add_writer(self, fd: int, callback: Callback) -> None:
        raise NotImplementedError

    def remove_writer(self, fd: int) -> None:
        raise NotImplementedError
