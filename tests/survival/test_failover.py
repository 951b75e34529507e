"""A host is lost, stopped or cut off: another takes its calls over, and one alone serves them."""

import contextlib
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.netns import needs_namespaces
from tools.harness.call import RelayedCall
from tools.harness.hosts import Hosts, two_hosts
from tools.harness.waiting import eventually

pytestmark = pytest.mark.valkey


@pytest.fixture
def network() -> Iterator[Hosts]:
    needs_namespaces()
    with two_hosts() as network:
        network.move_address(network.hosts[0])
        yield network


def until_heard(call: RelayedCall) -> float:
    """Wait until a call is heard; the seconds that it took."""
    begun = time.monotonic()
    eventually(call.is_heard, "the call goes on", 30.0)
    return time.monotonic() - begun


def test_a_standby_takes_the_calls_of_a_host_that_dies_over(network: Hosts) -> None:
    one, two = network.hosts
    one.start()
    with contextlib.ExitStack() as phones:
        calls = [phones.enter_context(network.make_call(one, f"call {number}")) for number in range(5)]
        eventually(lambda: all(call.is_heard() for call in calls), "all calls are heard")
        eventually(lambda: len(network.stored()) == 5, "all calls are stored")
        second = two.start_standby()
        one.kill()
        network.move_address(two)
        for call in calls:
            until_heard(call)
        second.program.wait_for_line("5 calls are in the store")
        assert second.program.stop() == 0


@pytest.mark.full
def test_a_host_that_was_stopped_ends_when_it_goes_on_and_writes_nothing(network: Hosts) -> None:
    one, two = network.hosts
    first = one.start(state_away="take")
    with network.make_call(one, "call") as call:
        eventually(lambda: network.stored() == {b"call"}, "the call is stored")
        second = two.start_standby()
        processes = one.stop()
        network.move_address(two)
        until_heard(call)
        with network.make_call(two, "new"):
            eventually(lambda: network.stored() == {b"call", b"new"}, "both calls are stored")
        for process in processes:
            process.resume()
        assert first.program.wait(30) == 1
        psutil.wait_procs(processes, 30)
        assert not any(process.is_running() for process in processes)
        assert "has the calls now; this relay ends at once" in first.program.output
        assert call.is_heard()
        assert network.stored() == {b"call", b"new"}
        assert second.program.stop() == 0


@pytest.mark.full
def test_a_host_that_is_cut_off_ends_when_its_lease_does(network: Hosts) -> None:
    one, two = network.hosts
    first = one.start()
    with network.make_call(one, "call") as call:
        eventually(lambda: network.stored() == {b"call"}, "the call is stored")
        second = two.start_standby()
        one.cut()
        network.move_address(two)
        until_heard(call)
        assert first.program.wait(30) == 1
        assert "the lease of 3 s ran out" in first.program.output
        assert second.program.stop() == 0


def test_an_orderly_end_gives_the_calls_to_the_standby_at_once(network: Hosts) -> None:
    one, two = network.hosts
    first = one.start()
    with network.make_call(one, "call") as call:
        eventually(lambda: network.stored() == {b"call"}, "the call is stored")
        second = two.start_standby()
        assert first.program.stop() == 0
        network.move_address(two)
        until_heard(call)
        assert second.program.stop() == 0
