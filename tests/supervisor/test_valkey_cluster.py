"""A store on a cluster: the calls of a relay are at one node, which is found again when they move."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.address import TcpAddress
from nh.errors import StoreUnavailable
from nh.supervisor.store.engine import StoredCall, StoreEngine, StoreHeld, StoreRefused
from nh.supervisor.store.store import Store
from nh.supervisor.store.valkey.url import parse_url
from tests.supervisor.stores import until_written
from tests.supervisor.valkey_group import Group
from tests.supervisor.valkey_tls import make_certificate, tls_options
from tools.harness.ports import free_port
from tools.harness.valkey_cluster import fail_over, kill, replica_of, valkey_cluster, wait_until_primary
from tools.harness.valkey_server import ValkeyServer, valkey_server

pytestmark = pytest.mark.valkey

Nodes = list[ValkeyServer]

LONG_LEASE_S = 30
"""On a busy host a relay renews it late."""

LEASE_S = 3
"""Of a relay whose lease is to run out, but not before it has written."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with valkey_cluster() as nodes:
        yield nodes


def engine(
    nodes: Nodes,
    prefix: str,
    holder: str = "relay-1",
    scheme: str = "valkey+cluster",
    lease_s: int = LONG_LEASE_S,
) -> StoreEngine:
    from nh.supervisor.store.valkey.engine import ValkeyEngine  # noqa: PLC0415  needs the extra valkey

    hosts = ",".join(f"{node.host}:{node.port}" for node in nodes)
    return ValkeyEngine(parse_url(scheme, f"{hosts}/0?prefix={prefix}&lease={lease_s}"), holder)


def node_with(nodes: Nodes, prefix: str) -> ValkeyServer:
    """The node that has the calls of a prefix."""
    [node] = [node for node in nodes if node.client().keys(f"{{{prefix}}}:*")]
    return node


def test_relays_are_spread_over_the_nodes_and_each_has_its_calls_at_one(nodes: Nodes) -> None:
    used = set()
    for number in (0, 1, 2, 3):
        prefix = f"relay-{number}"
        opened = engine(nodes, prefix)
        assert opened.open() == []
        opened.write({b"a": StoredCall(b"a", b"1", 1.5), b"b": StoredCall(b"b", b"2", 1.5)})
        opened.write({b"a": None})
        opened.close()
        node = node_with(nodes, prefix)
        assert Group(node, prefix).contents() == {b"b": b"2"}
        used.add(node.port)
    assert used == {node.port for node in nodes}


def test_a_relay_finds_its_calls_through_any_node_and_late_writes_of_another_are_refused(
    nodes: Nodes,
) -> None:
    first = engine(nodes[:1], "shared", lease_s=LEASE_S)
    second = engine(nodes[2:], "shared", "relay-2")
    first.open()
    first.write({b"a": StoredCall(b"a", b"1", 1.5)})
    assert [call.snapshot for call in second.open()] == [b"1"], "after the lease"
    with pytest.raises(StoreHeld):
        first.write({b"b": StoredCall(b"b", b"2", 1.5)})
    second.close()


def test_nodes_that_announce_no_address_are_where_the_url_says(nodes: Nodes) -> None:
    for node in nodes:
        node.client().config_set("cluster-preferred-endpoint-type", "unknown-endpoint")
    try:
        for prefix in ("far-0", "far-1", "far-2"):
            opened = engine(nodes[:1], prefix)
            opened.open()
            opened.write({b"a": StoredCall(b"a", b"1", 1.5)})
            opened.close()
            assert Group(node_with(nodes, prefix), prefix).contents() == {b"a": b"1"}
    finally:
        for node in nodes:
            node.client().config_set("cluster-preferred-endpoint-type", "ip")


def test_a_standby_of_several_relays_follows_each_at_its_node(nodes: Nodes) -> None:
    from nh.supervisor.store.valkey.follower import Follower  # noqa: PLC0415  needs the extra valkey
    from nh.supervisor.store.valkey.followers import Followers  # noqa: PLC0415  as above

    names = [f"relay-{number}" for number in range(4)]
    relays = [engine(nodes, f"pool-{name}", name) for name in names]
    for relay, name in zip(relays, names, strict=True):
        relay.open()
        relay.write({name.encode(): StoredCall(name.encode(), b"1", 1.5)})
    host = f"{nodes[0].host}:{nodes[0].port}"
    targets = [parse_url("valkey+cluster", f"{host}/0?prefix=pool-{name}") for name in names]
    standby = Followers([Follower(each, "standby") for each in targets])
    _ = [*standby.poll()]
    # those that have read the calls announce themselves
    outcomes = [outcome for _, outcome in standby.poll()]
    assert [getattr(outcome, "holder", "") for outcome in outcomes] == names
    assert [[*each.copy.calls] for each in standby] == [[name.encode()] for name in names]

    def announced() -> int:
        return sum(
            node_with(nodes, f"pool-{name}").client().hlen(f"{{pool-{name}}}:standbys") for name in names
        )

    assert announced() == len(names)
    standby.leave()
    assert announced() == 0
    prefix = f"pool-{names[0]}"
    node_with(nodes, prefix).client().set(f"{{{prefix}}}:group", "no hash")
    refused, *others = [outcome for _, outcome in standby.poll()]
    assert isinstance(refused, StoreUnavailable), "it hides no other"
    assert [getattr(outcome, "holder", "") for outcome in others] == names[1:]
    standby.leave()
    for relay in relays:
        relay.close()


