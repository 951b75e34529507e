"""What must not stop calls: clients that say nothing, and the death of a shard."""

import contextlib
import socket
from collections.abc import Iterator

import psutil
import pytest

from nh.stats import ShardState
from tests.sip.calls import establish, hang_up, talk
from tests.sip.phone import Phone
from tests.sip.proxy import FAR, NEAR, Legs, running_proxy
from tools.harness.relay import Relay, running_relay
from tools.harness.waiting import eventually

pytestmark = pytest.mark.perl

IDLE_CLIENTS = 200


@pytest.fixture
def own_relay() -> Iterator[Relay]:
    with running_relay() as running:
        yield running


@contextlib.contextmanager
def two_phones(legs: Legs) -> Iterator[tuple[Phone, Phone]]:
    with Phone("alice", NEAR, legs[0]) as alice, Phone("bob", FAR, legs[1]) as bob:
        yield alice, bob


def connect(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    return client


@pytest.mark.parametrize("said", [b"", b"\0\0", b"\0\0\x10\0half a frame"])
def test_200_silent_clients_delay_no_other_client(own_relay: Relay, said: bytes) -> None:
    with contextlib.ExitStack() as open_sockets, running_proxy(own_relay.unix_address) as legs:
        with two_phones(legs) as (alice, bob):
            establish(alice, bob)
            for _ in range(IDLE_CLIENTS):
                client = open_sockets.enter_context(connect(own_relay.unix_address))
                client.sendall(said)
            talk(alice, bob)
            with two_phones(legs) as (carol, dave):
                establish(carol, dave)
                talk(carol, dave)
                hang_up(carol, dave)
            hang_up(bob, alice)
        assert not own_relay.calls().calls


def test_the_death_of_a_shard_leaves_the_calls_of_the_other(own_relay: Relay) -> None:
    with contextlib.ExitStack() as phones, running_proxy(own_relay.unix_address) as legs:

        def new_call() -> tuple[int, Phone, Phone]:
            alice, bob = phones.enter_context(two_phones(legs))
            establish(alice, bob)
            talk(alice, bob)
            return own_relay.call(alice.call_id).shard, alice, bob

        by_shard: dict[int, tuple[Phone, Phone]] = {}
        while len(by_shard) < 2:
            shard, *ends = new_call()
            by_shard[shard] = (ends[0], ends[1])
        alice, bob = by_shard[1]
        talk(alice, bob)

        doomed = own_relay.stats().shards[0].pid
        psutil.Process(doomed).kill()
        talk(alice, bob)

        def successor_is_up() -> bool:
            shard = own_relay.stats().shards[0]
            return shard.restarts == 1 and shard.state is ShardState.UP and shard.pid != doomed

        eventually(successor_is_up, "the dead shard has a successor")
        talk(alice, bob)
        while new_call()[0] != 0:
            pass
        hang_up(bob, alice)
