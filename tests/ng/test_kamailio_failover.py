"""Kamailio with two relays: a call that the first one does not take is relayed by the second."""

import contextlib
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.ng.client import NgClient, NgError
from tests.ng.kamailio import Kamailio, running_kamailio
from tests.ng.ng_call import NgCall
from tests.ng.relays import NgRelay, call_ids, drain, running_ng_relay, running_nh
from tests.sip.calls import establish, hang_up, talk
from tests.sip.phone import Phone
from tests.sip.proxy import FAR, NEAR
from tests.sip.sdp import MediaLine

pytestmark = pytest.mark.kamailio

FIRST, SECOND = 1000, 1
"""Weights: nearly every call is offered to the first relay first."""

either_relay = pytest.mark.parametrize("name", ["nh", pytest.param("rtpengine", marks=pytest.mark.rtpengine)])


class Pair(NamedTuple):
    """A Kamailio with two relays."""

    kamailio: Kamailio
    first: NgRelay
    second: NgRelay


@contextlib.contextmanager
def running_pair(first: NgRelay, second: NgRelay) -> Iterator[Pair]:
    with running_kamailio([(*first.address, FIRST), (*second.address, SECOND)]) as kamailio:
        yield Pair(kamailio, first, second)


def call_through(pair: Pair) -> None:
    """A call from INVITE to BYE, which the second relay carries."""
    with (
        Phone("alice", NEAR, pair.kamailio.near) as alice,
        Phone("bob", FAR, pair.kamailio.near) as bob,
    ):
        establish(alice, bob)
        talk(alice, bob)
        assert {alice.target[1], bob.target[1]} <= set(pair.second.ports)
        assert alice.call_id.decode() in call_ids(pair.second)
        hang_up(bob, alice)
        assert alice.call_id.decode() not in call_ids(pair.second)


def fill_with_calls(relay: NgRelay) -> None:
    with NgClient(relay.address) as client, pytest.raises(NgError):
        for number in itertools.count():
            NgCall(client).offer([MediaLine("127.0.0.1", 40_000 + 2 * number)])


@either_relay
@pytest.mark.parametrize("limit", [{"max_calls": 1}, {"ports": 8}], ids=lambda limit: next(iter(limit)))
def test_a_full_relay_is_passed_over(name: str, limit: dict[str, int]) -> None:
    with (
        running_ng_relay(name, **limit) as first,
        running_ng_relay(name) as second,
        running_pair(first, second) as pair,
    ):
        fill_with_calls(first)
        for _ in range(3):
            call_through(pair)
        assert "disabled: 1" not in pair.kamailio.rpc("rtpengine.show", "all"), "full is not dead"


@either_relay
def test_calls_go_back_to_a_relay_that_has_room_again(name: str) -> None:
    with (
        running_ng_relay(name, max_calls=1) as first,
        running_ng_relay(name) as second,
        running_pair(first, second) as pair,
    ):
        fill_with_calls(first)
        call_through(pair)
        with NgClient(first.address) as client:
            for call_id in call_ids(first):
                client.get("delete", call_id=call_id, delete_delay=0)
        with (
            Phone("alice", NEAR, pair.kamailio.near) as alice,
            Phone("bob", FAR, pair.kamailio.near) as bob,
        ):
            establish(alice, bob)
            talk(alice, bob)
            assert alice.call_id.decode() in call_ids(first)


def test_a_draining_relay_keeps_its_calls_and_is_passed_over_with_new_ones() -> None:
    with (
        running_nh() as first,
        running_nh() as second,
        running_pair(first, second) as pair,
        Phone("alice", NEAR, pair.kamailio.near) as alice,
        Phone("bob", FAR, pair.kamailio.near) as bob,
    ):
        establish(alice, bob)
        drain(first)
        for _ in range(3):
            call_through(pair)
        assert "disabled: 1" not in pair.kamailio.rpc("rtpengine.show", "all"), "draining is not dead"
        talk(alice, bob)
        assert {alice.target[1], bob.target[1]} <= set(first.ports)
        hang_up(alice, bob)
        assert first.program.wait() == 0


@either_relay
def test_a_relay_that_has_ended_is_passed_over(name: str) -> None:
    with running_ng_relay(name) as second, contextlib.ExitStack() as ends:
        first = ends.enter_context(running_ng_relay(name))
        with running_pair(first, second) as pair:
            ends.close()
            for _ in range(2):
                call_through(pair)
            assert "disabled: 1" in pair.kamailio.rpc("rtpengine.show", "all")
