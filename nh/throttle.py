"""Limits the rate of log lines that peers or lasting shortages cause, so that they cannot fill the disk."""

import logging
from collections.abc import Callable, Mapping


class RateLimitedLogger:
    """Logs at most one line in `interval_s` seconds, with the number of lines suppressed before it.

    Args:
        logger: logs the lines.
        now: the clock, monotonic seconds.
        interval_s: least seconds between two lines.
    """

    def __init__(self, logger: logging.Logger, now: Callable[[], float], interval_s: float = 1.0) -> None:
        self._logger = logger
        self._now = now
        self._interval_s = interval_s
        self._next_at = 0.0
        self._suppressed = 0

    def log(
        self, level: int, message: str, *arguments: object, extra: Mapping[str, object] | None = None
    ) -> bool:
        """Log a line as logging.Logger.log does, or suppress and count it; returns whether it was logged."""
        now = self._now()
        if now < self._next_at:
            self._suppressed += 1
            return False
        self._next_at = now + self._interval_s
        if self._suppressed:
            message += " (%d similar lines suppressed)"
            self._logger.log(level, message, *arguments, self._suppressed, extra=extra)
            self._suppressed = 0
        else:
            self._logger.log(level, message, *arguments, extra=extra)
        return True
