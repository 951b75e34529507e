"""Whether the stored calls are this relay's: it looks at the lease, and hands the calls over to a standby.

The order of a handover is its promise. Commands wait from the first step on, so nothing changes that the
standby would not learn. Every call is saved with its counters and written to the server before the standby
may have it. This relay renews its lease until the server says that the standby has the calls, and takes them
back if that does not happen in time. So no call is ever without a relay. After the standby has them, this
relay sends until its last lease is over: in that time the standby binds the ports, and the address moves.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from nh.commands import Demote
from nh.errors import Refused
from nh.ipc.shared_deadline import boottime
from nh.loop import call_each
from nh.printable import escaped, listed, short_id
from nh.results import Demoting, Failure, Result
from nh.stats.layout import UNSAVED_BYTES
from nh.supervisor.runtime import Runtime
from nh.supervisor.shards.idle import when_idle
from nh.supervisor.shards.manager import ShardManager
from nh.supervisor.store.lease import EARLY_S, Lease
from nh.supervisor.store.store import Store

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.1
"""How often the relay looks whether the calls are still its own."""

SAVE_S: Final = 5.0
"""Saving and writing of all calls may take so long; then there is no handover."""

TAKE_S: Final = 3.0
"""The standby may take so long to take the calls, and the server to answer; then there is no handover."""

_NO_STANDBY: Final = (
    "no standby follows the calls that could take them over; start one with --standby and the --state of this"
    " relay, or with --standby-for and its prefix; if there is one, `nh health` there says what keeps it"
)


class Reactions(NamedTuple):
    """What the supervisor does about its calls.

    Attributes:
        is_leaving: whether the next supervisor of this relay has the shards, and looks itself.
        on_lost: called with the reason when the calls are another relay's, until the manager is stopping.
        on_begun: called when commands are read no more, because a handover has begun.
        on_kept: called when a handover is broken off: commands have to be read again.
        on_given: called when the standby has the calls, and this relay still relays.
        on_over: called when the shards have to end.
    """

    is_leaving: Callable[[], bool]
    on_lost: Callable[[str], None]
    on_begun: Callable[[], None]
    on_kept: Callable[[], None]
    on_given: Callable[[], None]
    on_over: Callable[[], None]


class Ownership:
    """Looks at the lease from start() on.

    Args:
        runtime: the host's resources, with the store.
        manager: has the shards save all calls.
        reactions: see Reactions.
    """

    def __init__(self, runtime: Runtime, manager: ShardManager, reactions: Reactions) -> None:
        self._runtime = runtime
        self._manager = manager
        self._reactions = reactions
        self._to = ""
        self._given = False
        self._saved = False
        self._refused = ""

    def start(self) -> None:
        """Look at the lease from now on, if another relay can get the calls."""
        if self._runtime.storage.store is not None and self._runtime.storage.store.lease is not None:
            self._look()

    def demote(self, command: Demote, reply: Callable[[Result], None]) -> None:
        """Carry out Demote: begin to hand over, if that is possible."""
        try:
            reply(self._begin(command.to))
        except Refused as exc:
            reply(Failure.of(exc))

    def _look(self) -> None:
        if self._given or self._manager.stopping:
            return
        self._runtime.loop.call_later(LOOK_S, self._look)
        store = self._runtime.storage.store
        assert store is not None and store.lease is not None  # start() has looked
        why = self._runtime.storage.why_lost()
        if why and not self._reactions.is_leaving():
            if self._to and store.lease.lost_to == escaped(self._to):
                self._relay_on(store, store.lease)
            else:
                self._reactions.on_lost(why)
            return
        wanted_by = store.lease.wanted_by
        if wanted_by and not self._to:
            try:
                self._begin(wanted_by)
            except Refused as exc:  # it is tried again while the standby asks
                if self._refused != wanted_by:
                    logger.error(
                        "the standby %s asks for the calls, and does not get them: %s",
                        *(escaped(wanted_by), exc),
                    )
                self._refused = wanted_by
        elif not wanted_by:
            self._refused = ""

    # --- the handover -----------------------------------------------------------------------------

    def _begin(self, to: str) -> Demoting:
        store, manager = self._runtime.storage.store, self._manager
        if store is None or store.lease is None:
            raise Refused("the calls are stored on this host only; a standby needs --state valkey://…")
        if self._to or self._ends:
            raise Refused("this relay hands over already, or is ending")
        if not manager.all_up or not store.works:
            raise Refused("a shard is not up, or the store is away: the standby would not get all calls")
        self._to, calls = _choose(to, store.lease.standbys)
        logger.warning(
            "handing the calls over to the standby %s, which has %d of them", escaped(self._to), calls
        )
        stats = self._runtime.stats
        stats.handing_over, stats.handover_fault, stats.handover_unsaved = 1, "", ""
        # first: whatever the reaction meets, a step follows, and commands are read again at the end
        when_idle(self._runtime.loop, lambda: manager.busy, timeout_s=SAVE_S, then=self._step(self._save))
        self._reactions.on_begun()
        return Demoting(escaped(self._to), calls)

    @property
    def _ends(self) -> bool:
        return self._reactions.is_leaving() or self._manager.stopping

    def _save(self) -> None:
        if self._ends:
            self._to = ""
            return
        self._saved = False
        self._manager.save_all(self._on_saved)
        when_idle(self._runtime.loop, self._is_unwritten, timeout_s=SAVE_S, then=self._step(self._give))

    def _on_saved(self, unsaved: Sequence[bytes]) -> None:
        self._saved = True
        if unsaved:
            names = [short_id(call_id) for call_id in unsaved]
            self._runtime.stats.handover_unsaved = listed(names, UNSAVED_BYTES)
            logger.error(
                "these calls cannot be saved, and go as they were saved before: %s", ", ".join(names)
            )

    def _is_unwritten(self) -> bool:
        store = self._runtime.storage.store
        return not self._saved or store is None or bool(store.pending)

    def _give(self) -> None:
        store = self._runtime.storage.store
        if self._ends:  # since the handover began: the next start has the calls, or they are over
            self._to = ""
            return
        if store is None or store.lease is None or self._is_unwritten() or not store.works:
            self._keep(f"the calls could not be written to the store within {SAVE_S:g} s")
            return
        lease = store.lease
        self._set_moving(True)
        store.give(self._to)
        when_idle(
            self._runtime.loop,
            lambda: store.works and not lease.lost_to and _left_s(lease) > 0,
            timeout_s=TAKE_S,
            then=self._step(lambda: self._take_back(store, lease)),
        )

    def _take_back(self, store: Store, lease: Lease) -> None:
        """The standby has had its time; _look() goes on if it has the calls."""
        store.give("")
        # a server that does not answer may have given them to the standby: until the lease is over
        when_idle(
            self._runtime.loop,
            lambda: bool(lease.given_to) and not lease.lost_to,
            timeout_s=min(TAKE_S, _left_s(lease)),
            then=self._step(lambda: self._end_without(lease)),
        )

    def _end_without(self, lease: Lease) -> None:
        if lease.lost_to or self._ends:
            return
        if lease.given_to:
            self._keep("the store's server does not answer; the standby may have the calls")
        else:
            self._keep(f"the standby {escaped(self._to)} has not taken the calls within {TAKE_S:g} s")

    def _step(self, step: Callable[[], None]) -> Callable[[], None]:
        """A step of the handover: an error there breaks it off, as commands wait for its end."""

        def take() -> None:
            try:
                step()
            except Exception:
                store = self._runtime.storage.store
                if store is not None:
                    store.give("")
                self._keep("a bug in nh; the log has it")
                raise

        return take

    def _keep(self, why: str) -> None:
        logger.error("the calls stay here: %s", why)
        self._to = ""
        self._set_moving(False)
        stats = self._runtime.stats
        stats.handing_over, stats.handover_fault, stats.handover_unsaved = 0, why, ""
        self._reactions.on_kept()

    def _set_moving(self, moving: bool) -> None:
        if self._runtime.storage.deadline is not None:
            self._runtime.storage.deadline.set_moving(moving)

    def _relay_on(self, store: Store, lease: Lease) -> None:
        """The standby has the calls: relay until the last lease is over, so that the address can move."""
        self._given = True
        relay_on_s = lease.ends_at - EARLY_S - boottime()
        self._runtime.loop.call_later(max(0.0, relay_on_s), self._reactions.on_over)
        self._runtime.stats.handing_over = 0
        call_each((store.close, self._reactions.on_given))
        logger.warning(
            "the standby %s has the calls now; relaying on for %.1f s", escaped(self._to), relay_on_s
        )


def _left_s(lease: Lease) -> float:
    """For how long the shards and the kernel relay without a further renewal, less what a look takes."""
    return lease.ends_at - EARLY_S - LOOK_S - boottime()


def _choose(to: str, standbys: Mapping[str, int]) -> tuple[str, int]:
    """The standby that `to` means, and how many calls it has."""
    named = {
        name: calls
        for name, calls in standbys.items()
        if to in ("", name, escaped(name), name.partition(":")[0])
    }
    if len(named) == 1:
        return next(iter(named.items()))
    known = escaped(", ".join(sorted(standbys))) or "none"
    if not named:
        unknown = f"no standby {escaped(to)} follows the calls; those that do: {known}"
        raise Refused(unknown if to else _NO_STANDBY)
    raise Refused(f"several standbys could be meant; name one of them: {known}")
