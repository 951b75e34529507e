"""`nh run`: puts the supervisor together and takes it apart again.

RPC sockets listen from the start, so that what is wrong with them shows before anything else begins, and
who connects early waits. They are served, and `ready` is said, when every shard is up.
"""

import contextlib
import functools
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import psutil

from nh.address import parse_rpc_address
from nh.config import Settings
from nh.errors import NhError
from nh.loop import Loop, SelectorLoop, Timer
from nh.stats import Segment, StatsReader, SupervisorStats, SupervisorWriter, create_segment, segment_name
from nh.supervisor.arbiter import Arbiter
from nh.supervisor.child import SHARD_ARGV, Child, ChildSpec
from nh.supervisor.cpus import cpu_of, usable_cpus
from nh.supervisor.descriptors import capacity, raise_descriptor_limit
from nh.supervisor.dispatch import Dispatcher
from nh.supervisor.drain import Drain
from nh.supervisor.frontend import Frontend
from nh.supervisor.kernel import start_kernel_service
from nh.supervisor.listeners import Listener, open_listeners
from nh.supervisor.ng_listeners import NgListener, open_ng_listeners
from nh.supervisor.ng_service import NgService
from nh.supervisor.routing import all_ranges, interface_slices, limits_share, port_slices
from nh.supervisor.runtime_dir import runtime_dir
from nh.supervisor.signals import signals_on
from nh.supervisor.state_dir import open_store
from nh.wire.link import Configure

logger = logging.getLogger(__name__)

GRACE_S: Final = 3.5
"""What shards have to end in order, so that all is over within 5 s."""

PUBLISH_S: Final = 0.5
"""How often the supervisor's statistics are published."""

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
        self._shard_argv = shard_argv
        self._cpus = usable_cpus()
        self._shards = settings.shards or len(self._cpus)
        self._ports = port_slices(*settings.port_range, self._shards)
        self._interfaces = interface_slices(settings.interfaces, self._shards)
        self._share = limits_share(settings.relay, self._shards)
        self._descriptors = raise_descriptor_limit()
        self._stats = SupervisorStats(pid=os.getpid(), started=time.time())
        self._status = 0
        self._ending = False

        path = settings.runtime_path
        stack.enter_context(runtime_dir(path))
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
        self._kernel, self._kernel_off = start_kernel_service(
            self._loop, settings, self._shards, stats=self._stats
        )
        if self._kernel is not None:
            stack.callback(self._kernel.close)
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
            self._loop, self._shards, self._arbiter.tell, stats=self._stats, on_over=self._on_drained
        )

    def run(self) -> int:
        """Start, serve, end; returns the exit status."""
        publisher = _Publisher(self._loop, self._segment, self._stats, self._gather)
        with signals_on(self._loop, _SIGNALS, self._on_signal):
            self._arbiter.start()
            try:
                self._loop.run()
            finally:
                publisher.stop()
                if self._frontend is not None:
                    self._frontend.close()
                if self._ng is not None:
                    self._ng.close()
        return self._status

    def _spawn(self, shard: int, *, on_ready: Callable[[], None], on_exit: Callable[[str], None]) -> Child:
        configure = Configure(
            shard=shard,
            shards=self._shards,
            ports=self._ports[shard],
            relay=self._share,
            stats_segment=self._segment.name,
            log_level=self._settings.log_level,
            interfaces=self._interfaces[shard],
            kernel=self._kernel.share(shard) if self._kernel is not None else None,
            kernel_off=self._kernel_off,
            relay_ports=all_ranges(self._settings.port_range, self._settings.interfaces),
        )
        spec = ChildSpec(
            configure=configure,
            cpu=cpu_of(shard, self._cpus),
            command_timeout_s=self._settings.command_timeout_s,
            argv=self._shard_argv,
            descriptors=self._kernel.descriptors if self._kernel is not None else (),
        )

        def ready() -> None:
            on_ready()
            self._drain.shard_is_up(shard)

        on_empty = functools.partial(self._drain.shard_is_empty, shard)
        return Child(self._loop, spec, on_ready=ready, on_exit=on_exit, on_empty=on_empty)

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
        print(self._ready_line(), flush=True)

    def _ready_line(self) -> str:
        room = capacity(self._ports, self._descriptors, self._settings.relay)
        shards = "1 shard on CPU" if self._shards == 1 else f"{self._shards} shards on CPUs"
        cpus = ",".join(str(cpu) for cpu in self._cpus[: self._shards])
        addresses = " ".join(str(listener.address) for listener in self._listeners)
        ng = (
            f" ng {' '.join(str(listener) for listener in self._ng_listeners)};" if self._ng_listeners else ""
        )
        kernel = f"kernel {','.join(self._kernel.interfaces)}" if self._kernel else "user space only"
        return (
            f"ready: {shards} {cpus}; rpc {addresses};{ng} ports {self._ports[0][0]}-{self._ports[-1][1]};"
            f" {kernel}; up to {room.calls} calls (limited by {room.limited_by})"
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
        if self._frontend is not None:
            self._frontend.stop_accepting()
        if self._ng is not None:
            self._ng.stop_accepting()
        self._close_listeners()
        self._close_ng_listeners()
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


class _Publisher:
    """Publishes the supervisor's statistics from now on, every PUBLISH_S seconds, until stop()."""

    def __init__(
        self, loop: Loop, segment: Segment, stats: SupervisorStats, gather: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._writer = SupervisorWriter(segment)
        self._stats = stats
        self._gather = gather
        self._process = psutil.Process()
        self._timer: Timer
        self._publish()

    def stop(self) -> None:
        self._timer.cancel()

    def _publish(self) -> None:
        self._timer = self._loop.call_later(PUBLISH_S, self._publish)
        self._stats.heartbeat = time.monotonic()
        self._stats.memory_bytes = self._process.memory_info().rss
        self._gather()
        self._writer.publish(self._stats)
