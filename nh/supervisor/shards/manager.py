"""Keeps the shards alive: which are up, when one is started again, and when there is no use in it.

A shard that served calls is started again at once, because they wait. One that dies before it is ready, or
more than MANY_DEATHS times in a while, is started again after a delay that doubles from death to death and
begins anew after a long enough life; as packets wait in the sockets of one that served calls, its delay stays
short enough for them. Only at the first start may the arbiter give up: later, some calls
are better than none.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from nh.commands import RelayCommand
from nh.errors import ShardUnavailable
from nh.loop import Loop, Timer
from nh.results import Failure
from nh.stats.layout import ShardState, SupervisorStats
from nh.supervisor.shards.handle import Announcement, Answer, HandleState, ShardHandle

logger = logging.getLogger(__name__)

FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 10.0
"""Longest delay for one that dies before it is ready."""

LONGEST_WAIT_S: Final = 1.0
"""Longest delay for one that served calls: sockets have room for some seconds of telephony."""

MANY_DEATHS: Final = 30
"""How many deaths within LONG_LIFE_S are followed by a new start at once: as many as there would be with
LONGEST_WAIT_S between them.
"""

LONG_LIFE_S: Final = 30.0
"""After such a life a death counts as the first again."""

START_S: Final = 30.0
"""How long a shard may take until it is ready; then it is killed and counts as dead."""

MAX_START_FAILURES: Final = 5
"""How often a shard may die before its first Ready until the arbiter gives up."""


class Spawn(Protocol):
    """Starts the process of a shard; OSError if that is impossible."""

    def __call__(
        self, shard: int, *, on_ready: Callable[[], None], on_exit: Callable[[str], None]
    ) -> ShardHandle:
        """See Child for the arguments."""


class _Slot:
    """One shard's place: the process in it, if there is one, and its record."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.child: ShardHandle | None = None
        self.delay_s = FIRST_DELAY_S
        self.deaths: deque[float] = deque(maxlen=MANY_DEATHS)
        self.started_at = 0.0
        self.was_ready = False
        self.failures = 0
        self.timer: Timer | None = None  # for the next start, or for a start that takes too long


