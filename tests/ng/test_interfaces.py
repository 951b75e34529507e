"""Which of its addresses the relay announces, and to whom media belong that come from elsewhere."""

import dataclasses

import pytest

from tests.ng.client import NgClient, NgError
from tests.ng.ng_call import End, NgCall, talk
from tests.ng.relays import NgRelay
from tests.sip.proxy import FAR, NEAR
from tools.harness.media_peer import MediaPeer
from tools.rtp import RtpPacket

PACKET = RtpPacket(ssrc=7, sequence=1, sent_ns=0).encode()


def test_direction_names_the_interfaces_of_both_sides(call: NgCall, alice: End) -> None:
    bob = End("bob", FAR)
    try:
        [towards_bob] = bob.read(call.offer(alice.describe(), direction=["near", "far"]))
        [towards_alice] = alice.read(call.answer(bob.describe()))
        assert (towards_alice.address, towards_bob.address) == (NEAR, FAR)
        talk(alice, bob)
    finally:
        bob.close()


def test_the_first_direction_counts(call: NgCall, alice: End, bob: End) -> None:
    call.offer(alice.describe(), direction=["near", "far"])
    alice.read(call.answer(bob.describe()))
    [towards_alice] = alice.read(call.reoffer_of_callee(bob.describe()))
    assert towards_alice.address == NEAR
    [towards_bob] = bob.read(call.answer_of_caller(alice.describe()))
    assert towards_bob.address == FAR


def test_the_first_direction_counts_for_an_offer_that_names_no_other_end(
    call: NgCall, alice: End, bob: End
) -> None:
    """To rtpengine it goes on with the last dialog, and to nh it begins a branch."""
    call.offer(alice.describe(), direction=["near", "far"])
    alice.read(call.answer(bob.describe()))
    [towards_bob] = bob.read(call.offer(alice.describe()))
    assert towards_bob.address == FAR
    [towards_alice] = alice.read(call.answer(bob.describe()))
    assert towards_alice.address == NEAR


@pytest.mark.parametrize("key", ["address family", "address-family"])
def test_ipv4_is_bridged_to_ipv6(call: NgCall, alice: End, key: str) -> None:
    bob = End("bob", "::1")
    try:
        [towards_bob] = bob.read(call.offer(alice.describe(), **{key: "IP6"}))
        assert towards_bob.address == "::1"
        [towards_alice] = alice.read(call.answer(bob.describe(), **{key: "IP4"}))
        assert towards_alice.address == NEAR
        talk(alice, bob)
    finally:
        bob.close()


def test_an_answer_goes_back_in_the_family_of_the_offer(call: NgCall, alice: End) -> None:
    """Kamailio's configurations say the family with the offer only."""
    bob = End("bob", "::1")
    try:
        bob.read(call.offer(alice.describe(), address_family="IP6"))
        [towards_alice] = alice.read(call.answer(bob.describe()))
        assert towards_alice.address == NEAR
        talk(alice, bob)
        [towards_alice] = alice.read(call.reoffer_of_callee(bob.describe(), address_family="IP4"))
        assert towards_alice.address == NEAR
        [towards_bob] = bob.read(call.answer_of_caller(alice.describe()))
        assert towards_bob.address == "::1"
        talk(alice, bob)
    finally:
        bob.close()


def test_ipv6_stays_ipv6_by_itself(call: NgCall) -> None:
    alice, bob = End("alice", "::1"), End("bob", "::1")
    try:
        [towards_bob] = bob.read(call.offer(alice.describe()))
        [towards_alice] = alice.read(call.answer(bob.describe()))
        assert towards_bob.address == towards_alice.address == "::1"
        talk(alice, bob)
    finally:
        alice.close()
        bob.close()


def test_media_address_is_announced_instead(call: NgCall, alice: End) -> None:
    offer = call.offer(alice.describe(), media_address="192.0.2.9")
    assert "c=IN IP4 192.0.2.9" in offer
    assert "o=phone 1 1 IN IP4 127.0.0.1" in offer


def test_the_origin_is_replaced_when_asked(call: NgCall, alice: End) -> None:
    untouched = "o=phone 1 1 IN IP4 10.9.8.7"
    text = call_text(alice).replace("o=phone 1 1 IN IP4 127.0.0.1", untouched)
    assert untouched in call.offer(text)
    assert f"o=phone 1 1 IN IP4 {NEAR}\r\n" in call.reoffer(text, replace=["origin"])


def call_text(end: End) -> str:
    [line] = end.describe()
    return (
        "v=0\r\no=phone 1 1 IN IP4 127.0.0.1\r\ns=-\r\n"
        f"c=IN IP4 {line.address}\r\nt=0 0\r\nm=audio {line.port} RTP/AVP 0\r\n"
    )


