"""Relay: calls, their sockets, their media and their statistics in one object.

A shard is a Relay behind the internal link, nh.server.Server is a Relay behind RPC sockets: both attach it
to a loop and give it commands. The module knows no protocol and no other process.
"""

import functools
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from nh.calls.call_event import NO_CLIENT, CallEnd, Client
from nh.calls.events import CallObserver, CallObservers
from nh.calls.media import Media, RelayMedia, Side
from nh.calls.session_ids import SessionIds
from nh.calls.session_info import SessionInfo
from nh.calls.settings import RelayConfig, RelaySettings
from nh.calls.shared_resources import SharedResources
from nh.calls.sockets.ports import PortSpace
from nh.calls.table import CallTable
from nh.commands import (
    ListCalls,
    RelayCommand,
    TransactionKey,
)
from nh.loop import Loop, call_each
from nh.results import RelayResult
from nh.shard.executor import Executor
from nh.shard.limit_log import LimitLog
from nh.shard.load import LoadMeter
from nh.shard.media.kernel.path import KernelPath
from nh.shard.media.leg_memory import LegMemory
from nh.shard.media.plane import SocketPlane
from nh.shard.media.sockets.loop_guard import LocalPorts
from nh.shard.observers.call_log import CallLog
from nh.shard.observers.dtmf_watch import DtmfWatch
from nh.shard.observers.stats_collector import StatsCollector
from nh.shard.observers.timeline import TimelineWriter
from nh.shard.ticker import HOUSEKEEPING_S, WATCH_S, Ticker
from nh.stats import ShardStats
from nh.stats.fields import Counters

logger = logging.getLogger(__name__)