class ShardManager:
    """The policy over all shards.

    Arguments:
        loop: what runs its timers.
        spawn: see Spawn.
        shards: how many there are, 1 or more.
        stats: where states and restarts are written.
        on_all_up: called once when every shard has been ready for the first time.
        on_given_up: called at most once, before that, with the reason why a shard cannot be started.
    """

    def __init__(
        self,
        loop: Loop,
        spawn: Spawn,
        shards: int,
        *,
        stats: SupervisorStats,
        on_all_up: Callable[[], None],
        on_given_up: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._spawn = spawn
        self._places = [_Slot(shard) for shard in range(shards)]
        self._stats = stats
        self._on_all_up = on_all_up
        self._on_given_up = on_given_up
        self._on_stopped: Callable[[], None] | None = None
        self._all_were_up = False
        self._given_up = False

    def start(self) -> None:
        """Start every shard."""
        for place in self._places:
            self._start(place)

    def execute(self, shard: int, command: RelayCommand, answer: Answer) -> None:
        """Have a shard execute a command; `answer` is called once with its result or a Failure."""
        child = self._places[shard].child
        if child is None:
            answer(Failure.of(ShardUnavailable(f"shard {shard} is down")))
        else:
            child.execute(command, answer)

    def tell(self, shard: int, message: Announcement, fds: Sequence[int] = ()) -> bool:
        """Tell a shard something, if it is up; returns False if it does not read now."""
        child = self._places[shard].child
        return child is None or child.tell(message, fds)

    @property
    def all_up(self) -> bool:
        """Whether every shard is up."""
        return all(_is_up(place) for place in self._places)

    @property
    def busy(self) -> bool:
        """Whether any shard has commands under way."""
        return any(place.child is not None and place.child.busy for place in self._places)

    def stop(self, grace_s: float, on_stopped: Callable[[], None]) -> None:
        """End every shard and start none again.

        Arguments:
            grace_s: what each has until it is killed.
            on_stopped: called once, when the last one is gone.
        """
        self._on_stopped = on_stopped
        for place in self._places:
            self._cancel_timer(place)
            if place.child is not None:
                place.child.terminate(grace_s)
        if not any(place.child for place in self._places):
            self._loop.call_later(0, on_stopped)

    def let_go(self, on_stopped: Callable[[], None]) -> None:
        """Leave every shard to the next supervisor, and start none again.

        Arguments:
            on_stopped: called once, when the last one is gone.
        """
        self._on_stopped = on_stopped
        for place in self._places:
            self._cancel_timer(place)
            if place.child is not None:
                place.child.let_go()
        if not any(place.child for place in self._places):
            self._loop.call_later(0, on_stopped)

    def kill(self) -> None:
        """End every shard at once; after stop(), whose on_stopped follows."""
        for place in self._places:
            if place.child is not None:
                place.child.kill()

    def kill_hanging(self, shard: int) -> None:
        """End a shard that is up and shows no life; it is started again as any that died."""
        child = self._places[shard].child
        if child is not None and child.state is HandleState.UP:
            logger.error("shard %d (pid %d) hangs, it is killed", shard, child.pid)
            self._stats.count_hang(shard)
            child.kill()

    # --- one shard --------------------------------------------------------------------------------

    def _start(self, place: _Slot) -> None:
        place.started_at = self._loop.now()
        place.was_ready = False
        self._stats.set_state(place.shard, ShardState.STARTING)
        try:
            place.child = self._spawn(
                place.shard,
                on_ready=lambda: self._on_ready(place),
                on_exit=lambda why: self._on_exit(place, why),
            )
        except OSError as exc:
            self._on_death(place, f"cannot be started: {exc.strerror}")
            return
        place.timer = self._loop.call_later(START_S, lambda: self._on_slow_start(place))

    def _start_again(self, place: _Slot) -> None:
        place.timer = None
        self._stats.count_restart(place.shard)
        self._start(place)

    def _on_slow_start(self, place: _Slot) -> None:
        logger.error("shard %d is not up after %g s, it is killed", place.shard, START_S)
        place.timer = None
        if place.child is not None:
            place.child.kill()

    def _on_ready(self, place: _Slot) -> None:
        self._cancel_timer(place)
        place.was_ready = True
        self._stats.set_state(place.shard, ShardState.UP)
        logger.info("shard %d is up, pid %d", place.shard, place.child.pid if place.child else -1)
        if not self._all_were_up and all(_is_up(each) for each in self._places):
            self._all_were_up = True
            self._on_all_up()

    def _on_exit(self, place: _Slot, why: str) -> None:
        pid = place.child.pid if place.child else -1
        place.child = None
        self._cancel_timer(place)
        if self._on_stopped is None:
            self._on_death(place, f"(pid {pid}) died: {why}")
            return
        self._stats.set_state(place.shard, ShardState.DOWN)
        logger.info("shard %d ended: %s", place.shard, why)
        if not any(each.child for each in self._places):
            self._on_stopped()

    def _on_death(self, place: _Slot, what: str) -> None:
        self._stats.set_state(place.shard, ShardState.DOWN)
        if not place.was_ready:
            place.failures += 1
            if not self._all_were_up and place.failures > MAX_START_FAILURES:
                self._give_up(f"shard {place.shard} {what}, {place.failures} times before it was up")
                return
        elif self._loop.now() - place.started_at >= LONG_LIFE_S:
            place.delay_s = FIRST_DELAY_S
        if place.was_ready and self._may_start_at_once(place):
            logger.error("shard %d %s; it starts again at once", place.shard, what)
            self._start_again(place)
            return
        delay_s = min(place.delay_s, LONGEST_WAIT_S) if place.was_ready else place.delay_s
        logger.error("shard %d %s; it starts again in %g s", place.shard, what, delay_s)
        place.timer = self._loop.call_later(delay_s, lambda: self._start_again(place))
        place.delay_s = min(LONGEST_DELAY_S, place.delay_s * 2)

    def _may_start_at_once(self, place: _Slot) -> bool:
        now, deaths = self._loop.now(), place.deaths
        many = len(deaths) == MANY_DEATHS and now - deaths[0] < LONG_LIFE_S
        deaths.append(now)
        return not many

    def _give_up(self, why: str) -> None:
        if not self._given_up:
            self._given_up = True
            self._on_given_up(why)

    @staticmethod
    def _cancel_timer(place: _Slot) -> None:
        if place.timer is not None:
            place.timer.cancel()
            place.timer = None


def _is_up(place: _Slot) -> bool:
    return place.child is not None and place.child.state is HandleState.UP
