"""What becomes of ICE and of a=rtcp-mux, and of what the relay does not know: nh and rtpengine."""

import dataclasses
import struct

import pytest

from tests.ng.client import NgClient
from tests.ng.ng_call import End, NgCall
from tests.ng.relays import NgRelay
from tests.sip.sdp import MediaLine, read_sdp
from tools.harness.media_peer import RTCP, RTP

SENDER_REPORT = struct.pack("!BBHLQLLL", 0x80, 200, 6, 1, 1, 1, 1, 1)
VOICE = struct.pack("!BBHLL", 0x80, 0, 1, 160, 1) + b"\xff" * 160


def with_mux(end: End) -> list[MediaLine]:
    [line] = end.describe()
    return [MediaLine(line.address, line.port, attributes=("rtcp-mux",))]


def muxes(description: str) -> bool:
    """Whether its medium has RTP and RTCP on one port."""
    return "rtcp-mux" in read_sdp(description)[0].attributes


def send_muxed(speaker: End) -> None:
    """RTP and RTCP to the port of RTP, both from there."""
    for packet in (VOICE, SENDER_REPORT):
        speaker.media[0].send(packet, speaker.remote[0].target)


def arrives_apart(speaker: End, listener: End) -> None:
    """RTP and RTCP that one end sends to one port come to two ports of the other one."""
    send_muxed(speaker)
    assert listener.media[0].receive(RTP)[0] == VOICE
    assert listener.media[0].receive(RTCP)[0] == SENDER_REPORT


# --- rtcp-mux -------------------------------------------------------------------------------------


def test_mux_is_between_the_ends_by_default(call: NgCall, alice: End, bob: End) -> None:
    offer, answer = call.offer(with_mux(alice)), call.answer(with_mux(bob))
    assert muxes(offer) and muxes(answer)
    bob.read(offer)
    alice.read(answer)
    for speaker, listener in ((alice, bob), (bob, alice)):
        send_muxed(speaker)
        assert {listener.media[0].receive()[0] for _ in range(2)} == {VOICE, SENDER_REPORT}


def test_who_does_not_answer_with_mux_gets_rtcp_by_itself(call: NgCall, alice: End, bob: End) -> None:
    bob.read(call.offer(with_mux(alice)))
    answer = call.answer(bob.describe())
    assert not muxes(answer)
    alice.read(answer)
    for speaker, listener in ((alice, bob), (bob, alice)):
        speaker.media[0].send(SENDER_REPORT, speaker.remote[0].target, RTCP)
        assert listener.media[0].receive(RTCP)[0] == SENDER_REPORT


@pytest.mark.parametrize("mux", [["demux"], ["demux", "accept"], ["accept"]], ids="+".join)
def test_the_relay_can_do_mux_for_one_end_alone(call: NgCall, alice: End, bob: End, mux: list[str]) -> None:
    offer = call.offer(with_mux(alice), rtcp_mux=mux)
    assert muxes(offer) == ("demux" not in mux)
    answer = call.answer(bob.describe())
    assert muxes(answer)
    bob.read(offer)
    alice.read(answer)
    arrives_apart(alice, bob)
    bob.media[0].send(VOICE, bob.remote[0].target, RTP)
    bob.media[0].send(SENDER_REPORT, bob.remote[0].target, RTCP)
    assert {alice.media[0].receive()[0] for _ in range(2)} == {VOICE, SENDER_REPORT}


@pytest.mark.parametrize("accepted", [False, True], ids=["kept apart", "taken"])
def test_the_relay_can_turn_mux_down_for_the_offerer_alone(
    call: NgCall, alice: End, bob: End, accepted: bool
) -> None:
    """The other end is offered it all the same."""
    offer = call.offer(with_mux(alice), rtcp_mux=["reject"])
    assert muxes(offer)
    answer = call.answer(with_mux(bob) if accepted else bob.describe())
    assert not muxes(answer)
    bob.read(offer)
    alice.read(answer)
    alice.media[0].send(VOICE, alice.remote[0].target)
    alice.media[0].send(SENDER_REPORT, alice.remote[0].target, RTCP)
    assert bob.media[0].receive(RTP)[0] == VOICE
    assert bob.media[0].receive(RTP if accepted else RTCP)[0] == SENDER_REPORT
    if accepted:
        arrives_apart(bob, alice)


def test_the_relay_can_turn_mux_down_and_offer_none(call: NgCall, alice: End, bob: End) -> None:
    assert not muxes(call.offer(with_mux(alice), rtcp_mux=["reject", "demux"]))
    assert not muxes(call.answer(bob.describe()))


def test_the_relay_can_offer_mux_for_who_does_not(call: NgCall, alice: End, bob: End) -> None:
    offer = call.offer(alice.describe(), rtcp_mux=["offer"])
    assert muxes(offer)
    answer = call.answer(with_mux(bob))
    assert not muxes(answer)
    bob.read(offer)
    alice.read(answer)
    arrives_apart(bob, alice)
    alice.media[0].send(SENDER_REPORT, alice.remote[0].target, RTCP)
    assert bob.media[0].receive()[0] == SENDER_REPORT


def test_an_end_that_muxes_is_offered_mux_by_one_that_does_not(call: NgCall, alice: End, bob: End) -> None:
    """Whatever the client says: a browser takes no offer without."""
    call.offer(with_mux(alice), rtcp_mux=["demux"])
    call.answer(bob.describe())
    offer = call.reoffer_of_callee(bob.describe())
    assert muxes(offer)
    answer = call.answer_of_caller(with_mux(alice))
    assert not muxes(answer)
    alice.read(offer)
    bob.read(answer)
    arrives_apart(alice, bob)
    assert muxes(call.reoffer_of_callee(bob.describe(), rtcp_mux=["demux"]))


