"""Log lines about the calls of a shard: sessions that end without a command, and room for new calls.

A shortage is logged once, not for each call that is refused: each client gets its own error, and the refusals
are counted. While the shortage lasts its line comes again every LOG_INTERVAL_S.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from nh.calls.events import CallObserver, EndReason
from nh.calls.session import Session
from nh.errors import PortsExhausted
from nh.throttle import RateLimitedLogger

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
"""Least time between two log lines about one kind of shortage."""

QUIET_S: Final = 1.0
"""Time without a refusal after which a shortage is over: at the limit, every other call is refused."""


class SessionLog(CallObserver):
    """Logs the sessions that end without a command, and why."""

    def session_ended(self, call_id: bytes, session: Session, reason: EndReason) -> None:
        """See CallObserver."""
        if reason is not EndReason.CLOSED:
            logger.info("session %d of call %r ended: %s", session.id, call_id, reason)


class ShortageLog:
    """Logs that a shard has no room for new calls, why and what helps, and when it has room again.

    Args:
        shard: number of the shard.
        now: the clock, monotonic seconds.
    """

    def __init__(self, shard: int, now: Callable[[], float] = time.monotonic) -> None:
        self._shard = shard
        self._now = now
        self._loggers: dict[type[PortsExhausted], RateLimitedLogger] = {}
        self._logged = False
        self._refused = 0
        self._refused_at = 0.0

    def refused(self, why: PortsExhausted) -> None:
        """A request was refused for want of ports, descriptors or memory."""
        self._refused += 1
        self._refused_at = self._now()
        rate_limited = self._loggers.setdefault(
            type(why), RateLimitedLogger(logger, self._now, LOG_INTERVAL_S)
        )
        self._logged |= rate_limited.log(
            logging.WARNING, "shard %d refuses new calls, those that it has go on: %s", self._shard, why
        )

    def granted(self) -> None:
        """A request got sockets."""
        if self._logged and self._now() >= self._refused_at + QUIET_S:
            logger.warning("shard %d has room again; it had refused %d requests", self._shard, self._refused)
            self._logged, self._refused = False, 0
