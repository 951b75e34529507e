"""Calls of two phones through a proxy, step by step."""

from collections.abc import Callable

import pytest

from tests.sip.message import SipMessage
from tests.sip.phone import Phone
from tests.sip.sdp import MediaLine
from tools.harness.media_peer import RTCP, RTP

Participants = Callable[[Phone, Phone], tuple[Phone, Phone]]

either_end = pytest.mark.parametrize(
    "ends",
    [
        pytest.param(lambda caller, callee: (caller, callee), id="caller"),
        pytest.param(lambda caller, callee: (callee, caller), id="callee"),
    ],
)
"""The caller does what the test is about, then the callee."""


def ring(caller: Phone, callee: Phone) -> SipMessage:
    """INVITE and 180; the INVITE as the callee has it."""
    caller.invite(callee)
    invite = callee.receive_request("INVITE")
    callee.answer(invite, 180)
    caller.receive_response(180)
    return invite


def establish(caller: Phone, callee: Phone) -> None:
    """A call from INVITE to ACK."""
    invite = ring(caller, callee)
    callee.answer(invite, 200, sdp=True)
    caller.ack(caller.receive_response(200))
    callee.receive_request("ACK")


def establish_after_early_media(caller: Phone, callee: Phone) -> None:
    """A call whose phones talk before it is answered, at the same ports as afterwards."""
    caller.invite(callee)
    invite = callee.receive_request("INVITE")
    callee.answer(invite, 183, sdp=True)
    caller.receive_response(183)
    early_target = caller.target
    talk(caller, callee)
    callee.answer(invite, 200, sdp=True)
    caller.ack(caller.receive_response(200))
    callee.receive_request("ACK")
    assert caller.target == early_target


def establish_by_offer_in_answer(caller: Phone, callee: Phone) -> None:
    """A call whose INVITE has no description: the 200 has the offer, the ACK the answer (RFC 3264 4)."""
    caller.invite(callee, ())
    callee.answer(callee.receive_request("INVITE"), 200, sdp=True)
    caller.ack(caller.receive_response(200), sdp=True)
    callee.receive_request("ACK")


def reinvite(
    one: Phone, other: Phone, offer: list[MediaLine] | None = None, answer: list[MediaLine] | None = None
) -> None:
    """A re-INVITE from INVITE to ACK."""
    one.reinvite(offer)
    other.answer(other.receive_request("INVITE"), 200, sdp=True, media=answer)
    one.ack(one.receive_response(200))
    other.receive_request("ACK")


def refuse(caller: Phone, callee: Phone, invite: SipMessage) -> None:
    """486 and ACK."""
    callee.answer(invite, 486)
    caller.ack(caller.receive_response(486))
    callee.receive_request("ACK")


def cancel(caller: Phone, callee: Phone, invite: SipMessage) -> None:
    """CANCEL, 487 and ACK."""
    caller.cancel()
    callee.answer(callee.receive_request("CANCEL"), 200)
    caller.receive_response(200, "CANCEL")  # a 487 could overtake it in the proxy
    callee.answer(invite, 487)
    caller.ack(caller.receive_response(487))
    callee.receive_request("ACK")


def hang_up(ending: Phone, other: Phone) -> None:
    """BYE and 200."""
    ending.bye()
    other.answer(other.receive_request("BYE"), 200)
    ending.receive_response(200, "BYE")


def talk(one: Phone, other: Phone, components: tuple[int, ...] = (RTP, RTCP)) -> None:
    """Every medium of either phone arrives at the other, RTP and RTCP."""
    for number in range(len(one.media)):
        for component in components:
            for speaker, listener in ((one, other), (other, one)):
                payload = f"{speaker.user} on {number}.{component}".encode()
                speaker.media[number].send(payload, speaker.remote_media[number].target, component)
                received, source = listener.media[number].receive(component)
                address, port = listener.remote_media[number].target
                assert received == payload
                assert source == (address, port + component), "not from where the listener sends to"
