"""A helper whose calls outlive its process: they are kept elsewhere, restored here, and handed over.

A shard has one; where a relay lives in the process of who uses it (nh.server), nobody keeps its calls.
"""

import time
from collections.abc import Iterator, Sequence

from nh.calls.interfaces import Interface
from nh.calls.media import Endpoint
from nh.calls.settings import RelaySettings
from nh.ipc.link_messages import RestoreCall
from nh.loop import Loop
from nh.shard.media.kernel_path import KernelPath
from nh.shard.recovery.checkpoints import CallCheckpoint, Checkpointer, CheckpointSink
from nh.shard.recovery.restore import Outcome, Restoring
from nh.shard.relay import Helper
from nh.stats import ShardStats
from nh.stats.layout import Counters


class RecoverableRelay(Helper):
    """See above.

    Arguments:
        keep: where sockets and calls are kept for a successor.
        others: see Helper.
    """

    def __init__(
        self,
        settings: RelaySettings,
        *,
        keep: CheckpointSink,
        ports: tuple[int, int],
        shard: int,
        shards: int,
        stats: ShardStats,
        interfaces: Sequence[Interface] = (),
        kernel: KernelPath | None = None,
        kernel_off: str = "",
        relay_ports: Sequence[tuple[int, int]] = (),
        known_session: int = 0,
    ) -> None:
        super().__init__(
            settings,
            ports=ports,
            shard=shard,
            shards=shards,
            stats=stats,
            interfaces=interfaces,
            kernel=kernel,
            kernel_off=kernel_off,
            relay_ports=relay_ports,
            known_session=known_session,
        )
        self._restoring = Restoring(self._table, self._plane)
        self._checkpointer = Checkpointer(self._table, keep)
        self.observe(self._checkpointer)
        self._plane.sleep()

    def attach(self, loop: Loop) -> None:
        """See Helper. Until then no socket of a call that was restored is touched: others may relay there."""
        self._checkpointer.attach(loop)
        self._plane.set_up_anew()
        super().attach(loop)

    @property
    def calls(self) -> int:
        """How many calls are known, with those that wait to be restored."""
        return super().calls + len(self._restoring.waiting)

    @property
    def known_session(self) -> int:
        """No session that is known here, or was, has a higher number."""
        return self._table.resources.session_ids.known

    def save_all(self) -> None:
        """Save every call with its counters: this process is about to end."""
        self._checkpointer.save_all()

    # --- taking over ------------------------------------------------------------------------------

    def go_on_from(self, counters: Counters, *, kernel_has_them: bool) -> None:
        """Count on from what a predecessor counted.

        Arguments:
            counters: its counters by name; what is no counter here is left out.
            kernel_has_them: whether what the kernel relayed is counted by the kernel already.
        """
        self._accounts.go_on_from(counters, kernel_has_them=kernel_has_them)

    def restore(self, sockets: dict[Endpoint, int], calls: list[RestoreCall]) -> tuple[int, int]:
        """See nh.shard.recovery.restoration.Restorer."""
        self._plane.inherited = sockets
        outcome = self._restoring.restore(calls)
        self._keep_restored(outcome)
        return len(outcome.restored), len(outcome.failed)

    def _keep_restored(self, outcome: Outcome) -> None:
        for call_id in (*outcome.restored, *outcome.failed):
            self._checkpointer.restored(call_id, now=time.monotonic())

    def _tick(self, now: float) -> None:
        if self._restoring.waiting:
            self._keep_restored(self._restoring.try_again())
        super()._tick(now)

    # --- handing over -----------------------------------------------------------------------------

    def resume(self) -> None:
        """Relay again after pause(); somebody else may have had the sockets meanwhile."""
        self._plane.set_up_anew()
        self._relay()

    def hand_over(self) -> Iterator[CallCheckpoint]:
        """Each call as it is now, with its sockets; after pause()."""
        yield from self._checkpointer.checkpoints()
        for call in self._restoring.waiting:
            yield CallCheckpoint(call.call_id, [], call.snapshot)
