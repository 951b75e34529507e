"""nh inside an asyncio loop. `nh run` does not import it: asyncio takes 0.07 s to load."""

import asyncio
import time

from nh.loop import Callback, Timer


class AsyncioLoop:
    """nh inside a running asyncio loop, or any loop with its interface, such as uvloop's.

    Args:
        loop: runs nh's callbacks; the running loop if None.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop if loop is not None else asyncio.get_running_loop()

    @property
    def is_behind(self) -> bool:
        """See Loop; asyncio does not tell."""
        return False

    def now(self) -> float:
        """Monotonic seconds, not those of loop.time(): the zero of uvloop's clock is another."""
        return time.monotonic()

    def add_reader(self, fd: int, callback: Callback) -> None:
        """See Loop."""
        self._loop.add_reader(fd, callback)

    def remove_reader(self, fd: int) -> None:
        """See Loop."""
        self._loop.remove_reader(fd)

    def add_writer(self, fd: int, callback: Callback) -> None:
        """See Loop."""
        self._loop.add_writer(fd, callback)

    def remove_writer(self, fd: int) -> None:
        """See Loop."""
        self._loop.remove_writer(fd)

    def call_later(self, delay_s: float, callback: Callback) -> Timer:
        """See Loop."""
        return self._loop.call_later(delay_s, callback)
