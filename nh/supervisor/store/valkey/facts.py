"""What a server says of itself, for `nh doctor`: it is asked, and nothing on it changes."""

import time
from typing import Any, Final

import msgspec

from nh.supervisor.store.valkey.connection import connect, failures
from nh.supervisor.store.valkey.url import ValkeyTarget

_PINGS: Final = 5


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A server that answers.

    Attributes:
        version: its version of Redis's protocol and commands, such as "7.2.4".
        is_replica: whether it is read-only.
        evicts: the rule by which it evicts keys when its memory is full; "": it does not.
        persists: whether its data survive its end: on its disk, or on a replica.
        reply_s: the least time that one of a few replies took.
    """

    version: str
    is_replica: bool
    evicts: str
    persists: bool
    reply_s: float


def ask(target: ValkeyTarget) -> ServerFacts:
    """Ask the server.

    Raises:
        StoreUnavailable, StoreRefused: it does not answer, or not this relay.
    """
    with failures(target.name):
        server = connect(target)
        try:
            replies = []
            for _ in range(_PINGS):
                begun = time.monotonic()
                server.ping()
                replies.append(time.monotonic() - begun)
            return _facts(server.info("all"), min(replies))
        finally:
            server.close()


def _facts(said: dict[str, Any], reply_s: float) -> ServerFacts:
    policy = str(said.get("maxmemory_policy", ""))
    evicts = policy if said.get("maxmemory") and policy != "noeviction" else ""
    return ServerFacts(
        version=str(said.get("redis_version", "")),
        is_replica=said.get("role") == "slave",
        evicts=evicts,
        persists=bool(said.get("aof_enabled") or said.get("connected_slaves")),
        reply_s=reply_s,
    )