# --- ICE ------------------------------------------------------------------------------------------


def with_ice(end: End) -> list[MediaLine]:
    [line] = end.describe()
    lines = [
        "ice-ufrag:abcd",
        f"ice-pwd:{'x' * 22}",
        f"candidate:1 1 UDP 2130706431 {line.address} {line.port} typ host",
        f"candidate:1 2 UDP 2130706430 {line.address} {line.port + 1} typ host",
    ]
    return [MediaLine(line.address, line.port, attributes=tuple(lines))]


def candidates(description: str) -> list[tuple[str, int]]:
    """The candidates' addresses and ports."""
    [line] = read_sdp(description)
    found = [a.split() for a in line.attributes if a.startswith("candidate:")]
    return [(words[4], int(words[5])) for words in found]


def test_the_relay_replaces_the_candidates(relay: NgRelay, call: NgCall, alice: End) -> None:
    offer = call.offer(with_ice(alice))
    [line] = read_sdp(offer)
    assert {line.target, (line.address, line.port + 1)} <= set(candidates(offer))
    assert {port for _, port in candidates(offer)} <= set(relay.ports)
    assert any(attribute.startswith("ice-ufrag:") for attribute in line.attributes)


def test_no_ice_where_it_is_removed(call: NgCall, alice: End) -> None:
    offer = call.offer(with_ice(alice), ICE="remove")
    assert "candidate" not in offer
    assert "ice-" not in offer


def test_no_ice_where_there_was_none(call: NgCall, alice: End) -> None:
    assert "candidate" not in call.offer(alice.describe())


@pytest.mark.parametrize("removed", [False, True], ids=["offer as it is", "offer with ICE=remove"])
def test_an_offer_without_ice_is_answered_without(
    call: NgCall, alice: End, bob: End, *, removed: bool
) -> None:
    """Though its answerer begins with ICE (RFC 8839 4.2): a phone without it is in an ordinary call."""
    call.offer(alice.describe(), **({"ICE": "remove"} if removed else {}))
    answer = call.answer(with_ice(bob))
    assert "ice" not in answer and "candidate" not in answer


def test_ice_that_a_later_offer_ends_is_in_no_answer(nh: NgRelay, alice: End, bob: End) -> None:
    """rtpengine goes on with it."""
    with NgClient(nh.address) as client:
        call = NgCall(client)
        call.offer(with_ice(alice))
        assert candidates(call.answer(with_ice(bob)))
        assert not candidates(call.reoffer(alice.describe()))
        answer = call.answer(with_ice(bob))
        assert "ice" not in answer and "candidate" not in answer


def test_the_relay_joins_the_candidates(call: NgCall, alice: End) -> None:
    offer = call.offer(with_ice(alice), ICE="optional")
    [line] = read_sdp(offer)
    assert alice.describe()[0].target in candidates(offer)
    assert line.target in candidates(offer)


# --- all the rest ---------------------------------------------------------------------------------


ODD = (
    "v=0\r\no=- 3 3 IN IP4 127.0.0.1\r\ns= \r\ni=a title\r\nc=IN IP4 127.0.0.1\r\nb=AS:1000\r\nt=0 0\r\n"
    "a=x-session:1 2  3\r\nm=audio 40000 RTP/AVP 8 101\r\ni=voice\r\nb=TIAS:64000\r\n"
    "a=fmtp:101 0-16\r\na=rtpmap:101 telephone-event/8000\r\na=x-medium;strange\r\na=sendrecv\r\n"
)


def test_other_lines_are_handed_through(call: NgCall) -> None:
    """rtpengine moves some lines and adds others, nh does neither; no line gets lost."""
    lines = call.offer(ODD).splitlines()
    for line in ODD.splitlines():
        assert line in lines or line.startswith("m=")


def test_nothing_else_is_changed(nh: NgRelay) -> None:
    """Not even the ends of lines."""
    with NgClient(nh.address) as client:
        call = NgCall(client)
        unix = ODD.replace("\r\n", "\n")
        offer = call.offer(unix)
        port = read_sdp(offer)[0].port
        assert offer == unix.replace("m=audio 40000", f"m=audio {port}")


def test_a_description_with_the_relays_mark_is_left_alone(call: NgCall, alice: End) -> None:
    marked = call.offer(alice.describe(), flags=["loop-protect"])
    assert call.reoffer(marked, flags=["loop-protect"]) == marked


def test_a_hold_by_0_0_0_0_shows_an_end_with_ice_a_candidate(call: NgCall, alice: End, bob: End) -> None:
    """Another address is a mismatch for it (RFC 8839): the direction says the hold."""
    call.offer(alice.describe(), ICE="force")
    call.answer(with_ice(bob), ICE="remove")
    held = [dataclasses.replace(alice.describe()[0], address="0.0.0.0", attributes=("sendrecv",))]
    offer = call.reoffer(held, ICE="force")
    [line] = read_sdp(offer)
    assert line.target in candidates(offer)
    assert "sendonly" in line.attributes
    [line] = read_sdp(call.reoffer(held, ICE="force", flags=["original-sendrecv"]))
    assert line.target in candidates(offer)
    assert "sendrecv" in line.attributes
