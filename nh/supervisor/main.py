"""`nh run`: puts the supervisor together and takes it apart again.

RPC sockets listen from the start, so that what is wrong with them shows before anything else begins, and
who connects early waits. They are served, and `ready` is said, when every shard is up.
"""

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from nh.address import parse_rpc_address
from nh.config import Settings
from nh.errors import NhError
from nh.loop import SelectorLoop
from nh.stats import (
    Heartbeat,
    Segment,
    ShardState,
    StatsReader,
    SupervisorStats,
    create_segment,
    segment_name,
)
from nh.supervisor.arbiter import Arbiter
from nh.supervisor.child import Child
from nh.supervisor.cpus import usable_cpus
from nh.supervisor.descriptors import holdable_sockets, raise_descriptor_limit
from nh.supervisor.dispatch import Dispatcher
from nh.supervisor.drain import Drain
from nh.supervisor.frontend import Frontend
from nh.supervisor.hangs import HangWatch
from nh.supervisor.kernel import start_kernel_service
from nh.supervisor.listeners import Listener, open_listeners
from nh.supervisor.ng_listeners import NgListener, open_ng_listeners
from nh.supervisor.ng_service import NgService
from nh.supervisor.notify import Notifier
from nh.supervisor.places import Places
from nh.supervisor.port_claim import port_claim
from nh.supervisor.process import SHARD_ARGV
from nh.supervisor.publisher import Publisher
from nh.supervisor.ready_line import ready_line
from nh.supervisor.runtime_dir import runtime_dir
from nh.supervisor.signals import signals_on
from nh.supervisor.state_dir import open_store

logger = logging.getLogger(__name__)

GRACE_S: Final = 3.5
"""What shards have to end in order, so that all is over within 5 s."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def run(settings: Settings, *, shard_argv: Sequence[str] = SHARD_ARGV) -> int:
    """Be the relay until SIGTERM or SIGINT, or until it is drained; in the main thread only.

    Arguments:
        settings: see Settings.
        shard_argv: the program of a shard.

    Returns the exit status: 0 after a signal to end, or drained; 1 if the relay cannot start: the log
    says why.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        with contextlib.ExitStack() as stack:
            return _Supervisor(settings, shard_argv, stack).run()
    except NhError as exc:
        logger.error("nh cannot start: %s", exc)
        return 1


