"""A group of calls on a server, which one relay at a time has: acquired, renewed, given away.

All keys of the group expire together, because the relay refreshes them together: nh renews the lease every
second. So what a relay leaves that never comes back vanishes, and no call has an expiry of its own that
would have to be refreshed. The group is acquired under a new epoch each time, which every write names. So a
write that was on its way when the relay gave up waiting for it is refused, and so is one of a relay whose
group another relay has acquired.
"""

import contextlib
import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from valkey import Valkey
from valkey.exceptions import ResponseError

from nh.errors import StoreUnavailable
from nh.ipc.shared_deadline import boottime
from nh.printable import escaped
from nh.supervisor.store.engine import StoreDamaged, StoreHeld, StoreRefused
from nh.supervisor.store.lease import Lease
from nh.supervisor.store.sealed import KEY_DIFFERS, KEY_MISSING
from nh.supervisor.store.valkey import scripts
from nh.supervisor.store.valkey.connection import connect
from nh.supervisor.store.valkey.failures import REPLY_S, failures
from nh.supervisor.store.valkey.url import ValkeyTarget
from nh.supervisor.store.valkey.warm_copy import Position

logger = logging.getLogger(__name__)

EXPIRE_S: Final = 86_400
"""Calls of a relay that does not come back are removed after so long; all of them are over by then."""

STREAM_ENTRIES: Final = 10_000
"""About how many writes the stream holds: a quarter of an hour of a busy relay."""

_UNDECODED: Final = "surrogateescape"


