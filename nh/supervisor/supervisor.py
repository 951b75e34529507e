"""The supervisor: builds its parts, connects them, and ends them.

It serves RPC, and prints `ready`, when every shard is up. Before that, calls of an earlier run are restored,
whether its supervisor was killed, has left (nh.supervisor.handover.handover) or has ended.
"""

import contextlib
import importlib
import logging
import signal
from collections.abc import Callable
from typing import Final

from nh.config.sources import LoadedSettings
from nh.errors import Refused
from nh.ipc.inherited import Inherited
from nh.loop import call_each
from nh.printable import counted
from nh.stats import StatsReader
from nh.supervisor.dispatch import Dispatcher
from nh.supervisor.handover.handover import Handover
from nh.supervisor.handover.send import end_without_undoing
from nh.supervisor.handover.upgrade import UpgradeController
from nh.supervisor.host.signals import signals_on
from nh.supervisor.publisher import Publisher
from nh.supervisor.ready import ServiceStatus
from nh.supervisor.reload import Reloader
from nh.supervisor.runtime import Runtime
from nh.supervisor.shard_slots import ShardSlots
from nh.supervisor.shards.drain import DrainPolicy
from nh.supervisor.shards.manager import ShardManager
from nh.supervisor.shards.packing_turns import PackingTurns
from nh.supervisor.shards.watchdog import Watchdog
from nh.supervisor.shutdown import ShutdownController
from nh.supervisor.standby.hooks import Hook
from nh.supervisor.standby.ownership import Ownership, Reactions
from nh.time_slice import ask_for_short_slices

logger = logging.getLogger(__name__)

