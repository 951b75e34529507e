"""Perl's Net::SIP::NATHelper::Client against nh and against Perl's own server: the same holds for both."""

from typing import Any

import pytest

from tests.netsip.perl_calls import (
    ALICE,
    AUDIO,
    BOB,
    CAROL,
    REQUEST,
    RESPONSE,
    basic,
    is_bound,
    new_call,
    set_up,
)
from tests.netsip.perl_helper import HelperDied, PerlHelperClient
from tests.profiles import quick_first
from tests.sip.sdp import MediaLine, write_sdp
from tools.harness.media_peer import MediaPeer
from tools.harness.waiting import eventually

pytestmark = pytest.mark.perl


# --- allocate -------------------------------------------------------------------------------------


def test_ports_are_consecutive_from_an_even_one(helper: PerlHelperClient) -> None:
    [[address, port, number]] = helper.allocate(basic(new_call()), REQUEST, AUDIO)
    assert (address, number) == ("127.0.0.1", 2)
    assert port % 2 == 0
    assert is_bound(address, port)
    assert is_bound(address, port + 1)


def test_each_medium_has_ports_of_its_own(helper: PerlHelperClient) -> None:
    offer = write_sdp(
        [
            MediaLine("127.0.0.1", 30_000),
            MediaLine("127.0.0.1", 30_010, kind="video", ports=2),
            MediaLine("127.0.0.1", 30_020, kind="image", proto="udptl"),
        ]
    )
    media = helper.allocate(basic(new_call()), REQUEST, offer)
    assert [number for _, _, number in media] == [2, 4, 1]
    ports = [port + offset for _, port, number in media for offset in range(number)]
    assert len(set(ports)) == 7
    assert all(port % 2 == 0 for _, port, _ in media)
    assert all(is_bound("127.0.0.1", port) for port in ports)


def test_both_sides_have_different_ports(helper: PerlHelperClient) -> None:
    call = basic(new_call())
    assert helper.allocate(call, REQUEST, AUDIO) != helper.allocate(call, RESPONSE, AUDIO)


@pytest.mark.parametrize("side", [REQUEST, RESPONSE])
def test_a_retransmitted_allocate_gets_the_same_ports(helper: PerlHelperClient, side: int) -> None:
    call = basic(new_call())
    first = helper.allocate(call, side, AUDIO)
    assert helper.allocate(call, side, AUDIO) == first
    assert helper.allocate(call, side, write_sdp([MediaLine("127.0.0.3", 40_000)])) == first


def test_forked_responses_have_ports_of_their_own(helper: PerlHelperClient) -> None:
    call = new_call()
    helper.allocate(basic(call), REQUEST, AUDIO)
    to_bob = helper.allocate(basic(call, receiver=BOB), RESPONSE, AUDIO)
    to_carol = helper.allocate(basic(call, receiver=CAROL), RESPONSE, AUDIO)
    assert to_bob != to_carol
    assert helper.allocate(basic(call, receiver=BOB), RESPONSE, AUDIO) == to_bob


def test_an_unknown_lower_cseq_is_refused(helper: PerlHelperClient) -> None:
    call = new_call()
    assert helper.allocate(basic(call, "10"), REQUEST, AUDIO)
    assert helper.allocate(basic(call, "9"), REQUEST, AUDIO) is None


def test_a_known_lower_cseq_still_gets_its_ports(helper: PerlHelperClient) -> None:
    call = new_call()
    first = helper.allocate(basic(call, "9"), REQUEST, AUDIO)
    assert helper.allocate(basic(call, "10"), REQUEST, AUDIO) != first
    assert helper.allocate(basic(call, "9"), REQUEST, AUDIO) == first


def test_the_cseqs_of_the_two_ends_are_independent(helper: PerlHelperClient) -> None:
    call = new_call()
    assert helper.allocate(basic(call, "10"), REQUEST, AUDIO)
    assert helper.allocate(basic(call, "1", sender=BOB, receiver=ALICE), REQUEST, AUDIO)


@pytest.mark.parametrize(
    "inactive", [MediaLine("127.0.0.1", 0), MediaLine("0.0.0.0", 30_000), MediaLine("::", 30_000)]
)
def test_an_inactive_medium_is_answered_with_port_0(helper: PerlHelperClient, inactive: MediaLine) -> None:
    media = helper.allocate(basic(new_call()), REQUEST, write_sdp([inactive, MediaLine("127.0.0.1", 30_010)]))
    assert media[0] == ["127.0.0.1", 0, 2]
    assert media[1][1] != 0


def test_no_media_are_answered_with_an_empty_list(helper: PerlHelperClient) -> None:
    assert helper.allocate(basic(new_call()), REQUEST, write_sdp([])) == []


