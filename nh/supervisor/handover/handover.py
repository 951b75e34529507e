"""Hands this run of nh over to the next supervisor while its shards relay on: the steps, in their order.

The next supervisor is the installed code, which this process executes, or another process. Why and when:
nh.supervisor.handover.upgrade.
"""

import contextlib
import functools
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NoReturn

import msgspec

from nh.ipc.peer import peer_of
from nh.loop import call_each
from nh.supervisor.handover.receive import YIELD_S
from nh.supervisor.handover.send import (
    HandoverState,
    collect_handover_state,
    end_without_undoing,
    ending_unless_executed,
    execute_anew,
    execute_next,
    own_argv,
    send_handover,
)
from nh.supervisor.handover.successor import EarlierSuccessor, Successor
from nh.supervisor.host.signals import LeaveSignals
from nh.supervisor.publisher import Publisher
from nh.supervisor.runtime import Runtime
from nh.supervisor.shards.drain import DrainPolicy
from nh.supervisor.shards.idle import when_all_can_be_left
from nh.supervisor.shards.manager import ShardManager
from nh.supervisor.shards.watchdog import Watchdog

logger = logging.getLogger(__name__)

TAKEOVER_WAIT_S: Final = YIELD_S / 3
"""Longest wait for commands, and for a shard, of a takeover: the other process gives up after YIELD_S."""


