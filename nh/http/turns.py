"""Turns of requests to nh: clients get them in rotation, so none waits for all that another one has sent."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable

from nh.errors import NhError
from nh.fair_shares import FairShares


class Turns:
    """Which request is the next one to be sent to nh.

    Args:
        at_once: most requests at once.
        most_waiting: most further ones, which wait; beyond, the latest of the client with most is refused.
        refuse: counts a request that is refused, and makes its error.
    """

    def __init__(self, at_once: int, most_waiting: int, refuse: Callable[[], NhError]) -> None:
        self._free = at_once
        self._most_waiting = most_waiting
        self._refuse = refuse
        # by client, the one whose turn it is next first
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._number = 0

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
        if self._number >= self._most_waiting:
            self._make_room(client)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        self._number += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._remove(client, turn)
            elif turn.exception() is None:  # it has come at the same time
                self.give_back()
            raise

    def give_back(self) -> None:
        """End a turn; the next client has it."""
        while self._waiting:
            client, turns = next(iter(self._waiting.items()))
            turn = turns[0]
            self._remove(client, turn)
            if client in self._waiting:
                self._waiting.move_to_end(client)
            if not turn.done():  # else its task is about to end
                turn.set_result(None)
                return
        self._free += 1

    def _make_room(self, client: str) -> None:
        """Refuse the latest request of the client with most. Raises NhError if that is one of `client`."""
        shares = FairShares(each for each, turns in self._waiting.items() for _ in turns)
        shares.take(client)
        heaviest = shares.heaviest()
        if client in heaviest:
            raise self._refuse()
        heavy = next(each for each in self._waiting if each in heaviest)
        latest = self._waiting[heavy][-1]
        self._remove(heavy, latest)
        if not latest.done():
            latest.set_exception(self._refuse())

    def _remove(self, client: str, turn: asyncio.Future[None]) -> None:
        """Let a request wait no more; no effect if it does not."""
        turns = self._waiting.get(client, deque())
        if turn not in turns:
            return
        turns.remove(turn)
        self._number -= 1
        if not turns:
            del self._waiting[client]
