"""A host is lost, stopped or cut off: another takes its calls over, and one alone serves them."""

import contextlib
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nh.cli.health import Health, examine
from nh.config import Settings
from tests.netns import needs_namespaces
from tools.harness.call import RelayedCall
from tools.harness.command import nh_ok
from tools.harness.deployment import has_ended
from tools.harness.hosts import Host, Hosts, some_hosts
from tools.harness.waiting import eventually

pytestmark = [pytest.mark.valkey, pytest.mark.timeout(180)]

WAIT_S = 60.0
LEASE_S = 8
"""Other tests use the CPUs: a relay may come too late to renew a shorter one, and then loses the calls."""


@pytest.fixture
def network() -> Iterator[Hosts]:
    needs_namespaces()
    with some_hosts(lease_s=LEASE_S) as network:
        network.move_address(network.hosts[0])
        yield network


def until_heard(network: Hosts, call: RelayedCall) -> None:
    def outputs() -> str:
        return "\n\n".join(host.deployment.last_output() for host in network.hosts)

    eventually(call.media_flow, "the call goes on", WAIT_S, details=outputs)


def until_stored(network: Hosts, *call_ids: bytes) -> None:
    eventually(lambda: network.stored() == set(call_ids), f"{call_ids} are stored", WAIT_S)


def health(host: Host) -> Health:
    return examine(Settings(runtime_dir=str(host.deployment.place.directory)))


def output(host: Host) -> str:
    return host.deployment.relay.program.output


def status(host: Host) -> int:
    """The exit status of the relay on a host, which ends."""
    return host.deployment.relay.program.wait(WAIT_S)


def test_a_standby_takes_the_calls_of_a_host_that_dies_over(network: Hosts) -> None:
    one, two = network.hosts
    one.start()
    with contextlib.ExitStack() as phones:
        calls = [phones.enter_context(network.make_call(one, f"call {number}")) for number in range(5)]
        for call in calls:
            until_heard(network, call)
        until_stored(network, *(call.call_id for call in calls))
        two.start_standby()
        two.wait_until_warm(5)
        assert re.fullmatch(r"nh is a standby for pair since .*: 5 calls warm, lag \d\.\d s", health(two).why)
        assert health(two).alive
        one.kill()
        network.expire_lease()
        network.move_address(two)
        for call in calls:
            until_heard(network, call)
        two.deployment.relay.program.wait_for_line("5 calls found in the store")
        two.deployment.relay.wait_until_ready()  # media are relayed before its supervisor knows it
        assert health(two).ready
        assert "the warm copy is incomplete" not in output(two)
        assert two.deployment.stop() == 0


@pytest.mark.full
def test_a_shard_that_dies_right_after_a_promotion_loses_no_packet(network: Hosts) -> None:
    one, two = network.hosts
    one.start()
    with contextlib.ExitStack() as phones:
        calls = [phones.enter_context(network.make_call(one, f"call {number}")) for number in range(60)]
        for call in calls:
            until_heard(network, call)
        two.start_standby()
        two.wait_until_warm(len(calls))
        one.kill()
        network.move_address(two)
        relay = two.deployment.relay
        relay.program.wait_for_line("ready: ")
        supervisor, [shard] = psutil.Process(relay.program.pid), relay.stats().shards
        supervisor.suspend()
        psutil.Process(shard.pid).kill()
        eventually(lambda: has_ended(psutil.Process(shard.pid)), "the shard has ended", WAIT_S)
        for call in calls:
            call.alice.send(call.call_id, call.for_alice)
            call.bob.send(call.call_id, call.for_bob)
        supervisor.resume()
        for call in calls:
            for phone in (call.alice, call.bob):
                assert any(payload == call.call_id for payload, _ in phone.arriving(WAIT_S))


@pytest.mark.full
def test_a_host_that_was_stopped_ends_when_it_goes_on_and_writes_nothing(network: Hosts) -> None:
    one, two = network.hosts
    one.start(state_away="take")
    with network.make_call(one, "call") as call:
        until_stored(network, b"call")
        two.start_standby()
        processes = one.stop()
        network.expire_lease()
        network.move_address(two)
        until_heard(network, call)
        with network.make_call(two, "new"):
            until_stored(network, b"call", b"new")
            one.resume(processes)
            assert status(one) == 1
            eventually(lambda: all(map(has_ended, processes)), "its shards have ended", WAIT_S)
            assert "has the calls now; this relay ends at once" in output(one)
            until_heard(network, call)
            assert network.stored() == {b"call", b"new"}
            assert two.deployment.stop() == 0


@pytest.mark.full
def test_a_host_that_is_cut_off_ends_when_its_lease_does(network: Hosts) -> None:
    one, two = network.hosts
    one.start()
    with network.make_call(one, "call") as call:
        until_stored(network, b"call")
        two.start_standby()
        one.cut()
        network.move_address(two)
        until_heard(network, call)
        assert status(one) == 1
        assert f"the lease of {LEASE_S} s ran out" in output(one)
        assert two.deployment.stop() == 0


