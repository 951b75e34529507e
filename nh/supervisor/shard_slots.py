"""The places of all shards: what each process in one is started with, and what outlives the processes.

A place has its ports and its share of the limits, its keeper, and a spare process that all share. When a
process is started is the arbiter's business.
"""

import logging
import secrets
from collections.abc import Callable, Sequence

from nh.calls.settings import RelayConfig
from nh.ipc.link_messages import Configure, HoldLinks
from nh.supervisor.handover.orphans import OrphanedShards
from nh.supervisor.host.cpus import cpu_of
from nh.supervisor.host.port_slices import all_ranges, interface_slices, limits_share, port_slices
from nh.supervisor.runtime import Runtime
from nh.supervisor.shards.backup import FdBudget, ShardBackup
from nh.supervisor.shards.drain import Drain
from nh.supervisor.shards.handle import ShardHandle, ShardSpec
from nh.supervisor.shards.process import ShardProcess
from nh.supervisor.shards.recovery import Recovery
from nh.supervisor.shards.routing import ShardMap, shard_of
from nh.supervisor.shards.zygote import Zygote
from nh.supervisor.store.store import Store

logger = logging.getLogger(__name__)


class ShardSlots:
    """See above. Close it when all processes have ended.

    Arguments:
        base: what the run stands on.
        argv: the program of a shard.
    """

    def __init__(self, base: Runtime, argv: Sequence[str]) -> None:
        settings, shards = base.settings, base.shards
        self.ports = port_slices(*settings.port_range, shards)
        self._base = base
        self._argv = argv
        self._interfaces = interface_slices(settings.interfaces, shards)
        self._share = limits_share(settings.relay, shards)
        self._started: set[int] = set()
        self.shard_map = ShardMap(shards)
        budget = FdBudget(base.held_sockets)
        keepers = [
            ShardBackup(
                base.stats.shards[shard], budget, store=base.store, shard=shard, shard_map=self.shard_map
            )
            for shard in range(shards)
        ]
        self._estate = OrphanedShards(base.predecessors, keepers)
        self._recoveries = [
            Recovery(shard, keeper, base.stats.shards[shard], self._estate)
            for shard, keeper in enumerate(keepers)
        ]
        if base.store is not None:
            self._take_stored(base.store)
        self._zygote = Zygote(base.loop, self._start_process, settings.prefork)

    def spawn(
        self, shard: int, drain: Drain, *, on_ready: Callable[[], None], on_exit: Callable[[str], None]
    ) -> ShardHandle:
        """Have a process in a place. OSError if none can be started."""

        handover_path = self._base.settings.runtime_path / f"shard-{shard}-{secrets.token_hex(4)}.sock"

        def ready() -> None:
            on_ready()
            drain.shard_is_up(shard)
            if self._base.kernel is not None:
                child.tell(HoldLinks(), self._base.kernel.links)

        def ended(why: str) -> None:
            handover_path.unlink(missing_ok=True)
            on_exit(why)

        child = ShardHandle(
            self._base.loop,
            self._spec(shard, str(handover_path)),
            self._zygote.take(),
            on_ready=ready,
            on_exit=ended,
            on_empty=lambda drain_round: drain.shard_is_empty(shard, drain_round),
            recovery_source=self._recoveries[shard],
        )
        self._started.add(shard)
        return child

    @property
    def has_inherited(self) -> bool:
        """Whether shards of an earlier run still have calls that are to come here."""
        return self._estate.unsettled

    def prepare(self, on_prepared: Callable[[], None]) -> None:
        """Load what processes are forked of; `on_prepared` is called once, when they may be spawned."""
        self._zygote.fill(on_prepared)

    def end_zygote(self) -> None:
        """Keep nothing for processes to be forked of: no shard is started any more."""
        self._zygote.close()

    def close(self) -> None:
        """Let everything go that is kept."""
        self._zygote.close()
        self._estate.close()
        for recovery in self._recoveries:
            recovery.keeper.close()

    def _take_stored(self, store: Store) -> None:
        calls = store.load()
        restorable = [call for call in calls if not self._estate.claims(call)]
        for call in restorable:
            shard = shard_of(call.call_id, self._base.shards)
            self._recoveries[shard].keeper.put(call.call_id, call.snapshot)
        if restorable:
            logger.info("%d calls were stored; they are restored where they are not over", len(restorable))

    def _start_process(self) -> ShardProcess:
        kernel = self._base.kernel.descriptors if self._base.kernel is not None else ()
        return ShardProcess.start(self._argv, (*kernel, *self._base.claimed))

    def _spec(self, shard: int, handover_path: str) -> ShardSpec:
        base, settings = self._base, self._base.settings
        configure = Configure(
            relay=RelayConfig(
                settings=self._share,
                ports=self.ports[shard],
                shard=shard,
                shards=base.shards,
                interfaces=self._interfaces[shard],
                relay_ports=tuple(all_ranges(settings.port_range, settings.interfaces)),
                known_session=self._estate.known_session,
            ),
            stats_segment=base.segment.name,
            log_level=settings.log_level,
            kernel=base.kernel.share(shard) if base.kernel is not None else None,
            kernel_off=base.kernel_off,
            successor=shard in self._started or (base.kernel is not None and base.kernel.inherited),
            handover_path=handover_path,
        )
        return ShardSpec(
            configure=configure,
            cpu=cpu_of(shard, base.cpus),
            command_timeout_s=settings.command_timeout_s,
        )