class Group:
    """A group of calls. Its methods raise StoreUnavailable within failures().

    Args:
        target: the server and the prefix of the group.
        holder: identifies this relay for people and after its restart, which need not wait for the end of its
            own lease.
        force: whether the first acquire() takes the group from a relay that lives.
        key_check: of the key that encrypts the calls; see nh.supervisor.store.sealed.

    Attributes:
        name: the URL without user and password.
        calls_key: where the calls are on the server.
        lease: for how long the group is this relay's.
        continues, epoch, unknown_epoch: see StoreEngine.
        lacks_writes: whether the server lacks writes that this relay knows, which the next number tells.
        renewed_at: when the lease was renewed, in monotonic seconds; 0: not since the last failure.
    """

    def __init__(self, target: ValkeyTarget, holder: str, *, force: bool, key_check: str) -> None:
        self.name = target.name
        self.calls_key = target.group_key("calls")
        self.lease = Lease(target.lease_s)
        self.continues = True
        self.epoch = self.unknown_epoch = 0
        self.lacks_writes = False
        self.renewed_at = 0.0
        self._target = target
        self._holder = holder
        self._force = force
        self._key_check = key_check
        self._token = secrets.token_hex(8)
        self._keys = [target.group_key(name) for name in scripts.KEYS]
        self._quarantine_key = target.group_key("quarantine")
        self._lease_ms = int(target.lease_s * 1000)
        self._server: Valkey | None = None
        self._number = 0  # of the last write of the epoch
        self._fenced_by = ""

    def connect(self) -> None:
        """Have a client of the server, which connects with its first command.

        Raises:
            StoreHeld: another relay has had the group since this relay did.
        """
        if self._fenced_by:
            raise self._fenced(self._fenced_by)
        self._server = connect(self._target)

    @property
    def server(self) -> Valkey:
        """The client. Raises StoreUnavailable if there is none."""
        if self._server is None:
            raise StoreUnavailable(f"{self.name}: is not open")
        return self._server

    def acquire(self, *, waits: bool, followed: bool = False) -> Position:
        """Acquire the group; returns the last write of the relay that had it before.

        Args:
            waits: whether the first time waits for the end of another relay's lease.
            followed: whether this relay has followed another one's calls as its standby; see Follower.

        Raises:
            StoreHeld: another relay has the group, or has had it since this relay did.
        """
        self.server.ping()  # a server that wants a password takes no long script, and says so badly
        if self.lease.given_to:
            self.give("")  # otherwise ACQUIRE takes the standby for one that has the group
        is_first = not self.epoch
        sent_at, verdict, said = self._try_to_acquire(followed)
        if verdict == b"held" and is_first and waits:
            # a relay that was killed leaves a lease; one that lives renews it meanwhile
            wait_s = min(said[1] / 1000, self._target.lease_s) + 0.05
            logger.info(
                "store %s: the relay %s has the calls; waiting %.1f s for its lease",
                *(self.name, _text(said[0]), wait_s),
            )
            time.sleep(wait_s)
            sent_at, verdict, said = self._try_to_acquire(followed)
        if verdict != b"acquired":
            raise self._refusal(verdict, said)
        self.epoch, self._number = int(said[0]), 0
        self.renewed_at = time.monotonic()
        self.lease.renewed(sent_at=sent_at)
        if is_first:  # later it is its own, also where reading has failed since
            # a server that has lost its data knows no holder, and has this one after a try that failed
            self.continues = said[1] in (b"", self._holder.encode()) and not followed
            # the epoch of the stream outlives the key with the name
            self.unknown_epoch = int(said[2]) if said[1] == b"" else 0
        return Position(int(said[2]), int(said[3]))

    def renew(self) -> int:
        """Renew the lease; returns the number of calls on the server."""
        count, number, wanted_by, *standbys = self._run(scripts.RENEW)
        self.renewed_at = time.monotonic()
        names = map(_name, standbys[::2])
        self.lease.told(_name(wanted_by), dict(zip(names, map(int, standbys[1::2]), strict=True)))
        self._check_number(number)
        return int(count)

    def write(self, records: Mapping[bytes, bytes], removed: Sequence[bytes]) -> None:
        """Write records by call-id, and remove those of other calls; renews the lease, too."""
        arguments: list[bytes | int] = [STREAM_ENTRIES, len(records)]
        for pair in records.items():
            arguments += pair
        number = self._run(scripts.WRITE, *arguments, *removed)
        self._number += 1
        self._check_number(number)
        self.renewed_at = time.monotonic()

    def give(self, standby: str) -> None:
        """Let a standby have the group; "": take it back."""
        holder, token = (standby, "") if standby else (self._holder, self._token)
        self.lease.given_to = standby or self.lease.given_to  # also if the server's answer is lost
        self._run(scripts.GIVE, holder.encode(errors=_UNDECODED), token.encode(), renews=False)
        self.lease.given_to = standby

    def quarantine(self, records: Mapping[bytes, bytes]) -> str:
        """Rename the calls, in place of those that were renamed before; they expire. Returns their key.

        Args:
            records: which the group has from then on, by call-id.
        """
        server = connect(self._target)
        try:
            with self.failures():
                keys = (*self._keys[:3], self._quarantine_key)
                arguments: list[bytes | str | int] = [self._token, self._holder, EXPIRE_S, scripts.FORMAT]
                for pair in records.items():
                    arguments += pair
                server.eval(scripts.QUARANTINE, len(keys), *keys, *arguments)
        finally:
            server.close()
        return self._quarantine_key

    def close(self) -> None:
        """Give the group back or away, or keep its lease, as the lease says, and disconnect."""
        server = self._server
        if server is None:
            return
        with contextlib.suppress(StoreUnavailable), failures(self.name):
            if self.renewed_at and self.lease.give_to:
                self.give(self.lease.give_to)
            elif self.renewed_at and self.lease.is_kept:
                self._run(scripts.RENEW)  # the next process has all of it
            elif self.renewed_at:
                server.eval(scripts.RELEASE, 1, self._keys[0], self.epoch)
        self.renewed_at = 0.0
        self._server = None
        server.close()

    @contextlib.contextmanager
    def failures(self) -> Iterator[None]:
        """Turn errors of the client and of scripts within the block into those of a StoreEngine."""
        try:
            with failures(self.name):
                yield
        except StoreUnavailable as exc:
            self.renewed_at = 0.0  # close() must not wait for a server that does not answer
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

    def _run(self, script: str, *arguments: bytes | int, renews: bool = True) -> Any:
        """Run a script that begins with the rule of ownership, and renews the lease or does not."""
        server = self.server
        owned = (self.epoch, self._lease_ms, EXPIRE_S)
        sent_at = boottime()
        result = server.register_script(script)(keys=self._keys, args=[*owned, *arguments])
        if renews:
            self.lease.renewed(sent_at=sent_at)
        return result

    def _try_to_acquire(self, followed: bool) -> tuple[float, bytes, list[Any]]:
        """Run ACQUIRE; returns when it was sent (boot time), and what it returned."""
        force = "force" if self._force and not self.epoch else ""
        arguments = (scripts.FORMAT, self._token, self._holder, self.epoch, self._lease_ms, force)
        server = self.server
        seconds, microseconds = server.time()
        waits_until_ms = seconds * 1000 + microseconds // 1000 + int(REPLY_S * 1000)
        sent_at = boottime()
        verdict, *said = server.eval(
            scripts.ACQUIRE,
            4,
            *(*self._keys, *arguments, self._key_check, waits_until_ms, "followed" if followed else ""),
        )
        return sent_at, verdict, said

    def _refusal(self, verdict: bytes, said: list[Any]) -> StoreUnavailable | StoreDamaged:
        """The error for what ACQUIRE returned."""
        match verdict:
            case b"held":
                return StoreHeld(
                    f"{self.name}: the calls of this prefix are those of the relay {_text(said[0])}, which"
                    " lives; choose another prefix, or end that relay"
                )
            case b"fenced":
                return self._fenced(_text(said[0]))
            case b"format":
                return StoreDamaged(
                    f"was written by another version of nh (format {_text(said[0])}, not {scripts.FORMAT})"
                )
            case b"late":
                return StoreUnavailable(f"{self.name}: the server was too slow, or its clock was set")
            case b"key":
                return StoreRefused(f"{self.name}: {KEY_DIFFERS if self._key_check else KEY_MISSING}")
        why = "is another program's; choose another prefix"
        if verdict == b"ownerless":
            why = (
                "is lost, which says whose the calls are; their relay writes it again if it lives; if it has"
                " ended, start nh with --standby, and take them: nh promote --force"
            )
        return StoreRefused(f"{self.name}: key {_text(said[0])} {why}")

    def _fenced(self, holder: str) -> StoreHeld:
        self._fenced_by = holder
        self.lease.lost(holder)
        return StoreHeld(
            f"{self.name}: the relay {holder} has taken the calls of this prefix over; this relay stores no"
            " more until it is started anew"
        )

    def _check_number(self, number: int) -> None:
        """A replica that took over may lack the last writes, also where it has as many calls."""
        if number != self._number or self.lacks_writes:
            self.lacks_writes = False
            raise StoreUnavailable(f"{self.name}: the server has lost the last writes")


def _name(said: bytes) -> str:
    """The name of a relay as it names itself; _text() is for people."""
    return said.decode(errors=_UNDECODED)


def _text(said: bytes) -> str:
    return escaped(said.decode(errors="backslashreplace"))
