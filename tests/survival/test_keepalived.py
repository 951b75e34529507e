"""keepalived, as docs/how-to/failover.md configures it: the address follows the calls, and is at one host.

Real keepalived, two hosts in network namespaces, a real server. Only the address is the test's.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.netns import needs_namespaces
from tools.harness.call import RelayedCall
from tools.harness.hosts import Host, Hosts, Link, some_hosts
from tools.harness.keepalived import Keepalived
from tools.harness.waiting import eventually

pytestmark = [pytest.mark.valkey, pytest.mark.keepalived, pytest.mark.full, pytest.mark.timeout(180)]

MOVED_S = 60.0
PACKET_S = 0.02
LONG_LEASE_S = 60
"""Other tests use the CPUs: a relay may come too late to renew a short lease. Tests let this one expire."""

LEASE_S = 20
"""For tests that wait until it runs out."""


class Pair(NamedTuple):
    """Two hosts with keepalived: `one` has the calls and the address, `two` is the standby."""

    network: Hosts
    one: Host
    two: Host
    keepalived: tuple[Keepalived, Keepalived]
    call: RelayedCall
    directory: Path

    def until_address_is_at(self, host: Host) -> None:
        """Wait until a host has the address, and the other one has not."""
        expected = [each is host for each in self.network.hosts]

        def is_there() -> bool:
            return [each.has_address() for each in self.network.hosts] == expected

        eventually(is_there, f"the address is at host {host.number}", MOVED_S, details=self.outputs)

    def until_media_flow(self) -> None:
        """Wait until the media of the call flow."""
        eventually(self.call.media_flow, "the call goes on", MOVED_S, details=self.outputs)

    def outputs(self) -> str:
        relays = (host.deployment.last_output() for host in self.network.hosts)
        return "\n\n".join([*(program.output for program in self.keepalived), *relays])


@pytest.fixture
def lease_s() -> int:
    return LONG_LEASE_S


@pytest.fixture
def pair(tmp_path: Path, lease_s: int) -> Iterator[Pair]:
    needs_namespaces()
    with (
        some_hosts(lease_s=lease_s, http="127.0.0.1:8080", silent_s=600) as network,
        contextlib.ExitStack() as stack,
    ):
        one, two = network.hosts
        keepalived = [stack.enter_context(Keepalived(host, tmp_path)) for host in network.hosts]
        one.start()
        call = stack.enter_context(network.make_call(one, "call"))
        pair = Pair(network, one, two, (keepalived[0], keepalived[1]), call, tmp_path)
        keepalived[0].wait_for_line("Changing effective priority from 100 to 150", timeout_s=MOVED_S)
        pair.until_address_is_at(one)
        eventually(lambda: network.stored() == {b"call"}, "the call is stored")
        two.start_standby()
        # its HTTP process, of low priority, takes long to start on a busy host (22 of curl: an HTTP error)
        keepalived[1].wait_for_line("Script `nh_is_ready` now returning 22", timeout_s=MOVED_S)
        pair.until_media_flow()
        yield pair


def packets_for_others(host: Host) -> int:
    """How many packets have come to an address that the host did not have."""
    words = [
        line.split()
        for line in host.namespace.run("cat /proc/net/snmp").splitlines()
        if line.startswith("Ip:")
    ]
    return int(words[1][words[0].index("InAddrErrors")])


def test_the_address_goes_where_the_calls_of_a_dead_host_go_and_stays_there(pair: Pair) -> None:
    pair.keepalived[0].kill_all()
    pair.one.kill()
    pair.network.expire_lease()
    eventually(pair.two.has_address, "the standby has the address", MOVED_S, details=pair.outputs)
    pair.until_media_flow()
    pair.one.restore()
    with Keepalived(pair.one, pair.directory) as again:
        pair.one.start_standby()
        again.wait_for_line("Entering BACKUP STATE")
        pair.until_address_is_at(pair.two)
        pair.until_media_flow()


def test_the_address_leaves_a_host_whose_nh_is_killed(pair: Pair) -> None:
    pair.one.deployment.kill_everything()
    pair.network.expire_lease()
    pair.until_address_is_at(pair.two)
    pair.until_media_flow()


def test_the_address_leaves_a_host_whose_nh_ends(pair: Pair) -> None:
    assert pair.one.deployment.stop() == 0
    pair.until_address_is_at(pair.two)
    pair.until_media_flow()


@pytest.mark.parametrize("lease_s", [LEASE_S])
def test_the_address_leaves_a_host_that_is_cut_off_from_the_server(pair: Pair) -> None:
    pair.one.cut(Link.STORE)
    pair.until_address_is_at(pair.two)
    pair.until_media_flow()


def test_a_host_that_was_cut_off_from_everything_gives_the_address_up_when_it_is_back(pair: Pair) -> None:
    pair.one.cut()
    pair.network.expire_lease()
    eventually(pair.two.has_address, "the standby has the address", MOVED_S, details=pair.outputs)
    pair.until_media_flow()
    pair.one.restore()
    pair.until_address_is_at(pair.two)
    pair.until_media_flow()


def test_a_host_that_was_stopped_gives_the_address_up_when_it_goes_on(pair: Pair) -> None:
    stopped = [*pair.keepalived[0].stop_all(), *pair.one.stop()]
    pair.network.expire_lease()
    eventually(pair.two.has_address, "the standby has the address", MOVED_S, details=pair.outputs)
    pair.until_media_flow()
    for process in stopped:
        process.resume()
    pair.until_address_is_at(pair.two)
    pair.until_media_flow()


def test_the_address_stays_with_a_host_that_drains(pair: Pair) -> None:
    pair.one.deployment.nh("drain")
    pair.keepalived[0].wait_for_line("VRRP_Script(nh_is_ready) failed")
    pair.keepalived[0].wait_for_line("Changing effective priority from 150 to 100")
    assert pair.one.has_address()
    pair.until_media_flow()


@pytest.mark.parametrize("lease_s", [LEASE_S])
def test_the_address_follows_a_planned_move_and_the_relays_lose_and_double_no_packet(pair: Pair) -> None:
    """keepalived announces a move before it carries it out: for a moment neither host has the address."""
    pair.two.wait_until_warm(1)
    without_address = sum(map(packets_for_others, pair.network.hosts))
    ends = {
        "alice": (pair.call.alice, pair.call.for_alice, pair.call.bob),
        "bob": (pair.call.bob, pair.call.for_bob, pair.call.alice),
    }
    received: dict[str, list[bytes]] = {name: [] for name in ends}
    for _, _, receiver in ends.values():
        receiver.pending()
    began = time.monotonic()
    with ThreadPoolExecutor(1) as thread:
        move = thread.submit(pair.one.deployment.nh, "move")
        for number in itertools.count():
            for name, (sender, to, receiver) in ends.items():
                sender.send(b"%d" % number, to)
                received[name] += receiver.pending()
            if move.done() and pair.two.has_address():
                break
            time.sleep(PACKET_S)
        move.result()
    assert time.monotonic() - began > 1.0, "packets were on their way all the time"

    def missing() -> list[tuple[str, bytes]]:
        for name, (_, _, receiver) in ends.items():
            received[name] += receiver.pending()
        sent = [b"%d" % each for each in range(number + 1)]
        return [(name, each) for name in ends for each in sent if each not in received[name]]

    def none_lost_by_relays() -> bool:
        return len(missing()) <= sum(map(packets_for_others, pair.network.hosts)) - without_address

    eventually(  # a packet may be late
        *(none_lost_by_relays, "hosts without the address have got the packets that are missing", MOVED_S),
        details=lambda: f"of {number + 1}: {missing()}\n{pair.outputs()}",
    )
    for name, (_, _, receiver) in ends.items():
        received[name] += [payload for payload, _ in receiver.arriving(1.0)]
        assert len(received[name]) == len({*received[name]}), name
    pair.until_address_is_at(pair.two)
    pair.until_media_flow()
