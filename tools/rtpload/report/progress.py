"""What happens while a load runs, gathered from calls and workers: counts for the display and for the report.

Knows neither processes nor protocols; all its methods are called from the coordinator's thread.
"""

from collections import Counter
from typing import Final, NamedTuple

from tools.rtpload.messages import Buckets, Tick
from tools.rtpload.streams.histogram import Histogram

NO_PHONES: Final = "phones"
"""What failed where the generator had no sockets for a call."""

SET_UP: Final = "set-up"
HANDSHAKE: Final = "handshake"
NOT_SET_UP: Final = frozenset({SET_UP, HANDSHAKE})
"""What failed where a call did not come up."""


class Second(NamedTuple):
    """One second of all workers together."""

    caller: Histogram
    callee: Histogram
    lateness: Histogram


class RunCounters:
    """See the module.

    Attributes:
        calls_up: calls at present.
        calls_set_up, calls_ended: calls so far.
        calls_incomplete: of those that ended, with packets missing.
        negotiations: how many succeeded after the set-up, by kind.
        failures: what did not work, by what was to be done and why.
        packets_sent, packets_received: RTP of all workers, up to their latest second.
        seconds: by second of the monotonic clock.
    """

    def __init__(self) -> None:
        self.calls_up = 0
        self.calls_set_up = 0
        self.calls_ended = 0
        self.calls_incomplete = 0
        self.negotiations: Counter[str] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.packets_sent = 0
        self.packets_received = 0
        self.seconds: dict[int, Second] = {}

    def call_is_up(self) -> None:
        """A call was set up."""
        self.calls_up += 1
        self.calls_set_up += 1

    def call_ended(self, *, complete: bool) -> None:
        """A call is silent and over; `complete` if everything that was sent in it arrived."""
        self.calls_up -= 1
        self.calls_ended += 1
        self.calls_incomplete += not complete

    def failed(self, what: str, error: Exception) -> None:
        """Something about a call did not work."""
        self.failures[what, f"{type(error).__name__}: {error}"] += 1

    def take(self, tick: Tick) -> None:
        """A worker's second is over."""
        second = self.seconds.setdefault(tick.second, Second(Histogram(), Histogram(), Histogram()))
        second.caller.merge(tick.caller)
        second.callee.merge(tick.callee)
        second.lateness.merge(tick.lateness)
        self.packets_sent += _count(tick.lateness)
        self.packets_received += _count(tick.caller) + _count(tick.callee)

    @property
    def newest(self) -> Second | None:
        """The last second that any worker told of."""
        return self.seconds[max(self.seconds)] if self.seconds else None


def _count(buckets: Buckets) -> int:
    return sum(buckets.values())
