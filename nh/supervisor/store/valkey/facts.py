"""What a server says of itself, for `nh doctor`: it is asked, and nothing on it changes."""

import contextlib
import time
from typing import Any, Final

import msgspec
from valkey.exceptions import NoPermissionError

from nh.supervisor.store.valkey.connection import connect
from nh.supervisor.store.valkey.failures import failures
from nh.supervisor.store.valkey.url import ValkeyTarget

_PINGS: Final = 5
_PINGS_S: Final = 0.5
"""A server that is slow is asked once: the check has a time limit."""


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


class GroupFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A group of calls on a server.

    Attributes:
        name: the prefix of its keys.
        calls: how many there are.
        key: the check value of the key that encrypts them; "": none does, or it is not known.
    """

    name: str
    calls: int
    key: str


def ask(target: ValkeyTarget) -> ServerFacts | None:
    """Ask the server; None: it answers this user, who may not ask it for facts (INFO).

    Raises:
        StoreUnavailable, StoreRefused: it does not answer, or not this relay.
    """
    with failures(target.name):
        server = connect(target)
        try:
            replies: list[float] = []
            while len(replies) < _PINGS and sum(replies) < _PINGS_S:
                begun = time.monotonic()
                server.ping()
                replies.append(time.monotonic() - begun)
            with contextlib.suppress(NoPermissionError):
                return _facts(server.info("all"), min(replies))
            return None
        finally:
            server.close()


def ask_group(target: ValkeyTarget) -> GroupFacts:
    """Ask for the group that a URL names.

    Raises:
        StoreUnavailable, StoreRefused: as ask().
    """
    with failures(target.name):
        server = connect(target)
        try:
            key = server.hget(target.group_key("group"), "key") or b""
            calls = server.hlen(target.group_key("calls"))
            return GroupFacts(name=target.prefix, calls=int(calls), key=key.decode(errors="replace"))
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
