"""Which ports an offer and its answer get, and where the media go then (RFC 3264): nh and rtpengine."""

import dataclasses

import pytest

from tests.ng.ng_call import End, NgCall, say, talk
from tests.ng.relays import NgRelay
from tests.sip.sdp import MediaLine, read_sdp
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.waiting import eventually


def set_up(call: NgCall, alice: End, bob: End, **flags: object) -> None:
    """Offer and answer."""
    bob.read(call.offer(alice.describe(), **flags))
    alice.read(call.answer(bob.describe(), **flags))


# --- set-up ---------------------------------------------------------------------------------------


def test_rtp_and_rtcp_go_both_ways(relay: NgRelay, call: NgCall, alice: End, bob: End) -> None:
    set_up(call, alice, bob)
    assert {alice.remote[0].port, bob.remote[0].port} <= set(relay.ports)
    talk(alice, bob)


def test_media_go_before_the_answer(call: NgCall, alice: End, bob: End) -> None:
    """Early media without a description: who has got the offer may send to it."""
    bob.read(call.offer(alice.describe()))
    bob.media[0].send(b"ringing", bob.remote[0].target)
    assert alice.media[0].receive()[0] == b"ringing"


def test_an_early_answer_holds_when_it_comes_again(call: NgCall, alice: End, bob: End) -> None:
    set_up(call, alice, bob)
    early = alice.remote[0].target
    talk(alice, bob)
    alice.read(call.answer(bob.describe()))
    assert alice.remote[0].target == early
    talk(alice, bob)


def test_two_media(call: NgCall) -> None:
    alice, bob = End("alice", media=2), End("bob", media=2)
    try:
        set_up(call, alice, bob)
        assert len({medium.port for end in (alice, bob) for medium in end.remote}) == 4
        talk(alice, bob, media=(0, 1))
    finally:
        alice.close()
        bob.close()


def test_a_phone_behind_nat_is_answered_where_it_sends_from(call: NgCall, alice: End, bob: End) -> None:
    private = dataclasses.replace(alice.describe()[0], address="192.168.1.10")
    bob.read(call.offer([private]))
    alice.read(call.answer(bob.describe()))
    with MediaPeer("127.0.0.3") as mapping:
        for component in (RTP, RTCP):
            mapping.send(b"through my NAT", alice.remote[0].target, component)
            assert bob.media[0].receive(component)[0] == b"through my NAT"
            bob.media[0].send(b"back", bob.remote[0].target, component)
            assert mapping.receive(component)[0] == b"back"


def test_rtcp_on_an_explicit_port(call: NgCall, bob: End) -> None:
    with MediaPeer("127.0.0.1") as rtp, MediaPeer("127.0.0.1") as rtcp:
        offer = MediaLine("127.0.0.1", rtp.port, attributes=(f"rtcp:{rtcp.port}",))
        bob.read(call.offer([offer]))
        [_] = read_sdp(call.answer(bob.describe()))
        bob.media[0].send(b"report", bob.remote[0].target, RTCP)
        assert rtcp.receive(RTP)[0] == b"report"


# --- re-offers ------------------------------------------------------------------------------------


