"""What the limits of the HTTP process refuse: counted by limit, logged once a minute for each.

One object for the process, as uvicorn makes the connections: see REFUSALS.
"""

import logging
import time
from typing import Final

from nh.logs.throttle import RateLimitedLogger

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
"""Least time between two log lines about one limit."""

LIMITS: Final = {
    "connections": "too many connections are open: of the client with most, one is closed or gets 503; close"
    " idle ones, or ask less often",
    "websockets": "too many WebSockets are open: of the client with most, one is closed or gets 403; spread"
    " them over more relays",
    "requests": "requests of the API get 503: too many wait for nh; ask less often",
    "ng": "too many requests of ng wait: of the client with most, one gets 503; spread the calls over more"
    " relays",
    "stalled": "connections are closed: their clients stopped within a request, or do not read",
}
"""What happens at each limit and what to do, for the log."""


class Refusals:
    """The numbers of refusals since the process started.

    Attributes:
        counts: by limit.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(LIMITS, 0)
        self._logs = {limit: RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S) for limit in LIMITS}

    def note(self, limit: str) -> None:
        """Count one refusal, and log it."""
        self.counts[limit] += 1
        self._logs[limit].log(logging.WARNING, "http: %s", LIMITS[limit])


REFUSALS: Final = Refusals()