@pytest.mark.full
def test_a_cluster_over_tls_is_used_as_one_without(tmp_path: Path) -> None:
    from nh.supervisor.store.valkey.engine import ValkeyEngine  # noqa: PLC0415  needs the extra valkey

    certificate, key = make_certificate(tmp_path)

    def tls() -> dict[str, object]:
        return {**tls_options(certificate, key, free_port(), auth_clients="yes"), "tls-cluster": "yes"}

    prefixes = ("relay-0", "relay-1", "relay-2")
    with valkey_cluster(tls) as nodes:
        for node, prefix in zip(nodes, prefixes, strict=True):
            place = f"{node.host}:{node.option('tls-port')}/0?prefix={prefix}"
            target = parse_url("valkeys+cluster", f"{place}&ca={certificate}&cert={certificate}&key={key}")
            opened = ValkeyEngine(target, "relay-1")
            opened.open()
            opened.write({b"a": StoredCall(b"a", b"1", 1.5)})
            opened.close()
        with_calls = {node_with(nodes, prefix).port: prefix for prefix in prefixes}
        assert len(with_calls) > 1, "they are not all where the URL says"
        for prefix in prefixes:
            assert Group(node_with(nodes, prefix), prefix).contents() == {b"a": b"1"}


def test_a_node_that_does_not_answer_costs_a_standby_one_wait_and_the_others_are_asked_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from nh.supervisor.store.valkey import cluster  # noqa: PLC0415  needs the extra valkey
    from nh.supervisor.store.valkey.follower import Follower  # noqa: PLC0415  as above
    from nh.supervisor.store.valkey.followers import Followers  # noqa: PLC0415  as above

    waited: list[TcpAddress] = []

    class Counted(cluster.SilentNodes):
        def add(self, node: TcpAddress) -> None:
            waited.append(node)
            super().add(node)

    monkeypatch.setattr(cluster, "silent_nodes", Counted())
    monkeypatch.setattr(cluster, "SILENT_S", 600.0)
    names = [f"relay-{number}" for number in range(8)]
    patient = {"cluster-node-timeout": 600_000, "cluster-require-full-coverage": "no"}
    with valkey_cluster(lambda: patient) as nodes:
        for name in names:
            opened = engine(nodes, name)
            opened.open()
            opened.close()
        silent = node_with(nodes, names[0])
        there = {name for name in names if node_with(nodes, name) is silent}
        assert len(there) > 1
        others = [node for node in nodes if node is not silent]
        hosts = ",".join(f"{each.host}:{each.port}" for each in (silent, *others))
        targets = [parse_url("valkey+cluster", f"{hosts}/0?prefix={name}") for name in names]
        standby = Followers([Follower(target, "standby") for target in targets])
        _ = [*standby.poll()]
        os.kill(silent.program.pid, signal.SIGSTOP)
        for _ in range(3):
            failed = {each.group for each, outcome in standby.poll() if isinstance(outcome, StoreUnavailable)}
            assert failed == there
        alone = parse_url("valkey+cluster", f"{silent.host}:{silent.port}/0?prefix=relay-0")
        with pytest.raises(StoreUnavailable, match="no node answers"):
            Follower(alone, "standby").poll()
        os.kill(silent.program.pid, signal.SIGCONT)
        assert waited == [TcpAddress(silent.host, silent.port)]
        monkeypatch.setattr(cluster, "silent_nodes", Counted())
        assert not [outcome for _, outcome in standby.poll() if isinstance(outcome, StoreUnavailable)]
        standby.leave()


def test_a_url_of_one_node_says_that_it_is_one_of_a_cluster(nodes: Nodes) -> None:
    engine(nodes, "somewhere").open()
    others = [node for node in nodes if node is not node_with(nodes, "somewhere")]
    with pytest.raises(StoreUnavailable, match=r"at another node of a cluster .* valkey\+cluster:// finds"):
        engine(others[:1], "somewhere", scheme="valkey").open()


def test_a_cluster_whose_nodes_do_not_answer_is_away() -> None:
    from nh.supervisor.store.valkey.engine import ValkeyEngine  # noqa: PLC0415  needs the extra valkey

    target = parse_url("valkey+cluster", "127.0.0.1:1,127.0.0.1:2?prefix=away")
    with pytest.raises(
        StoreUnavailable, match=r"^valkey\+cluster://127.0.0.1:1,127.0.0.1:2/0\?prefix=away: "
    ):
        ValkeyEngine(target, "relay-1").open()


def test_a_single_server_is_no_cluster() -> None:
    with (
        valkey_server() as server,
        pytest.raises(StoreRefused, match="the server is no cluster; a URL with valkey://"),
    ):
        engine([server], "alone").open()


@pytest.mark.full
def test_calls_are_written_on_when_their_node_hands_over(nodes: Nodes) -> None:
    store = Store(engine(nodes, "moving"))
    store.put(b"a", b"1")
    until_written(store)
    primary = node_with(nodes, "moving")
    with replica_of(primary, nodes) as replica:
        fail_over(replica)
        store.put(b"b", b"2")
        until_written(store)
        assert Group(replica, "moving").contents() == {b"a": b"1", b"b": b"2"}
        fail_over(primary)
        store.put(b"c", b"3")
        until_written(store)
    assert Group(primary, "moving").contents() == {b"a": b"1", b"b": b"2", b"c": b"3"}
    store.close(5.0)


@pytest.mark.full
def test_calls_are_written_on_when_their_node_is_killed() -> None:
    with valkey_cluster() as nodes:
        store = Store(engine(nodes, "killed"))
        store.put(b"a", b"1")
        until_written(store)
        primary = node_with(nodes, "killed")
        with replica_of(primary, nodes) as replica:
            kill(primary, [*nodes, replica])
            store.put(b"b", b"2")
            wait_until_primary(replica)
            until_written(store)
            assert Group(replica, "killed").contents() == {b"a": b"1", b"b": b"2"}
            store.close(5.0)
