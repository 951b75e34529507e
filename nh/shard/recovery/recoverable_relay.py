"""A helper whose calls outlive its process: they are kept elsewhere, restored here, and handed over.

A shard has one; where a relay lives in the process of who uses it (nh.server), nobody keeps its calls.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from nh.calls.call import Expired
from nh.calls.interfaces import Interface
from nh.calls.media import Endpoint
from nh.calls.settings import RelaySettings
from nh.commands import RelayCommand
from nh.ipc.link_messages import RestoreCall
from nh.loop import Loop
from nh.results import RelayResult
from nh.shard.media.kernel_path import KernelPath
from nh.shard.recovery.checkpoints import Checkpointer, Handed
from nh.shard.recovery.keep import CheckpointSink
from nh.shard.recovery.restore import Outcome, Restoring
from nh.shard.relay import Helper, changed_by
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
        self._keeping: Checkpointer | None = Checkpointer(self._table, keep)
        self._plane.keeping = self._keeping
        self._plane.sleep()

    def attach(self, loop: Loop, *, on_tick: Callable[[], None] | None = None) -> None:
        """See Helper. Until then no socket of a call that was restored is touched: others may relay there."""
        if self._keeping is not None:
            self._keeping.attach(loop)
        self._plane.set_up_anew()
        super().attach(loop, on_tick=on_tick)

    def close(self) -> None:
        """See Helper. Whoever keeps the calls has them still: this process ends, not they."""
        self._keeping = self._plane.keeping = None
        super().close()

    @property
    def calls(self) -> int:
        """How many calls are known, with those that wait to be restored."""
        return super().calls + len(self._restoring.waiting)

    @property
    def known_session(self) -> int:
        """No session that is known here, or was, has a higher number."""
        return self._table.resources.session_ids.known

    # --- keeping ----------------------------------------------------------------------------------

    def execute(self, command: RelayCommand) -> RelayResult:
        """See Helper. What it changes is kept when this returns."""
        try:
            return super().execute(command)
        finally:
            call_id = changed_by(command)
            if call_id and self._keeping is not None:
                self._keeping.keep_now(call_id, now=time.monotonic())

    def expire(self, *, now: float | None = None) -> Expired:
        """See Helper."""
        expired = super().expire(now=now)
        if self._keeping is not None:
            for info in expired.sessions:
                self._keeping.changed(info.call_id)
            self._keeping.forget_gone(now=time.monotonic())
        return expired

    def keep_all(self) -> None:
        """Have every call kept as it is now, with its counters: this process is about to end."""
        if self._keeping is not None:
            for call in self._table:
                self._keeping.keep_now(call.call_id, now=time.monotonic())

    def _look(self, now: float) -> None:
        super()._look(now)
        if self._keeping is not None:
            self._keeping.look(now=now)

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
        if self._keeping is not None:
            for call_id in (*outcome.restored, *outcome.failed):
                self._keeping.restored(call_id, now=time.monotonic())

    def _tick(self, now: float) -> None:
        if self._restoring.waiting:
            self._keep_restored(self._restoring.try_again())
        super()._tick(now)

    # --- handing over -----------------------------------------------------------------------------

    def resume(self) -> None:
        """Relay again after pause(); somebody else may have had the sockets meanwhile."""
        self._plane.set_up_anew()
        self._relay()

    def hand_over(self) -> Iterator[Handed]:
        """Each call as it is now, with its sockets; after pause()."""
        if self._keeping is not None:
            yield from self._keeping.hand_over(now=time.monotonic())
        for call in self._restoring.waiting:
            yield Handed(call.call_id, [], call.snapshot)
