"""What a server says of itself, for `nh doctor`: it is asked, and nothing on it changes."""

import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import structs
from valkey import Valkey
from valkey.exceptions import NoPermissionError

from nh.supervisor.store.valkey.connection import connect
from nh.supervisor.store.valkey.failures import failures
from nh.supervisor.store.valkey.url import ValkeyTarget

_REPLIES: Final = 5
_REPLIES_S: Final = 0.5
"""So many replies are timed at most, within so long: a server that is slow is asked once."""


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


def ask(target: ValkeyTarget, names: Sequence[str]) -> tuple[ServerFacts | None, list[GroupFacts]]:
    """Ask the server for facts of itself and of groups of calls, by as few requests as possible.

    Args:
        target: the server; of a cluster, the node that has the group of its prefix.
        names: of the groups: the prefixes of their keys.

    Returns:
        The facts of the server, and those of the groups in the order of `names`. None: the server answers
        this user, who may not ask it for facts (INFO).

    Raises:
        StoreUnavailable, StoreRefused: it does not answer, or not this relay.
    """
    with failures(target.name):
        if not target.cluster:
            return _ask_node(target, names)
        facts, _ = _ask_node(target, ())
        groups = [_ask_node(structs.replace(target, prefix=name), (name,))[1] for name in names]
        return facts, [group for of_node in groups for group in of_node]


def _ask_node(target: ValkeyTarget, names: Sequence[str]) -> tuple[ServerFacts | None, list[GroupFacts]]:
    server = connect(target)
    try:
        pool = server.connection_pool
        pool.release(pool.get_connection("INFO"))  # a connection is made: that is no part of a reply
        begun = time.monotonic()
        said, *of_groups = _replies(server, [structs.replace(target, prefix=name) for name in names])
        times = [time.monotonic() - begun]
        while len(times) < _REPLIES and sum(times) < _REPLIES_S:
            begun = time.monotonic()
            server.ping()
            times.append(time.monotonic() - begun)
    finally:
        server.close()
    groups = [
        GroupFacts(name=name, calls=int(calls), key=(key or b"").decode(errors="replace"))
        for name, key, calls in zip(names, of_groups[::2], of_groups[1::2], strict=True)
    ]
    return (None if isinstance(said, NoPermissionError) else _facts(said, min(times))), groups


def _replies(server: Valkey, groups: Sequence[ValkeyTarget]) -> list[Any]:
    """What the server says of itself, and the key and the number of calls of each group, by one request.

    Raises:
        ValkeyError: an answer of the server; a NoPermissionError in place of the first is returned.
    """
    pipeline = server.pipeline(transaction=False)
    pipeline.info("all")
    for group in groups:
        pipeline.hget(group.group_key("group"), "key")
        pipeline.hlen(group.group_key("calls"))
    said, *of_groups = pipeline.execute(raise_on_error=False)
    for each in of_groups if isinstance(said, NoPermissionError) else (said, *of_groups):
        if isinstance(each, Exception):
            raise each
    return [said, *of_groups]


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
