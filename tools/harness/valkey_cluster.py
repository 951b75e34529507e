"""A cluster of Valkey's protocol on this host: three primaries, and a replica of one if wanted."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from tools.harness.own_directory import own_directory
from tools.harness.ports import free_port
from tools.harness.valkey_server import ValkeyServer
from tools.harness.waiting import eventually

SLOTS: Final = ((0, 5460), (5461, 10922), (10923, 16383))
"""Of each primary, first and last."""

NODE_TIMEOUT_MS: Final = 5000
"""So long a busy host may keep a node waiting; the others take it for dead only then."""

SOON_MS: Final = 1000


@contextlib.contextmanager
def valkey_cluster(options: Callable[[], Mapping[str, object]] = dict) -> Iterator[list[ValkeyServer]]:
    """The primaries of a cluster, by their slots.

    Args:
        options: makes further settings of a node.
    """
    with contextlib.ExitStack() as ends:
        nodes = [_start_node(ends, options()) for _ in SLOTS]
        for node, (first, last) in zip(nodes, SLOTS, strict=True):
            node.client().execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            if node is not nodes[0]:
                _meet(node, nodes[0])
        _wait_until_ok(nodes)
        yield nodes


@contextlib.contextmanager
def replica_of(primary: ValkeyServer, nodes: Sequence[ValkeyServer]) -> Iterator[ValkeyServer]:
    """One more node, which is a replica of `primary` and has its data."""
    with contextlib.ExitStack() as ends:
        replica = _start_node(ends)
        client = replica.client()
        _meet(replica, primary)
        of = primary.client().execute_command("CLUSTER", "MYID").decode()
        eventually(lambda: of in str(client.execute_command("CLUSTER", "NODES")), "the nodes know each other")
        client.execute_command("CLUSTER", "REPLICATE", of)
        eventually(lambda: client.info()["master_link_status"] == "up", "the replica has the data")
        _wait_until_ok([*nodes, replica])
        yield replica


def kill(primary: ValkeyServer, nodes: Sequence[ValkeyServer]) -> None:
    """End a node at once; the others (of `nodes`) notice it soon, and its replica takes its place."""
    for node in nodes:
        node.client().config_set("cluster-node-timeout", SOON_MS)
    primary.stop()


def wait_until_primary(replica: ValkeyServer) -> None:
    """Return when a replica has taken the place of its primary: a busy host has nodes elect it late."""
    eventually(lambda: replica.client().info()["role"] == "master", "the replica is the primary", 60.0)


def fail_over(replica: ValkeyServer) -> None:
    """Have a replica and its primary change places; no data are lost."""
    client = replica.client()

    def is_primary() -> bool:
        if client.info()["role"] == "master":
            return True
        client.execute_command("CLUSTER", "FAILOVER")  # the others may not know the replica yet
        return False

    eventually(is_primary, "the replica is the primary", 60.0, poll_s=1.0)


def _start_node(ends: contextlib.ExitStack, more: Mapping[str, object] | None = None) -> ValkeyServer:
    directory = ends.enter_context(own_directory())
    options = {
        "cluster-enabled": "yes",
        "cluster-config-file": "nodes.conf",
        "cluster-node-timeout": NODE_TIMEOUT_MS,
        "cluster-port": free_port(),
        "repl-diskless-sync-delay": 0,
        "cluster-replica-validity-factor": 0,  # else one whose election is 20 s late takes no place at all
    }
    node = ValkeyServer(directory, options | dict(more or {}))
    ends.callback(node.stop)
    return node


def _meet(node: ValkeyServer, other: ValkeyServer) -> None:
    port = other.option("tls-port") or other.port
    node.client().execute_command("CLUSTER", "MEET", other.host, port, other.option("cluster-port"))


def _wait_until_ok(nodes: Sequence[ValkeyServer]) -> None:
    def ok(node: ValkeyServer) -> bool:
        info = node.client().execute_command("CLUSTER", "INFO")
        known = f"cluster_known_nodes:{len(nodes)}"
        return "cluster_state:ok" in str(info) and known in str(info)

    eventually(lambda: all(map(ok, nodes)), "the cluster is complete", 30.0, poll_s=0.05)
