"""Calls that were quiet for so long that their snapshots are packed outlive what other calls do."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns import needs_namespaces
from tools.harness.command import nh_ok
from tools.harness.deployment import SHARDS, Deployment, assert_goes_on, deployed_relay
from tools.harness.hosts import Hosts, some_hosts
from tools.harness.relay import Relay
from tools.harness.waiting import eventually

CALLS = 10
WAIT_S = 60.0
LEASE_S = 8
"""Other tests use the CPUs: a relay may come too late to renew a shorter one, and then loses the calls."""


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with deployed_relay(state=tmp_path / "calls", log_level="debug") as deployment:
        deployment.start()
        yield deployment


def until_packed(relay: Relay, first: int = 0) -> None:
    """Return when most snapshots are packed; those of the dictionary are not.

    Args:
        relay: logs what it packs.
        first: the line of its output from which on it counts.
    """

    def packed() -> int:
        output = "\n".join(relay.program.lines[first:])
        return sum(map(int, re.findall(r"backup: (\d+) snapshots? packed", output)))

    eventually(lambda: packed() >= CALLS - 3, "most snapshots are packed", details=relay.program.last_output)


def kill_shards(relay: Relay, shards: int) -> None:
    """Return when each shard has been killed, and its calls are restored from what the supervisor packed."""
    first = len(relay.program.lines)
    for shard in relay.shard_processes():
        shard.kill()
    for number in range(shards):
        relay.program.wait_for_line(f"shard {number} has restored {CALLS // shards} calls; 0 ", first=first)
        relay.program.wait_for_line(f"shard {number} is up", first=first)


@pytest.mark.full
def test_they_outlive_their_store_and_all_processes(deployment: Deployment, tmp_path: Path) -> None:
    relay, calls = deployment.relay, deployment.make_calls(CALLS)
    before = [relay.call(call.call_id) for call in calls]
    until_packed(relay)
    (tmp_path / "calls" / "calls.sqlite3").unlink()
    relay.program.wait_for_line("works again, all calls are stored")
    deployment.kill_everything()
    relay = deployment.start()
    for call, then in zip(calls, before, strict=True):
        assert_goes_on(then, relay.call(call.call_id))
        call.talk()


@pytest.mark.full
def test_they_outlive_an_upgrade_and_then_their_shards(deployment: Deployment) -> None:
    relay, calls = deployment.relay, deployment.make_calls(CALLS)
    before = [relay.call(call.call_id) for call in calls]
    until_packed(relay)
    upgraded_at = len(relay.program.lines)
    nh_ok(deployment.place, "upgrade")
    until_packed(relay, upgraded_at)
    kill_shards(relay, SHARDS)
    for call, then in zip(calls, before, strict=True):
        assert_goes_on(then, relay.call(call.call_id))
        call.talk()
    assert [call.end() for call in calls] == [1] * CALLS


@pytest.mark.full
@pytest.mark.valkey
@pytest.mark.timeout(180)
def test_a_standby_gets_them_after_the_server_has_lost_its_data_and_they_outlive_its_shard() -> None:
    needs_namespaces()
    with some_hosts(lease_s=LEASE_S, log_level="debug") as network, contextlib.ExitStack() as phones:
        one, two = network.hosts
        network.move_address(one)
        relay = one.start()
        calls = [phones.enter_context(network.make_call(one, f"call {number}")) for number in range(CALLS)]
        for call in calls:
            call.talk()
        until_packed(relay)
        empty_server(network)
        eventually(lambda: len(network.stored()) == CALLS, "the server has the calls again", WAIT_S)
        two.start_standby()
        two.wait_until_warm(CALLS)
        one.kill()
        network.expire_lease()
        network.move_address(two)
        relay = two.deployment.relay
        relay.wait_until_ready()
        until_packed(relay)
        kill_shards(relay, 1)
        for call in calls:
            eventually(call.media_flow, "the call goes on", WAIT_S, details=relay.program.last_output)


def empty_server(network: Hosts) -> None:
    network.server.stop()
    with network.phones.entered():
        network.server.start()