class _Supervisor:
    """Everything of one run; what has to be undone is on the stack.

    Arguments:
        settings, shard_argv: see run().
        stack: undone by the caller after run().
    """

    def __init__(self, settings: Settings, shard_argv: Sequence[str], stack: contextlib.ExitStack) -> None:
        self._settings = settings
        self._cpus = usable_cpus()
        self._shards = settings.shards or len(self._cpus)
        self._descriptors = raise_descriptor_limit()
        self._held_sockets = holdable_sockets(self._descriptors, settings.max_clients, self._shards)
        self._stats = SupervisorStats(pid=os.getpid(), started=time.time())
        self._status = 0
        self._ending = False

        path = settings.runtime_path
        stack.enter_context(runtime_dir(path))
        self._claim = stack.enter_context(port_claim(settings))
        self._store = stack.enter_context(open_store(settings))
        self._listeners = open_listeners(
            [parse_rpc_address(text) for text in settings.rpc_addresses],
            mode=settings.rpc_mode_bits,
            public=settings.rpc_public,
        )
        stack.callback(self._close_listeners)
        self._ng_listeners = open_ng_listeners(settings.ng_addresses, public=settings.rpc_public)
        stack.callback(self._close_ng_listeners)
        self._segment = stack.enter_context(_statistics(create_segment(segment_name(path), self._shards)))
        self._loop = SelectorLoop()
        stack.callback(self._loop.close)
        self._claim.serve(self._loop)
        self._notifier = Notifier(self._loop)
        stack.callback(self._notifier.close)
        self._kernel, self._kernel_off = start_kernel_service(
            self._loop, settings, self._shards, stats=self._stats
        )
        if self._kernel is not None:
            stack.callback(self._kernel.close)
        self._places = Places(
            self._loop,
            settings,
            self._shards,
            cpus=self._cpus,
            argv=shard_argv,
            segment=self._segment,
            stats=self._stats,
            kernel=self._kernel,
            kernel_off=self._kernel_off,
            held_sockets=self._held_sockets,
            claimed=self._claim.descriptors,
            store=self._store,
        )
        stack.callback(self._places.close)
        self._frontend: Frontend | None = None
        self._ng: NgService | None = None
        self._arbiter = Arbiter(
            self._loop,
            self._spawn,
            self._shards,
            stats=self._stats,
            on_all_up=self._serve,
            on_given_up=self._give_up,
        )
        self._drain = Drain(
            self._loop,
            self._shards,
            self._arbiter.tell,
            stats=self._stats,
            on_over=self._on_drained,
            on_change=lambda: self._notifier.status(self._status_line()),
        )
        self._heartbeats = [Heartbeat(self._segment, shard) for shard in range(self._shards)]
        self._hangs = HangWatch(
            self._loop,
            self._shards,
            self._heartbeat,
            hang_s=settings.hang_s,
            on_hang=self._arbiter.kill_hanging,
        )

    def run(self) -> int:
        """Start, serve, end; returns the exit status."""
        publisher = Publisher(self._loop, self._segment, self._stats, self._gather)
        with signals_on(self._loop, _SIGNALS, self._on_signal):
            self._arbiter.start()
            try:
                self._loop.run()
            finally:
                publisher.stop()
                self._hangs.close()
                if self._frontend is not None:
                    self._frontend.close()
                if self._ng is not None:
                    self._ng.close()
        return self._status

    def _spawn(self, shard: int, *, on_ready: Callable[[], None], on_exit: Callable[[str], None]) -> Child:
        return self._places.spawn(shard, self._drain, on_ready=on_ready, on_exit=on_exit)

    def _heartbeat(self, shard: int) -> float | None:
        if self._stats.shards[shard].state != ShardState.UP:
            return None
        return self._heartbeats[shard].read()

    def _serve(self) -> None:
        """Every shard is up."""
        if self._ending:
            return
        dispatcher = Dispatcher(
            self._arbiter.execute,
            self._shards,
            reader=StatsReader(self._segment),
            stats=self._stats,
            drain=self._drain,
        )
        self._frontend = Frontend(
            self._loop,
            [listener.sock for listener in self._listeners],
            dispatcher,
            stats=self._stats,
            idle_client_s=self._settings.idle_client_s,
            max_clients=self._settings.max_clients,
        )
        self._ng = NgService(
            self._loop,
            self._ng_listeners,
            dispatcher,
            stats=self._stats,
            idle_client_s=self._settings.idle_client_s,
            max_clients=self._settings.max_clients,
        )
        self._places.fill_spares()
        print(self._ready_line(), flush=True)
        self._notifier.ready(self._status_line())

    def _status_line(self) -> str:
        prefix = "draining, new calls are refused; " if self._drain.draining else ""
        return prefix + self._ready_line().removeprefix("ready: ")

    def _ready_line(self) -> str:
        return ready_line(
            self._settings,
            cpus=self._cpus,
            ports=self._places.ports,
            descriptors=self._descriptors,
            held_sockets=self._held_sockets,
            rpc=[listener.address for listener in self._listeners],
            ng=self._ng_listeners,
            kernel=self._kernel.interfaces if self._kernel is not None else None,
        )

    # --- the end ----------------------------------------------------------------------------------

    def _on_signal(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP:
            logger.info("SIGHUP: nothing to do, settings are read at the start only")
        elif number == signal.SIGUSR1:
            self._drain.begin(None)
        elif self._ending:
            logger.warning("%s again: the shards are killed", number.name)
            self._arbiter.kill()
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
        self._notifier.stopping()
        if self._frontend is not None:
            self._frontend.stop_accepting()
        if self._ng is not None:
            self._ng.stop_accepting()
        self._close_listeners()
        self._close_ng_listeners()
        self._hangs.close()
        self._places.end_spares()
        self._arbiter.stop(GRACE_S, self._loop.stop)

    def _close_listeners(self) -> None:
        listeners, self._listeners = self._listeners, list[Listener]()
        for listener in listeners:
            listener.close()

    def _close_ng_listeners(self) -> None:
        listeners, self._ng_listeners = self._ng_listeners, list[NgListener]()
        for listener in listeners:
            listener.close()

    def _gather(self) -> None:
        """Ask the parts for what they do not count by themselves."""
        services = (self._frontend, self._ng)
        self._stats.rpc_clients = sum(service.clients for service in services if service is not None)
        if self._store is not None:
            self._store.count_in(self._stats)


@contextlib.contextmanager
def _statistics(segment: Segment) -> Iterator[Segment]:
    """The segment, which is gone after the block."""
    try:
        yield segment
    finally:
        segment.unlink()
        segment.close()
