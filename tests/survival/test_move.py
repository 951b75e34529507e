"""`nh move`: a host gives its calls to a standby, and no phone notices; or it says why not."""

import contextlib
import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from typer.testing import Result

from nh.cli.health import examine
from nh.cli.move import SOME_UNSAVED
from nh.client import NativeClient
from nh.commands import Demote
from nh.config import Settings
from nh.errors import Refused
from tests.kernel_support import proved_obstacle, skip_or_fail
from tests.netns import needs_namespaces
from tools.harness.command import nh, nh_ok
from tools.harness.deployment import has_ended
from tools.harness.hosts import PREFIX, Host, Hosts, some_hosts
from tools.harness.waiting import eventually

pytestmark = [pytest.mark.valkey, pytest.mark.full, pytest.mark.timeout(180)]

ARRIVES_S = 20.0
"""No packet is lost, but on a busy host it is late."""

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


def begin_move(network: Hosts, host: Host) -> None:
    """Have a host give its calls to the only standby, which it may have to learn of yet."""

    def begins() -> bool:
        with contextlib.suppress(Refused), NativeClient(host.deployment.address) as client:
            client.request(Demote())
            return True
        return False

    with network.phones.entered():
        eventually(begins, "it knows the standby", ARRIVES_S)


def name_of(host: Host) -> str:
    return f"{socket.gethostname()}:{host.deployment.place.directory}"


def announce_for_ever(network: Hosts, standby: Host) -> None:
    """Have the server name a standby that has stopped, and that it would forget otherwise."""
    with network.phones.entered():
        network.server.client().hset(f"{{{PREFIX}}}:standbys", name_of(standby), f"{10**15} 1")


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
        assert call.media_flow(ARRIVES_S)
        assert other.media_flow(ARRIVES_S)
        one.wait_until_warm(2)
        back = json.loads(nh_ok(two.deployment.place, "move", "--json").stdout)
        assert (back["to"], back["calls"], back["standby"]) == (name_of(one), 2, True)
        network.move_address(one)
        assert call.media_flow(ARRIVES_S)
        assert other.media_flow(ARRIVES_S)


def test_shards_whose_supervisor_dies_when_the_standby_has_the_calls_relay_until_the_address_moves(
    monkeypatch: pytest.MonkeyPatch, bug: Path
) -> None:
    """Its service manager starts it again as a standby, which knows that another relay has the calls."""
    needs_namespaces()
    bug.write_text(f"Supervisor._on_given {signal.SIGKILL.value}")
    with some_hosts(lease_s=2 * LEASE_S, standby=True) as network, ThreadPoolExecutor(1) as thread:
        one, two = network.hosts
        network.move_address(one)
        before = one.start()
        monkeypatch.delenv("TEST_BUG")
        with network.make_call(one, "call") as call:
            supervisor, (shard,) = psutil.Process(before.program.pid), before.shard_processes()
            two.launch()
            two.wait_until_warm(1)
            moving = thread.submit(move, one)
            eventually(lambda: has_ended(supervisor), "the supervisor is killed", ARRIVES_S)
            one.launch()
            one.wait_until_warm(1)
            assert call.media_flow(ARRIVES_S)
            assert shard.is_running(), "the address is at its host still"
            network.move_address(two)
            assert call.media_flow(ARRIVES_S)
            eventually(lambda: has_ended(shard), "it ends with the lease", 4 * LEASE_S)
            assert "was killed" in moving.result().output


