"""Builds a slot for each shard, with what all slots share: FdBudget, ShardMap, OrphanedShards."""

import logging
from collections.abc import Sequence

from nh.calls.interfaces import first
from nh.calls.settings import RelayConfig
from nh.ipc.link_messages import Configure, HoldLinks
from nh.printable import counted
from nh.stats import Heartbeat
from nh.supervisor.host.cpus import cpu_of
from nh.supervisor.host.fd_limits import own_descriptors
from nh.supervisor.host.port_slices import all_ranges, interface_slices, limits_share, port_slices
from nh.supervisor.orphans.orphaned_shards import OrphanedShards
from nh.supervisor.runtime import Runtime
from nh.supervisor.shards.backup import ShardBackup
from nh.supervisor.shards.fd_budget import FdBudget
from nh.supervisor.shards.handle import ShardSpec
from nh.supervisor.shards.recovery import SlotRecovery
from nh.supervisor.shards.routing import ShardMap, shard_of
from nh.supervisor.shards.slot import ShardSlot
from nh.supervisor.store.packing import SnapshotPacker

logger = logging.getLogger(__name__)


class ShardSlots:
    """The slots of all shards. Close it when all processes have ended.

    Args:
        runtime: the host's resources.

    Attributes:
        all: the slots, by number.
        shard_map: which shard has each call.
        budget: how many sockets their backups may store.
        orphans: shards of an earlier run.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.shard_map = ShardMap(runtime.shards)
        beyond_own = max(0, runtime.descriptors - own_descriptors(runtime.shards))
        self.budget = FdBudget(runtime.held_sockets, beyond_own)
        packer = SnapshotPacker()
        backups = [
            ShardBackup(
                status,
                self.budget,
                store=runtime.storage.store,
                shard=shard,
                shard_map=self.shard_map,
                packer=packer,
            )
            for shard, status in enumerate(runtime.stats.shards[: runtime.shards])
        ]
        # a standby may have ended those that had the maps, which are closed then
        kernel = runtime.kernel if runtime.orphans else None
        self.orphans = OrphanedShards(
            runtime.orphans,
            backups,
            records=runtime.records,
            recorded=runtime.recorded,
            moving=kernel.moving if kernel is not None else (),
        )
        orphans = self.orphans if runtime.orphans else None
        self.all = [
            ShardSlot(
                runtime.loop,
                spec,
                runtime.zygote.new_process,
                SlotRecovery(spec.configure.relay.shard, backup, status, orphans, runtime.records),
                status=status,
                read_heartbeat=Heartbeat(runtime.segment, spec.configure.relay.shard).read,
                directory=runtime.settings.runtime_path,
            )
            for spec, backup, status in zip(
                _specs(runtime, self.orphans.known_session), backups, runtime.stats.shards, strict=False
            )
        ]
        self._load_stored(backups)
        self._connect_observers()

    def close(self) -> None:
        """Disconnect from orphans, and close the sockets of all backups."""
        self.orphans.close()
        for slot in self.all:
            slot.recovery.backup.close()

    def _connect_observers(self) -> None:
        """Have those parts of the host's resources that there are hear of the events of shards."""
        runtime = self._runtime
        for slot in self.all:
            if runtime.timeouts is not None:
                slot.events.media_timed_out.append(runtime.timeouts.report)
            if runtime.records is not None:
                slot.events.rtcp_seen.append(runtime.records.add_rtcp)
            if runtime.kernel is not None:
                slot.events.up.append(self._send_links_to)
        if runtime.kernel is not None:
            runtime.kernel.on_links = self._send_links

    def _load_stored(self, backups: Sequence[ShardBackup]) -> None:
        """Put stored calls into the backups, from which shards restore them."""
        store = self._runtime.storage.store
        if store is None:
            return
        restorable = [call for call in store.load() if not self.orphans.claims(call)]
        for call in restorable:
            backups[shard_of(call.call_id, len(backups))].load(call.call_id, call.snapshot)
        if restorable:
            logger.info(
                "%s found in the store; those that are not over are restored",
                counted(len(restorable), "call"),
            )

    def _send_links(self) -> None:
        """Shards hold the links of the kernel's program too, so that it outlives the supervisor."""
        for slot in self.all:
            self._send_links_to(slot)

    def _send_links_to(self, slot: ShardSlot) -> None:
        if self._runtime.kernel is not None:
            slot.tell(HoldLinks(), self._runtime.kernel.links)


def _specs(runtime: Runtime, known_session: int) -> list[ShardSpec]:
    """What the processes of each shard are started with.

    Args:
        runtime: the host's resources.
        known_session: sessions up to this number may be known to clients.
    """
    settings, kernel, deadline = runtime.settings, runtime.kernel, runtime.storage.deadline
    ports = port_slices(*settings.port_range, runtime.shards)
    interfaces = interface_slices(first(runtime.stats.group, settings.interfaces), runtime.shards)
    limits = limits_share(settings.relay, runtime.shards)
    return [
        ShardSpec(
            configure=Configure(
                relay=RelayConfig(
                    settings=limits,
                    ports=ports[shard],
                    shard=shard,
                    shards=runtime.shards,
                    interfaces=interfaces[shard],
                    relay_ports=tuple(all_ranges(settings.port_range, settings.interfaces)),
                    known_session=known_session,
                ),
                stats_segment=runtime.segment.name,
                stats_fd=runtime.segment.fd,
                counters_fd=runtime.counters_fd,
                log=settings.log,
                kernel=kernel.share(shard) if kernel is not None else None,
                kernel_off=runtime.kernel_off,
                successor=kernel is not None and kernel.inherited,
                records=runtime.records is not None,
                rtcp=bool(settings.hep),
                deadline_path=str(deadline.path) if deadline is not None else "",
                together=True,
                changes_together=True,
            ),
            cpu=cpu_of(shard, runtime.cpus),
            command_timeout_s=settings.command_timeout_s,
            calls_stay=runtime.storage.store is not None,
        )
        for shard in range(runtime.shards)
    ]