@pytest.mark.full
def test_shards_whose_supervisor_is_gone_end_before_another_host_has_their_calls(network: Hosts) -> None:
    one, two = network.hosts
    one.start()
    with network.make_call(one, "call") as call:
        until_stored(network, b"call")
        two.start_standby()
        two.wait_until_warm(1)
        (shard,) = one.deployment.kill_supervisor()
        eventually(lambda: has_ended(shard), "the shard has ended", WAIT_S)
        assert network.stored() == {b"call"}
        network.move_address(two)
        until_heard(network, call)
        assert two.deployment.stop() == 0


def test_an_orderly_end_gives_the_calls_to_the_standby_at_once(network: Hosts) -> None:
    one, two = network.hosts
    one.start()
    with network.make_call(one, "call") as call:
        until_stored(network, b"call")
        two.start_standby()
        assert one.deployment.stop() == 0
        network.move_address(two)
        until_heard(network, call)
        assert two.deployment.stop() == 0


@pytest.mark.full
def test_a_planned_promotion_moves_the_calls_while_both_relay_and_the_other_relay_is_a_standby_then(
    network: Hosts, tmp_path: Path
) -> None:
    one, two = network.hosts
    told = tmp_path / "told"
    hooks = {
        f"on_{event}": f"sh -c 'echo {event} $NH_GROUP >> {told}; exit 3'" for event in ("promote", "demote")
    }
    one.start(standby=True, **hooks)
    with contextlib.ExitStack() as phones:
        calls = [phones.enter_context(network.make_call(one, f"call {number}")) for number in range(5)]
        for call in calls:
            until_heard(network, call)
        two.launch(standby=True, **hooks)
        two.wait_until_warm(5)
        done = nh_ok(two.deployment.place, "promote", "--json").stdout
        assert json.loads(done)["calls"] == 5
        network.move_address(two)
        for call in calls:
            until_heard(network, call)
        one.wait_until_warm(5)
        assert health(two).ready
        events = ["demote pair", "promote pair", "promote pair"]
        eventually(lambda: sorted(told.read_text().splitlines()) == events, "each hook has run", WAIT_S)
        failed = "its failure is counted"
        eventually(lambda: two.deployment.stats().supervisor.hooks_failed == 1, failed, WAIT_S)
        one.deployment.relay.program.wait_for_line("on_demote: sh -c")
        nh_ok(one.deployment.place, "promote", "--force")
        network.move_address(one)
        for call in calls:
            until_heard(network, call)
        assert status(two) == 1


@pytest.mark.full
def test_of_two_standbys_of_a_pool_one_gets_the_calls_and_the_other_follows_it() -> None:
    needs_namespaces()
    with some_hosts(4, lease_s=LEASE_S) as network:
        first, other, *pool = network.hosts
        network.move_address(first)
        first.start()
        other.start(state=network.url("other"))
        with network.make_call(first, "call") as call:
            for standby in pool:
                standby.launch(state=network.url("unused"), standby_for="other,pair")
                standby.wait_until_warm(1)
                # it has no calls, so it starts anew with its settings
                psutil.Process(standby.deployment.relay.program.pid).send_signal(signal.SIGHUP)
            for standby in pool:
                standby.deployment.relay.program.wait_for_line("starts anew")
                standby.wait_until_warm(1)
            assert first.deployment.stop() == 0
            eventually(lambda: any(health(each).ready for each in pool), "one has the calls", WAIT_S)
            winner, loser = sorted(pool, key=lambda each: not health(each).ready)
            network.move_address(winner)
            until_heard(network, call)
            loser.wait_until_warm(1)
            assert "standby" in health(loser).why
            assert winner.deployment.stop() == 0
            network.move_address(loser)
            until_heard(network, call)


@pytest.mark.full
@pytest.mark.parametrize("follows_them", [True, False], ids=["a standby", "a standby that was started later"])
def test_calls_of_a_dead_host_outlive_the_key_that_says_whose_they_are(
    network: Hosts, follows_them: bool
) -> None:
    one, two = network.hosts
    one.start()
    with network.make_call(one, "call") as call:
        until_stored(network, b"call")
        if follows_them:
            two.start_standby()
            two.wait_until_warm(1)
        one.kill()
        with network.phones.entered():
            network.server.client().delete("{pair}:group")
        network.move_address(two)
        if not follows_them:
            two.launch(standby=True)
            two.deployment.relay.program.wait_for_line("take them: nh promote --force")
            nh_ok(two.deployment.place, "promote", "--force")
        until_heard(network, call)
        assert two.deployment.stop() == 0


@pytest.mark.full
def test_a_relay_that_is_told_to_end_while_it_relays_for_its_standby_ends(network: Hosts) -> None:
    one, two = network.hosts
    one.start(standby=True)
    with network.make_call(one, "call"):
        two.launch(standby=True)
        two.wait_until_warm(1)
        nh_ok(two.deployment.place, "promote")
        assert one.deployment.stop() == 0
        assert health(two).ready
        assert two.deployment.stop() == 0
