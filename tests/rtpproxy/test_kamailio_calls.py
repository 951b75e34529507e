"""Calls of two phones through a real Kamailio with its module rtpproxy, their media relayed by nh."""

import dataclasses
import re
import signal
from collections.abc import Iterator

import psutil
import pytest

from tests.ng.kamailio import Kamailio
from tests.ng.relays import call_ids, drain, wait_until_gone
from tests.rtpproxy.kamailio import Relay, running_kamailio, running_relay
from tests.sip.calls import (
    Participants,
    cancel,
    either_end,
    establish,
    establish_after_early_media,
    establish_by_offer_in_answer,
    hang_up,
    refuse,
    reinvite,
    ring,
    talk,
)
from tests.sip.phone import Phone
from tests.sip.proxy import FAR, NEAR
from tests.sip.sdp import MediaLine
from tools.harness.media_peer import MediaPeer

pytestmark = pytest.mark.kamailio

PRIVATE = "10.99.0.7"
"""The address of a phone in its own network, behind a NAT."""


@pytest.fixture(scope="session", params=["user space", pytest.param("kernel", marks=pytest.mark.kernel)])
def relay(request: pytest.FixtureRequest) -> Iterator[Relay]:
    settings = {"kernel": "on", "kernel_interface": "lo"} if request.param == "kernel" else {"kernel": "off"}
    with running_relay(**settings) as running:
        yield running


@pytest.fixture(scope="session")
def kamailio(relay: Relay) -> Iterator[Kamailio]:
    with running_kamailio(relay.node, relay.node) as running:
        yield running


@pytest.fixture
def alice(kamailio: Kamailio) -> Iterator[Phone]:
    with Phone("alice", NEAR, kamailio.near) as phone:
        yield phone


@pytest.fixture
def bob(kamailio: Kamailio) -> Iterator[Phone]:
    with Phone("bob", FAR, kamailio.near) as phone:
        yield phone


def behind_nat(phone: Phone) -> list[MediaLine]:
    """What a phone says that does not know its public address."""
    return [dataclasses.replace(line, address=PRIVATE) for line in phone.describe()]


# --- set-up ---------------------------------------------------------------------------------------


def test_media_go_both_ways_and_only_by_the_relay(relay: Relay, alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    assert {alice.target[1], bob.target[1]} <= set(relay.nh.ports)
    talk(alice, bob)


def test_two_media(kamailio: Kamailio, relay: Relay) -> None:
    with (
        Phone("alice", NEAR, kamailio.near, media=2) as alice,
        Phone("bob", FAR, kamailio.near, media=2) as bob,
    ):
        establish(alice, bob)
        talk(alice, bob)
        hang_up(bob, alice)
        wait_until_gone(relay.nh, alice.call_id.decode())


def test_phones_behind_nats_hear_each_other(alice: Phone, bob: Phone) -> None:
    """Both announce private addresses; Kamailio passes on where their SIP comes from."""
    alice.invite(bob, behind_nat(alice))
    bob.answer(bob.receive_request("INVITE"), 200, sdp=True, media=behind_nat(bob))
    alice.ack(alice.receive_response(200))
    bob.receive_request("ACK")
    talk(alice, bob)


def test_early_media_and_the_answer_are_one_dialog(alice: Phone, bob: Phone) -> None:
    establish_after_early_media(alice, bob)
    talk(alice, bob)


def test_the_offer_may_come_in_the_answer(alice: Phone, bob: Phone) -> None:
    establish_by_offer_in_answer(alice, bob)
    talk(alice, bob)


# --- changes --------------------------------------------------------------------------------------


@either_end
def test_a_reinvite_moves_the_media_and_keeps_the_ports(ends: Participants, alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    talk(alice, bob)
    targets = alice.target, bob.target
    mover, other = ends(alice, bob)
    old = mover.media[0]
    with old:
        mover.media[0] = MediaPeer(old.address)
        reinvite(mover, other, mover.describe())
        assert (alice.target, bob.target) == targets
        talk(alice, bob)
        assert old.pending() == []


@either_end
def test_hold_and_resume(ends: Participants, alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    talk(alice, bob)
    holding, held = ends(alice, bob)
    reinvite(holding, held, [dataclasses.replace(each, address="0.0.0.0") for each in holding.describe()])
    assert held.target[0] == "0.0.0.0"
    reinvite(holding, held, holding.describe())
    talk(alice, bob)


@either_end
def test_a_refused_reinvite_changes_nothing(ends: Participants, alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    talk(alice, bob)
    asking, refusing = ends(alice, bob)
    asking.reinvite()
    refuse(asking, refusing, refusing.receive_request("INVITE"))
    talk(alice, bob)


# --- ends -----------------------------------------------------------------------------------------


@either_end
def test_bye_ends_the_call_and_its_counters_are_logged(
    ends: Participants, relay: Relay, kamailio: Kamailio, alice: Phone, bob: Phone
) -> None:
    establish(alice, bob)
    talk(alice, bob)
    call_id = alice.call_id.decode()
    assert call_id in call_ids(relay.nh)
    hang_up(*ends(alice, bob))
    wait_until_gone(relay.nh, call_id)
    said = kamailio.program.wait_for_line(f"call {call_id} ended")
    assert re.search(r"ended: \d+ 1 1 2 0", said)


def test_cancel_ends_the_call(relay: Relay, alice: Phone, bob: Phone) -> None:
    invite = ring(alice, bob)
    assert alice.call_id.decode() in call_ids(relay.nh)
    cancel(alice, bob, invite)
    wait_until_gone(relay.nh, alice.call_id.decode())


# --- another relay --------------------------------------------------------------------------------

once = pytest.mark.parametrize("relay", ["user space"], indirect=True)


def carried_by(relay: Relay, kamailio: Kamailio) -> None:
    """A call from INVITE to BYE, which `relay` carries."""
    with Phone("alice", NEAR, kamailio.near) as alice, Phone("bob", FAR, kamailio.near) as bob:
        establish(alice, bob)
        talk(alice, bob)
        assert {alice.target[1], bob.target[1]} <= set(relay.nh.ports)
        hang_up(bob, alice)
        wait_until_gone(relay.nh, alice.call_id.decode())


@once
def test_a_draining_relay_keeps_its_calls_and_gets_no_new_ones(relay: Relay) -> None:
    with (
        running_relay(kernel="off", ports=40, shards=1) as first,
        running_kamailio(first.node, relay.node) as kamailio,
        Phone("carol", NEAR, kamailio.near) as carol,
        Phone("dave", FAR, kamailio.near) as dave,
    ):
        carried_by(first, kamailio)
        establish(carol, dave)
        drain(first.nh)
        carried_by(relay, kamailio)
        talk(carol, dave)
        reinvite(dave, carol, dave.describe())
        talk(carol, dave)
        hang_up(dave, carol)
        assert first.nh.program.wait() == 0, "it ends with its last call"
        carried_by(relay, kamailio)


@once
def test_a_dead_relay_is_passed_over(relay: Relay) -> None:
    with (
        running_relay(kernel="off", ports=40, shards=1) as first,
        running_kamailio(first.node, relay.node) as kamailio,
    ):
        carried_by(first, kamailio)
        psutil.Process(first.nh.program.pid).send_signal(signal.SIGTERM)
        assert first.nh.program.wait() == 0
        carried_by(relay, kamailio)
        carried_by(relay, kamailio)
