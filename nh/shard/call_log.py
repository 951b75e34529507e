"""Log lines about the calls of a shard: their begin and end, sessions that end without a command, refusals.

A shortage is logged once, not for each call that is refused: each client gets its own error, and the refusals
are counted. While the shortage lasts its line comes again every LOG_INTERVAL_S.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from nh.calls.events import CallObserver, EndReason
from nh.calls.journal import CallJournal
from nh.calls.session import Session
from nh.commands import RelayCommand
from nh.errors import AddressUnavailable, NhError, PortsExhausted
from nh.logs import about
from nh.printable import counted, short_id
from nh.throttle import RateLimitedLogger

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
"""Least time between two log lines about one kind of shortage."""

CALLS_A_SECOND: Final = 100
"""Most lines about the begin and end of calls in a second, in a row."""

QUIET_S: Final = 1.0
"""Time without a refusal after which a shortage is over: at the limit, every other call is refused."""


class CallLog(CallObserver):
    """Logs each call's begin and end, and sessions that end without a command, and why.

    Beyond CALLS_A_SECOND lines in a second they are counted only: a flood of calls must not fill the disk, or
    slow the shard.

    Args:
        shard: number of the shard.
        now: the clock, monotonic seconds.

    Attributes:
        muted: whether calls end in this process only; that is not logged.
    """

    def __init__(self, shard: int, now: Callable[[], float] = time.monotonic) -> None:
        self.muted = False
        self._shard = shard
        self._limited = RateLimitedLogger(logger, now, 1.0, burst=CALLS_A_SECOND)

    def call_begun(self, call_id: bytes, journal: CallJournal) -> None:
        """See CallObserver."""
        if logger.isEnabledFor(logging.INFO):
            client = journal.client
            self._limited.log(
                logging.INFO,
                "call '%s' begins in shard %d: %s",
                short_id(call_id),
                self._shard,
                client,
                extra=about(call_id, client.address),
            )

    def call_ended(self, call_id: bytes, journal: CallJournal) -> None:
        """See CallObserver."""
        if logger.isEnabledFor(logging.INFO) and not self.muted:
            by = f" by {journal.closer}" if journal.closer is not None else ""
            self._limited.log(
                logging.INFO,
                "call '%s' ended after %.1f s: %s%s; %s received",
                short_id(call_id),
                max(0.0, time.time() - journal.begin),
                journal.end or "",
                by,
                counted(journal.packets, "packet"),
                extra=about(call_id, journal.closer.address if journal.closer is not None else ""),
            )

    def session_ended(self, call_id: bytes, session: Session, reason: EndReason) -> None:
        """See CallObserver."""
        if reason is not EndReason.CLOSED:
            name = short_id(call_id)
            logger.info("session %d of call '%s' ended: %s", session.id, name, reason, extra=about(call_id))


def log_refusal(command: RelayCommand, why: NhError) -> None:
    """For debugging: a command was refused, and why; with its call, if it is about one."""
    if logger.isEnabledFor(logging.DEBUG):
        call_id: bytes = getattr(command, "call_id", b"")
        name = (
            f"{type(command).__name__} of call '{short_id(call_id)}'" if call_id else type(command).__name__
        )
        logger.debug("%s is refused: %s", name, why, extra=about(call_id))


class RefusalLog:
    """Logs that a shard refuses calls, why and what helps; of a shortage also when there is room again.

    Args:
        shard: number of the shard.
        now: the clock, monotonic seconds.
    """

    def __init__(self, shard: int, now: Callable[[], float] = time.monotonic) -> None:
        self._shard = shard
        self._now = now
        self._loggers: dict[type[NhError], RateLimitedLogger] = {}
        self._logged = False
        self._refused = 0
        self._refused_at = 0.0

    def refused(self, why: NhError) -> None:
        """A request was refused; only want of ports, descriptors, memory or addresses is logged."""
        if isinstance(why, AddressUnavailable):
            self._log("shard %d refuses a call: %s", why)
        elif isinstance(why, PortsExhausted):
            self._refused += 1
            self._refused_at = self._now()
            self._logged |= self._log("shard %d refuses new calls, those that it has go on: %s", why)

    def granted(self) -> None:
        """A request got sockets."""
        if self._logged and self._now() >= self._refused_at + QUIET_S:
            logger.warning("shard %d has room again; it had refused %d requests", self._shard, self._refused)
            self._logged, self._refused = False, 0

    def _log(self, message: str, why: NhError) -> bool:
        rate_limited = self._loggers.setdefault(
            type(why), RateLimitedLogger(logger, self._now, LOG_INTERVAL_S)
        )
        return rate_limited.log(logging.WARNING, message, self._shard, why)
