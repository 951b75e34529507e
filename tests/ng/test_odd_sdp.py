"""SDP as it comes: what phones and proxies send beside the usual, and what no peer of the relay may learn."""

import dataclasses
import re

import pytest

from tests.ng.client import NgClient
from tests.ng.ng_call import AUDIO, SDP, End, NgCall, talk
from tests.ng.relays import NgRelay
from tests.sip.message import new_token
from tests.sip.sdp import MediaLine

OWN = "192.0.2.20"
"""The callee's own address, which the caller must not learn."""

PORT_7000 = {
    "audio": MediaLine(OWN, 7000),
    "video": MediaLine(OWN, 7000, "video"),
    "text": MediaLine(OWN, 7000, "text"),
    "T.38": MediaLine(OWN, 7000, "image", "udptl"),
}


def body(*media: str, address: str = "127.0.0.1", origin: str = "") -> str:
    """An SDP of whole m= lines."""
    family = "IP6" if ":" in address else "IP4"
    origin = origin or f"o=- 1 1 IN {family} {address.strip('[]')}"
    lines = ["v=0", origin, "s=-", f"c=IN {family} {address}", "t=0 0", *(f"m={medium}" for medium in media)]
    return "".join(f"{line}\r\n" for line in lines)


def media_lines(description: str) -> list[str]:
    return re.findall(r"^m=(.*?)\r?$", description, re.MULTILINE)


# --- nothing leads around the relay ---------------------------------------------------------------------


@pytest.mark.parametrize("medium", PORT_7000.values(), ids=PORT_7000)
def test_a_medium_that_was_offered_with_port_0_is_not_accepted(call: NgCall, medium: MediaLine) -> None:
    call.offer([*AUDIO, dataclasses.replace(medium, address="127.0.0.1", port=0)])
    answer = call.answer([*AUDIO, medium])
    assert " 7000 " not in answer
    assert OWN not in answer


def test_a_held_call_does_not_go_around_the_relay_after_audio_0(call: NgCall) -> None:
    call.offer(AUDIO)
    call.answer([MediaLine(OWN, 7000)])
    call.reoffer(body("audio 0 RTP/AVP 0"))
    answer = call.answer([MediaLine(OWN, 7000)])
    assert OWN not in answer
    assert " 7000 " not in answer
    call.reoffer_of_callee(body("audio 0 RTP/AVP 0"))
    answer = call.answer_of_caller([MediaLine(OWN, 7000)])
    assert OWN not in answer
    assert " 7000 " not in answer


@pytest.mark.parametrize(
    "extra",
    [
        "video 0 RTP/AVP 96",
        "image 0 udptl t38",
        "application 0 *",
        "message 2855 TCP/MSRP *",
        "video 7000 RTP/AVP 96",
    ],
)
def test_an_answer_with_more_media_than_offered_keeps_its_call(nh: NgRelay, extra: str) -> None:
    with NgClient(nh.address) as client:
        call = NgCall(client)
        call.offer(AUDIO)
        audio, other = media_lines(call.answer(body("audio 7002 RTP/AVP 0", extra, address=OWN)))
        assert int(audio.split()[1]) in nh.ports
        assert other.split()[:2] == [extra.split(maxsplit=1)[0], "0"]
        call.delete()


def test_an_answer_with_fewer_media_than_offered_is_filled_up(nh: NgRelay) -> None:
    with NgClient(nh.address) as client:
        call = NgCall(client)
        offered = (
            "audio 40000 RTP/AVP 0",
            "video 40002 RTP/AVP 96",
            "image 0 udptl t38",
            "message 9 TCP/MSRP *",
        )
        call.offer(body(*offered))
        audio, *others = media_lines(call.answer(body("audio 7002 RTP/AVP 0")))
        assert int(audio.split()[1]) in nh.ports
        assert others == ["video 0 RTP/AVP 96", "image 0 udptl t38", "message 0 TCP/MSRP *"]
        call.delete()


# --- bodies and lines -------------------------------------------------------------------------------------


