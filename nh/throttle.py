"""Throttles log lines that peers can cause, or shortages that last: nobody can fill the disk through nh."""

import logging
from collections.abc import Callable


class RateLimitedLogger:
    """Lets one line through in `interval_s` seconds and says how many it kept back before that.

    Arguments:
        logger: where the lines go.
        now: the clock, monotonic seconds.
        interval_s: least seconds between two lines.
    """

    def __init__(self, logger: logging.Logger, now: Callable[[], float], interval_s: float = 1.0) -> None:
        self._logger = logger
        self._now = now
        self._interval_s = interval_s
        self._next_at = 0.0
        self._kept_back = 0

    def log(self, level: int, message: str, *arguments: object) -> bool:
        """Log a line as logging.Logger.log would, or count it; returns whether it went through."""
        now = self._now()
        if now < self._next_at:
            self._kept_back += 1
            return False
        self._next_at = now + self._interval_s
        if self._kept_back:
            self._logger.log(level, message + " (and %d more)", *arguments, self._kept_back)
            self._kept_back = 0
        else:
            self._logger.log(level, message, *arguments)
        return True
