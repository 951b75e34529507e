"""The supervisor: puts its parts together and takes them apart again.

RPC sockets are served, and `ready` is said, when every shard is up. What shards of an earlier run still have
is taken over before that, whether its supervisor was killed, left (nh.supervisor.handover.upgrade) or ended.
"""

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Sequence
from typing import Final

from nh.config import Settings
from nh.ipc.inherited import InheritedFds
from nh.ipc.link_messages import HoldLinks
from nh.stats import Heartbeat, ShardState, StatsReader
from nh.supervisor.dispatch import Dispatcher
from nh.supervisor.handover.receive import NAME
from nh.supervisor.handover.send import HandoverState, collect_handover_state
from nh.supervisor.handover.takeover_listener import TakeoverListener
from nh.supervisor.handover.upgrade import UpgradeController
from nh.supervisor.host.signals import LeaveSignals, signals_on
from nh.supervisor.publisher import Publisher
from nh.supervisor.runtime import Runtime
from nh.supervisor.shard_slots import ShardSlots
from nh.supervisor.shards.drain import Drain
from nh.supervisor.shards.handle import ShardHandle
from nh.supervisor.shards.manager import ShardManager
from nh.supervisor.shards.watchdog import Watchdog

logger = logging.getLogger(__name__)

GRACE_S: Final = 3.5
"""What shards have to end in order, so that all is over within 5 s."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Supervisor:
    """Everything of one run; what has to be undone is on the stack.

    Arguments:
        settings, shard_argv: see run().
        stack: undone by the caller after run().
        inherited: what the supervisor before left.
    """

    def __init__(
        self,
        settings: Settings,
        shard_argv: Sequence[str],
        stack: contextlib.ExitStack,
        inherited: InheritedFds,
    ) -> None:
        self._base = base = Runtime(settings, stack, inherited)
        self._loop, self._stats, self._rpc, self._kernel = base.loop, base.stats, base.rpc, base.kernel
        self._bequest = inherited.bequest
        self._status = 0
        self._ending = False
        self._end_when_up = False
        self._not_obeyed: list[signal.Signals] = []
        self._leave_signals: LeaveSignals
        self._places = ShardSlots(base, shard_argv)
        stack.callback(self._places.close)
        self._govern()
        self._succession = UpgradeController(self._loop, self, timeout_s=settings.command_timeout_s)
        self._gate = TakeoverListener(self._loop, settings.runtime_path / NAME, self._succession.make_way)
        stack.callback(self._gate.close)

    def _govern(self) -> None:
        """What decides about the shards: when they start, whether they hang, whether they drain."""
        self._arbiter = ShardManager(
            self._loop,
            self._spawn,
            self._base.shards,
            stats=self._stats,
            on_all_up=self._serve,
            on_given_up=self._give_up,
        )
        self._drain = Drain(
            self._loop,
            self._base.shards,
            self._arbiter.tell,
            stats=self._stats,
            on_over=self._on_drained,
            on_change=lambda: self._base.notifier.status(self._status_line()),
        )
        if self._kernel is not None:
            self._kernel.on_links = self._tell_links
        self._heartbeats = [Heartbeat(self._base.segment, shard) for shard in range(self._base.shards)]
        self._hangs = Watchdog(
            self._loop,
            self._base.shards,
            self._heartbeat,
            hang_s=self._base.settings.hang_s,
            on_hang=self._arbiter.kill_hanging,
        )

    def run(self) -> int:
        """Start, serve, end; returns the exit status."""
        self._publisher = Publisher(self._loop, self._base.segment, self._stats, self._gather)
        with signals_on(self._loop, _SIGNALS, self._on_signal) as self._leave_signals:
            self._places.prepare(self._arbiter.start)
            try:
                self._loop.run()
            finally:
                self._publisher.stop()
                self._hangs.close()
                self._rpc.close()
        return self._status

    def _spawn(
        self, shard: int, *, on_ready: Callable[[], None], on_exit: Callable[[str], None]
    ) -> ShardHandle:
        return self._places.spawn(shard, self._drain, on_ready=on_ready, on_exit=on_exit)

    def _tell_links(self) -> None:
        """Shards hold the kernel's program on its interfaces, so that it outlives the supervisor."""
        for shard in range(self._base.shards):
            if self._kernel is not None:
                self._arbiter.tell(shard, HoldLinks(), self._kernel.links)

    def _heartbeat(self, shard: int) -> float | None:
        if self._stats.shards[shard].state != ShardState.UP:
            return None
        return self._heartbeats[shard].read()

    def _serve(self) -> None:
        """Every shard is up."""
        if self._ending:
            return
        if self._end_when_up:
            self._end()
            return
        dispatcher = Dispatcher(
            self._arbiter.execute,
            self._base.shards,
            find_shard=self._places.shard_map.find,
            reader=StatsReader(self._base.segment),
            stats=self._stats,
            drain=self._drain,
            upgrade=self._succession.upgrade,
        )
        self._rpc.serve(dispatcher)
        if self._bequest.draining:
            self._drain.begin(self._bequest.drain_left_s)
        with contextlib.suppress(OSError):  # nobody reads it, or the disk is full: nh serves all the same
            print(self._ready_line(), flush=True)
        self._base.notifier.ready(self._status_line())

    def _status_line(self) -> str:
        prefix = "draining, new calls are refused; " if self._drain.draining else ""
        return prefix + self._ready_line().removeprefix("ready: ")

    def _ready_line(self) -> str:
        return self._base.ready_line(self._places.ports)

    # --- the end ----------------------------------------------------------------------------------

    def _on_signal(self, number: signal.Signals) -> None:
        if self._succession.leaving:
            logger.info("%s: this nh is leaving already", number.name)
            self._not_obeyed.append(number)
        elif number == signal.SIGHUP:
            logger.info("SIGHUP: nothing to do, settings are read at the start only")
        elif number == signal.SIGUSR1:
            self._drain.begin(None)
        elif number == signal.SIGUSR2:
            self._succession.upgrade(None, lambda _: None)  # what is wrong is in the log
        elif self._ending:
            logger.warning("%s again: the shards are killed", number.name)
            self._arbiter.kill()
        elif self._places.has_inherited and not self._end_when_up:
            logger.info("%s: ending when the calls of the shards before are here", number.name)
            self._end_when_up = True
        else:
            logger.info("%s: ending", number.name)
            self._end()

    def _on_drained(self, why: str) -> None:
        if not self._ending:
            logger.info("drained: %s; ending", why)
            self._end()

    def _give_up(self, why: str) -> None:
        logger.error("nh cannot start: %s; what it says above may tell why", why)
        self._status = 1
        if not self._ending:
            self._end()

    def _end(self) -> None:
        self._ending = True
        self._base.notifier.stopping()
        self._gate.close()
        self._rpc.stop_accepting()
        self._rpc.close_listeners()
        self._hangs.close()
        self._places.end_zygote()
        self._arbiter.stop(GRACE_S, self._loop.stop)

    # --- making way (see Testator) ----------------------------------------------------------------

    def may_leave(self) -> str:
        """See Testator."""
        if self._ending or self._succession.leaving:
            return "nh is ending"
        return "" if self._arbiter.all_up else "a shard is not up"

    def busy(self) -> bool:
        """See Testator."""
        return self._arbiter.busy or not self._arbiter.all_up

    def take_leave(self) -> None:
        """See Testator."""
        self._gate.close()
        self._rpc.stop_reading()
        self._hangs.close()
        self._places.end_zygote()

    def legacy(self) -> HandoverState:
        """See Testator."""
        connections = self._rpc.hand_on()
        self._publisher.stop()
        if self._base.store is not None:
            self._base.store.close()
        return collect_handover_state(
            self._base.locks,
            list(self._rpc.inherited()),
            connections,
            self._drain,
            self._stats,
            shards=self._base.shards,
        )

    def leave_signals(self) -> None:
        """See Testator."""
        self._leave_signals(self._not_obeyed)

    def let_shards_go(self, on_gone: Callable[[], None]) -> None:
        """See Testator."""
        # whoever has the locks and sockets now may end before this process does
        self._rpc.let_go()
        for lock in self._base.locks:
            os.close(lock.fd)
        self._arbiter.let_go(on_gone)

    def _gather(self) -> None:
        """Ask the parts for what they do not count by themselves."""
        self._stats.rpc_clients = self._rpc.clients
        if self._base.store is not None:
            self._base.store.count_in(self._stats)
