"""The Valkey engine: a group of calls on a server, which one relay at a time may write.

All keys of the group expire together, because the relay refreshes them together: nh renews the lease every
second. So what a relay leaves that never comes back vanishes, and no call has an expiry of its own that
would have to be refreshed. Each open() acquires the group under a new epoch, which every write names. So a
write that was on its way when the relay gave up waiting for it is refused, and so is one of a relay whose
group another relay has acquired. The server's notifications are not used.
"""

import contextlib
import logging
import secrets
import time
from collections.abc import Iterator
from typing import Any, Final

from valkey import Valkey
from valkey.exceptions import ResponseError

from nh.errors import StoreUnavailable
from nh.ipc.shared_deadline import boottime
from nh.printable import counted, escaped
from nh.supervisor.store.engine import Changes, StoreDamaged, StoredCall, StoreHeld, StoreRefused
from nh.supervisor.store.lease import Lease
from nh.supervisor.store.sealed import KEY_DIFFERS, KEY_MISSING
from nh.supervisor.store.valkey import scripts
from nh.supervisor.store.valkey.connection import connect
from nh.supervisor.store.valkey.failures import REPLY_S, failures
from nh.supervisor.store.valkey.follower import Follower
from nh.supervisor.store.valkey.record import decode, encode, head
from nh.supervisor.store.valkey.url import ValkeyTarget
from nh.supervisor.store.valkey.warm_copy import Position

logger = logging.getLogger(__name__)

EXPIRE_S: Final = 86_400
"""Calls of a relay that does not come back are removed after so long; all of them are over by then."""

STREAM_ENTRIES: Final = 10_000
"""About how many writes the stream holds: a quarter of an hour of a busy relay."""

RECONCILE_S: Final = 300.0
"""How often all records are read and compared with what was written."""

_UNDECODED: Final = "surrogateescape"

_SCAN: Final = 500
"""Calls in one reply while all are read; between two replies the lease is renewed."""


