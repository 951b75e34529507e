"""Follows groups of calls in a thread, until one of them is free."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from nh.errors import StoreUnavailable
from nh.logs.throttle import FaultLog
from nh.printable import counted
from nh.stats.layout import StandbyGroup, SupervisorStats
from nh.stats.standby import LATE_S
from nh.threads import start_thread

if TYPE_CHECKING:
    from nh.supervisor.store.valkey.follower import Follower
    from nh.supervisor.store.valkey.followers import Followers
    from nh.supervisor.store.valkey.standing import Standing

logger = logging.getLogger(__name__)

POLL_S: Final = 0.1
"""How often a standby asks what has changed."""

AWAY_S: Final = 1.0
"""How long after a failure the server is asked again."""

LOG_INTERVAL_S: Final = 60.0


class Following:
    """Polls, from start() to stop() or until a group is free.

    Args:
        followers: one for each group.
        on_free: called in the thread when a group is free; `free` has it then.

    Attributes:
        free: the group that is free; None: none is.
        standings: how each group stands, by name, as far as that is known.
        failure: why the server cannot be asked; "": it answers.
    """

    def __init__(self, followers: "Followers", on_free: Callable[[], None]) -> None:
        self.free: Follower | None = None
        self.standings: dict[str, Standing] = {}
        self.failure = ""
        self._obstacles: dict[str, str] = {}  # by group: why its calls could not be taken over, or ""
        self._began = time.monotonic()
        self._followers = followers
        self._on_free = on_free
        self._failures = FaultLog(logger, time.monotonic, LOG_INTERVAL_S)
        self._wanted: set[str] = set()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def describe(self, stats: SupervisorStats) -> None:
        """Write into the statistics how all groups stand."""
        stats.standby_calls, stats.standby_lag_s = 0, 0.0
        for follower, group in zip(self._followers, stats.groups, strict=False):
            self._describe(follower, group)
            stats.standby_calls += group.calls
            stats.standby_lag_s = max(stats.standby_lag_s, group.lag_s)

    def _describe(self, follower: "Follower", group: StandbyGroup) -> None:
        caught_up_at, standing = follower.caught_up_at, self.standings.get(follower.group)
        group.group = follower.group
        group.holder = standing.holder if standing is not None else ""
        group.fault = self.failure or self._obstacles.get(follower.group, "")
        group.calls = follower.calls
        group.lag_s = time.monotonic() - (self._began if caught_up_at is None else caught_up_at)
        group.ready = int(caught_up_at is not None and not group.fault and group.lag_s <= LATE_S)

    def start(self) -> None:
        """Follow in a thread. Raises OSError if it cannot be started."""
        self.free = self._thread = None
        self._stopping.clear()
        thread = threading.Thread(target=self._run, name="standby", daemon=True)
        start_thread(thread)
        self._thread = thread

    @property
    def running(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """End the thread, which may wait for one reply."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def want(self, group: str) -> None:
        """Have the relay of a group asked for it."""
        self._wanted.add(group)

    def fail(self, why: str) -> None:
        """Something failed, for people: go on a second later."""
        self.failure = why
        self._failures.failed(logging.WARNING, why, "standby: %s; trying again every second", why)

    def _run(self) -> None:
        while not self._stopping.wait(AWAY_S if self.failure else POLL_S):
            try:
                self.free = self._poll()
            except StoreUnavailable as exc:
                self.fail(str(exc))
            except Exception:
                self.failure = "a bug in nh; the log has it"
                logger.exception("standby: following failed, it is tried again: this is a bug in nh")
            else:
                self.failure = ""
                self._failures.over(logging.INFO, "standby: the calls can be followed again")
            if self.free is not None:
                self._on_free()
                return

    def _poll(self) -> "Follower | None":
        for follower in self._followers:
            if follower.group in self._wanted:
                follower.want()
                self._wanted.discard(follower.group)
        free, failed = None, None
        for follower, outcome in self._followers.poll():
            if isinstance(outcome, StoreUnavailable):
                failed = outcome
                continue
            self._tell(follower, outcome)
            if free is None and follower.is_free(outcome):
                free = follower
        if free is None and failed is not None:
            raise failed
        return free

    def _tell(self, follower: "Follower", standing: "Standing") -> None:
        before = self.standings.get(follower.group)
        self.standings[follower.group] = standing
        self._tell_obstacle(follower.group, follower.find_obstacle(standing))
        is_held = standing.holder and not follower.is_free(standing)
        if is_held and (before is None or before.holder != standing.holder):
            logger.info(
                "standby for %s: the relay %s has the calls; waiting until it ends, with %s warm",
                *(follower.group, standing.holder, counted(follower.calls, "call")),
            )

    def _tell_obstacle(self, group: str, obstacle: str) -> None:
        before = self._obstacles.get(group, "")
        self._obstacles[group] = obstacle  # in one step: the loop may read it meanwhile
        if obstacle and obstacle != before:
            logger.error("standby for %s: this relay cannot take its calls over: %s", group, obstacle)
        elif before and not obstacle:
            logger.info("standby for %s: this relay can take its calls over now", group)