class Relay:
    """An RTP relay for SIP proxies in this process (Net::SIP::NATHelper::Base).

    It relays from attach() on, but for pauses, until close().

    Args:
        config: settings, ports and numbering; the defaults if None.
        stats: where to count; the counters go on from their present values.
        kernel: the path in the kernel, which close() closes; None: every packet is relayed in user space.
        kernel_off: why there is no path in the kernel, for `nh show`.
        memory: where counters of legs outlive the process, which close() closes; None: nowhere.

    Attributes:
        stats: what the relay has counted, as of the last update_stats().
        table: the calls, for what saves and restores them.
        plane: the sockets of the calls, for the same.
        dtmf_watch: reports telephone events.
        may_expire: returns whether silent sessions end now, while the relay is attached.
    """

    def __init__(
        self,
        config: RelayConfig | None = None,
        *,
        stats: ShardStats | None = None,
        kernel: KernelPath | None = None,
        kernel_off: str = "",
        memory: LegMemory | None = None,
    ) -> None:
        self._config = config = config or RelayConfig()
        self._events = CallObservers(failed=_log_failure)
        self.stats = stats or ShardStats()
        self.plane = SocketPlane(
            config.settings, _local_ports(config), kernel, kernel_off, events=self._events, memory=memory
        )
        self.table = CallTable(_resources(config, self.plane, self._events, memory))
        self._collector = StatsCollector(self.stats, self.table, self.plane)
        self._timelines = TimelineWriter(self.table)
        limits = LimitLog(config.shard)
        self._executor = Executor(
            config,
            self.table,
            self.plane,
            events=self._events,
            timelines=self._timelines,
            collector=self._collector,
            limits=limits,
        )
        self.observe(self._timelines)  # first: the others read what it has written
        self._call_log = CallLog(config.shard)
        self.observe(self._call_log)
        self.observe(self._collector)
        self.dtmf_watch = DtmfWatch(self.table)
        self.observe(self.dtmf_watch)
        self.observe(LoadMeter(self.stats, self.table, limits))  # reads what the collector has counted
        self.may_expire: Callable[[], bool] = lambda: True
        self._loop: Loop | None = None
        self._ticker: Ticker | None = None
        self._watched_at = time.monotonic()

    def observe(self, observer: CallObserver) -> None:
        """Report the events of calls to `observer` from now on."""
        self._events.add(observer)

    def attach(self, loop: Loop) -> None:
        """Relay on `loop` from now on."""
        self._loop = loop
        if self.plane.kernel is not None:
            self.plane.kernel.watch(loop)
        self.resume()

    def pause(self) -> None:
        """Stop relaying: packets wait in the sockets, or go on through the kernel."""
        if self._ticker is not None:
            self._ticker.stop()
        self._ticker = None
        self.plane.detach()

    def resume(self) -> None:
        """Relay again after pause(); another process may have changed the sockets meanwhile."""
        self.plane.activate()
        if self._loop is not None:
            self.plane.attach(self._loop)
        self._start_ticker()

    def change_settings(self, settings: RelaySettings) -> None:
        """Relay by these settings from now on; open sockets keep the code point and policy that they have."""
        self._config = msgspec.structs.replace(self._config, settings=settings)
        self.plane.change_settings(settings)
        self.table.change_settings(settings, now=time.monotonic())
        if self._ticker is not None:
            self._ticker.stop()
            self._start_ticker()

    def _start_ticker(self) -> None:
        if self._loop is not None:
            self._ticker = Ticker(
                self._loop,
                self.plane.poll,
                coalesce_s=self._config.settings.coalesce_s,
                watch=self._watch,
                housekeeping=self._housekeeping,
            )

    def close(self, *, calls_stay: bool = False) -> None:
        """End all calls, close all sockets, leave the loop. A second close() does nothing.

        Args:
            calls_stay: whether the calls go on in another process some time.
        """
        self._call_log.muted = calls_stay
        self.pause()
        self._loop = None
        self._executor.close()
        self.end_calls(list(self.table.call_ids))
        self.update_stats()
        self.plane.close()
        self.dtmf_watch.close()

    def end_calls(self, call_ids: Iterable[bytes]) -> None:
        """End these calls, because nh ends; one that a bug keeps from it keeps no other from it.

        Args:
            call_ids: of the calls; those that have ended meanwhile are left out.
        """
        self._timelines.end_reason = CallEnd.SHUTDOWN
        call_each(functools.partial(self._end_call, call_id) for call_id in call_ids)

    def _end_call(self, call_id: bytes) -> None:
        if self.table.find_call(call_id) is not None:
            self.table.close_call(call_id, now=time.monotonic())

    @property
    def shard(self) -> int:
        """The number of this relay."""
        return self._config.shard

    @property
    def calls(self) -> int:
        """Number of calls."""
        return len(self.table)

    @property
    def known_session(self) -> int:
        """The highest session id that was given here or restored."""
        return self.table.resources.session_ids.known

    @property
    def draining(self) -> bool:
        """Whether the relay refuses new call-ids; known calls go on. May be set."""
        return self.table.draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self.table.draining = draining

    # --- commands -------------------------------------------------------------------------------

    def execute(self, command: RelayCommand, client: Client = NO_CLIENT) -> RelayResult:
        """Carry out a command; all that it changes is in force, and saved, when this returns.

        Args:
            command: the command.
            client: who sent it, for the timeline of the call.

        Raises:
            Refused: a rule or a limit forbids it.
            ProtocolError: a value is out of range.
        """
        return self._executor.execute(command, client)

    def answer(
        self, command: RelayCommand, reply: Callable[[RelayResult], None], client: Client = NO_CLIENT
    ) -> None:
        """Carry out a command and reply once, as execute(); to a list later, because it is made in steps.

        Raises:
            Refused, ProtocolError: see execute(); then there is no reply.
        """
        if type(command) is ListCalls and self._loop is not None:
            self._executor.begin_list(self._loop, command, reply)
        else:
            reply(self.execute(command, client))

    def allocate_sockets(
        self, key: TransactionKey, side: Side, address: str, media: Sequence[Media]
    ) -> tuple[RelayMedia, ...]:
        """The relay's ports for the media of one SDP; see Transactions.allocate()."""
        return self._executor.transactions.allocate(key, side, address, media)

    def activate_session(self, key: TransactionKey, param: dict[str, str] | None = None) -> bool:
        """Relay between the two ends; see Transactions.activate()."""
        return self._executor.transactions.activate(key, param)

    def close_session(self, key: TransactionKey) -> list[SessionInfo]:
        """End sessions between two ends; see Transactions.close()."""
        return self._executor.transactions.close(key)

    def close_call(self, call_id: bytes) -> list[SessionInfo]:
        """End everything under a call-id; see Transactions.close_call()."""
        return self._executor.transactions.close_call(call_id)

    def expire(self, *, now: float | None = None) -> None:
        """End silent sessions and close sockets that nothing needs; an attached relay does so every 0.5 s.

        Observers are told which sessions ended, and why.

        Args:
            now: monotonic seconds; None: now.
        """
        self.table.expire(now=time.monotonic() if now is None else now)

    def update_stats(self) -> None:
        """Bring `stats` up to date; an attached relay does so every 0.5 s."""
        self._collector.update()

    def continue_counters(self, counters: Counters, *, kernel_has_them: bool) -> None:
        """Count on from the counters of a process that had the calls before; see StatsCollector."""
        self._collector.continue_counters(counters, kernel_has_them=kernel_has_them)

    def _watch(self, now: float) -> bool:
        # after a pause, the round takes longer, and not this turn
        since_s, self._watched_at = min(max(now - self._watched_at, WATCH_S), HOUSEKEEPING_S), now
        self.plane.watch(since_s=since_s, now=now)
        return self.plane.has_to_watch

    def _housekeeping(self, now: float) -> None:
        self.plane.close_windows(now=now)
        # flows that cannot be found may forward for a leg that seems to be silent
        if self.may_expire() and not (self.plane.kernel and self.plane.kernel.is_blind):
            self.expire(now=now)
        self._events.housekeeping(now)


def _log_failure(event: str) -> None:
    logger.exception("an observer of the event %s failed: this is a bug of that observer, calls go on", event)


def _local_ports(config: RelayConfig) -> LocalPorts:
    own = [each.ports for each in config.interfaces if each.ports is not None]
    addresses = {address for each in config.interfaces for address in (each.address, each.advertised)}
    return LocalPorts([config.ports, *config.relay_ports, *own], addresses)


def _resources(
    config: RelayConfig, plane: SocketPlane, events: CallObservers, memory: LegMemory | None
) -> SharedResources:
    low, high = config.ports
    session_ids = SessionIds(config.shard + 1, config.shards)
    session_ids.advance_past(config.known_session)
    if memory is not None:
        session_ids.advance_past(memory.known_session)
    ports = PortSpace(
        low + low % 2,
        high - (high + 1) % 2,
        {each.address: each.ports for each in config.interfaces if each.ports is not None},
        # anywhere: phones may still send to the ports that a former process gave out first
        begin=random.random(),
    )
    return SharedResources(
        plane=plane,
        ports=ports,
        settings=config.settings,
        session_ids=session_ids,
        events=events,
        wall_offset_s=time.time() - time.monotonic(),
    )
