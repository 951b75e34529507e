"""Startup resources: all that nh has of the host before it starts a shard."""

import contextlib
import logging
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nh.config import Settings
from nh.config.sources import LoadedSettings
from nh.ipc.counter_file import create_counter_file
from nh.ipc.inherited import Inherited
from nh.loop import SelectorLoop
from nh.reasons import reason
from nh.rpc.protocols import NG_OVER_HTTP, RPC
from nh.stats import SupervisorStats, own_segment, segment_name
from nh.stats.fields import add_counters
from nh.stats.layout import STATUS_TABLE, SUPERVISOR_TABLE
from nh.supervisor.host.addresses import check_addresses
from nh.supervisor.host.child_process import check_pidfds
from nh.supervisor.host.core_dumps import keep_memory_out_of_core_dumps
from nh.supervisor.host.cpus import usable_cpus
from nh.supervisor.host.fd_limits import holdable_sockets, raise_descriptor_limit
from nh.supervisor.host.locked_dir import Lock, renew_lock, runtime_dir
from nh.supervisor.host.port_claim import port_claim
from nh.supervisor.host.reaper import become_subreaper, reap_children_after_exec
from nh.supervisor.host.sd_notify import Notifier
from nh.supervisor.http import HttpService, http_listener_names
from nh.supervisor.kernel import start_kernel_service
from nh.supervisor.orphans.find import find_orphans
from nh.supervisor.rpc import Rpc, rpc_listener_names
from nh.supervisor.settings_in_force import SettingsInForce
from nh.supervisor.shards.process import SECURE, ShardProcess
from nh.supervisor.shards.zygote import Zygote
from nh.supervisor.storage import Storage
from nh.supervisor.store.open import StateKey, WantedGroup

if TYPE_CHECKING:
    from nh.supervisor.records.records import Records
    from nh.supervisor.timeouts.reports import TimeoutReports

logger = logging.getLogger(__name__)