class Handover:
    """The handover of one run, which happens once.

    Args:
        runtime: its locks, listening sockets, connections and counters are handed over; what writes for this
            supervisor alone is closed: the store, records, timeouts.
        manager: waits for commands in flight; leaves the shards to the next supervisor.
        watchdog: stopped, as the runtime's zygote is; they could kill or start a shard.
        drain: its state is handed over.
        publisher: stopped, because the next supervisor publishes.
        leave_signals: leaves signals to the program that is executed.

    Attributes:
        begun: whether it has begun.
    """

    def __init__(
        self,
        runtime: Runtime,
        manager: ShardManager,
        *,
        watchdog: Watchdog,
        drain: DrainPolicy,
        publisher: Publisher,
        leave_signals: LeaveSignals,
    ) -> None:
        self.begun = False
        self._runtime = runtime
        self._manager = manager
        self._watchdog = watchdog
        self._drain = drain
        self._publisher = publisher
        self._leave_signals = leave_signals
        self._deferred_signals: list[signal.Signals] = []

    def defer_signal(self, number: signal.Signals) -> None:
        """A signal came since it has begun: after an upgrade, the next code obeys it."""
        logger.info("%s during the handover: left to the next nh", number.name)
        self._deferred_signals.append(number)

    def to_installed_code(self, argv: Sequence[str], listeners: Sequence[tuple[str, str]] | None) -> None:
        """Upgrade: this process goes on as the installed code.

        Args:
            argv: its command line.
            listeners: (kind, address) of the listening sockets that it uses; None: that is not known.
        """
        self._begin(functools.partial(self._execute, argv, listeners))

    def to_process(self, sock: socket.socket, listeners: Sequence[tuple[str, str]] | None) -> None:
        """Takeover: another process goes on.

        Args:
            sock: the connection to it, which belongs to this object.
            listeners: see Yield.
        """
        self._begin(functools.partial(self._send, sock, listeners), longest_s=TAKEOVER_WAIT_S)

    def _begin(self, give: Callable[[HandoverState], None], *, longest_s: float = math.inf) -> None:
        """Read no more commands, wait for those in flight, and for a shard that has died, then hand over."""
        self.begun = True
        runtime = self._runtime
        with self._anew_after_a_bug():
            runtime.rpc.stop_reading()
            self._watchdog.close()
            runtime.zygote.close()
            when_all_can_be_left(
                runtime.loop,
                self._manager,
                command_timeout_s=runtime.settings.command_timeout_s,
                longest_s=longest_s,
                then=lambda: self._hand_over(give),
            )

    def _hand_over(self, give: Callable[[HandoverState], None]) -> None:
        with self._anew_after_a_bug():
            give(self._give_up())

    @contextlib.contextmanager
    def _anew_after_a_bug(self) -> Iterator[None]:
        """Within the block, an error begins nh anew in this process: this supervisor serves nothing any more.

        It hands over nothing, so for the shards and the store it is a supervisor that was killed.
        """
        try:
            yield
        except Exception:
            logger.critical(
                "the handover failed; nh starts anew, and clients connect again: this is a bug in nh",
                exc_info=True,
            )
            self._leave_signals(self._deferred_signals)
            with ending_unless_executed(sys.executable):
                execute_anew()

    def _give_up(self) -> HandoverState:
        """Give up all that the next supervisor needs; returns what it gets.

        Nothing is undone from here on. Each step gives up what the next supervisor uses as soon as it has the
        state, so each comes before that is sent. What sends it ends this process without undoing anything,
        because files, locks and shared memory belong to the next supervisor by then.
        """
        runtime = self._runtime
        # 1. No client is served: from now on their requests wait in the sockets.
        connections = runtime.rpc.release_connections()
        runtime.http.hand_over()
        if runtime.timeouts is not None:
            runtime.timeouts.close(at_handover=True)
        if runtime.records is not None:
            runtime.records.close(at_handover=True)
        # 2. Statistics stand still, so that the counters that are handed over are the last ones.
        self._publisher.stop()
        # 3. The store has everything on disk, and its file is closed: the next supervisor opens it.
        if runtime.storage.store is not None:
            runtime.storage.store.close(keep_lease=True)
        # 4. What is handed over is collected after the last change to it.
        state = collect_handover_state(
            runtime.locks,
            [*runtime.rpc.inherited(), *runtime.http.inherited()],
            connections,
            self._drain,
            runtime.stats,
            shards=self._manager.shards,
            recorded=self._manager.recorded,
            group=runtime.storage.group,
        )
        # 5. The shards learn that the end of their link is no failure.
        self._manager.detach()
        # 6. The next supervisor gets the state, and the shards lose their link: they wait for it.
        return state

    def _execute(
        self, argv: Sequence[str], listeners: Sequence[tuple[str, str]] | None, state: HandoverState
    ) -> NoReturn:
        """Upgrade: this process goes on as the installed code.

        Args:
            argv: its command line.
            listeners: (kind, address) of the listening sockets that it uses; None: that is not known.
            state: what is handed over.
        """
        if listeners is not None:
            state = self._keep(listeners, state)
        self._leave_signals(self._deferred_signals)
        with ending_unless_executed(argv[0]):
            execute_next(state, argv)
        raise AssertionError  # one of both has ended this supervisor

    def _send(
        self, sock: socket.socket, listeners: Sequence[tuple[str, str]] | None, state: HandoverState
    ) -> None:
        """Takeover: another process goes on. This one stays until that serves, and its own shards have ended.

        If the other process ends before it serves, this one goes on, as after an upgrade.

        Args:
            sock: the connection to the other process.
            listeners: see Yield.
            state: what is handed over.
        """
        if listeners is not None:
            state = self._keep(listeners, state)
        message = msgspec.structs.replace(state.message, awaits=listeners is not None)
        try:
            send_handover(sock, state._replace(message=message))
        except OSError as exc:
            self._go_on(state, f"is gone: {exc.strerror}")
        waits_for = {"the other process", "shards"}

        def over(what: str) -> None:
            waits_for.discard(what)
            if not waits_for:
                end_without_undoing(0)

        def taken_over() -> None:  # a bug there must not keep this process from its end
            call_each((self._close_handed_over, functools.partial(over, "the other process")))

        def gone() -> NoReturn:
            self._go_on(state, "has ended before it served")

        # The first process of a container takes all others with it when it ends, so it waits for the shards.
        if listeners is None:
            pid = peer_of(sock).pid
            sock.close()
            earlier = EarlierSuccessor(self._runtime.loop, pid, on_taken_over=taken_over, on_gone=gone)

            def shards_over() -> None:
                earlier.settle()
                over("shards")

            self._manager.release(shards_over)
            return
        self._manager.release(lambda: over("shards"))
        Successor(self._runtime.loop, sock, on_taken_over=taken_over, on_gone=gone)

    def _keep(self, listeners: Sequence[tuple[str, str]], state: HandoverState) -> HandoverState:
        """What is handed over with these listeners; the others are closed, so that their ports are free."""
        self._runtime.rpc.close_handed_over(listeners)
        self._runtime.http.close_handed_over(listeners)
        return state.with_listeners(listeners)

    def _close_handed_over(self) -> None:
        """The next supervisor may end before this process: sockets and locks must end with it."""
        runtime = self._runtime
        closes = [functools.partial(os.close, lock.fd) for lock in runtime.locks]
        call_each((runtime.rpc.close_handed_over, runtime.http.close_handed_over, *closes))

    def _go_on(self, state: HandoverState, why: str) -> NoReturn:
        logger.error("takeover failed: the other nh %s; this one goes on", why)
        # its settings stay in force: the file that it would read again may be what stopped the other one
        self._execute(own_argv(), None, state.with_settings(self._runtime.in_force.loaded))
