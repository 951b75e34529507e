"""No free ports: new calls are refused and told why, and are taken as soon as a call has ended."""

from collections.abc import Iterator

import pytest

from tests.exhaustion.new_calls import (
    assert_new_calls_are_refused,
    lines_with,
    no_shard_fails,
    wait_until_calls_are_taken,
)
from tests.ng.client import NgClient, NgError
from tests.ng.ng_call import AUDIO, End, NgCall, talk
from tests.ng.relays import NgRelay, running_nh
from tests.sip.sdp import MediaLine
from tools.harness.call import RelayedCall
from tools.harness.relay import Relay, running_relay
from tools.harness.waiting import eventually

REFUSED = "refuses new calls, those that it has go on: no 2 consecutive ports free"


@pytest.fixture
def relay() -> Iterator[Relay]:
    """A relay with room for one call."""
    with running_relay(shards=1, ports=4) as running, no_shard_fails(running):
        yield running


def test_who_talks_talks_on_and_new_calls_are_refused_until_there_are_ports(relay: Relay) -> None:
    with RelayedCall(relay.unix_address) as one:
        one.talk()
        assert_new_calls_are_refused(relay, r"no 2 consecutive ports free on 127\.0\.0\.1 in .*widen --ports")
        one.talk()
        [line] = lines_with(relay, REFUSED)
        assert "(0 of 4 free); widen --ports" in line
        eventually(lambda: relay.stats().totals.allocate_refused == 6, "each is counted")
        assert relay.stats().totals.ports_free == 0
        one.end()
    wait_until_calls_are_taken(relay)


@pytest.fixture
def ng_relay() -> Iterator[NgRelay]:
    """The same for ng."""
    with running_nh(shards=1, ports=4) as running:
        yield running


def test_in_ng_who_talks_talks_on_and_is_refused_one_more_medium(ng_relay: NgRelay) -> None:
    with NgClient(ng_relay.address) as client:
        alice, bob = End("alice", media=2), End("bob")
        call = NgCall(client)
        bob.read(call.offer(alice.describe()[:1]))
        alice.read(call.answer(bob.describe()))
        talk(alice, bob)
        for _ in range(3):
            with pytest.raises(NgError, match="Ran out of ports"):
                NgCall(client).offer([MediaLine("127.0.0.1", 40_000)])
        with pytest.raises(NgError, match="Ran out of ports"):
            call.reoffer(alice.describe())
        talk(alice, bob)
        assert len([line for line in ng_relay.program.lines if REFUSED in line]) == 1
        call.delete()
        NgCall(client).offer(AUDIO)
        alice.close()
        bob.close()
