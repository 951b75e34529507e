"""How many media sockets the supervisor stores for its shards, so that its clients have descriptors left."""

import logging
import sys
import time
from typing import Final

from nh.logs.throttle import RateLimitedLogger

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
"""Least time between two lines about sockets that are not stored."""


class FdBudget:
    """How many more sockets all backups together may store.

    Args:
        sockets: how many they may store, 0 or more.
        highest: beyond that they store an orphan's sockets, whose descriptors are up to this number. What is
            left is the supervisor's own, for new processes among others.
    """

    def __init__(self, sockets: int, highest: int = sys.maxsize) -> None:
        self._left = self._total = sockets
        self._highest = highest
        self._limited_log = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)

    def resize(self, sockets: int) -> None:
        """Change how many they may store; those that are stored beyond that stay stored."""
        self._left += sockets - self._total
        self._total = sockets

    def take(self) -> bool:
        """Count one more socket, if there is room for it; returns whether there is."""
        if self._left > 0:
            self._left -= 1
            return True
        self.warn(f"{self._total} is all that descriptors allow")
        return False

    def overdraw(self, fd: int) -> bool:
        """Count an orphan's socket, which takes a descriptor of clients where there is no room for it.

        Args:
            fd: its descriptor. The kernel gives the lowest that is free, so it tells how many there are.

        Returns:
            Whether it may be stored.
        """
        if self._left <= 0 and fd > self._highest:
            self.warn(f"{self._highest} is all that descriptors allow")
            return False
        self._left -= 1
        return True

    def give_back(self, sockets: int = 1) -> None:
        """Count fewer sockets."""
        self._left += sockets

    def warn(self, why: str) -> None:
        """Log that sockets are not stored, once in LOG_INTERVAL_S."""
        self._limited_log.log(
            logging.WARNING,
            "some media sockets are not held open (%s): if their shard dies, their calls lose packets; raise"
            " the limit on descriptors (ulimit -Hn, LimitNOFILE= of the service), or lower max_clients",
            why,
        )