class ValkeyEngine:
    """A group of calls on a server; nh.supervisor.store.engine.StoreEngine has the contract.

    Args:
        target: the server and the prefix of the group.
        holder: identifies this relay for people and after its restart, which need not wait for the end of its
            own lease.
        follower: has a warm copy of the calls, which the first open() completes; it does not wait for the
            group then, and closes the follower when it has the group.
        force: whether the first open() takes the group from a relay that lives.
        key_check: of the key that encrypts the calls; see nh.supervisor.store.sealed.
    """

    def __init__(
        self,
        target: ValkeyTarget,
        holder: str,
        *,
        follower: Follower | None = None,
        force: bool = False,
        key_check: str = "",
    ) -> None:
        self._target = target
        self._key_check = key_check
        self._follower = follower
        self._force = force
        self._holder = holder
        self._token = secrets.token_hex(8)
        self._keys = [target.group_key(name) for name in scripts.KEYS]
        self._quarantine_key = target.group_key("quarantine")
        self._lease_ms = int(target.lease_s * 1000)
        self._server: Valkey | None = None
        self._epoch = 0
        self._number = 0  # of the last write of the epoch
        self._lacks_writes = False
        self._heads: dict[bytes, bytes] = {}  # of the records that the server has: version and checksum
        self._renewed_at = 0.0
        self._checked_at = 0.0
        self._reconciled_at = 0.0
        self._fenced_by = ""
        self.lease = Lease(target.lease_s)
        self.continues = True

    @property
    def check_s(self) -> float:
        """How often the lease is renewed."""
        return self.lease.renewal_s

    @property
    def name(self) -> str:
        """The URL without user and password."""
        return self._target.name

    def open(self) -> list[StoredCall]:
        """Acquire the group and read its calls. See StoreEngine.

        Raises:
            StoreHeld: another relay has the group, or has had it since this relay did.
        """
        if self._fenced_by:
            raise self._fenced(self._fenced_by)
        try:
            self._server = connect(self._target)
            with self._failures():
                self._server.ping()  # a server that wants a password takes no long script, and says so badly
                if self.lease.given_to:
                    self._give("")  # otherwise ACQUIRE takes the standby for one that has the group
                last_write = self._acquire(self._server)
                return self._complete(last_write) or self._read()
        except BaseException:
            self.close()
            raise

    def write(self, changes: Changes) -> None:
        """See StoreEngine."""
        stored = [call for call in changes.values() if call is not None]
        removed = [call_id for call_id, call in changes.items() if call is None and call_id in self._heads]
        if not stored and not removed:
            return
        records = {call.call_id: encode(call) for call in stored}
        arguments: list[bytes | int] = [STREAM_ENTRIES, len(stored)]
        for pair in records.items():
            arguments += pair
        with self._failures():
            number = self._run(scripts.WRITE, *arguments, *removed)  # renews the lease, too
            self._number += 1
            self._check_number(number)
        for call_id, record in records.items():
            self._heads[call_id] = head(record)
        for call_id in removed:
            del self._heads[call_id]
        self._renewed_at = time.monotonic()

    def flush(self) -> None:
        """Nothing: what survives the server's end is set at the server."""

    def check(self) -> None:
        """Renew the lease and count the calls, and read them all from time to time. See StoreEngine.

        While a standby may take the calls, the lease is renewed each time: that tells that it has them.
        Before the calls change hands it is renewed, too: they are relayed on for its whole length.
        """
        _ = self._connected
        changes_hands = self.lease.give_to != self.lease.given_to
        is_due = time.monotonic() >= self._checked_at + self.check_s or self.lease.given_to
        if not is_due and not changes_hands:
            return
        with self._failures():
            count = self._renew()
            self._checked_at = time.monotonic()
            if count != len(self._heads):
                raise StoreUnavailable(
                    f"{self.name}: it has {counted(count, 'call')} instead of {len(self._heads)}"
                )
            if changes_hands:
                self._give(self.lease.give_to)
            if self._renewed_at >= self._reconciled_at + RECONCILE_S:
                self._reconciled_at = self._renewed_at
                self._reconcile()

    def _give(self, standby: str) -> None:
        """Let a standby have the group; "": take it back."""
        holder, token = (standby, "") if standby else (self._holder, self._token)
        self.lease.given_to = standby or self.lease.given_to  # also if the server's answer is lost
        self._run(scripts.GIVE, holder.encode(errors=_UNDECODED), token.encode(), renews=False)
        self.lease.given_to = standby

    def _renew(self) -> int:
        """Renew the lease; returns the number of calls on the server."""
        count, number, wanted_by, *standbys = self._run(scripts.RENEW)
        self._renewed_at = time.monotonic()
        names = map(_name, standbys[::2])
        self.lease.told(_name(wanted_by), dict(zip(names, map(int, standbys[1::2]), strict=True)))
        self._check_number(number)
        return int(count)

    def _check_number(self, number: int) -> None:
        """A replica that took over may lack the last writes, also where it has as many calls."""
        if number != self._number or self._lacks_writes:
            self._lacks_writes = False
            raise StoreUnavailable(f"{self.name}: the server has lost the last writes")

    def close(self) -> None:
        """See StoreEngine. The group may be acquired by another relay at once."""
        server = self._server
        if server is None:
            return
        with contextlib.suppress(StoreUnavailable), failures(self.name):
            if self._renewed_at and self.lease.give_to:
                self._give(self.lease.give_to)
            elif self._renewed_at and self.lease.is_kept:
                self._run(scripts.RENEW)  # the next process has all of it
            elif self._renewed_at:
                server.eval(scripts.RELEASE, 1, self._keys[0], self._epoch)
        self._renewed_at = 0.0
        self._server = None
        server.close()

    def quarantine(self) -> str:
        """Rename the calls, in place of those that were renamed before; they expire. See StoreEngine."""
        server = connect(self._target)
        try:
            with self._failures():
                arguments = (self._token, self._holder, EXPIRE_S, scripts.FORMAT)
                server.eval(scripts.QUARANTINE, 4, *self._keys[:3], self._quarantine_key, *arguments)
        finally:
            server.close()
        return self._quarantine_key

    @property
    def _connected(self) -> Valkey:
        if self._server is None:
            raise StoreUnavailable(f"{self.name}: is not open")
        return self._server

    def _run(self, script: str, *arguments: bytes | int, renews: bool = True) -> Any:
        """Run a script that begins with the rule of ownership, and renews the lease or does not."""
        server = self._connected
        owned = (self._epoch, self._lease_ms, EXPIRE_S)
        sent_at = boottime()
        result = server.register_script(script)(keys=self._keys, args=[*owned, *arguments])
        if renews:
            self.lease.renewed(sent_at=sent_at)
        return result

    def _acquire(self, server: Valkey) -> Position:
        """Acquire the group; returns the last write of the relay that had it before."""
        is_first = not self._epoch
        sent_at, verdict, said = self._try_to_acquire(server)
        if verdict == b"held" and is_first and self._follower is None:
            # a relay that was killed leaves a lease; one that lives renews it meanwhile
            wait_s = min(said[1] / 1000, self._target.lease_s) + 0.05
            logger.info(
                "store %s: the relay %s has the calls; waiting %.1f s for its lease",
                *(self.name, _text(said[0]), wait_s),
            )
            time.sleep(wait_s)
            sent_at, verdict, said = self._try_to_acquire(server)
        match verdict:
            case b"acquired":
                self._epoch, self._number = int(said[0]), 0
                self._renewed_at = time.monotonic()
                self.lease.renewed(sent_at=sent_at)
                self.continues = not is_first or said[1] in (b"", self._holder.encode())
                return Position(int(said[2]), int(said[3]))
            case b"held":
                raise StoreHeld(
                    f"{self.name}: the calls of this prefix are those of the relay {_text(said[0])}, which"
                    " lives; choose another prefix, or end that relay"
                )
            case b"fenced":
                raise self._fenced(_text(said[0]))
            case b"format":
                raise StoreDamaged(
                    f"was written by another version of nh (format {_text(said[0])}, not {scripts.FORMAT})"
                )
            case b"late":
                raise StoreUnavailable(f"{self.name}: the server was too slow, or its clock was set")
            case b"key":
                raise StoreRefused(f"{self.name}: {KEY_DIFFERS if self._key_check else KEY_MISSING}")
            case _:
                raise StoreRefused(
                    f"{self.name}: key {_text(said[0])} is another program's; choose another prefix"
                )

    def _try_to_acquire(self, server: Valkey) -> tuple[float, bytes, list[Any]]:
        """Run ACQUIRE; returns when it was sent (boot time), and what it returned."""
        force = "force" if self._force and not self._epoch else ""
        arguments = (scripts.FORMAT, self._token, self._holder, self._epoch, self._lease_ms, force)
        seconds, microseconds = server.time()
        waits_until_ms = seconds * 1000 + microseconds // 1000 + int(REPLY_S * 1000)
        sent_at = boottime()
        verdict, *said = server.eval(
            scripts.ACQUIRE, 4, *self._keys, *arguments, self._key_check, waits_until_ms
        )
        return sent_at, verdict, said

    def _fenced(self, holder: str) -> StoreHeld:
        self._fenced_by = holder
        self.lease.lost(holder)
        return StoreHeld(
            f"{self.name}: the relay {holder} has taken the calls of this prefix over; this relay stores no"
            " more until it is started anew"
        )

    def _complete(self, last_write: Position) -> list[StoredCall]:
        """The warm copy with all changes up to the last write; none: it cannot be completed."""
        follower, self._follower = self._follower, None
        if follower is None:
            return []
        try:
            if not follower.catch_up(last_write):
                logger.info("store %s: the warm copy is incomplete; all calls are read", self.name)
                return []
        finally:
            follower.close()
        self._lacks_writes = follower.copy.is_ahead_of(last_write)
        self._heads = dict(follower.copy.heads)
        self._reconciled_at = time.monotonic()
        return list(follower.copy.calls.values())

    def _read(self) -> list[StoredCall]:
        found: dict[bytes, StoredCall] = {}
        self._heads = {}
        damaged = 0
        for call_id, record in self._records():
            call = decode(call_id, record)
            if call is None:
                damaged += 1
            else:
                found[call_id] = call
                self._heads[call_id] = head(record)
        if damaged:
            raise StoreDamaged(f"is damaged in {counted(damaged, 'call')}", tuple(found.values()))
        self._reconciled_at = time.monotonic()
        return list(found.values())

    def _reconcile(self) -> None:
        intact = {call_id: head(record) for call_id, record in self._records() if decode(call_id, record)}
        if differ := sum(intact.get(call_id) != each for call_id, each in self._heads.items()):
            raise StoreUnavailable(f"{self.name}: {differ} calls are not what was written")

    def _records(self) -> Iterator[tuple[bytes, bytes]]:
        cursor = None
        while cursor != 0:
            cursor, records = self._connected.hscan(self._keys[1], cursor or 0, count=_SCAN)
            yield from records.items()
            if time.monotonic() >= self._renewed_at + self.check_s:
                self._renew()  # many calls, or a slow server, take longer than the lease

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            with failures(self.name):
                yield
        except StoreUnavailable as exc:
            self._renewed_at = 0.0  # close() must not wait for a server that does not answer
            said = str(exc.__cause__) if isinstance(exc.__cause__, ResponseError) else ""
            if said.startswith("NHFENCED"):
                raise self._fenced(escaped(said.removeprefix("NHFENCED "))) from exc
            if said.startswith("NHEXPIRED"):
                raise StoreUnavailable(
                    f"{self.name}: the lease was over when the server renewed it; the server was too slow, or"
                    " its clock was set"
                ) from exc
            if said.startswith("NHGONE"):
                self.lease.given_to = ""
                raise StoreUnavailable(f"{self.name}: the server has lost its data") from exc
            raise


def _name(said: bytes) -> str:
    """The name of a relay as it names itself; _text() is for people."""
    return said.decode(errors=_UNDECODED)


def _text(said: bytes) -> str:
    return escaped(said.decode(errors="backslashreplace"))
