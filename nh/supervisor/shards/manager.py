"""Restart policy: starts every shard, starts a shard again after its death, ends all of them.

Delays between a death and the next start: nh.supervisor.shards.backoff. Only before all shards have been up
once does the manager give up: later, some calls are better than none.
"""

import functools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from nh.ipc.link_messages import Detach, SaveAll
from nh.loop import Loop
from nh.reasons import shortage
from nh.stats.layout import ShardState
from nh.supervisor.host.cpu_use import JUST_STARTED, CpuUse, cpu_use
from nh.supervisor.shards.slot import ShardSlot

logger = logging.getLogger(__name__)

START_S: Final = 30.0
"""A process that is not ready after so long is killed, and counts as dead, unless it waits for a CPU."""

TURN_S: Final = 0.5
"""No further process is started in a turn of the loop that took so long. On a host without a CPU for them, a
start may take 5 s, and several would keep the supervisor from all else, also from systemd's watchdog."""

MAX_START_FAILURES: Final = 5
"""If a shard dies more often before all shards have been up once, the manager gives up."""


class ShardManager:
    """The processes of all shards.

    Args:
        loop: runs the timers.
        slots: the shards, by number.
        on_all_up: called once, when every shard is up for the first time.
        on_given_up: called at most once, before `on_all_up`, with the reason: a shard cannot be started.
        read_cpu_use: returns the CPU use of a process.
        clock: the monotonic clock of the loop, which tells how long a turn takes.

    Attributes:
        stopping: whether stop() or release() was called: no shard is started any more.
    """

    def __init__(
        self,
        loop: Loop,
        slots: Sequence[ShardSlot],
        *,
        on_all_up: Callable[[], None],
        on_given_up: Callable[[str], None],
        read_cpu_use: Callable[[int], CpuUse] = cpu_use,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stopping = False
        self._loop = loop
        self._slots = slots
        self._on_all_up = on_all_up
        self._on_given_up = on_given_up
        self._read_cpu_use = read_cpu_use
        self._clock = clock
        self._started_in = -1.0  # the turn of the loop, by the time of its beginning
        self._on_stopped: Callable[[], None]
        self._all_were_up = False
        self._given_up = False
        for slot in slots:
            slot.events.up.append(self._on_up)
            slot.events.exit.append(self._on_exit)

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return len(self._slots)

    @property
    def recorded(self) -> dict[str, int]:
        """By the name of each shard's process, the number of the latest record of a call that it has sent."""
        return {slot.process_name: slot.recovery.recorded for slot in self._slots}

    @property
    def all_up(self) -> bool:
        """Whether every shard is up."""
        return all(slot.up for slot in self._slots)

    @property
    def busy(self) -> bool:
        """Whether any shard has commands in flight."""
        return any(slot.busy for slot in self._slots)

    def start(self) -> None:
        """Start every shard."""
        for slot in self._slots:
            self._start(slot)

    def stop(self, grace_s: float, on_stopped: Callable[[], None]) -> None:
        """End every shard, and start none any more.

        Args:
            grace_s: seconds that each has to end by itself; then it is killed.
            on_stopped: called once, when no process is left.
        """
        self._end_all(lambda slot: slot.terminate(grace_s), on_stopped)

    def release(self, on_stopped: Callable[[], None]) -> None:
        """Leave every shard to the next supervisor, and start none any more.

        Args:
            on_stopped: called once, when no process is left.
        """
        self._end_all(ShardSlot.release, on_stopped)

    def detach(self) -> None:
        """Announce to every shard that its link is about to end, because the supervisor hands over."""
        for slot in self._slots:
            slot.tell(Detach())

    def save_all(self, on_saved: Callable[[Sequence[bytes]], None]) -> None:
        """Have every shard save all calls.

        Args:
            on_saved: called when all have, unless a shard dies meanwhile, with the call-ids that they name of
                calls that could not be saved.
        """
        waiting = {slot.number for slot in self._slots}
        unsaved: list[bytes] = []

        def saved(number: int, of_shard: Sequence[bytes]) -> None:
            if number in waiting:
                waiting.discard(number)
                unsaved.extend(of_shard)
                if not waiting:
                    on_saved(unsaved)

        for slot in self._slots:
            slot.events.all_saved = [functools.partial(saved, slot.number)]
            slot.tell(SaveAll())

    def kill(self) -> None:
        """Kill every shard; after stop(), whose `on_stopped` follows."""
        for slot in self._slots:
            slot.kill()

    def _end_all(self, end: Callable[[ShardSlot], None], on_stopped: Callable[[], None]) -> None:
        self.stopping = True
        self._on_stopped = on_stopped
        for slot in self._slots:
            slot.cancel_timer()
            end(slot)
        if not any(slot.occupied for slot in self._slots):
            self._loop.call_later(0, on_stopped)

    # --- one shard --------------------------------------------------------------------------------

    def _start(self, slot: ShardSlot) -> None:
        turn = self._loop.now()
        if self._started_in == turn and self._clock() - turn > TURN_S:
            slot.timer = self._loop.call_later(0, lambda: self._start(slot))
            return
        self._started_in = turn
        slot.timer = None
        try:
            slot.start()
        except OSError as exc:
            self._on_death(slot, f"cannot be started: {shortage(exc)}")
            return
        self._watch_start(slot)

    def _watch_start(self, slot: ShardSlot) -> None:
        slot.timer = self._loop.call_later(START_S, lambda: self._on_slow_start(slot))

    def _restart(self, slot: ShardSlot) -> None:
        slot.timer = None
        slot.status.restarts += 1
        self._start(slot)

    def _on_slow_start(self, slot: ShardSlot) -> None:
        if self._read_cpu_use(slot.pid).is_starved(JUST_STARTED, START_S):
            self._watch_start(slot)  # the next process would wait as well
            return
        logger.error("shard %d (pid %d) is not up after %g s; it is killed", slot.number, slot.pid, START_S)
        slot.timer = None
        slot.kill()

    def _on_up(self, slot: ShardSlot) -> None:
        slot.cancel_timer()
        if not self._all_were_up and self.all_up:
            self._all_were_up = True
            self._on_all_up()

    def _on_exit(self, slot: ShardSlot, why: str) -> None:
        slot.cancel_timer()
        if not self.stopping:
            self._on_death(slot, f"(pid {slot.pid}) died: {why}")
            return
        logger.info("shard %d (pid %d) ended: %s", slot.number, slot.pid, why)
        if not any(each.occupied for each in self._slots):
            self._on_stopped()

    def _on_death(self, slot: ShardSlot, what: str) -> None:
        slot.status.state = ShardState.DOWN
        now = self._loop.now()
        delay_s = slot.backoff.next_delay(now=now, lived_s=now - slot.started_at, was_up=slot.was_up)
        failures = slot.backoff.failures
        if not slot.was_up and not self._all_were_up and failures > MAX_START_FAILURES:
            self._give_up(f"shard {slot.number} {what}, {failures} times before it was up")
            return
        if not delay_s:
            logger.error("shard %d %s; it is restarted now", slot.number, what)
            self._restart(slot)
            return
        logger.error("shard %d %s; it is restarted in %g s", slot.number, what, delay_s)
        slot.timer = self._loop.call_later(delay_s, lambda: self._restart(slot))

    def _give_up(self, why: str) -> None:
        if not self._given_up:
            self._given_up = True
            self._on_given_up(why)
