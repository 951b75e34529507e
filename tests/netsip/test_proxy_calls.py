"""Calls of two phones through a real Net::SIP proxy that has its media relayed by nh."""

import dataclasses
from collections.abc import Iterator

import pytest

from tests.sip.calls import (
    Participants,
    cancel,
    either_end,
    establish,
    establish_after_early_media,
    hang_up,
    refuse,
    reinvite,
    ring,
    talk,
)
from tests.sip.phone import Phone
from tests.sip.proxy import FAR, NEAR, Legs, running_proxy
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.relay import Relay, running_relay
from tools.harness.waiting import eventually

pytestmark = pytest.mark.perl


@pytest.fixture(scope="session")
def legs(relay: Relay) -> Iterator[Legs]:
    """The two sides of a proxy that asks the relay."""
    with running_proxy(relay.unix_address) as running:
        yield running


@pytest.fixture
def alice(legs: Legs) -> Iterator[Phone]:
    with Phone("alice", NEAR, legs[0]) as phone:
        yield phone


@pytest.fixture
def bob(legs: Legs) -> Iterator[Phone]:
    with Phone("bob", FAR, legs[1]) as phone:
        yield phone


# --- set-up ---------------------------------------------------------------------------------------


def test_rtp_and_rtcp_go_both_ways(alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    talk(alice, bob)


def test_the_phones_only_see_the_relay(relay: Relay, alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    assert alice.target[0] == NEAR
    assert bob.target[0] == FAR
    assert {alice.target[1], bob.target[1]} <= set(relay.ports)


def test_calls_go_in_either_direction(alice: Phone, bob: Phone) -> None:
    establish(bob, alice)
    talk(bob, alice)


def test_two_media(legs: Legs) -> None:
    with Phone("alice", NEAR, legs[0], media=2) as alice, Phone("bob", FAR, legs[1], media=2) as bob:
        establish(alice, bob)
        talk(alice, bob)


def test_early_media(alice: Phone, bob: Phone) -> None:
    establish_after_early_media(alice, bob)
    talk(alice, bob)


def test_a_call_between_ipv4_and_ipv6(relay: Relay) -> None:
    with (
        running_proxy(relay.unix_address, NEAR, "::1") as legs,
        Phone("alice", NEAR, legs[0]) as alice,
        Phone("bob", "::1", legs[1]) as bob,
    ):
        establish(alice, bob)
        assert bob.target[0] == "::1"
        talk(alice, bob)


def test_a_proxy_on_tcp(relay: Relay) -> None:
    with (
        running_proxy(relay.tcp_address) as legs,
        Phone("alice", NEAR, legs[0]) as alice,
        Phone("bob", FAR, legs[1]) as bob,
    ):
        establish(alice, bob)
        talk(alice, bob)


# --- changes --------------------------------------------------------------------------------------


@either_end
def test_a_reinvite_moves_the_media(ends: Participants, alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    talk(alice, bob)
    mover, other = ends(alice, bob)
    old = mover.media[0]
    with old:
        mover.media[0] = MediaPeer(old.address)
        reinvite(mover, other, mover.describe())
        talk(alice, bob)
        assert old.pending(RTP) == []
        assert old.pending(RTCP) == []


@either_end
def test_a_reinvite_adds_a_medium(ends: Participants, legs: Legs) -> None:
    with Phone("alice", NEAR, legs[0], media=2) as alice, Phone("bob", FAR, legs[1], media=2) as bob:
        adding, other = ends(alice, bob)
        audio_of_alice, audio_of_bob = alice.describe()[:1], bob.describe()[:1]
        alice.invite(bob, audio_of_alice)
        bob.answer(bob.receive_request("INVITE"), 200, media=audio_of_bob)
        alice.ack(alice.receive_response(200))
        bob.receive_request("ACK")
        reinvite(adding, other, adding.describe())
        talk(alice, bob)


@either_end
@pytest.mark.parametrize(
    "hold",
    [
        pytest.param({"address": "0.0.0.0"}, id="0.0.0.0"),
        pytest.param({"port": 0, "attributes": ("inactive",)}, id="port 0"),
    ],
)
def test_hold_and_resume(ends: Participants, hold: dict[str, object], alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    talk(alice, bob)
    holding, held = ends(alice, bob)
    silent = [dataclasses.replace(line, **hold) for line in holding.describe()]  # type: ignore[arg-type]
    reinvite(holding, held, silent)
    assert held.target[1] == 0
    holding.media[0].send(b"music on hold", holding.target)
    assert held.media[0].receive()[0] == b"music on hold"
    reinvite(holding, held, holding.describe())
    talk(alice, bob)
    assert holding.media[0].pending() == []


# --- ends -----------------------------------------------------------------------------------------


@either_end
def test_bye_ends_the_call(ends: Participants, relay: Relay, alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    talk(alice, bob)
    assert relay.calls(alice.call_id).calls
    hang_up(*ends(alice, bob))
    assert not relay.calls(alice.call_id).calls


def test_cancel_frees_the_ports(relay: Relay, alice: Phone, bob: Phone) -> None:
    invite = ring(alice, bob)
    assert relay.calls(alice.call_id).calls
    cancel(alice, bob, invite)
    assert not relay.calls(alice.call_id).calls


def test_an_error_response_ends_the_call(relay: Relay, alice: Phone, bob: Phone) -> None:
    alice.invite(bob)
    invite = bob.receive_request("INVITE")
    assert relay.calls(alice.call_id).calls
    refuse(alice, bob, invite)
    assert not relay.calls(alice.call_id).calls


def test_phones_can_call_again(relay: Relay, alice: Phone, bob: Phone) -> None:
    for _ in range(3):
        establish(alice, bob)
        talk(alice, bob)
        hang_up(alice, bob)
        alice.forget()
        bob.forget()


# --- sources --------------------------------------------------------------------------------------


def test_a_third_party_is_shut_out(alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    talk(alice, bob)
    with MediaPeer(NEAR) as mallory:
        for component in (RTP, RTCP):
            mallory.send(b"listen to me", alice.target, component)
            alice.media[0].send(b"I am alice", alice.target, component)
            assert bob.media[0].receive(component)[0] == b"I am alice"
            assert bob.media[0].pending(component) == []
        bob.media[0].send(b"for alice", bob.target)
        assert alice.media[0].receive()[0] == b"for alice"
        assert mallory.pending() == []


def test_a_third_party_is_counted_while_the_source_is_open(relay: Relay, alice: Phone, bob: Phone) -> None:
    """Alice's NAT maps her ports elsewhere: her packets could still be outranked, but not by another IP."""
    with MediaPeer(NEAR) as mapping, MediaPeer("127.0.0.3") as mallory:
        establish(alice, bob)
        for component in (RTP, RTCP):
            mapping.send(b"I am alice", alice.target, component)
            assert bob.media[0].receive(component)[0] == b"I am alice"
            mallory.send(b"listen to me", alice.target, component)
            mapping.send(b"still alice", alice.target, component)
            assert bob.media[0].receive(component)[0] == b"still alice"
            [session] = relay.call(alice.call_id).sessions
            assert sum(session.pairs[component].from_.dropped.values()) == 1
        bob.media[0].send(b"for alice", bob.target)
        assert mapping.receive()[0] == b"for alice"
        assert mallory.pending() == []


def test_rtp_and_rtcp_latch_their_sources_by_themselves(alice: Phone, bob: Phone) -> None:
    """Alice's NAT maps both of her ports elsewhere than she says."""
    with MediaPeer(NEAR) as rtp_mapping, MediaPeer(NEAR) as rtcp_mapping:
        establish(alice, bob)
        rtp_mapping.send(b"rtp", alice.target, RTP)
        rtcp_mapping.send(b"rtcp", alice.target, RTCP)
        assert bob.media[0].receive(RTP)[0] == b"rtp"
        assert bob.media[0].receive(RTCP)[0] == b"rtcp"
        bob.media[0].send(b"back", bob.target, RTP)
        bob.media[0].send(b"report", bob.target, RTCP)
        assert rtp_mapping.receive(RTP)[0] == b"back"
        assert rtcp_mapping.receive(RTCP)[0] == b"report"


# --- relays of their own --------------------------------------------------------------------------


@pytest.fixture
def impatient() -> Iterator[Relay]:
    """A relay that gives up on a session after five seconds of silence."""
    with running_relay(silent_s=5) as running:
        yield running


def test_a_silent_session_expires(impatient: Relay) -> None:
    with (
        running_proxy(impatient.unix_address) as legs,
        Phone("alice", NEAR, legs[0]) as alice,
        Phone("bob", FAR, legs[1]) as bob,
    ):
        establish(alice, bob)
        talk(alice, bob)
        assert impatient.calls(alice.call_id).calls
        impatient.wait_until_gone(alice.call_id)
        eventually(lambda: impatient.stats().totals.expired_silent == 1, "the expiry is counted")
        eventually(impatient.all_ports_are_free, "all ports are free")
