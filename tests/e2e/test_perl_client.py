"""Perl's Net::SIP::NATHelper::Client against nh and against Perl's own server: the same holds for both."""

import itertools
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.perl_helper import HelperDied, PerlHelperClient, running_nathelper
from tests.e2e.sdp import MediaLine, write_sdp
from tests.media_peer import RTCP, RTP, MediaPeer
from tests.relay import Relay
from tests.waiting import eventually

pytestmark = pytest.mark.perl

ALICE = "sip:alice\0tag-of-alice\x00127.0.0.1"
BOB = "sip:bob\0tag-of-bob\x00127.0.0.2"
CAROL = "sip:carol\0tag-of-carol\x00127.0.0.2"
REQUEST = 0
RESPONSE = 1
AUDIO = write_sdp([MediaLine("127.0.0.1", 30_000)])

_numbers = itertools.count()


def new_call() -> str:
    return f"{next(_numbers)}-{id(_numbers)}@example.org"


def basic(call: str, cseq: Any = "1", sender: str = ALICE, receiver: str = BOB) -> list[Any]:
    """A nat_basic as a StatelessProxy makes it; the cseq of a real one is a string."""
    return [call, cseq, sender, receiver, "sip:alice@example.org", "sip:bob@example.org"]


@pytest.fixture(scope="session")
def nathelper() -> Iterator[str]:
    with running_nathelper() as address:
        yield address


@pytest.fixture(scope="session", params=["nh", "nathelper.pl"])
def helper(request: pytest.FixtureRequest) -> Iterator[PerlHelperClient]:
    """A Perl client of nh's Unix socket, and one of Perl's server."""
    if request.param == "nh":
        address = request.getfixturevalue("relay").unix_address
    else:
        address = request.getfixturevalue("nathelper")
    with PerlHelperClient(address) as client:
        yield client


@pytest.fixture(scope="session")
def nh_helper(relay: Relay) -> Iterator[PerlHelperClient]:
    """A Perl client of nh, for what Perl's server does wrong or not at all."""
    with PerlHelperClient(relay.unix_address) as client:
        yield client


def is_bound(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return True
    return False


def set_up(
    helper: PerlHelperClient, nat_basic: list[Any], offer: str = AUDIO, answer: str = AUDIO
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """An active session; where the relay receives for the caller, and where for the callee."""
    towards_caller = helper.allocate(nat_basic, REQUEST, offer)
    towards_callee = helper.allocate(nat_basic, RESPONSE, answer)
    assert helper.activate(nat_basic) == 1
    return [(m[0], m[1]) for m in towards_caller], [(m[0], m[1]) for m in towards_callee]


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


@pytest.mark.parametrize(("sender", "receiver"), [(ALICE, BOB), (BOB, ALICE)])
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


@pytest.mark.parametrize("cseq", [None, 0, "0"])
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
