"""nh and rtpengine have DTLS-SRTP, ICE and rtcp-mux between them, with a plain phone behind each."""

import contextlib
from typing import Any

import pytest

from tests.ng.client import NgClient
from tests.ng.ng_call import End, NgCall, say
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


def arrives(speaker: End, listener: End) -> bool:
    """Whether what one end sends comes to the other, yet."""
    speaker.media[0].send(b"hello", speaker.remote[0].target)
    return bool(listener.media[0].pending(RTP))


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
        for speaker, listener in ((alice, bob), (bob, alice)):
            eventually(
                lambda speaker=speaker, listener=listener: arrives(speaker, listener),  # type: ignore[misc]
                f"{speaker.name} is heard",
                CONNECT_S,
                poll_s=0.05,
            )
        for speaker, listener in ((alice, bob), (bob, alice)):
            for component in (RTP, RTCP):
                listener.media[0].pending(component)
                say(speaker, listener, component)
        for call in (near, far):
            call.delete()