def test_an_unchanged_reoffer_keeps_the_ports(call: NgCall, alice: End, bob: End) -> None:
    set_up(call, alice, bob)
    ports = alice.remote[0].port, bob.remote[0].port
    bob.read(call.reoffer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    assert (alice.remote[0].port, bob.remote[0].port) == ports
    talk(alice, bob)


def test_media_move_with_a_reoffer(call: NgCall, alice: End, bob: End) -> None:
    set_up(call, alice, bob)
    talk(alice, bob)
    with alice.move() as old:
        bob.read(call.reoffer(alice.describe()))
        alice.read(call.answer(bob.describe()))
        talk(alice, bob)
        assert old.pending() == []


def test_the_ports_before_an_answer_relay_on_for_packets_on_their_way(
    call: NgCall, alice: End, bob: End
) -> None:
    """The caller learns from the answer only where to send to now, and the answer may be late."""
    set_up(call, alice, bob)
    talk(alice, bob)
    with bob.move() as old:
        call.answer(bob.describe())
        alice.media[0].send(b"on its way", alice.remote[0].target)
        eventually(lambda: old.pending() or bob.media[0].pending(), "it arrives")
    alice.read(call.answer(bob.describe()))
    talk(alice, bob)
    with alice.move() as old:
        call.reoffer(alice.describe())
        call.answer(bob.describe())
        bob.media[0].send(b"on its way", bob.remote[0].target)
        eventually(lambda: old.pending() or alice.media[0].pending(), "it arrives")


def test_a_changed_endpoint_gets_new_ports(call: NgCall, alice: End, bob: End) -> None:
    """The far end's ports change with it: old packets must not be taken for new ones."""
    set_up(call, alice, bob)
    before = bob.remote[0].port
    with alice.move():
        bob.read(call.reoffer(alice.describe()))
    assert bob.remote[0].port != before


def test_port_latching_keeps_the_ports_of_a_changed_endpoint(call: NgCall, alice: End, bob: End) -> None:
    set_up(call, alice, bob)
    before = bob.remote[0].port
    with alice.move():
        bob.read(call.reoffer(alice.describe(), flags=["port-latching"]))
    assert bob.remote[0].port == before


def test_the_callee_may_offer_too(call: NgCall, alice: End, bob: End) -> None:
    set_up(call, alice, bob)
    with bob.move() as old:
        alice.read(call.reoffer_of_callee(bob.describe()))
        bob.read(call.answer_of_caller(alice.describe()))
        talk(alice, bob)
        assert old.pending() == []


def test_a_reoffer_adds_a_medium(call: NgCall) -> None:
    alice, bob = End("alice", media=2), End("bob", media=2)
    try:
        bob.read(call.offer(alice.describe()[:1]))
        alice.read(call.answer(bob.describe()[:1]))
        talk(alice, bob)
        bob.read(call.reoffer(alice.describe()))
        alice.read(call.answer(bob.describe()))
        talk(alice, bob, media=(0, 1))
    finally:
        alice.close()
        bob.close()


def test_hold_and_resume(call: NgCall, alice: End, bob: End) -> None:
    set_up(call, alice, bob)
    talk(alice, bob)
    held = [dataclasses.replace(line, attributes=("sendonly",)) for line in alice.describe()]
    bob.read(call.reoffer(held))
    assert "sendonly" in bob.remote[0].attributes
    alice.read(call.answer([dataclasses.replace(line, attributes=("recvonly",)) for line in bob.describe()]))
    say(alice, bob)
    bob.read(call.reoffer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    talk(alice, bob)


def test_hold_by_0_0_0_0_is_passed_on(call: NgCall, alice: End, bob: End) -> None:
    """RFC 2543's hold: the address stays 0.0.0.0, so that the phone knows it is on hold."""
    set_up(call, alice, bob)
    [held] = bob.read(call.reoffer([dataclasses.replace(alice.describe()[0], address="0.0.0.0")]))
    assert held.address == "0.0.0.0"
    assert held.port != 0
    alice.read(call.answer(bob.describe()))
    bob.read(call.reoffer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    talk(alice, bob)


# --- what is rejected, and what is no RTP -----------------------------------------------------------


def test_a_rejected_medium_stays_rejected(call: NgCall) -> None:
    alice, bob = End("alice", media=2), End("bob", media=2)
    try:
        bob.read(call.offer(alice.describe()))
        audio, video = bob.describe()
        answer = alice.read(call.answer([audio, dataclasses.replace(video, port=0)]))
        assert [line.port != 0 for line in answer] == [True, False]
        talk(alice, bob)
    finally:
        alice.close()
        bob.close()


def test_a_rejected_medium_may_come_back(call: NgCall) -> None:
    alice, bob = End("alice", media=2), End("bob", media=2)
    try:
        bob.read(call.offer(alice.describe()))
        audio, video = bob.describe()
        alice.read(call.answer([audio, dataclasses.replace(video, port=0)]))
        bob.read(call.reoffer(alice.describe()))
        alice.read(call.answer(bob.describe()))
        talk(alice, bob, media=(0, 1))
    finally:
        alice.close()
        bob.close()


def test_an_offer_may_hold_a_medium_that_is_off(call: NgCall, alice: End, bob: End) -> None:
    off = MediaLine("127.0.0.1", 0, kind="video")
    assert [line.port != 0 for line in bob.read(call.offer([*alice.describe(), off]))] == [True, False]
    answer = alice.read(call.answer([*bob.describe(), off]))
    assert [line.port != 0 for line in answer] == [True, False]
    talk(alice, bob)


def test_media_that_were_not_offered_do_not_bypass_the_relay(
    relay: NgRelay, call: NgCall, alice: End, bob: End
) -> None:
    """An answer with more media than the offer breaks RFC 3264 6: it may not lead around the relay."""
    call.offer(alice.describe())
    answer = [*bob.describe(), MediaLine("127.0.0.1", 9, kind="video")]
    assert {line.port for line in read_sdp(call.answer(answer))} <= {0, *relay.ports}


@pytest.mark.parametrize("proto", ["udptl", "UDPTL", "udp"])
def test_media_that_are_no_rtp_are_relayed(call: NgCall, alice: End, bob: End, proto: str) -> None:
    def image(end: End) -> MediaLine:
        return dataclasses.replace(end.describe()[0], kind="image", proto=proto)

    [seen] = bob.read(call.offer([image(alice)]))
    assert (seen.kind, seen.proto.lower()) == ("image", proto.lower())
    alice.read(call.answer([image(bob)]))
    talk(alice, bob, components=(RTP,))


def test_audio_turns_into_fax(call: NgCall, alice: End, bob: End) -> None:
    set_up(call, alice, bob)
    talk(alice, bob)

    def image(end: End) -> MediaLine:
        return dataclasses.replace(end.describe()[0], kind="image", proto="udptl")

    bob.read(call.reoffer([image(alice)]))
    alice.read(call.answer([image(bob)]))
    talk(alice, bob, components=(RTP,))


def test_speech_goes_on_where_a_fax_is_refused(call: NgCall, alice: End, bob: End) -> None:
    """The relay is not told of a refused re-INVITE."""
    set_up(call, alice, bob)
    talk(alice, bob)
    call.reoffer([dataclasses.replace(alice.describe()[0], kind="image", proto="udptl")])
    talk(alice, bob)
    bob.read(call.reoffer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    talk(alice, bob)


# --- forks ----------------------------------------------------------------------------------------


def test_the_last_fork_that_answers_has_the_call(call: NgCall, alice: End, bob: End) -> None:
    """Two phones ring; bob sends early media, carol takes the call.

    rtpengine sends to carol from other ports than those of the offer, which she has in common with bob.
    """
    carol = End("carol")
    try:
        offer = call.offer(alice.describe())
        bob.read(offer)
        carol.read(offer)
        alice.read(call.answer(bob.describe(), to_tag="tag-of-bob"))
        talk(alice, bob)
        alice.read(call.answer(carol.describe(), to_tag="tag-of-carol"))
        for speaker, listener in ((alice, carol), (carol, alice)):
            speaker.media[0].send(b"it is me", speaker.remote[0].target)
            assert listener.media[0].receive()[0] == b"it is me"
    finally:
        carol.close()
