"""Log lines about the calls of a shard: their begin and end, sessions that end without a command."""

import logging
import time
from collections.abc import Callable
from typing import Final

from nh.calls.events import CallObserver, EndReason
from nh.calls.session import Session
from nh.calls.timeline import CallTimeline
from nh.commands import RelayCommand
from nh.errors import NhError
from nh.logs.lines import about
from nh.logs.throttle import RateLimitedLogger
from nh.printable import counted, short_id

logger = logging.getLogger(__name__)

CALLS_A_SECOND: Final = 100
"""Most lines about the begin and end of calls in a second, in a row."""


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

    def call_begun(self, call_id: bytes, timeline: CallTimeline) -> None:
        """See CallObserver."""
        if logger.isEnabledFor(logging.INFO) and not self._limited.suppresses():
            client = timeline.client
            self._limited.log(
                logging.INFO,
                "call '%s' begins in shard %d: %s",
                short_id(call_id),
                self._shard,
                client,
                extra=about(call_id, client.address),
            )

    def call_ended(self, call_id: bytes, timeline: CallTimeline) -> None:
        """See CallObserver."""
        if logger.isEnabledFor(logging.INFO) and not self.muted and not self._limited.suppresses():
            by = f" by {timeline.closer}" if timeline.closer is not None else ""
            self._limited.log(
                logging.INFO,
                "call '%s' ended after %.1f s: %s%s; %s received",
                short_id(call_id),
                timeline.lasted_s(now=time.monotonic(), wall=time.time()),
                timeline.end or "",
                by,
                counted(timeline.packets, "packet"),
                extra=about(call_id, timeline.closer.address if timeline.closer is not None else ""),
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
