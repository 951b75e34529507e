"""Media of calls that Perl's client set up, and what nh does where Perl's server does wrong."""

import pytest

from tests.netsip.perl_calls import (
    ALICE,
    AUDIO,
    BOB,
    REQUEST,
    RESPONSE,
    basic,
    new_call,
    set_up,
)
from tests.netsip.perl_helper import PerlHelperClient
from tests.sip.sdp import MediaLine, write_sdp
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.relay import Relay

pytestmark = pytest.mark.perl


# --- media ----------------------------------------------------------------------------------------


def test_media_go_both_ways(helper: PerlHelperClient) -> None:
    with MediaPeer("127.0.0.1") as alice, MediaPeer("127.0.0.1") as bob:
        offer = write_sdp([MediaLine(alice.address, alice.port)])
        answer = write_sdp([MediaLine(bob.address, bob.port)])
        [to_alice], [to_bob] = set_up(helper, basic(new_call()), offer, answer)
        alice.send(b"hello", to_bob)
        assert bob.receive() == (b"hello", to_alice)
        bob.send(b"good day", to_alice)
        assert alice.receive() == (b"good day", to_bob)
        alice.send(b"sender report", to_bob, RTCP)
        assert bob.receive(RTCP) == (b"sender report", (to_alice[0], to_alice[1] + 1))
        bob.send(b"receiver report", to_alice, RTCP)
        assert alice.receive(RTCP) == (b"receiver report", (to_bob[0], to_bob[1] + 1))


def test_media_go_between_ipv4_and_ipv6(helper: PerlHelperClient) -> None:
    call = basic(new_call())
    with MediaPeer("127.0.0.1") as alice, MediaPeer("::1") as bob:
        offer = write_sdp([MediaLine(alice.address, alice.port)])
        answer = write_sdp([MediaLine(bob.address, bob.port)])
        [[address, port, _]] = helper.allocate(call, REQUEST, offer, address="::1")
        to_alice = (address, port)
        [[address, port, _]] = helper.allocate(call, RESPONSE, answer, address="127.0.0.1")
        to_bob = (address, port)
        assert helper.activate(call) == 1
        for component in (RTP, RTCP):
            alice.send(b"from four", to_bob, component)
            assert bob.receive(component) == (b"from four", ("::1", to_alice[1] + component))
            bob.send(b"from six", to_alice, component)
            assert alice.receive(component) == (b"from six", ("127.0.0.1", to_bob[1] + component))


# --- nh alone: what Perl's server does wrong --------------------------------------------------------


def test_a_different_number_of_sockets_is_refused(nh_helper: PerlHelperClient) -> None:
    call = basic(new_call())
    helper = nh_helper
    assert helper.allocate(call, REQUEST, AUDIO)
    assert helper.allocate(call, RESPONSE, write_sdp([MediaLine("127.0.0.1", 30_000, ports=2)]))
    assert helper.activate(call) is None


def test_an_address_that_is_a_host_name_is_learned_from_its_packets(nh_helper: PerlHelperClient) -> None:
    """Net::SIP::SDP refuses such a description by now; the NAT helper's protocol does not."""
    call = basic(new_call())
    with MediaPeer("127.0.0.1") as alice, MediaPeer("127.0.0.1") as bob:
        named = {"addr": "phone.example.org", "port": str(alice.port), "range": 2}
        [[*to_alice, _]] = nh_helper.rpc("allocate", call, REQUEST, "127.0.0.1", [named])
        answer = write_sdp([MediaLine(bob.address, bob.port)])
        [[*to_bob, _]] = nh_helper.allocate(call, RESPONSE, answer)
        assert nh_helper.activate(call) == 1
        alice.send(b"here I am", tuple(to_bob))
        assert bob.receive() == (b"here I am", tuple(to_alice))
        bob.send(b"found you", tuple(to_alice))
        assert alice.receive() == (b"found you", tuple(to_bob))


def test_identifiers_may_hold_any_bytes(nh_helper: PerlHelperClient, relay: Relay) -> None:
    call_id = f"{new_call()}\0" + "".join(map(chr, range(1, 256))) + "x" * 10_000
    call = basic(call_id, sender=ALICE + "\xff\0", receiver=BOB + "\0\xfe")
    set_up(nh_helper, call)
    assert relay.call(call_id.encode("latin-1")).call_id == call_id.encode("latin-1")
    assert nh_helper.close_session(call) == 1


def test_tcp_serves_as_well(relay: Relay) -> None:
    with PerlHelperClient(relay.tcp_address) as helper:
        call = basic(new_call())
        set_up(helper, call)
        assert helper.activate(call) == -1
        assert helper.close_session(call) == 1
