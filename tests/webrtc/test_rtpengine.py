"""nh and rtpengine have DTLS-SRTP, ICE and rtcp-mux between them, with a plain phone behind each."""

import contextlib
import functools
import itertools
from typing import Any

import pytest

from tests.ng.client import NgClient
from tests.ng.ng_call import End, NgCall
from tests.ng.relays import NgRelay, running_ng_relay
from tools.harness.media_peer import RTCP, RTP
from tools.harness.waiting import eventually

pytestmark = pytest.mark.rtpengine

WEB: dict[str, Any] = {
    "transport_protocol": "UDP/TLS/RTP/SAVPF",
    "ICE": "force",
    "rtcp_mux": ["offer", "require"],
    "SDES": ["off"],
    "flags": ["trust-address", "generate-mid"],
}
"""What the flag WebRTC stands for, which rtpengine has since version 11."""
PLAIN: dict[str, Any] = {
    "transport_protocol": "RTP/AVP",
    "ICE": "remove",
    "rtcp_mux": ["demux"],
    "flags": ["trust-address"],
}
CONNECT_S = 60.0


def arrives(speaker: End, listener: End, component: int) -> bool:
    """Whether a packet of one end comes to the other, from the port that this one sends to."""
    payload = f"{speaker.name} on {component}".encode()
    speaker.media[0].send(payload, speaker.remote[0].target, component)
    address, port = listener.remote[0].target
    return (payload, (address, port + component)) in listener.media[0].arriving(0.1, component)


@pytest.mark.parametrize("secured_by", ["nh", "rtpengine"])
def test_media_go_both_ways(secured_by: str) -> None:
    """The one that secures the call is the first; it offers what a browser is offered."""
    with contextlib.ExitStack() as stack:
        alice = stack.enter_context(contextlib.closing(End("alice")))
        bob = stack.enter_context(contextlib.closing(End("bob")))
        names = ("nh", "rtpengine") if secured_by == "nh" else ("rtpengine", "nh")
        relays: list[NgRelay] = [stack.enter_context(running_ng_relay(name)) for name in names]
        near, far = (NgCall(stack.enter_context(NgClient(relay.address))) for relay in relays)
        secured = near.offer(alice.describe(), **WEB)
        assert "UDP/TLS/RTP/SAVPF" in secured
        bob.read(far.offer(secured, **PLAIN))
        answered = far.answer(bob.describe(), **WEB)
        alice.read(near.answer(answered, **PLAIN))
        ends = ((alice, bob), (bob, alice))
        for component, (speaker, listener) in itertools.product((RTP, RTCP), ends):
            # packets are lost until ICE and DTLS are done in both relays; one was lost after that, too
            eventually(
                functools.partial(arrives, speaker, listener, component),
                f"{speaker.name} is heard on component {component}",
                CONNECT_S,
                poll_s=0.05,
            )
        for call in (near, far):
            call.delete()