@pytest.mark.parametrize("kernel", [False, True], ids=["user space", "kernel"])
def test_calls_come_back_as_they_are_although_shards_from_before_the_move_have_them_as_they_were(
    monkeypatch: pytest.MonkeyPatch, bug: Path, kernel: bool
) -> None:
    """Their supervisor has died since, so they relay until the end of its lease.

    Their flows in the kernel are in maps that have another size than those of the standby.
    """
    needs_namespaces()
    if kernel and (why := proved_obstacle()):
        skip_or_fail(why)
    bug.write_text(f"Supervisor._on_given {signal.SIGKILL.value}")
    with some_hosts(lease_s=60, standby=True, kernel="on" if kernel else "off") as network:
        one, two = network.hosts
        network.move_address(one)
        before = one.start(standby=False)  # a standby leaves a server without data to others for the lease
        monkeypatch.delenv("TEST_BUG")
        with network.make_call(one, "over"), network.make_call(one, "call") as call:
            supervisor, (shard,) = psutil.Process(before.program.pid), before.shard_processes()
            two.launch()
            two.wait_until_warm(2)
            begin_move(network, one)
            eventually(lambda: has_ended(supervisor), "the supervisor is killed", ARRIVES_S)
            network.move_address(two)
            one.launch(kernel_flows=300)
            one.wait_until_warm(2)
            nh_ok(two.deployment.place, "close", "over")
            with network.make_call(two, "new") as new:
                one.wait_until_warm(2)
                assert shard.is_running()
                begin_move(network, two)
                one.deployment.relay.wait_until_ready()
                network.move_address(one)
                assert call.media_flow(ARRIVES_S)
                assert new.media_flow(ARRIVES_S)
                assert one.deployment.stats().shards[0].calls == 2
                assert has_ended(shard)


def test_a_reload_while_a_relay_becomes_a_standby_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch, bug: Path
) -> None:
    needs_namespaces()
    bug.write_text(f"execute_anew {signal.SIGHUP.value}")
    with some_hosts(lease_s=LEASE_S, standby=True) as network:
        one, two = network.hosts
        network.move_address(one)
        one.start()
        monkeypatch.delenv("TEST_BUG")
        with network.make_call(one, "call"):
            two.launch()
            two.wait_until_warm(1)
            nh_ok(one.deployment.place, "move")
            one.wait_until_warm(1)
        assert not bug.exists()


def test_a_call_that_cannot_be_saved_goes_with_the_others_and_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needs_namespaces()
    bug = tmp_path / "bug"
    bug.write_text("Checkpointer._try_to_save>Checkpointer.save")
    monkeypatch.setenv("TEST_BUG_OF_SHARD", str(bug))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "injected_bugs"))
    with some_hosts(lease_s=LEASE_S, standby=True) as network:
        one, two = network.hosts
        network.move_address(one)
        one.start()
        with network.make_call(one, "call") as call, network.make_call(one, "other") as other:
            two.launch()
            two.wait_until_warm(2)
            moved = move(one, "--json")
            assert moved.exit_code == SOME_UNSAVED
            assert json.loads(moved.stdout)["unsaved"] in ("call", "other")
            network.move_address(two)
            assert call.media_flow(ARRIVES_S)
            assert other.media_flow(ARRIVES_S)


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
        assert call.media_flow(ARRIVES_S)
        wrong = move(two)
        assert wrong.exit_code == 1
        assert "nh is a standby" in wrong.output


@pytest.mark.parametrize("standby", [True, False], ids=["may become a standby", "is no standby"])
def test_a_relay_whose_calls_the_standby_does_not_take_has_them_all_the_time(standby: bool) -> None:
    needs_namespaces()
    with some_hosts(lease_s=LEASE_S) as network:
        one, two = network.hosts
        network.move_address(one)
        one.start(standby=standby)
        with network.make_call(one, "call") as call, ThreadPoolExecutor(1) as thread:
            two.launch(standby=True)
            two.wait_until_warm(1)
            processes = two.stop()
            announce_for_ever(network, two)
            moving = thread.submit(move, one, "--to", name_of(two))
            while not moving.done():
                assert call.media_flow(ARRIVES_S)
            failed = moving.result()
            assert failed.exit_code == 1
            assert f"the standby {name_of(two)} has not taken the calls within 3 s" in failed.output
            assert "the calls stay here, and this host relays on" in failed.output
            two.resume(processes)
            two.wait_until_warm(1)
            with network.make_call(one, "new") as new:
                assert new.media_flow(ARRIVES_S)
                two.wait_until_warm(2)
            assert call.media_flow(ARRIVES_S)


def test_a_relay_that_becomes_no_standby_ends_when_the_standby_has_its_calls() -> None:
    needs_namespaces()
    with some_hosts(lease_s=LEASE_S) as network:
        one, two = network.hosts
        network.move_address(one)
        relay = one.start()
        with network.make_call(one, "call") as call:
            two.launch(standby=True)
            two.wait_until_warm(1)
            assert f"moved 1 call to {name_of(two)}; nh on this host has ended" in move(one).output
            assert relay.program.wait(0) == 0
            network.move_address(two)
            assert call.media_flow(ARRIVES_S)
