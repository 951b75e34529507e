"""A group of calls on a Valkey server, as tests see it: from outside."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nh.supervisor.store.valkey.record import decode
from nh.supervisor.store.valkey.url import ValkeyTarget, parse_url
from tools.harness.valkey_server import ValkeyServer

if TYPE_CHECKING:
    from nh.supervisor.store.valkey.engine import ValkeyEngine
    from nh.supervisor.store.valkey.follower import Follower


class Group:
    """The calls of one prefix.

    Args:
        server: where they are.
        prefix: theirs.
    """

    def __init__(self, server: ValkeyServer, prefix: str) -> None:
        self.server = server
        self.prefix = prefix
        self.location = f"{server.host}:{server.port}/0?prefix={prefix}"

    def engine(
        self,
        holder: str = "relay-1",
        *,
        options: str = "",
        account: str = "",
        follower: "Follower | None" = None,
        force: bool = False,
        key_check: str = "",
    ) -> "ValkeyEngine":
        """A new engine of it, as another process of the relay `holder` has one."""
        from nh.supervisor.store.valkey.engine import ValkeyEngine  # noqa: PLC0415  needs the extra valkey

        target = self._target(account, options)
        return ValkeyEngine(target, holder, follower=follower, force=force, key_check=key_check)

    def follower(
        self,
        holder: str = "relay-2",
        *,
        options: str = "",
        account: str = "",
        key_check: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> "Follower":
        """A new follower of it, as a standby has one."""
        from nh.supervisor.store.valkey.follower import Follower  # noqa: PLC0415  as above

        return Follower(self._target(account, options), holder, key_check=key_check, clock=clock)

    def _target(self, account: str, options: str) -> ValkeyTarget:
        return parse_url("valkey", account + self.location + options)

    @property
    def client(self) -> Any:
        """A client of the server."""
        return self.server.client()

    def key(self, name: str) -> str:
        """One of its keys: group, calls, changes or quarantine."""
        return f"{{{self.prefix}}}:{name}"

    def contents(self) -> Mapping[bytes, bytes]:
        """Snapshots by call-id, as the server has them; all records are intact."""
        calls = {}
        for call_id, record in self.client.hgetall(self.key("calls")).items():
            call = decode(call_id, record)
            assert call is not None
            calls[call_id] = call.snapshot
        return calls

    def damage(self) -> None:
        """Change bytes of a record."""
        client = self.client
        (call_id, *_) = client.hkeys(self.key("calls"))
        record = bytearray(client.hget(self.key("calls"), call_id))
        record[-1] ^= 1
        client.hset(self.key("calls"), call_id, bytes(record))

    def remove(self) -> None:
        """Remove all its keys."""
        self.client.delete(*map(self.key, ("group", "calls", "changes", "standbys")))
