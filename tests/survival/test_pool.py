"""A pool as docs/how-to/failover.md has it: two relays serve, each with its address, and share one standby.

Real keepalived, three hosts in network namespaces, a real server.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from nh.cli.health import examine
from nh.config import Settings
from tests.netns import needs_namespaces
from tests.ng.client import NgClient
from tests.ng.ng_call import SDP, NgCall
from tools.harness.call import RelayedCall
from tools.harness.hosts import NG_PORT, SECOND, VIRTUAL, Host, Hosts, some_hosts
from tools.harness.keepalived import Instance, Keepalived
from tools.harness.waiting import eventually

pytestmark = [pytest.mark.valkey, pytest.mark.keepalived, pytest.mark.full, pytest.mark.timeout(300)]

WAIT_S = 90.0
LEASE_S = 20
"""Other tests use the CPUs: a relay may come too late to renew a short lease."""

ADDRESSES: Final[Mapping[str, str]] = {"pair-1": VIRTUAL, "pair-2": SECOND}
INSTANCES: Final = [
    Instance(address, prefix, router) for router, (prefix, address) in enumerate(ADDRESSES.items(), 51)
]


class Pool(NamedTuple):
    """`one` has the calls of pair-1, `two` those of pair-2, `standby` is the standby for both.

    Attributes:
        calls: one of each relay.
    """

    network: Hosts
    one: Host
    two: Host
    standby: Host
    keepalived: Mapping[Host, Keepalived]
    calls: Mapping[str, RelayedCall]

    def settings(self, prefix: str) -> Mapping[str, object]:
        """Those of the relay that serves these calls."""
        address = ADDRESSES[prefix]
        return {
            "state": self.network.url(prefix, LEASE_S),
            "standby_for": prefix,
            "address": address,
            "ng": f"{address}:{NG_PORT}",
        }

    def until_address_is_at(self, address: str, host: Host | None) -> None:
        """Wait until a host has an address, and no other one has it."""
        expected = [each is host for each in self.network.hosts]

        def is_there() -> bool:
            return [each.has_address(address) for each in self.network.hosts] == expected

        eventually(is_there, f"{address} is there alone", WAIT_S, details=self.outputs)

    def until_heard(self, prefix: str) -> None:
        """Wait until the media of the call of a relay flow."""
        eventually(self.calls[prefix].media_flow, f"{prefix} is heard", WAIT_S, details=self.outputs)

    def outputs(self) -> str:
        relays = (host.deployment.last_output() for host in self.network.hosts)
        return "\n\n".join([*(program.output for program in self.keepalived.values()), *relays])


def why_not(host: Host, group: str) -> str:
    """Why a host is not ready with the calls of a group; "": it is."""
    return examine(Settings(runtime_dir=str(host.deployment.place.directory)), group).why


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    needs_namespaces()
    with (
        some_hosts(3, lease_s=LEASE_S, http="127.0.0.1:8080", silent_s=600) as network,
        contextlib.ExitStack() as stack,
    ):
        one, two, standby = network.hosts
        of = {one: INSTANCES[:1], two: INSTANCES[1:], standby: INSTANCES}
        keepalived = {
            host: stack.enter_context(Keepalived(host, tmp_path, instances)) for host, instances in of.items()
        }
        calls: dict[str, RelayedCall] = {}
        pool = Pool(network, one, two, standby, keepalived, calls)
        for host, prefix in ((one, "pair-1"), (two, "pair-2")):
            host.start(**pool.settings(prefix))
            calls[prefix] = stack.enter_context(network.make_call(host, prefix, ADDRESSES[prefix]))
            pool.until_address_is_at(ADDRESSES[prefix], host)
            pool.until_heard(prefix)
        launch_standby(pool)
        standby.wait_until_warm(2)
        yield pool


def launch_standby(pool: Pool) -> None:
    """Start the standby, with the settings of the page."""
    pool.standby.launch(
        state=pool.network.url("pool", LEASE_S),
        standby_for=",".join(ADDRESSES),
        address="",
        interface=",".join(f"{prefix}/{address}" for prefix, address in ADDRESSES.items()),
        ng=",".join(f"{address}:{NG_PORT}" for address in ADDRESSES.values()),
    )


def media_address(pool: Pool, ng_address: str) -> str:
    """Where a new call is that the proxy asks for at an address, and names no interface."""
    with pool.network.phones.entered(), NgClient((ng_address, NG_PORT)) as client:
        rewritten = NgCall(client).offer(SDP)
    [line] = [line for line in rewritten.splitlines() if line.startswith("c=")][:1]
    return line.split()[-1]


def die(pool: Pool, host: Host, prefix: str) -> None:
    pool.keepalived[host].kill_all()
    host.kill()
    pool.network.expire_lease(prefix)


@pytest.mark.parametrize("dead", ["pair-1", "pair-2"])
def test_the_standby_takes_one_relay_over_and_leaves_the_other_where_it_is_also_when_that_dies(
    pool: Pool, tmp_path: Path, dead: str
) -> None:
    [alive] = {*ADDRESSES} - {dead}
    hosts = {"pair-1": pool.one, "pair-2": pool.two}

    # one dies: its address and its calls are at the standby, the other is as it was
    die(pool, hosts[dead], dead)
    eventually(
        lambda: pool.standby.has_address(ADDRESSES[dead]), "it has moved", WAIT_S, details=pool.outputs
    )
    pool.until_heard(dead)
    pool.until_heard(alive)
    pool.until_address_is_at(ADDRESSES[alive], hosts[alive])
    assert why_not(pool.standby, dead) == ""
    assert why_not(pool.standby, alive) == f"nh has the calls of {dead}, not those of {alive}"
    assert media_address(pool, ADDRESSES[dead]) == ADDRESSES[dead]

    # the other dies, too: no host has its calls, so none takes its address, until it is back
    hosts[alive].deployment.kill_everything()
    pool.network.expire_lease(alive)
    pool.keepalived[hosts[alive]].wait_for_line(f"VRRP_Script(has_{alive}) failed", timeout_s=WAIT_S)
    assert not pool.standby.has_address(ADDRESSES[alive])
    pool.until_heard(dead)
    hosts[alive].start(**pool.settings(alive))
    pool.until_heard(alive)
    pool.until_address_is_at(ADDRESSES[alive], hosts[alive])

    # the first one is back: a standby, until it is given its calls; then the pool has its standby again
    hosts[dead].restore()
    with Keepalived(hosts[dead], tmp_path, [each for each in INSTANCES if each.prefix == dead]) as again:
        hosts[dead].launch(**pool.settings(dead))
        hosts[dead].wait_until_warm(2)
        again.wait_for_line("Entering BACKUP STATE", timeout_s=WAIT_S)
        pool.until_heard(dead)
        pool.standby.deployment.nh("move")
        pool.until_address_is_at(ADDRESSES[dead], hosts[dead])
        pool.until_heard(dead)
        pool.until_heard(alive)
        pool.standby.wait_until_warm(3)
