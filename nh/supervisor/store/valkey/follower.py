"""Follows a group of calls that another relay has, and keeps a warm copy of them.

One script reads the stream and the records that it names in one step, and says who has the group. So a
standby asks once in a tenth of a second, and learns what changed, what was missed and that the group is free
by the same reply. A blocking XREAD would tell neither of the last two.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from valkey import Valkey

from nh.errors import StoreUnavailable
from nh.printable import counted, escaped
from nh.supervisor.store.sealed import KEY_DIFFERS, KEY_MISSING
from nh.supervisor.store.valkey import scripts
from nh.supervisor.store.valkey.cluster import unless_silent
from nh.supervisor.store.valkey.connection import connect
from nh.supervisor.store.valkey.failures import failures
from nh.supervisor.store.valkey.standing import Standing, read_standing
from nh.supervisor.store.valkey.url import ValkeyTarget
from nh.supervisor.store.valkey.warm_copy import Changes, Position, WarmCopy

logger = logging.getLogger(__name__)

ENTRIES: Final = 200
"""Most entries of the stream in one reply; those of about a thousand calls at most."""

ANNOUNCE_S: Final = 1.0
"""How often a standby announces itself."""

ANNOUNCED_MS: Final = 3000
"""For how long it is known after that."""

WANTED_MS: Final = 8000
"""For how long the relay that has the group is asked for it."""

RECONCILE_S: Final = 300.0
"""How often all records are read again, whatever the stream says."""

RETRY_S: Final = 5.0
"""Least time between two readings of all records."""

RETURN_S: Final = 1.0
"""How much longer than its lease a relay may take to return to a server that has lost its data."""

_SCAN: Final = 1000


class Follower:
    """Follows one group. One thread at a time uses it.

    Args:
        target: the server and the prefix of the group.
        holder: the name of this relay.
        key_check: of the key that opens the calls here; see nh.supervisor.store.sealed.
        clock: returns monotonic seconds.

    Attributes:
        target: see above.
        keys: of the group, as scripts get them.
        copy: the group's calls, as far as they are known.
        caught_up_at: when the copy had all that the server had, by the clock; None: never yet.
        followed: whether it has had all calls of another relay, which the server knew by name.
    """

    def __init__(
        self,
        target: ValkeyTarget,
        holder: str,
        *,
        key_check: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.copy = WarmCopy()
        self.caught_up_at: float | None = None
        self.followed = False
        self.target = target
        self.keys = [target.group_key(name) for name in scripts.KEYS]
        self._holder = holder
        self._key_check = key_check
        self._opens = True
        self._clock = clock
        self._server: Valkey | None = None
        self._announced_at = -ANNOUNCE_S
        self._asked_at = 0.0
        self._read_at: float | None = None
        self._unknown_since: float | None = None  # that the server does not know whose the calls are

    @property
    def group(self) -> str:
        """The name of the group: the prefix of its keys."""
        return self.target.prefix

    @property
    def lease_s(self) -> float:
        """How long the group is a relay's after its last sign of life."""
        return self.target.lease_s

    @property
    def calls(self) -> int:
        """How many calls the copy has."""
        return len(self.copy.calls)

    def is_free(self, standing: Standing) -> bool:
        """Whether this relay may acquire the group: no other relay has it, and the key here opens its calls.

        A server that has lost its data knows of no lease, and one that this relay asks for the first time may
        have lost it. The relay that has the calls returns to it within its lease and RETURN_S, or has ended.
        """
        if not standing.opens and self.calls:
            return False
        if self._unknown_since is not None:
            return self._clock() >= self._unknown_since + self.target.lease_s + RETURN_S
        return not standing.lease_s or standing.holder == escaped(self._holder)

    def find_obstacle(self, standing: Standing) -> str:
        """Why this relay could not take the calls over, the predicate and a remedy; "": nothing is known."""
        if not standing.readable:
            return "its calls are those of another version of nh; install the same version on both hosts"
        if not standing.opens:
            return KEY_DIFFERS if self._key_check else KEY_MISSING
        return ""

    def poll(self) -> Standing:
        """Read what has changed since the last poll.

        Raises:
            StoreUnavailable, StoreRefused: the server does not answer, or not this relay.
        """
        try:
            server = self._server = self._server or connect(self.target, asks_silent=False)
            alone = unless_silent(self.target, server) if self.target.cluster else contextlib.nullcontext()
            with alone, failures(self.target.name):
                return self.take(server, self._ask(server, self.question()))
        except BaseException:
            self.close()
            raise

    @property
    def announcement(self) -> tuple[str, str]:
        """The hash, and the field in it, by which the relay that has the group knows this standby."""
        return self.keys[3], self._holder

    def question(self, *, announces: bool = True) -> Sequence[str | int]:
        """The arguments of FOLLOW now.

        Args:
            announces: whether this standby announces itself, if it is time for that.
        """
        now = self._asked_at = self._clock()
        is_due = self._read_at is not None and self._opens and now >= self._announced_at + ANNOUNCE_S
        if announces and is_due:
            self._announced_at = now
        calls = str(len(self.copy.calls)) if announces and is_due else ""
        return (str(self.copy.position), ENTRIES, self._holder, calls, ANNOUNCED_MS)

    def take(self, server: Valkey, reply: Any) -> Standing:
        """Take a reply to question(), and ask the server for what is missing.

        Args:
            server: has sent it.
            reply: of FOLLOW.
        """
        self._server = server
        return self._take(server, *self._read(reply))

    def catch_up(self, at: Position) -> bool:
        """Read the last changes of a relay whose group this one has acquired.

        Args:
            at: that relay's last write.

        Returns:
            Whether the copy has them all. Otherwise the records have to be read. A copy of later writes than
            `at` has all that is left: the server has lost its data, or its last writes.
        """
        if at.epoch < self.copy.position.epoch and self.copy.calls:
            return True
        if self.copy.is_ahead_of(at):
            return True
        server = self._server
        if server is None:
            return False
        while self.copy.is_whole and self.copy.position < at:
            _, changes = self._ask_on(server)
            if not changes.entries:
                return False
            self.copy.apply(changes._replace(at=at))
        return self.copy.equals(at)

    def want(self) -> None:
        """Ask the relay that has the group to give it to this one.

        Raises:
            StoreUnavailable: the server does not answer.
        """
        server = connect(self.target)
        try:
            with failures(self.target.name):
                server.eval(scripts.WANT, 1, self.keys[0], self._holder, WANTED_MS)
        finally:
            server.close()

    def leave(self) -> None:
        """This standby ends: no relay gives it calls any more.

        If the server does not hear that, it forgets the standby after ANNOUNCED_MS.
        """
        with contextlib.suppress(StoreUnavailable):
            if self._server is not None:
                with failures(self.target.name):
                    self._server.hdel(*self.announcement)
        self.close()

    def close(self) -> None:
        """Disconnect. The copy stays; the next poll() connects again."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _take(self, server: Valkey, standing: Standing, changes: Changes) -> Standing:
        now = self._asked_at
        if not standing.readable:
            return standing
        lacks_data = self._lacks_data(standing, changes)
        if standing.holder and not lacks_data:
            self._unknown_since = None
        elif self._unknown_since is None:
            self._unknown_since = now
            self._tell_unknown(lacks_data=lacks_data)
        if lacks_data:
            return standing
        if self.copy.is_ahead_of(changes.at):
            # a relay that lives notices that, and begins a new epoch; the calls of a dead one are here
            self.caught_up_at = now
            return standing
        while self.copy.apply(changes) and self.copy.position != changes.at:
            standing, changes = self._ask_on(server)
        if not self.copy.is_whole or self._read_at is None or now >= self._read_at + RECONCILE_S:
            if self._read_at is not None and now < self._read_at + RETRY_S:
                return standing
            self._read_all(server, changes.at)
        self.caught_up_at = now
        self.followed |= standing.holder not in ("", escaped(self._holder))
        return standing

    def _lacks_data(self, standing: Standing, changes: Changes) -> bool:
        """Whether the server knows less than it did, and no relay has the group there: epochs only grow.

        Where it has never known whose the calls are, the copy's position is of what is left of the stream.
        """
        is_older = changes.at.epoch < self.copy.position.epoch
        return self.followed and is_older and not standing.lease_s

    def _tell_unknown(self, *, lacks_data: bool) -> None:
        patience_s = self.target.lease_s + RETURN_S
        if lacks_data:
            logger.warning(
                "standby for %s: the server has lost its data; the relay that has the calls writes them"
                " anew, and this one takes over its %d warm calls if that does not happen within %g s",
                *(self.target.prefix, len(self.copy.calls), patience_s),
            )
            return
        logger.info(
            "standby for %s: the server knows of no relay that has the calls; this one gets them if none"
            " writes to it within %g s",
            *(self.target.prefix, patience_s),
        )

    def _ask(self, server: Valkey, question: Sequence[str | int]) -> Any:
        return server.register_script(scripts.FOLLOW)(keys=self.keys, args=question)

    def _ask_on(self, server: Valkey) -> tuple[Standing, Changes]:
        return self._read(self._ask(server, self.question(announces=False)))

    def _read(self, reply: Any) -> tuple[Standing, Changes]:
        standing, changes = read_standing(reply, self._key_check, opened=self._opens)
        self._opens = standing.opens
        return standing, changes

    def _read_all(self, server: Valkey, at: Position) -> None:
        missed = self._read_at is not None and not self.copy.is_whole
        self.copy.replace(at, server.hscan_iter(self.keys[1], count=_SCAN))
        self._read_at = self._clock()
        if missed:
            logger.info(
                "standby for %s: changes were missed; %s read again",
                self.target.prefix,
                counted(len(self.copy.calls), "call"),
            )
