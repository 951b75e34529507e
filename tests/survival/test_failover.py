"""A host is lost, stopped or cut off: another takes its calls over, and one alone serves them.

Two hosts in network namespaces have the address for media. The route of the phones says which one it is at.
"""

import contextlib
import json
import re
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from nh.cli.health import Health, examine
from nh.config import Settings
from nh.errors import StatsUnavailable
from tests.netns import namespaces
from tools.harness.call import RelayedCall
from tools.harness.command import nh_ok
from tools.harness.namespaces import Namespace, join
from tools.harness.relay import Place, Relay, as_environment, place_for_relay
from tools.harness.valkey_server import ValkeyServer, valkey_server
from tools.harness.waiting import eventually

pytestmark = pytest.mark.valkey

PHONES, VIRTUAL = "10.77.0.1", "10.77.9.9"
PORTS = range(20_000, 20_400)
LEASE_S = 3


class Network(NamedTuple):
    """Attributes: phones, the namespace of phones and server; hosts, those of the relays; server."""

    phones: Namespace
    hosts: Sequence[Namespace]
    server: ValkeyServer

    def move_address(self, host: int) -> None:
        """Let the address for media be at a host."""
        self.phones.run(f"ip route replace {VIRTUAL}/32 via 10.77.{host + 1}.2")

    @contextlib.contextmanager
    def relay(self, host: int, prefix: str = "pair", **settings: object) -> Iterator[Relay]:
        """A relay on a host, perhaps not ready."""
        url = f"{self.server.url}/0?prefix={prefix}&lease={LEASE_S}"
        environment = as_environment({"state": url, "state_away": "end", **settings})
        with place_for_relay(PORTS) as place, contextlib.ExitStack() as stack:
            with self.hosts[host].entered():
                relay = stack.enter_context(_running(Relay(place, 1, environment)))
            yield relay


@contextlib.contextmanager
def _running(relay: Relay) -> Iterator[Relay]:
    with relay.program:
        yield relay


@pytest.fixture
def network() -> Iterator[Network]:
    with namespaces(4) as (phones, *hosts):
        for number, host in enumerate(hosts, 1):
            join(phones, host, f"10.77.{number}.1/24", f"10.77.{number}.2/24", name=f"veth{number}")
            host.run(f"ip address add {VIRTUAL}/32 dev lo", f"ip route add default via 10.77.{number}.1")
        phones.run(f"ip address add {PHONES}/32 dev lo")
        with phones.entered(), valkey_server({"protected-mode": "no"}, host=PHONES) as server:
            network = Network(phones, hosts, server)
            network.move_address(0)
            yield network


def begin(relay: Relay, call_id: str, phones: contextlib.ExitStack) -> RelayedCall:
    """Set up a call at a relay."""
    call = RelayedCall(relay.unix_address, call_id.encode(), phones=PHONES, media=VIRTUAL)
    return phones.enter_context(call)


def until_heard(call: RelayedCall) -> None:
    eventually(call.media_flow, "the call goes on", 30.0)


def health(relay: Relay) -> Health:
    return examine(Settings(runtime_dir=str(relay.directory)))


def place_of(relay: Relay) -> Place:
    return Place(relay.directory, relay.ports, 0)


def until_warm(relay: Relay, calls: int) -> None:
    """Wait until a standby says that it has so many calls."""

    def says() -> bool:
        with contextlib.suppress(StatsUnavailable):  # it has not begun
            return relay.stats().supervisor.standby_calls == calls
        return False

    eventually(says, f"{calls} calls are warm", 30.0)


def stored(network: Network) -> set[bytes]:
    return set(network.server.client().hkeys("{pair}:calls"))


