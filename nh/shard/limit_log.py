"""LimitLog: which limits of a shard refuse calls now; a log line when one is reached, and when it is over.

Each client gets its own error, and the refusals are counted, so a line for each refusal would say nothing
more. While a limit refuses calls its line comes again every LOG_INTERVAL_S.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from nh.errors import AddressUnavailable, LimitReached, NhError, PortsExhausted, SocketsExhausted
from nh.logs.throttle import RateLimitedLogger
from nh.printable import counted

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
"""Least time between two log lines about one limit."""

FORGET_S: Final = 60.0
"""Ports or descriptors that have refused nothing for so long are not known to be short any more."""


class _Rule(NamedTuple):
    """What ends a limit, and what an operator can do.

    Attributes:
        quiet_s: it is over when it has refused nothing, and was not measured, for so long: at a limit, every
            other call is refused.
        by_grant: whether it is over only with a request that got sockets: nothing else shows that there is
            room.
        known_s: for how long after a refusal it is known to be reached; 0: LoadMeter's measurement shows it.
        remedy: what to do; "" where the error says it.
    """

    quiet_s: float
    by_grant: bool
    known_s: float = 0.0
    remedy: str = ""


_MORE: Final = "`nh reload` applies it; or have the proxy use a second relay"

RULES: Final[Mapping[str, _Rule]] = {
    "max_calls": _Rule(10.0, False, remedy=f"raise max_calls, {_MORE}"),
    # refuses calls of more sockets than its share has left, before that is used up
    "max_sockets": _Rule(10.0, False, known_s=10.0, remedy=f"raise max_sockets, {_MORE}"),
    "max_cpu": _Rule(
        10.0, False, remedy="give nh more CPUs and shards, or have the proxy use a second relay"
    ),
    "max_bandwidth": _Rule(10.0, False, remedy=f"raise max_bandwidth, {_MORE}"),
    "ports": _Rule(1.0, True, known_s=FORGET_S),
    "descriptors": _Rule(1.0, True, known_s=FORGET_S),
}
"""The limits by name: `nh.stats.layout.LIMITS`."""


@dataclasses.dataclass(slots=True)
class _Reached:
    """A limit that is reached.

    Attributes:
        seen_at: when it refused something last, or was measured.
        refused: how many requests it has refused.
        logged: whether its begin is in the log.
    """

    seen_at: float = 0.0
    refused: int = 0
    logged: bool = False


def limit_of(why: NhError) -> str:
    """The limit that refused a request; "": none of those that a shard has for all its calls."""
    match why:
        case LimitReached():
            return why.setting
        case SocketsExhausted():
            return "descriptors"
        case PortsExhausted():
            return "ports"
        case _:
            return ""


class LimitLog:
    """Knows and logs which limits refuse calls.

    Args:
        shard: number of the shard.
        now: the clock, monotonic seconds.
    """

    def __init__(self, shard: int, now: Callable[[], float] = time.monotonic) -> None:
        self._shard = shard
        self._now = now
        self._reached: dict[str, _Reached] = {}
        self._lines = {name: RateLimitedLogger(logger, now, LOG_INTERVAL_S) for name in RULES}
        self._addresses = RateLimitedLogger(logger, now, LOG_INTERVAL_S)

    def refused(self, why: NhError) -> None:
        """A request was refused; only limits, and addresses that cannot be bound, are logged."""
        if isinstance(why, AddressUnavailable):
            self._addresses.log(logging.WARNING, "shard %d refuses a call: %s", self._shard, why)
        elif name := limit_of(why):
            reached = self._see(name)
            reached.refused += 1
            reached.logged |= self._log(name, str(why))

    def measured(self, name: str, text: str) -> None:
        """A measurement finds a limit reached.

        Args:
            name: of the limit.
            text: the limit, and by what it is reached.
        """
        is_new = name not in self._reached
        reached = self._see(name)
        if is_new:
            reached.logged = self._log(name, text)

    def granted(self) -> None:
        """A request got sockets."""
        if self._reached:
            self._end(by_grant=True)

    def look(self) -> frozenset[str]:
        """End measured limits that are over; returns the names of those that a refusal has shown lately."""
        self._end(by_grant=False)
        now = self._now()
        return frozenset(
            name
            for name, reached in self._reached.items()
            if reached.refused and now < reached.seen_at + RULES[name].known_s
        )

    def _see(self, name: str) -> _Reached:
        reached = self._reached.setdefault(name, _Reached())
        reached.seen_at = self._now()
        return reached

    def _end(self, *, by_grant: bool) -> None:
        now = self._now()
        for name, reached in list(self._reached.items()):
            rule = RULES[name]
            if rule.by_grant == by_grant and now >= reached.seen_at + rule.quiet_s:
                del self._reached[name]
                if reached.logged:
                    refused = counted(reached.refused, "request")
                    message = "shard %d has room again (%s); it had refused %s"
                    logger.warning(message, self._shard, name, refused)

    def _log(self, name: str, text: str) -> bool:
        remedy = RULES[name].remedy
        message = "shard %d refuses new calls, those that it has go on: %s"
        return self._lines[name].log(
            logging.WARNING, message, self._shard, f"{text}; {remedy}" if remedy else text
        )
