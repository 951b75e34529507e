"""Turns of requests to nh: clients get them in rotation, so none waits for all that another one has sent."""

import asyncio
from collections.abc import Callable

from nh.errors import NhError
from nh.fair_queue import FairQueue


class Turns:
    """Which request is the next one to be sent to nh.

    Args:
        at_once: most requests at once.
        most_waiting: most further ones, which wait; beyond, the latest of the client with most is refused.
        refuse: counts a request that is refused, and makes its error.
    """

    def __init__(self, at_once: int, most_waiting: int, refuse: Callable[[], NhError]) -> None:
        self._free = at_once
        self._refuse = refuse
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue(most_waiting)

    async def take(self, client: str) -> None:
        """Wait for a turn; give_back() follows.

        Args:
            client: who asks; see nh.fair_shares.client_at().

        Raises:
            NhError: the request is refused, as too many wait.
        """
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        refused = self._waiting.put(client, turn)
        if refused is not None and not refused.done():
            refused.set_exception(self._refuse())
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.discard(client, turn)
            elif turn.exception() is None:  # it has come at the same time
                self.give_back()
            raise

    def give_back(self) -> None:
        """End a turn; the next client has it."""
        while self._waiting:
            turn = self._waiting.take()
            if not turn.done():  # else its task is about to end
                turn.set_result(None)
                return
        self._free += 1
