"""`nh move`: a host gives its calls to a standby, and no phone notices; or it says why not."""

import json
import socket
from collections.abc import Iterator

import pytest
from typer.testing import Result

from nh.cli.health import examine
from nh.config import Settings
from tests.netns import needs_namespaces
from tools.harness.command import nh, nh_ok
from tools.harness.hosts import Host, Hosts, some_hosts
from tools.harness.waiting import eventually

pytestmark = [pytest.mark.valkey, pytest.mark.full, pytest.mark.timeout(180)]

AGAIN_S = 30.0
LEASE_S = 8
"""Other tests use the CPUs: a relay may come too late to renew a shorter one."""


@pytest.fixture
def network() -> Iterator[Hosts]:
    needs_namespaces()
    with some_hosts(lease_s=LEASE_S, standby=True) as network:
        network.move_address(network.hosts[0])
        network.hosts[0].start()
        yield network


def move(host: Host, *words: str) -> Result:
    return nh(host.deployment.place, "move", *words)


def name_of(host: Host) -> str:
    return f"{socket.gethostname()}:{host.deployment.place.directory}"


def test_all_calls_go_to_the_standby_and_back(network: Hosts) -> None:
    one, two = network.hosts
    with network.make_call(one, "call") as call, network.make_call(one, "other") as other:
        two.launch()
        two.wait_until_warm(2)
        moved = nh_ok(one.deployment.place, "move", "--to", name_of(two))
        assert f"2 calls to {name_of(two)}, which has 2 of them warm" in moved.stderr
        assert f"moved 2 calls to {name_of(two)}; nh on this host is a standby now" in moved.stdout
        assert examine(Settings(runtime_dir=str(two.deployment.place.directory))).ready
        network.move_address(two)
        assert call.media_flow()
        assert other.media_flow()
        one.wait_until_warm(2)
        back = json.loads(nh_ok(two.deployment.place, "move", "--json").stdout)
        assert (back["to"], back["calls"], back["standby"]) == (name_of(one), 2, True)
        network.move_address(one)
        assert call.media_flow()
        assert other.media_flow()


def test_a_move_that_cannot_be_says_what_to_do_and_changes_nothing(network: Hosts) -> None:
    one, two = network.hosts
    with network.make_call(one, "call") as call:
        alone = move(one)
        assert alone.exit_code == 1
        assert "no standby follows the calls that could take them over; start one" in alone.output
        two.launch()
        two.wait_until_warm(1)
        unknown = move(one, "--to", "nowhere")
        assert unknown.exit_code == 1
        assert f"no standby nowhere follows the calls; those that do: {name_of(two)}" in unknown.output
        assert call.media_flow()
        wrong = move(two)
        assert wrong.exit_code == 1
        assert "nh is a standby" in wrong.output


def test_a_standby_that_does_not_take_the_calls_leaves_them_to_their_host(network: Hosts) -> None:
    one, two = network.hosts
    with network.make_call(one, "call") as call:
        two.launch()
        two.wait_until_warm(1)
        processes = two.stop()
        failed = move(one, "--to", name_of(two))
        assert failed.exit_code == 1
        assert "did not take the calls, and this host has them again" in failed.output
        eventually(call.media_flow, "the call goes on", AGAIN_S)
        two.resume(processes)
        two.wait_until_warm(1)
