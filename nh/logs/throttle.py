"""Limits the rate of log lines that peers or lasting shortages cause, so that they cannot fill the disk."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

MAX_FAULTS: Final = 8
"""Most faults of one FaultLog that an interval tells."""


class RateLimitedLogger:
    """Logs at most `burst` lines in `interval_s` seconds, with the number of lines suppressed before.

    Args:
        logger: logs the lines.
        now: the clock, monotonic seconds.
        interval_s: length of an interval, in seconds.
        burst: most lines in an interval, which begins with its first line.
    """

    def __init__(
        self,
        logger: logging.Logger,
        now: Callable[[], float],
        interval_s: float = 1.0,
        burst: int = 1,
    ) -> None:
        self._logger = logger
        self._now = now
        self._interval_s = interval_s
        self._burst = burst
        self._left = 0
        self._next_at = 0.0
        self._suppressed = 0

    def log(
        self,
        level: int,
        message: str,
        *arguments: object,
        extra: Mapping[str, object] | None = None,
        exc_info: bool = False,
    ) -> bool:
        """Log a line as logging.Logger.log does, or suppress and count it; returns whether it was logged."""
        if self.suppresses():
            return False
        self._left -= 1
        if self._suppressed:
            message += " (%d similar lines suppressed)"
            self._logger.log(level, message, *arguments, self._suppressed, extra=extra, exc_info=exc_info)
            self._suppressed = 0
        else:
            self._logger.log(level, message, *arguments, extra=extra, exc_info=exc_info)
        return True

    def suppresses(self) -> bool:
        """Whether a line is suppressed now, which is counted then: so its text need not be made."""
        now = self._now()
        if now >= self._next_at:
            self._next_at = now + self._interval_s
            self._left = self._burst
        self._suppressed += not self._left
        return not self._left


class OnceLogger:
    """Logs each warning once, and no more than `most` different ones: clients may invent texts without end.

    Args:
        logger: logs the lines.
        most: of them.
    """

    def __init__(self, logger: logging.Logger, most: int) -> None:
        self._logger = logger
        self._most = most
        self._told: set[str] = set()

    def warn(
        self, warning: str, message: str, *arguments: object, extra: Mapping[str, object] | None = None
    ) -> None:
        """Log a line as logging.Logger.warning does, unless the warning that it is about was logged."""
        if warning not in self._told and len(self._told) < self._most:
            self._told.add(warning)
            self._logger.warning(message, *arguments, extra=extra)


class FaultLog:
    """Tells what is wrong with a peer that is tried again and again, and when it works again.

    Each fault is told at once, and again after `interval_s` if it lasts. One that comes back sooner is not,
    nor is its end then. An interval tells MAX_FAULTS at most, whatever the peer says.

    Args:
        logger: logs the lines.
        now: the clock, monotonic seconds.
        interval_s: least time between two lines about one fault, in seconds.
    """

    def __init__(self, logger: logging.Logger, now: Callable[[], float], interval_s: float) -> None:
        self._logger = logger
        self._now = now
        self._interval_s = interval_s
        self._told_until: dict[str, float] = {}
        self._is_told = False

    def failed(self, level: int, fault: str, message: str, *arguments: object) -> None:
        """Log a line about a fault, as logging.Logger.log does, unless it was told a moment ago.

        Args:
            level: of the line.
            fault: what tells it from other faults.
            message: of the line.
            arguments: of the message.
        """
        now = self._now()
        self._told_until = {each: until for each, until in self._told_until.items() if until > now}
        if fault in self._told_until or len(self._told_until) >= MAX_FAULTS:
            return
        self._told_until[fault] = now + self._interval_s
        self._is_told = True
        self._logger.log(level, message, *arguments)

    def over(self, level: int, message: str, *arguments: object) -> None:
        """Log a line about the end of the fault, if the fault was told."""
        if self._is_told:
            self._is_told = False
            self._logger.log(level, message, *arguments)