GRACE_S: Final = 3.5
"""After so long shards that do not end are killed, so that nh ends within 5 s."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Supervisor:
    """One run of nh.

    Args:
        runtime: the host's resources.
        stack: undone by the caller after run().
        inherited: of the supervisor before, which is told when this one serves.
        reread: reads the settings from their sources again, for a reload; raises ConfigError.
    """

    def __init__(
        self,
        runtime: Runtime,
        stack: contextlib.ExitStack,
        inherited: Inherited,
        reread: Callable[[], LoadedSettings],
    ) -> None:
        self._runtime = runtime
        self._inherited = inherited
        self._stack = stack
        self._adopted = False
        self._failure: Exception | None = None
        self._slots = ShardSlots(runtime)
        stack.callback(self._slots.close)
        self._shutdown = ShutdownController(runtime, self._slots.orphans, end=self._end, kill=self._kill)
        self._manager = ShardManager(
            runtime.loop, self._slots.all, on_all_up=self._serve, on_given_up=self._shutdown.on_given_up
        )
        self._drain = DrainPolicy(
            runtime.loop,
            self._slots.all,
            stats=runtime.stats,
            on_over=self._shutdown.on_drained,
            on_change=self._on_drain_changed,
        )
        self._status = ServiceStatus(runtime, [slot.ports for slot in self._slots.all], self._drain)
        self._watchdog = Watchdog(runtime.loop, self._slots.all, hang_s=runtime.settings.hang_s)
        self._packing = PackingTurns(runtime.loop, self._slots.all)
        self._reloader = Reloader(
            runtime, self._slots.all, budget=self._slots.budget, watchdog=self._watchdog, reread=reread
        )
        self._ownership = Ownership(
            runtime,
            self._manager,
            Reactions(
                is_leaving=lambda: self._handover.begun,
                on_lost=self._shutdown.on_calls_lost,
                on_begun=self._read_no_commands,
                on_kept=self._read_commands,
                on_given=self._on_given,
                on_over=self._shutdown.begin,
            ),
        )
        self._dispatch: Dispatcher
        self._handover: Handover
        self._upgrade: UpgradeController
        self._publisher: Publisher

    def run(self) -> int:
        """Start, serve, end; returns the exit status.

        Raises:
            Exception: this supervisor cannot begin to serve. The shards go on with their calls.
        """
        runtime = self._runtime
        ask_for_short_slices()
        self._publisher = Publisher(runtime.loop, runtime.segment, runtime.stats, self._update_stats)
        self._publish_states_of_shards()
        with signals_on(runtime.loop, _SIGNALS, self._on_signal) as leave_signals:
            self._handover = Handover(
                runtime,
                self._manager,
                watchdog=self._watchdog,
                drain=self._drain,
                publisher=self._publisher,
                leave_signals=leave_signals,
            )
            self._upgrade = UpgradeController(
                runtime, self._manager, self._handover, why_not=self._reloader.why_no_upgrade
            )
            self._stack.callback(self._upgrade.close)
            runtime.zygote.start(self._manager.start)
            runtime.start_http()
            try:
                runtime.loop.run()
                if self.becomes_standby:  # the installed code's, which this process executes
                    leave_signals(())
            finally:
                self._publisher.stop()
                self._watchdog.close()
                runtime.rpc.close()
        if self._failure is not None:
            raise self._failure
        return self._shutdown.status

    @property
    def becomes_standby(self) -> bool:
        """Whether this relay is to be started anew after run(): it is a standby, its calls are given away."""
        return self._shutdown.becomes_standby

    def _publish_states_of_shards(self) -> None:
        """Publish each change at once.

        The next process of a shard publishes its pid itself as it starts. So before the start it is published
        that the last process is gone: the next one counts as up only when it is.
        """
        for slot in self._slots.all:
            slot.events.exit.insert(0, lambda _slot, _why: self._publisher.publish())
            slot.events.up.append(lambda _slot: self._publisher.publish())

    def _update_stats(self) -> None:
        self._runtime.update_stats()
        if self._runtime.stats.serving:
            if self._runtime.has_directory:
                self._upgrade.renew_socket()
            self._drain.refuse_without_store(self._runtime.storage.refuses_calls)
            self._status.tell_store_fault()
            self._restore_adopted()
            self._packing.begin()
        for slot in self._slots.all:
            slot.confirm_records()

    def _restore_adopted(self) -> None:
        """Go on anew if the store, which was away at the start, has calls of another relay."""
        store = self._runtime.storage.store
        if store is not None and store.adopted and not self._adopted:
            self._adopted = True
            logger.warning(
                "the store has %s of another relay; nh starts anew to restore them",
                counted(store.adopted, "call"),
            )
            self._upgrade.upgrade(None, lambda _: None)  # a failure is in the log; the next start has them

    def _serve(self) -> None:
        """Every shard is up.

        A supervisor that cannot serve ends, and another one serves: the one before, or the next start. In one
        that serves, an error of what it tells others ends nothing.
        """
        if self._shutdown.wanted:
            self._shutdown.begin()
            return
        try:
            self._begin_to_serve()
        except Exception as exc:
            self._failure = exc
            self._runtime.loop.stop()
            return
        call_each((self._run_hook, self._tell_ready, _load_statistics))

    def _begin_to_serve(self) -> None:
        runtime = self._runtime
        self._dispatch = Dispatcher(
            self._slots.all,
            find_shard=self._slots.shard_map.find,
            reader=StatsReader(runtime.segment),
            stats=runtime.stats,
            drain=self._drain,
            reloader=self._reloader,
            upgrade=self._upgrade.upgrade,
            demote=self._ownership.demote,
            history=runtime.records.history if runtime.records is not None else None,
        )
        runtime.rpc.serve(self._dispatch)
        runtime.stats.serving = 1
        if runtime.records is not None:
            runtime.records.add_left_behind(runtime.settings.runtime_path, runtime.recorded)
        self._ownership.start()
        self._publisher.publish()  # who reads `ready` may read the statistics next
        if self._inherited.message.draining:
            self._drain.begin(self._inherited.message.drain_left_s)
        self._inherited.confirm()

    def _tell_ready(self) -> None:
        with contextlib.suppress(OSError):  # standard output is closed, or its disk is full: nh serves anyway
            print("\n".join(self._status.ready_lines), flush=True)
        self._status.tell_ready()

    def _run_hook(self) -> None:
        runtime = self._runtime
        if runtime.storage.promoted:
            settings = runtime.settings
            Hook(runtime.loop, "on_promote", settings.on_promote, runtime.storage.group, stats=runtime.stats)

    # --- whose the calls are ----------------------------------------------------------------------

    def _read_no_commands(self) -> None:
        self._runtime.rpc.stop_reading()
        self._publisher.publish()

    def _read_commands(self) -> None:
        self._runtime.rpc.release_connections()
        self._runtime.rpc.serve(self._dispatch)
        self._publisher.publish()

    def _on_given(self) -> None:
        self._shutdown.demoted = True
        self._upgrade.close()
        self._runtime.stats.serving = 0
        self._publisher.publish()
        self._runtime.notifier.status("the calls are a standby's; relaying on until the address has moved")

    # --- signals, the drain, the end --------------------------------------------------------------

    def _on_signal(self, number: signal.Signals) -> None:
        if self._handover.begun:
            self._handover.defer_signal(number)
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._shutdown.on_signal(number)
        elif self._shutdown.demoted:
            logger.info("%s: the calls are a standby's; nothing is done", number.name)
        elif number == signal.SIGHUP:
            with contextlib.suppress(Refused):  # the log has the reason
                self._reloader.reload()
        elif number == signal.SIGUSR1:
            self._drain.begin(None)
        elif number == signal.SIGUSR2:
            self._upgrade.upgrade(None, lambda _: None)  # a failure is in the log

    def _on_drain_changed(self) -> None:
        self._publisher.publish()
        self._status.tell()

    def _end(self) -> None:
        if self._shutdown.status and self._inherited.awaited_by is not None:
            end_without_undoing(self._shutdown.status)  # the supervisor before goes on
        runtime = self._runtime
        runtime.stats.serving = 0
        # a step that fails must not keep nh from its end
        call_each(
            (
                self._inherited.confirm,
                self._publisher.publish,
                self._upgrade.close,
                runtime.rpc.stop_accepting,
                runtime.rpc.stop_listening,
                self._watchdog.close,
                runtime.zygote.close,
            )
        )
        self._manager.stop(GRACE_S, self._shutdown.on_stopped)

    def _kill(self) -> None:
        self._manager.kill()


def _load_statistics() -> None:
    """Load what `nh upgrade` reads, before another version may be on the disk."""
    importlib.import_module("nh.stats.reading")