def test_an_invite_without_sdp_is_ok_and_changes_nothing(
    client: NgClient, call: NgCall, alice: End, bob: End
) -> None:
    reply = client.get("offer", call_id=call.call_id, from_tag=call.from_tag, sdp="")
    assert "sdp" not in reply
    bob.read(call.offer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    for command in ("offer", "answer"):
        tags = {"from_tag": call.from_tag, "to_tag": call.to_tag}
        assert client.get(command, call_id=call.call_id, sdp="", **tags)["result"] == "ok"
    talk(alice, bob)


@pytest.mark.parametrize("origin", ["o=x y", "o=", "o=- 1 1 ATM NSAP 47.0091"])
def test_an_origin_that_stays_may_look_like_anything(nh: NgRelay, origin: str) -> None:
    with NgClient(nh.address) as client:
        call = NgCall(client)
        odd = body("audio 40000 RTP/AVP 0", origin=origin)
        assert f"{origin}\r\n" in call.offer(odd)
        reply = client.request(
            "offer", call_id=new_token(), from_tag=new_token(), sdp=odd, replace=["origin"]
        )
        assert reply["error-reason"] == "Failed to parse SDP"
        call.delete()


def test_an_address_may_be_in_brackets(relay: NgRelay, call: NgCall) -> None:
    offer = call.offer(body("audio 40000 RTP/AVP 0", address="[::1]"))
    assert "c=IN IP6 ::1\r\n" in offer
    assert int(media_lines(offer)[0].split()[1]) in relay.ports


def test_a_second_session_is_relayed_too(relay: NgRelay, call: NgCall) -> None:
    media = ("audio 40000 RTP/AVP 0",), ("audio 40002 RTP/AVP 0",)
    offer = call.offer(body(*media[0]) + body(*media[1], address=OWN, origin="o=- 2 2 IN IP4 127.0.0.1"))
    assert offer.count("v=0") == 2
    assert OWN not in offer
    ports = [int(line.split()[1]) for line in media_lines(offer)]
    assert len(set(ports)) == 2
    assert set(ports) <= set(relay.ports)


@pytest.mark.parametrize("address", [["IP4", "0.0.0.0"], ["IP6", "::"], ["IP4", "::0"]])
def test_a_proxy_that_does_not_know_the_sender_says_0(
    nh: NgRelay, alice: End, bob: End, address: list[str]
) -> None:
    with NgClient(nh.address) as client:
        call = NgCall(client)
        fields = {"received_from": address, "flags": ["SIP-source-address"]}
        bob.read(call.offer(alice.describe(), **fields))
        alice.read(call.answer(bob.describe(), **fields))
        talk(alice, bob)
        call.delete()


# --- transports -------------------------------------------------------------------------------------------

FEEDBACK = "a=rtcp-fb:0 nack\r\n"


@pytest.mark.parametrize(("offered", "passed_on"), [("RTP/AVP", "RTP/AVPF"), ("RTP/AVPF", "RTP/AVP")])
def test_profiles_with_and_without_feedback_are_converted(call: NgCall, offered: str, passed_on: str) -> None:
    offer = call.offer(body(f"audio 40000 {offered} 0") + FEEDBACK, transport_protocol=passed_on)
    assert media_lines(offer)[0].split()[2] == passed_on
    assert FEEDBACK in offer
    answer = call.answer(body(f"audio 40002 {passed_on} 0") + FEEDBACK)
    assert media_lines(answer)[0].split()[2] == offered


@pytest.mark.parametrize(("offered", "passed_on"), [("RTP/AVP", "RTP/AVPF"), ("RTP/AVPF", "RTP/AVP")])
def test_a_medium_that_the_answer_rejects_has_the_profile_of_its_offer(
    call: NgCall, offered: str, passed_on: str
) -> None:
    media = (f"audio 40000 {offered} 0", f"video 40002 {offered} 96")
    call.offer(body(*media), transport_protocol=passed_on)
    answer = call.answer(body(f"audio 40004 {passed_on} 0", f"video 0 {passed_on} 96"))
    assert media_lines(answer)[1].split()[1:3] == ["0", offered]


def test_secure_profiles_differ_by_feedback_only(nh: NgRelay) -> None:
    with NgClient(nh.address) as client:
        for offered, passed_on in (("RTP/SAVP", "RTP/SAVPF"), ("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP")):
            call = NgCall(client)
            offer = call.offer(body(f"audio 40000 {offered} 0"), transport_protocol=passed_on)
            assert media_lines(offer)[0].split()[2] == passed_on
            assert media_lines(call.answer(body(f"audio 40002 {passed_on} 0")))[0].split()[2] == offered
            call.delete()


def test_a_rejected_medium_needs_no_conversion_but_has_the_transport_that_is_wanted(nh: NgRelay) -> None:
    with NgClient(nh.address) as client:
        call = NgCall(client)
        media = ("audio 40000 RTP/AVP 0", "video 0 RTP/SAVPF 96")
        offer = call.offer(body(*media), transport_protocol="RTP/AVP")
        assert media_lines(offer)[1] == "video 0 RTP/AVP 96"
        call.delete()


@pytest.mark.parametrize(
    "fields",
    [
        {"transport_protocol": "UDP/TLS/RTP/SAVPF", "DTLS": "off"},
        {"media_address": "192.0.2.1", "flags": ["WebRTC", "DTLS-off"]},
        {"codec": {"transcode": ["G729"]}},
        {"record_call": "yes"},
    ],
)
def test_each_refusal_begins_alike(nh: NgRelay, fields: dict[str, object]) -> None:
    with NgClient(nh.address) as client:
        reply = client.request("offer", call_id=new_token(), from_tag=new_token(), sdp=SDP, **fields)
        assert reply["error-reason"].startswith("Not supported by nh: ")
        assert reply["error-reason"].count("Not supported by nh") == 1
        for command in ("play media", "play DTMF"):
            reply = client.request(command, call_id=new_token())
            assert reply["error-reason"] == f"Not supported by nh: {command}"
