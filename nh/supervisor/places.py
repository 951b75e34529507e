"""The places of all shards: what each process in one is started with, and what outlives the processes.

A place has its ports and its share of the limits, its keeper, and a spare process that all share. When a
process is started is the arbiter's business.
"""

import logging
import secrets
from collections.abc import Callable, Sequence

from nh.config import Settings
from nh.loop import Loop
from nh.stats import Segment, SupervisorStats
from nh.supervisor.child import Child, ChildSpec
from nh.supervisor.cpus import cpu_of
from nh.supervisor.drain import Drain
from nh.supervisor.estate import Estate
from nh.supervisor.keeper import HoldingBudget, Keeper
from nh.supervisor.kernel import KernelService
from nh.supervisor.placement import Placements
from nh.supervisor.predecessor import Predecessor
from nh.supervisor.process import ShardProcess
from nh.supervisor.recovery import Recovery
from nh.supervisor.routing import all_ranges, interface_slices, limits_share, port_slices, shard_of
from nh.supervisor.spares import Spares
from nh.supervisor.store import Store
from nh.wire.link import Configure, HoldLinks

logger = logging.getLogger(__name__)


class Places:
    """See above. Close it when all processes have ended.

    Arguments:
        loop: for the processes.
        settings: see Settings.
        shards: how many places there are.
        cpus: those that may be used.
        argv: the program of a shard.
        segment, stats: for statistics.
        kernel, kernel_off: the path in the kernel; None and why there is none.
        held_sockets: how many sockets may be held for all shards.
        claimed: the claim to the ports, which every process inherits.
        store: where calls are while nh does not run; None: nowhere.
        predecessors: shards of an earlier run that still have calls.
    """

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        shards: int,
        *,
        cpus: Sequence[int],
        argv: Sequence[str],
        segment: Segment,
        stats: SupervisorStats,
        kernel: KernelService | None,
        kernel_off: str,
        held_sockets: int,
        claimed: tuple[int, ...],
        store: Store | None,
        predecessors: Sequence[Predecessor] = (),
    ) -> None:
        self.ports = port_slices(*settings.port_range, shards)
        self._loop = loop
        self._settings = settings
        self._shards = shards
        self._cpus = cpus
        self._argv = argv
        self._segment = segment
        self._kernel = kernel
        self._kernel_off = kernel_off
        self._claimed = claimed
        self._interfaces = interface_slices(settings.interfaces, shards)
        self._share = limits_share(settings.relay, shards)
        self._started: set[int] = set()
        self._runtime_path = settings.runtime_path
        self.placements = Placements(shards)
        budget = HoldingBudget(held_sockets)
        keepers = [
            Keeper(stats.shards[shard], budget, store, self.placements.at(shard)) for shard in range(shards)
        ]
        self._estate = Estate(predecessors, keepers)
        self._recoveries = [
            Recovery(shard, keeper, stats.shards[shard], self._estate) for shard, keeper in enumerate(keepers)
        ]
        if store is not None:
            self._take_stored(store)
        self._spares = Spares(loop, self._start_process, settings.spares)

    def spawn(
        self, shard: int, drain: Drain, *, on_ready: Callable[[], None], on_exit: Callable[[str], None]
    ) -> Child:
        """Have a process in a place. OSError if none can be started."""

        rendezvous = self._runtime_path / f"shard-{shard}-{secrets.token_hex(4)}.sock"

        def ready() -> None:
            on_ready()
            drain.shard_is_up(shard)
            if self._kernel is not None:
                child.tell(HoldLinks(), self._kernel.links)

        def ended(why: str) -> None:
            rendezvous.unlink(missing_ok=True)
            on_exit(why)

        child = Child(
            self._loop,
            self._spec(shard, str(rendezvous)),
            self._spares.take(),
            on_ready=ready,
            on_exit=ended,
            on_empty=lambda drain_round: drain.shard_is_empty(shard, drain_round),
            heritage=self._recoveries[shard],
        )
        self._started.add(shard)
        return child

    @property
    def has_heirlooms(self) -> bool:
        """Whether shards of an earlier run still have calls that are to come here."""
        return self._estate.unsettled

    def prepare(self, on_prepared: Callable[[], None]) -> None:
        """Load what processes are forked of; `on_prepared` is called once, when they may be spawned."""
        self._spares.fill(on_prepared)

    def end_spares(self) -> None:
        """Keep nothing for processes to be forked of: no shard is started any more."""
        self._spares.close()

    def close(self) -> None:
        """Let everything go that is kept."""
        self._spares.close()
        self._estate.close()
        for recovery in self._recoveries:
            recovery.keeper.close()

    def _take_stored(self, store: Store) -> None:
        calls = store.load()
        restorable = [call for call in calls if not self._estate.claims(call)]
        for call in restorable:
            shard = shard_of(call.call_id, self._shards)
            self._recoveries[shard].keeper.put(call.call_id, call.snapshot)
        if restorable:
            logger.info("%d calls were stored; they are restored where they are not over", len(restorable))

    def _start_process(self) -> ShardProcess:
        kernel = self._kernel.descriptors if self._kernel is not None else ()
        return ShardProcess.start(self._argv, (*kernel, *self._claimed))

    def _spec(self, shard: int, rendezvous: str) -> ChildSpec:
        settings = self._settings
        configure = Configure(
            shard=shard,
            shards=self._shards,
            ports=self.ports[shard],
            relay=self._share,
            stats_segment=self._segment.name,
            log_level=settings.log_level,
            interfaces=self._interfaces[shard],
            kernel=self._kernel.share(shard) if self._kernel is not None else None,
            kernel_off=self._kernel_off,
            relay_ports=all_ranges(settings.port_range, settings.interfaces),
            successor=shard in self._started or (self._kernel is not None and self._kernel.inherited),
            rendezvous=rendezvous,
            known_session=self._estate.known_session,
        )
        return ChildSpec(
            configure=configure,
            cpu=cpu_of(shard, self._cpus),
            command_timeout_s=settings.command_timeout_s,
        )
