"""Which node of a cluster has a group, and which nodes are left alone because they do not answer.

All keys of a group are in one slot, so a client of the node that has this slot is enough. When the slot
moves, or the node is lost, that client fails; the next connect() finds the slot again. A node that let a
request wait in vain is remembered for a while: others are asked first, and a standby of several relays leaves
its groups alone.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from valkey import Valkey
from valkey.crc import key_slot

from nh.address import TcpAddress
from nh.errors import StoreUnavailable
from nh.supervisor.store.engine import StoreRefused
from nh.supervisor.store.valkey.failures import failures, has_waited
from nh.supervisor.store.valkey.url import ValkeyTarget

SILENT_S: Final = 5.0
"""So long a node of a cluster that has not answered in time comes last."""


class SilentNodes:
    """The nodes of clusters that let a request wait in vain, for SILENT_S each. All threads use it."""

    def __init__(self) -> None:
        self._until: dict[TcpAddress, float] = {}

    def add(self, node: TcpAddress) -> None:
        """A node has not answered in time."""
        self._until[node] = time.monotonic() + SILENT_S

    def has(self, node: TcpAddress) -> bool:
        """Whether it has not answered lately."""
        return time.monotonic() < self._until.get(node, 0.0)

    def without(self, nodes: Sequence[TcpAddress]) -> list[TcpAddress]:
        """The nodes that are not silent, in their order."""
        return [node for node in nodes if not self.has(node)]

    def last(self, nodes: Sequence[TcpAddress]) -> list[TcpAddress]:
        """The nodes in their order, with those that have not answered lately behind the others."""
        return sorted(nodes, key=self.has)


silent_nodes: Final = SilentNodes()


def find_node(target: ValkeyTarget, options: Mapping[str, Any], *, asks_silent: bool) -> TcpAddress:
    """The node of a cluster that has the keys of the group now, by the first named node that answers.

    The client's own view of a cluster asks more: for a node that is away it waits once more.

    Args:
        target: the cluster.
        options: of the client.
        asks_silent: whether nodes that have not answered lately are asked, too, after the others.

    Raises:
        StoreRefused: a node refuses the question.
        StoreUnavailable: no node answers, or none has the slot of the group now.
    """
    nodes = silent_nodes.last(target.hosts) if asks_silent else silent_nodes.without(target.hosts)
    why = (
        "no node of the cluster has the calls now"
        if nodes
        else f"no node answers; asked again in {SILENT_S:g} s"
    )
    failure = StoreUnavailable(f"{target.name}: {why}")
    for host in nodes:
        try:
            with failures(target.name), Valkey(host=host.host, port=host.port, **options) as client:
                found = _find_slot(client.execute_command("CLUSTER SLOTS"), target)
        except StoreRefused:
            raise
        except StoreUnavailable as exc:
            if has_waited(exc):
                silent_nodes.add(host)
            failure = exc
            continue
        if found is not None:
            return TcpAddress(found.host or host.host, found.port)
    raise failure


def _find_slot(sections: Any, target: ValkeyTarget) -> TcpAddress | None:
    """Where the slot of the group is, as CLUSTER SLOTS says; without a host: at the node that was asked."""
    slot = key_slot(f"{{{target.prefix}}}".encode())
    for first, last, (address, port, *_), *_ in sections:
        if first <= slot <= last:
            return TcpAddress("" if address in (None, b"?") else address.decode(), int(port))
    return None


@contextlib.contextmanager
def unless_silent(target: ValkeyTarget, server: Valkey) -> Iterator[None]:
    """Ask a node of a cluster within the block, unless it has let a request wait in vain lately.

    Raises:
        StoreUnavailable: it has.
    """
    at = server.connection_pool.connection_kwargs
    node = TcpAddress(at["host"], at["port"])
    if silent_nodes.has(node):
        raise StoreUnavailable(
            f"{target.name}: the node {node} has not answered in time; it is asked again in {SILENT_S:g} s"
        )
    try:
        yield
    except StoreUnavailable as exc:
        if has_waited(exc):
            silent_nodes.add(node)
        raise