class Runtime:
    """The resources, acquired at construction: those that can be refused come first, before anything changes.

    Args:
        loaded: the settings, and where they came from.
        shard_argv: the program of a shard.
        stack: releases the resources.
        inherited: what the supervisor before handed over; what is not used of it is closed.
        key: of the store.
        standby: whether the store is opened later, by open_store().

    Attributes:
        settings: those of this run.
        loop: the supervisor's event loop.
        notifier: tells the service manager how nh stands (sd_notify(3)).
        cpus: the CPUs that may be used.
        shards: how many shards there are.
        descriptors: how many each process may have.
        held_sockets: how many media sockets all backups together may store at the start.
        stats: the supervisor's own counters, which go on from those handed over.
        in_force: tells nh doctor the settings.
        claimed: descriptors of the claim to the ports, which every shard process inherits.
        storage: where calls are stored.
        orphans: shards of an earlier run that still have calls.
        timeouts: tells others of calls whose media have timed out; None: the settings have no target.
        records: takes the records of calls that end; None: the settings want none.
        recorded: of the supervisor before; see HandoverMessage.
        http: serves HTTP, in a process of its own.
        segment: the shared memory for statistics.
        kernel: the path in the kernel; None: there is none.
        kernel_off: why there is none, for people; "" if there is one.
        counters_fd: the file in which shards keep their counters (nh.ipc.counter_file); -1: there is none.
        zygote: the process that shards are forked of.

    Raises:
        NhError: a resource is refused; the message says which, why, and what to do.
    """

    def __init__(
        self,
        loaded: LoadedSettings,
        shard_argv: Sequence[str],
        stack: contextlib.ExitStack,
        inherited: Inherited,
        *,
        key: StateKey,
        standby: bool,
    ) -> None:
        self.settings = settings = loaded.settings
        path = settings.runtime_path
        self._shard_argv = shard_argv
        self._stack = stack
        self.cpus = usable_cpus()
        self.shards = settings.shards or len(self.cpus)
        check_pidfds()
        keep_memory_out_of_core_dumps()
        self.descriptors = raise_descriptor_limit()
        self.held_sockets = holdable_sockets(self.descriptors, settings, self.shards)
        self.stats = _stats_after(inherited)
        self._lock = stack.enter_context(runtime_dir(path, inherited, named=bool(settings.runtime_dir)))
        self.in_force = SettingsInForce(loaded, self.shards, state_key=key.check)
        stack.callback(self.in_force.close)
        claim = stack.enter_context(port_claim(settings))
        self.claimed = claim.descriptors
        self.storage = Storage(settings, key, stack, self.stats)
        if not standby:
            self.storage.open(WantedGroup(inherited.message.group), inherited)
        self.loop = SelectorLoop()
        stack.callback(self.loop.close)
        claim.serve(self.loop)
        self.notifier = Notifier(self.loop)
        stack.callback(self.notifier.close)
        self._prepare_services(inherited)
        inherited.close()
        self._prepare_shards(takes_over=bool(inherited), standby=standby)

    def _prepare_services(self, inherited: Inherited) -> None:
        """What clients and others are served with, besides media."""
        settings, stack = self.settings, self._stack
        inherited.drop_listeners(listener_names(settings))
        self.rpc = Rpc(self.loop, settings, self.stats, inherited)
        stack.callback(self.rpc.close_listeners)
        self.timeouts = _timeout_reports(settings, self.stats)
        if self.timeouts is not None:
            stack.callback(self.timeouts.close)
        self.records = _records(settings, self.stats)
        if self.records is not None:
            stack.callback(self.records.close)
        self.recorded = inherited.message.recorded
        self.http = HttpService(self.loop, settings, self.stats, inherited)
        stack.callback(self.http.close)

    def _prepare_shards(self, *, takes_over: bool, standby: bool) -> None:
        """What shards need, and those of an earlier run."""
        settings, stack, path = self.settings, self._stack, self.settings.runtime_path
        become_subreaper()
        stack.enter_context(reap_children_after_exec(self.loop))
        self.orphans = find_orphans(path)
        check_addresses(settings, takes_over=takes_over or bool(self.orphans))
        self.segment = stack.enter_context(own_segment(segment_name(path), self.shards, len(settings.groups)))
        self._start_kernel_service(standby=standby)
        self.counters_fd = _counter_file(self.shards, stack)
        self.zygote = Zygote(self.loop, self._start_process, settings.prefork)
        stack.callback(self.zygote.close)

    def start_http(self) -> None:
        """Have HTTP served from now on."""
        rpc, ng = (self.rpc.first_address(each) for each in (RPC, NG_OVER_HTTP))
        self.http.start(rpc, ng, self.segment.fd)

    def open_store(self, group: WantedGroup) -> None:
        """Open the store of a standby; raises as nh.supervisor.store.open.open_store()."""
        self.storage.open(group)
        self._tell_kernel()

    def _start_kernel_service(self, *, standby: bool) -> None:
        self.kernel, self.kernel_off = start_kernel_service(
            self.loop, self.settings, self.shards, stats=self.stats, orphans=self.orphans
        )
        if self.kernel is not None:
            self._stack.callback(self.kernel.close)
        if not standby:  # one that has no calls yet leaves the deadline of shards of an earlier run as it is
            self._tell_kernel()

    def _tell_kernel(self) -> None:
        if self.kernel is not None:
            self.storage.tell_kernel(self.kernel.stop_at)

    def _start_process(self) -> ShardProcess:
        inherited = [self.segment.fd, *(self.kernel.descriptors if self.kernel is not None else ())]
        if self.counters_fd >= 0:
            inherited.append(self.counters_fd)
        # calls with SRTP on one side come over ng alone
        secure = (SECURE,) if self.settings.ng or self.settings.http_ng else ()
        return ShardProcess.start((*self._shard_argv, *secure), (*inherited, *self.claimed))

    def update_stats(self) -> None:
        """Bring `stats` up to date, before they are published, and make files that were removed anew."""
        self.in_force.write_again(is_older_than_lock=renew_lock(self._lock))
        self.rpc.renew_sockets()
        if self.has_directory:
            self.storage.renew_deadline()
        self.stats.rpc_clients = self.rpc.clients
        if self.timeouts is not None:
            self.timeouts.update_stats()
        if self.records is not None:
            self.records.update_stats()
        if self.storage.store is not None:
            self.storage.store.count_in(self.stats)

    @property
    def has_directory(self) -> bool:
        """Whether the runtime directory is this nh's: no other nh locked it since the lock was removed."""
        return self._lock.has_name

    @property
    def locks(self) -> list[Lock]:
        """On the runtime directory, and on that of the store if it has one."""
        return [self._lock] if self.storage.lock is None else [self._lock, self.storage.lock]


def listener_names(settings: Settings) -> list[tuple[str, str]]:
    """What Inherited.take_listener() calls each listening socket of a run with these settings."""
    return [*rpc_listener_names(settings), *http_listener_names(settings)]


def _counter_file(shards: int, stack: contextlib.ExitStack) -> int:
    try:
        fd = create_counter_file(shards)
    except OSError as exc:
        logger.warning("there is no counter file: %s; shards save counters with snapshots", reason(exc))
        return -1
    stack.callback(os.close, fd)
    return fd


def _timeout_reports(settings: Settings, stats: SupervisorStats) -> "TimeoutReports | None":
    if not (settings.timeout_url or settings.timeout_xmlrpc or settings.timeout_socket):
        return None
    from nh.supervisor.timeouts.reports import TimeoutReports  # noqa: PLC0415  most relays have no target

    return TimeoutReports(settings, stats)


def _records(settings: Settings, stats: SupervisorStats) -> "Records | None":
    if not (settings.records or settings.history or settings.hep):
        return None
    from nh.supervisor.records.records import Records  # noqa: PLC0415  a relay may want none

    return Records(settings, stats)


def _stats_after(inherited: Inherited) -> SupervisorStats:
    now = time.time()
    stats = SupervisorStats(
        pid=os.getpid(),
        started=now,
        running_since=inherited.message.running_since or now,
        taken_over=inherited.how,
    )
    add_counters(stats, SUPERVISOR_TABLE, inherited.message.counters)
    for status, counters in zip(stats.shards, inherited.message.shard_counters, strict=False):
        add_counters(status, STATUS_TABLE, counters)
    return stats
