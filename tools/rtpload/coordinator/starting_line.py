"""Lets calls do something all at the same instant: the one that arrives last lets all begin."""

import asyncio


class StartingLine:
    """See the module.

    Args:
        calls: how many there are; those that come later wait for none.
    """

    def __init__(self, calls: int) -> None:
        self._missing = calls
        self._opened = asyncio.Event()

    async def arrive(self) -> None:
        """A call is ready, or has failed: wait for the others."""
        self._missing -= 1
        if self._missing <= 0:
            self.open()
        await self._opened.wait()

    def open(self) -> None:
        """Wait no longer for those that are missing."""
        self._opened.set()
