"""TimeoutReports: hands messages about timed-out calls to threads, one for each target.

The supervisor's loop never waits: a queue that is full loses the message, which is counted. A target that is
slow or down delays its own messages only.
"""

import contextlib
import logging
import queue
import threading
import time
from typing import Final

from nh.config import Settings
from nh.ipc.report_messages import MediaTimedOut
from nh.logs.throttle import RateLimitedLogger
from nh.printable import short_id
from nh.reasons import shortage
from nh.stats import SupervisorStats
from nh.supervisor.timeouts.deliveries import Delivery, Disallowed, deliveries
from nh.threads import start_thread

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 256
"""Most messages that wait for one target."""

TRIES: Final = 3
"""How often a message is sent, as in rtpengine."""

PAUSE_S: Final = 1.0
"""Between two tries."""

GRACE_S: Final = 1.0
"""How long the end waits for messages that are under way."""

HANDOVER_GRACE_S: Final = 0.1
"""The same at an upgrade, for which clients wait."""


class TimeoutReports:
    """Reports timed-out calls as the settings say.

    Args:
        settings: the targets.
        stats: where to count, by update_stats().
    """

    def __init__(self, settings: Settings, stats: SupervisorStats) -> None:
        self._settings = settings
        self._stats = stats
        self._queues: dict[str, _Queue] = {}
        self._log = RateLimitedLogger(logger, time.monotonic)

    def report(self, timed_out: MediaTimedOut) -> None:
        """Report one call."""
        for each in deliveries(timed_out, self._settings, now=time.time()):
            if isinstance(each, Disallowed):
                self._stats.timeouts_refused += 1
                self._log.log(
                    logging.WARNING,
                    "the timeout of call '%s' is not reported: %s",
                    short_id(timed_out.call_id),
                    each.why,
                )
            elif why := self._put(each):
                self._stats.timeouts_lost += 1
                self._log.log(
                    logging.WARNING,
                    "the timeout of call '%s' is not reported: %s",
                    short_id(timed_out.call_id),
                    why,
                )

    def _put(self, delivery: Delivery) -> str:
        """Have a message sent; returns why it is lost, "" if it is not."""
        target = delivery.target
        try:
            if target not in self._queues:  # as many as the settings have
                self._queues[target] = _Queue(target)
        except OSError as exc:
            return f"{target}: {shortage(exc)}"
        if self._queues[target].put(delivery):
            return ""
        return f"{MAX_WAITING} messages to {target} wait already"

    def update_stats(self) -> None:
        """Count what the threads have done since the last call."""
        for each in self._queues.values():
            sent, failed = each.take_counts()
            self._stats.timeouts_reported += sent
            self._stats.timeouts_failed += failed

    def close(self, *, at_handover: bool = False) -> None:
        """Send no more; messages that are under way have a moment. What waits then is lost."""
        ends_at = time.monotonic() + (HANDOVER_GRACE_S if at_handover else GRACE_S)
        for each in self._queues.values():
            each.close()
        for each in self._queues.values():
            each.join(max(0.0, ends_at - time.monotonic()))
        self.update_stats()
        lost = sum(each.drop() for each in self._queues.values())
        self._stats.timeouts_lost += lost
        if lost:
            logger.warning("%d reports of media timeouts are lost, because nh ends", lost)


class _Queue:
    """The messages to one target, and the thread that sends them. Raises OSError if it cannot be started."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._waiting: queue.Queue[Delivery | None] = queue.Queue(MAX_WAITING)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._sent = self._failed = 0
        self._thread = threading.Thread(target=self._run, name="timeout reports", daemon=True)
        start_thread(self._thread)

    def put(self, delivery: Delivery) -> bool:
        """Queue a message; False if there is no room."""
        try:
            self._waiting.put_nowait(delivery)
        except queue.Full:
            return False
        return True

    def take_counts(self) -> tuple[int, int]:
        """How many messages were sent and how many failed since the last call."""
        with self._lock:
            counts = self._sent, self._failed
            self._sent = self._failed = 0
        return counts

    def close(self) -> None:
        """End the thread when it has sent what waits; no message is tried again."""
        self._closing.set()
        self.put_end()

    def put_end(self) -> None:
        try:
            self._waiting.put_nowait(None)
        except queue.Full:  # the thread sees the event instead
            return

    def drop(self) -> int:
        """Drop what waits; returns how many messages that are."""
        dropped = 0
        with contextlib.suppress(queue.Empty):
            while True:
                dropped += self._waiting.get_nowait() is not None
        return dropped

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        log = RateLimitedLogger(logger, time.monotonic)
        while (delivery := self._waiting.get()) is not None:
            sent = self._try(delivery, log)
            with self._lock:
                self._sent += sent
                self._failed += not sent
            if self._closing.is_set() and self._waiting.empty():
                return

    def _try(self, delivery: Delivery, log: RateLimitedLogger) -> bool:
        for attempt in range(1, TRIES + 1):
            try:
                from nh.supervisor.timeouts.send import send  # noqa: PLC0415  most relays never get here

                send(delivery)
            except Exception as exc:  # whatever it is, it must not end the thread
                if attempt == TRIES or self._closing.wait(PAUSE_S):
                    log.log(logging.WARNING, "a timeout was not reported to %s: %s", delivery.where, exc)
                    return False
            else:
                return True
        return False
