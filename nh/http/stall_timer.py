"""Stalls: a client that does not end in time what it has begun is disconnected."""

import asyncio

from nh.http.refused import REFUSALS


class StallTimer:
    """Disconnects a client that does not end in time what it has begun."""

    _timer: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport, seconds: float) -> None:
        """Abort `transport` in so many seconds; no effect if the time runs already."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._abort, transport)

    @staticmethod
    def _abort(transport: asyncio.Transport) -> None:
        REFUSALS.note("stalled")
        transport.abort()

    def end(self) -> None:
        """It is done; no effect without a begin()."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