def test_an_address_of_another_host_is_refused(helper: PerlHelperClient) -> None:
    assert helper.allocate(basic(new_call()), REQUEST, AUDIO, address="192.0.2.1") is None


def test_ipv6(helper: PerlHelperClient) -> None:
    offer = write_sdp([MediaLine("::1", 30_000)])
    [[address, port, _]] = helper.allocate(basic(new_call()), REQUEST, offer, address="::1")
    assert address == "::1"
    assert is_bound("::1", port + 1)


# --- activate -------------------------------------------------------------------------------------


def test_activate_is_1_then_minus_1(helper: PerlHelperClient) -> None:
    call = basic(new_call())
    helper.allocate(call, REQUEST, AUDIO)
    helper.allocate(call, RESPONSE, AUDIO)
    assert helper.activate(call) == 1
    assert helper.activate(call) == -1


def test_activate_takes_a_parameter(helper: PerlHelperClient) -> None:
    call = basic(new_call())
    helper.allocate(call, REQUEST, AUDIO)
    helper.allocate(call, RESPONSE, AUDIO)
    assert helper.activate(call, {"tariff": "night"}) == 1


def test_activate_needs_both_sides(helper: PerlHelperClient) -> None:
    call = basic(new_call())
    assert helper.activate(call) is None
    helper.allocate(call, REQUEST, AUDIO)
    assert helper.activate(call) is None
    helper.allocate(call, RESPONSE, AUDIO)
    assert helper.activate(basic(call[0], "2")) is None
    assert helper.activate(basic(call[0], receiver=CAROL)) is None
    assert helper.activate(call) == 1


@pytest.mark.parametrize(("sender", "receiver"), quick_first([(ALICE, BOB), (BOB, ALICE)]))
def test_a_newer_session_replaces_the_older_one(helper: PerlHelperClient, sender: str, receiver: str) -> None:
    call = new_call()
    with MediaPeer("127.0.0.1") as alice, MediaPeer("127.0.0.1") as bob:
        offer = write_sdp([MediaLine(alice.address, alice.port)])
        answer = write_sdp([MediaLine(bob.address, bob.port)])
        [old_to_alice], [old_to_bob] = set_up(helper, basic(call, "1"), offer, answer)
        alice.send(b"hello", old_to_bob)
        bob.receive()
        bob.send(b"good day", old_to_alice)
        alice.receive()
        [new_to_alice], _ = set_up(helper, basic(call, "2", sender, receiver), offer, answer)
    eventually(lambda: not is_bound(*old_to_alice), "the replaced session's ports are closed")
    assert is_bound(*new_to_alice)
    assert helper.close_session(basic(call, None)) == 1


# --- close ----------------------------------------------------------------------------------------


def test_close_with_a_cseq_ends_that_transaction(helper: PerlHelperClient) -> None:
    call = basic(new_call())
    [(address, port)], _ = set_up(helper, call)
    assert helper.close_session(call) == 1
    assert not is_bound(address, port)
    assert helper.activate(call) is None
    assert helper.close_session(call) in (None, 0)


@pytest.mark.parametrize("cseq", [None, 0, "0", ""])
def test_bye_closes_the_sessions_between_the_ends(helper: PerlHelperClient, cseq: Any) -> None:
    call = new_call()
    [(address, port)], _ = set_up(helper, basic(call))
    assert helper.close_session(basic(call, cseq)) == 1
    assert not is_bound(address, port)


def test_bye_of_the_callee_closes_too(helper: PerlHelperClient) -> None:
    call = new_call()
    [(address, port)], _ = set_up(helper, basic(call))
    assert helper.close_session(basic(call, None, sender=BOB, receiver=ALICE)) == 1
    assert not is_bound(address, port)


def test_bye_between_others_closes_nothing(helper: PerlHelperClient) -> None:
    call = new_call()
    [(address, port)], _ = set_up(helper, basic(call))
    assert helper.close_session(basic(call, None, sender=CAROL, receiver=BOB)) is None
    assert is_bound(address, port)
    assert helper.activate(basic(call)) == -1


def test_cancel_before_activation_frees_the_ports(helper: PerlHelperClient) -> None:
    call = basic(new_call())
    [[address, port, _]] = helper.allocate(call, REQUEST, AUDIO)
    assert helper.close_session(call) in (None, 0)
    assert not is_bound(address, port)


def test_closing_an_unknown_call_is_answered(helper: PerlHelperClient) -> None:
    assert helper.close_session(basic(new_call())) is None
    assert helper.close_session(basic(new_call(), None)) is None


def test_an_unknown_command_is_met_with_a_closed_connection(helper: PerlHelperClient) -> None:
    with pytest.raises(HelperDied):
        helper.rpc("transmogrify", [1, 2, 3])
    assert helper.close_session(basic(new_call())) is None
