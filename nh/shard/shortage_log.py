"""Says that there is no room for new calls, why, and what to do: once, not for each call that is refused.

Who is refused is told so each time, and it is counted; this is the line for whoever runs the relay. It is
said again while it lasts, and that it is over. It knows neither ports nor sockets.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from nh.errors import PortsExhausted
from nh.throttle import RateLimitedLogger

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
"""Least time between two lines about one kind of shortage."""

QUIET_S: Final = 1.0
"""How long nobody must have been refused until it is over: at the edge, every other call is."""


class ShortageLog:
    """The log lines about the shortages of one shard.

    Arguments:
        shard: its number.
        now: the clock, monotonic seconds.
    """

    def __init__(self, shard: int, now: Callable[[], float] = time.monotonic) -> None:
        self._shard = shard
        self._now = now
        self._limited_logs: dict[type[PortsExhausted], RateLimitedLogger] = {}
        self._told = False
        self._refused = 0
        self._refused_at = 0.0

    def refused(self, why: PortsExhausted) -> None:
        """A request was refused."""
        self._refused += 1
        self._refused_at = self._now()
        limited_log = self._limited_logs.setdefault(
            type(why), RateLimitedLogger(logger, self._now, LOG_INTERVAL_S)
        )
        self._told |= limited_log.log(
            logging.WARNING, "shard %d refuses new calls, those that it has go on: %s", self._shard, why
        )

    def granted(self) -> None:
        """A request got sockets."""
        if self._told and self._now() >= self._refused_at + QUIET_S:
            logger.warning("shard %d has room again; it had refused %d requests", self._shard, self._refused)
            self._told, self._refused = False, 0
