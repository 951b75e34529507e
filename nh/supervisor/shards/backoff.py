"""How long after its death a shard is started again.

A shard that served calls is started again at once: they wait. If it dies before it is ready, or too often, it
is started after a delay that doubles from death to death. A long life resets the delay.
"""

from collections import deque
from typing import Final

FIRST_DELAY_S: Final = 0.1
MAX_DELAY_NEVER_UP_S: Final = 10.0
"""Longest delay of a shard that died before it was ready."""

MAX_DELAY_WAS_UP_S: Final = 1.0
"""Longest delay of a shard that served calls: sockets have room for some seconds of telephony."""

MANY_DEATHS: Final = 30
"""So many deaths within LONG_LIFE_S are each followed by a start at once: as many as there would be with
MAX_DELAY_WAS_UP_S between them.
"""

LONG_LIFE_S: Final = 30.0
"""A process that lived so long resets the delay."""


class Backoff:
    """The deaths of one shard, and the delay that follows from them.

    Attributes:
        failures: how many of its processes died before they were ready.
    """

    def __init__(self) -> None:
        self.failures = 0
        self._delay_s = FIRST_DELAY_S
        self._deaths: deque[float] = deque(maxlen=MANY_DEATHS)

    def next_delay(self, *, now: float, lived_s: float, was_up: bool) -> float:
        """A process of the shard died, or could not be started.

        Args:
            now: the loop's clock, in seconds.
            lived_s: seconds since its start.
            was_up: whether it was ready.

        Returns:
            Seconds until the next start; 0.0: at once.
        """
        longest_s = MAX_DELAY_NEVER_UP_S
        if was_up:
            if lived_s >= LONG_LIFE_S:
                self._delay_s = FIRST_DELAY_S
            if not self._died_too_often(now):
                return 0.0
            longest_s = MAX_DELAY_WAS_UP_S
        else:
            self.failures += 1
        delay_s = min(self._delay_s, longest_s)
        self._delay_s = min(MAX_DELAY_NEVER_UP_S, self._delay_s * 2)
        return delay_s

    def _died_too_often(self, now: float) -> bool:
        too_often = len(self._deaths) == MANY_DEATHS and now - self._deaths[0] < LONG_LIFE_S
        self._deaths.append(now)
        return too_often
