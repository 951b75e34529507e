"""No descriptors: of a shard, whose new calls are refused, or of the supervisor, whose new clients wait."""

import contextlib
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.client import NativeClient
from nh.commands import Ping
from nh.errors import Unavailable
from tests.exhaustion.new_calls import (
    assert_new_calls_are_refused,
    lines_with,
    no_shard_fails,
    wait_until_calls_are_taken,
)
from tests.ng.client import NgClient
from tests.ng.ng_call import AUDIO, End, NgCall, talk
from tests.profiles import quick_first
from tools.harness.call import RelayedCall
from tools.harness.ports import claim_ports
from tools.harness.relay import Relay, running_relay
from tools.harness.waiting import TIMEOUT_S, eventually

HANG_S = 1.0
"""How long a shard may show no life."""


@contextlib.contextmanager
def descriptors_left(pid: int, left: int = 0) -> Iterator[None]:
    """Within the block a process can open only `left` descriptors more."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    free = [number for number in range(len(taken) + left + 1) if number not in taken]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[left], before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def supervisors_descriptors_left(relay: Relay, left: int = 0) -> Iterator[None]:
    """The same for the supervisor, when it has closed the connections of clients that have left."""
    since = time.monotonic()

    def is_alone() -> bool:
        supervisor = relay.stats().supervisor
        return supervisor.heartbeat > since and supervisor.rpc_clients == 0

    eventually(is_alone, "no client is connected")
    with descriptors_left(relay.program.pid, left):
        yield


@pytest.fixture
def relay() -> Iterator[Relay]:
    with running_relay(shards=1, hang_s=HANG_S) as running, no_shard_fails(running):
        yield running


def shard_heartbeat(relay: Relay) -> float:
    return relay.stats().shards[0].heartbeat


# --- a shard's ------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", quick_first([0, 3]))
def test_a_shard_without_descriptors_refuses_new_calls_until_it_has_some(relay: Relay, left: int) -> None:
    shard = relay.shard_processes()[0].pid
    with RelayedCall(relay.unix_address) as one:
        one.talk()
        with descriptors_left(shard, left):
            assert_new_calls_are_refused(relay, "Too many open files; raise the limit on descriptors")
            one.talk()
            [line] = lines_with(relay, "refuses new calls, those that it has go on")
            assert "Too many open files; raise the limit on descriptors (ulimit -Hn" in line
            since = shard_heartbeat(relay)
            eventually(lambda: shard_heartbeat(relay) > since + 2 * HANG_S, "it shows that it lives")
            eventually(lambda: relay.stats().totals.allocate_refused >= 6, "each is counted")
            one.talk()
        wait_until_calls_are_taken(relay)
        one.talk()


# --- the supervisor's -----------------------------------------------------------------------------


def test_clients_wait_while_the_supervisor_has_no_descriptors(relay: Relay) -> None:
    answered = threading.Event()

    def ping() -> None:
        with NativeClient(relay.unix_address, 20.0) as client:
            client.request(Ping())
        answered.set()

    waiting = threading.Thread(target=ping)
    with RelayedCall(relay.unix_address) as one:
        with supervisors_descriptors_left(relay):
            waiting.start()
            line = relay.program.wait_for_line("new clients have to wait")
            assert "Too many open files; raise the limit on descriptors" in line
            with pytest.raises(Unavailable), NativeClient(relay.unix_address, 0.3) as impatient:
                impatient.request(Ping())
            one.talk()
            assert not answered.is_set()
            assert len(lines_with(relay, "new clients have to wait")) == 1
        waiting.join(20)
        assert answered.is_set(), "the client that waited is served"
        one.talk()
        with RelayedCall(relay.unix_address) as other:
            other.talk()


def test_a_shard_that_cannot_be_replaced_for_want_of_descriptors_is_replaced_when_there_are_some() -> None:
    with running_relay(shards=1) as relay, RelayedCall(relay.unix_address) as one:
        one.talk()
        [shard] = relay.shard_processes()
        with supervisors_descriptors_left(relay):
            shard.kill()
            line = relay.program.wait_for_line("shard 0 cannot be started")
            assert "Too many open files; raise the limit on descriptors" in line
        relay.program.wait_for_line("has restored 1 call")
        one.talk()
        assert "Traceback" not in relay.program.output


def test_the_supervisors_last_descriptor_serves_one_client_after_the_other(relay: Relay) -> None:
    with supervisors_descriptors_left(relay, 1):
        for _ in range(5):
            with NativeClient(relay.unix_address, TIMEOUT_S) as client:
                client.request(Ping())
    assert relay.stats().supervisor.rpc_evicted == 0


def test_calls_that_come_by_datagrams_are_served_though_their_sockets_cannot_be_held() -> None:
    with (
        claim_ports(1) as claimed,
        running_relay(shards=1, ng=f"127.0.0.1:{claimed[0]}", interface="near/127.0.0.1") as relay,
        no_shard_fails(relay),
        NgClient(("127.0.0.1", claimed[0])) as client,
    ):
        with supervisors_descriptors_left(relay):
            for _ in range(3):
                alice, bob, call = End("alice"), End("bob"), NgCall(client)
                bob.read(call.offer(alice.describe()))
                alice.read(call.answer(bob.describe()))
                talk(alice, bob)
                call.delete()
                alice.close()
                bob.close()
            eventually(lambda: relay.stats().totals.sockets_not_held == 12, "they are counted")
            [line] = lines_with(relay, "some media sockets are not held open")
            assert "raise the limit on descriptors" in line
        NgCall(client).offer(AUDIO)
        eventually(lambda: relay.stats().totals.sockets_held == 4, "they are held")