def all_processes(relay: Relay) -> list[psutil.Process]:
    supervisor = psutil.Process(relay.program.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def test_a_standby_takes_the_calls_of_a_host_that_dies_over(network: Network) -> None:
    with contextlib.ExitStack() as phones, network.relay(0) as first:
        first.wait_until_ready()
        calls = [begin(first, f"call {number}", phones) for number in range(5)]
        eventually(lambda: all(call.media_flow() for call in calls), "all calls are heard")
        eventually(lambda: len(stored(network)) == 5, "all calls are stored")
        with network.relay(1, standby=True) as second:
            second.program.wait_for_line("waiting until it ends")
            until_warm(second, 5)
            assert re.fullmatch(
                r"nh is a standby for pair since .*: 5 calls warm, lag \d\.\d s", health(second).why
            )
            assert health(second).alive
            network.hosts[0].run("ip link set veth1 down")
            first.kill_all()
            network.move_address(1)
            for call in calls:
                until_heard(call)
            second.program.wait_for_line("5 calls are in the store")
            assert health(second).ready
            assert "the warm copy is incomplete" not in second.program.output
            assert second.program.stop() == 0


@pytest.mark.full
def test_a_host_that_was_stopped_ends_when_it_goes_on_and_writes_nothing(network: Network) -> None:
    with contextlib.ExitStack() as phones, network.relay(0, state_away="take") as first:
        first.wait_until_ready()
        call = begin(first, "call", phones)
        eventually(lambda: stored(network) == {b"call"}, "the call is stored")
        with network.relay(1, standby=True) as second:
            second.program.wait_for_line("waiting until it ends")
            processes = all_processes(first)
            for process in processes:
                process.suspend()
            network.move_address(1)
            until_heard(call)
            begin(second, "new", phones)
            eventually(lambda: stored(network) == {b"call", b"new"}, "both calls are stored")
            for process in processes:
                process.resume()
            assert first.program.wait(30) == 1
            psutil.wait_procs(processes, 30)
            assert not any(process.is_running() for process in processes)
            assert "has the calls now; this relay ends at once" in first.program.output
            assert call.media_flow()
            assert stored(network) == {b"call", b"new"}
            assert second.program.stop() == 0


@pytest.mark.full
def test_a_host_that_is_cut_off_ends_when_its_lease_does(network: Network) -> None:
    with contextlib.ExitStack() as phones, network.relay(0) as first:
        first.wait_until_ready()
        call = begin(first, "call", phones)
        eventually(lambda: stored(network) == {b"call"}, "the call is stored")
        with network.relay(1, standby=True) as second:
            second.program.wait_for_line("waiting until it ends")
            network.hosts[0].run("ip link set veth1 down")
            network.move_address(1)
            until_heard(call)
            assert first.program.wait(30) == 1
            assert "the lease of 3 s ran out" in first.program.output
            assert second.program.stop() == 0


@pytest.mark.full
def test_shards_whose_supervisor_is_gone_end_before_another_host_has_their_calls(network: Network) -> None:
    with contextlib.ExitStack() as phones, network.relay(0) as first:
        first.wait_until_ready()
        call = begin(first, "call", phones)
        eventually(lambda: stored(network) == {b"call"}, "the call is stored")
        with network.relay(1, standby=True) as second:
            until_warm(second, 1)
            (shard,) = first.shard_processes()
            psutil.Process(first.program.pid).kill()
            psutil.wait_procs([shard], 30)
            assert not shard.is_running()
            assert stored(network) == {b"call"}
            network.move_address(1)
            until_heard(call)
            assert second.program.stop() == 0


def test_an_orderly_end_gives_the_calls_to_the_standby_at_once(network: Network) -> None:
    with contextlib.ExitStack() as phones, network.relay(0) as first:
        first.wait_until_ready()
        call = begin(first, "call", phones)
        eventually(lambda: stored(network) == {b"call"}, "the call is stored")
        with network.relay(1, standby=True) as second:
            second.program.wait_for_line("waiting until it ends")
            assert first.program.stop() == 0
            network.move_address(1)
            until_heard(call)
            assert second.program.stop() == 0


@pytest.mark.full
def test_a_planned_promotion_moves_the_calls_while_both_relay_and_the_other_relay_is_a_standby_then(
    network: Network, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    hooks = {
        f"on_{event}": f"sh -c 'echo {event} $NH_GROUP >> {told}; exit 3'" for event in ("promote", "demote")
    }
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(network.relay(0, standby=True, **hooks))
        first.wait_until_ready()
        calls = [begin(first, f"call {number}", stack) for number in range(5)]
        for call in calls:
            until_heard(call)
        second = stack.enter_context(network.relay(1, standby=True, **hooks))
        until_warm(second, 5)
        done = nh_ok(place_of(second), "promote", "--json").stdout
        assert json.loads(done)["calls"] == 5
        network.move_address(1)
        for call in calls:
            until_heard(call)
        until_warm(first, 5)
        assert health(second).ready
        events = ["demote pair", "promote pair", "promote pair"]
        eventually(lambda: sorted(told.read_text().splitlines()) == events, "each hook has run", 30.0)
        eventually(lambda: second.stats().supervisor.hooks_failed == 1, "its failure is counted", 30.0)
        assert "on_demote: sh -c" in first.program.output
        nh_ok(place_of(first), "promote", "--force")
        network.move_address(0)
        for call in calls:
            until_heard(call)
        assert second.program.wait(30) == 1


@pytest.mark.full
def test_of_two_standbys_of_a_pool_one_gets_the_calls_and_the_other_follows_it(network: Network) -> None:
    with contextlib.ExitStack() as stack, network.relay(0, share_ports=True) as first:
        first.wait_until_ready()
        call = begin(first, "call", stack)
        stack.enter_context(network.relay(0, "other", share_ports=True)).wait_until_ready()
        pool = {
            host: stack.enter_context(network.relay(host, "unused", standby_for="other,pair"))
            for host in (1, 2)
        }
        for standby in pool.values():
            until_warm(standby, 1)
            # it has no calls, so it starts anew with its settings
            psutil.Process(standby.program.pid).send_signal(signal.SIGHUP)
        for standby in pool.values():
            standby.program.wait_for_line("starts anew")
            until_warm(standby, 1)
        assert first.program.stop() == 0
        eventually(lambda: any(health(each).ready for each in pool.values()), "one has the calls", 30.0)
        (winner,) = [host for host, each in pool.items() if health(each).ready]
        network.move_address(winner)
        until_heard(call)
        loser = pool.pop(3 - winner)
        until_warm(loser, 1)
        assert "standby" in health(loser).why
        assert pool[winner].program.stop() == 0
        network.move_address(3 - winner)
        until_heard(call)


@pytest.mark.full
def test_a_relay_that_is_told_to_end_while_it_relays_for_its_standby_ends(network: Network) -> None:
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(network.relay(0, standby=True))
        first.wait_until_ready()
        begin(first, "call", stack)
        second = stack.enter_context(network.relay(1, standby=True))
        until_warm(second, 1)
        nh_ok(place_of(second), "promote")
        assert first.program.stop() == 0
        assert health(second).ready
        assert second.program.stop() == 0