def test_the_sip_source_address_counts_when_asked(call: NgCall, alice: End, bob: End) -> None:
    """Bob's description has an address of his own network; his packets come from where his SIP comes from."""
    lost = dataclasses.replace(bob.describe()[0], address="192.0.2.1")
    bob.read(call.offer(alice.describe()))
    answer = {"received_from": ["IP4", "127.0.0.1"], "flags": ["SIP-source-address"]}
    alice.read(call.answer([lost], **answer))
    alice.media[0].send(b"found you", alice.remote[0].target)
    assert bob.media[0].receive()[0] == b"found you"


def test_asymmetric_media_go_where_the_description_says(call: NgCall, alice: End, bob: End) -> None:
    bob.read(call.offer(alice.describe(), flags=["asymmetric"]))
    alice.read(call.answer(bob.describe(), flags=["asymmetric"]))
    with MediaPeer("127.0.0.1") as elsewhere:
        elsewhere.send(b"from elsewhere", alice.remote[0].target)
        assert bob.media[0].receive()[0] == b"from elsewhere"
        bob.media[0].send(b"back", bob.remote[0].target)
        assert alice.media[0].receive()[0] == b"back"
        assert elsewhere.pending() == []


def test_strict_and_asymmetric_media_come_from_where_the_sdp_says(nh: NgRelay, alice: End, bob: End) -> None:
    """rtpengine 10.5 lets others in until it has latched."""
    with NgClient(nh.address) as client, MediaPeer("127.0.0.1") as elsewhere:
        call = NgCall(client)
        bob.read(call.offer(alice.describe(), flags=["asymmetric", "strict-source"]))
        alice.read(call.answer(bob.describe(), flags=["asymmetric", "strict-source"]))
        elsewhere.send(PACKET, alice.remote[0].target)
        alice.media[0].send(b"I am alice", alice.remote[0].target)
        assert bob.media[0].receive()[0] == b"I am alice"
        bob.media[0].send(PACKET, bob.remote[0].target)
        assert alice.media[0].receive()[0] == PACKET
        assert elsewhere.pending() == bob.media[0].pending() == []


def test_endpoint_learning_immediate_takes_the_first_source(call: NgCall, alice: End, bob: End) -> None:
    bob.read(call.offer(alice.describe(), endpoint_learning="immediate"))
    alice.read(call.answer(bob.describe(), endpoint_learning="immediate"))
    with MediaPeer("127.0.0.1") as moved:
        moved.send(PACKET, alice.remote[0].target)
        assert bob.media[0].receive()[0] == PACKET
        bob.media[0].send(PACKET, bob.remote[0].target)
        assert moved.receive()[0] == PACKET


def test_media_handover_lets_another_source_take_over(call: NgCall, alice: End, bob: End) -> None:
    bob.read(call.offer(alice.describe(), flags=["media-handover"]))
    alice.read(call.answer(bob.describe(), flags=["media-handover"]))
    talk(alice, bob)
    with MediaPeer("127.0.0.1") as roamed:
        roamed.send(b"from elsewhere now", alice.remote[0].target)
        assert bob.media[0].receive()[0] == b"from elsewhere now"
        bob.media[0].send(b"I see", bob.remote[0].target)
        assert roamed.receive()[0] == b"I see"


def test_a_strict_source_shuts_others_out(nh: NgRelay, alice: End, bob: End) -> None:
    """From the first packet on; rtpengine is strict only when it has latched, after three seconds."""
    with NgClient(nh.address) as client:
        call = NgCall(client)
        bob.read(call.offer(alice.describe(), flags=["strict-source"]))
        alice.read(call.answer(bob.describe(), flags=["strict-source"]))
        talk(alice, bob)
        with MediaPeer("127.0.0.1") as mallory:
            mallory.send(b"listen to me", alice.remote[0].target)
            alice.media[0].send(b"I am alice", alice.remote[0].target)
            assert bob.media[0].receive()[0] == b"I am alice"


@pytest.mark.parametrize(
    "option",
    [
        pytest.param({"transport_protocol": "UDP/TLS/RTP/SAVPF", "DTLS": "off"}, id="DTLS without DTLS"),
        pytest.param({"codec": {"transcode": ["G729"]}}, id="transcoding"),
        pytest.param({"record_call": "on"}, id="recording"),
    ],
)
def test_what_a_relay_cannot_do_is_refused(nh: NgRelay, alice: End, option: dict[str, object]) -> None:
    with NgClient(nh.address) as client, pytest.raises(NgError):
        NgCall(client).offer(alice.describe(), **option)


def test_for_an_interface_that_is_not_there_the_default_is_taken(call: NgCall, alice: End, bob: End) -> None:
    [towards_bob] = bob.read(call.offer(alice.describe(), direction=["far", "nowhere"]))
    [towards_alice] = alice.read(call.answer(bob.describe()))
    assert (towards_alice.address, towards_bob.address) == (FAR, NEAR)
