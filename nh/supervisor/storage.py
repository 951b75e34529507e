"""The store of a run of nh, and until when the calls in it are this relay's."""

import contextlib
from collections.abc import Callable

from nh.config import Settings
from nh.config.table import StateAway
from nh.ipc.inherited import NOTHING_INHERITED, Inherited
from nh.ipc.shared_deadline import boottime
from nh.stats import SupervisorStats
from nh.supervisor.host.locked_dir import Lock
from nh.supervisor.store.deadline import NEVER_NS, Deadline, lift_deadline
from nh.supervisor.store.open import StateKey, WantedGroup, open_store, prefix_of
from nh.supervisor.store.store import Store


class Storage:
    """The store from open() on: at the start of nh, or when a standby gets calls.

    Args:
        settings: `state` names the store; `state_away` says what happens while its server is away.
        key: encrypts the calls.
        stack: closes the store.
        stats: where the group of calls is published.

    Attributes:
        store: where calls are stored; None: nowhere.
        lock: on the directory of the store; None: it needs none.
        deadline: of shards and kernel; None: no other relay can get the calls.
        group: the prefix of the calls; "": that of the settings.
        promoted: whether this relay was a standby.
    """

    def __init__(
        self, settings: Settings, key: StateKey, stack: contextlib.ExitStack, stats: SupervisorStats
    ) -> None:
        self.store: Store | None = None
        self.lock: Lock | None = None
        self.deadline: Deadline | None = None
        self.group = ""
        self.promoted = False
        self._settings = settings
        self._key = key
        self._stack = stack
        self._stats = stats

    def open(self, group: WantedGroup, inherited: Inherited = NOTHING_INHERITED) -> None:
        """Open the store.

        Raises:
            NotNow: shards cannot be told until when the calls are this relay's. The store is closed again.
            NhError, OSError: as nh.supervisor.store.open.open_store().
        """
        with contextlib.ExitStack() as undo:
            opened = undo.enter_context(open_store(self._settings, inherited, group, key=self._key))
            store = opened.store
            if store is None or store.lease is None:
                lift_deadline(self._settings.runtime_path)
            else:
                path = self._settings.runtime_path
                self.deadline = Deadline(path, store.lease, may_run_out=self._may_run_out)
                undo.callback(self.deadline.close)
            self._stack.enter_context(undo.pop_all())
        self.store, self.lock = opened
        self.group = group.name
        self._stats.group = prefix_of(self._settings, group)
        self.promoted = group.follower is not None

    def tell_kernel(self, stop_at: Callable[[int], None]) -> None:
        """Have the program in the kernel forward until the deadline, or without one.

        Args:
            stop_at: gets nanoseconds of CLOCK_BOOTTIME; it writes memory that its owner closes after this.
        """
        if self.deadline is None:
            stop_at(NEVER_NS)
            return
        self.deadline.tell_kernel(stop_at)
        self._stack.callback(self.deadline.close)  # before the program's, whose memory it writes

    def renew_deadline(self) -> None:
        """Make the file of the deadline anew if another program has removed it."""
        if self.deadline is not None:
            self.deadline.renew()

    def announce_end(self) -> None:
        """nh ends; see Store.announce_end()."""
        if self.store is not None:
            self.store.announce_end()

    def why_lost(self) -> str:
        """Why this relay must not serve the stored calls any more; "" if it may."""
        return (
            self.store.why_lost(boottime(), may_run_out=self._may_run_out) if self.store is not None else ""
        )

    @property
    def refuses_calls(self) -> bool:
        """Whether new calls are to be refused, because the store is away."""
        refuses = self._settings.state_away is not StateAway.TAKE
        return refuses and self.store is not None and not self.store.works

    @property
    def _may_run_out(self) -> bool:
        """Whether calls end with their lease."""
        return self._settings.state_away is StateAway.END
