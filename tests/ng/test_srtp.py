"""SRTP on one side of a call over ng: phones with libsrtp, nh and rtpengine, and both of these in a row."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.ng.client import NgClient
from tests.ng.ng_call import End, NgCall, talk
from tests.ng.relays import NgRelay
from tests.srtp.phone import SrtpPhone
from tests.srtp.talk import SecureTalk
from tools.harness.libsrtp import PROFILES
from tools.harness.media_peer import MediaPeer


@pytest.fixture
def secure_peer() -> Iterator[MediaPeer]:
    with MediaPeer("127.0.0.1") as peer:
        yield peer


@pytest.fixture(params=["nh", pytest.param("rtpengine", marks=pytest.mark.rtpengine)])
def either(request: pytest.FixtureRequest) -> NgRelay:
    """nh, and the reference that it has to agree with."""
    running: NgRelay = request.getfixturevalue(request.param)
    return running


@pytest.mark.parametrize("suite", sorted(PROFILES))
@pytest.mark.parametrize("caller", ["plain", "secure"])
def test_media_arrive_on_both_sides_as_they_were_sent(
    either: NgRelay, alice: End, secure_peer: MediaPeer, suite: str, caller: str
) -> None:
    with NgClient(either.address) as client:
        call = SecureTalk(NgCall(client), alice, SrtpPhone(secure_peer, suite))
        call.begin_by_plain() if caller == "plain" else call.begin_by_secure()
        for _ in range(3):
            call.goes_both_ways()
        call.call.delete()


@pytest.mark.rtpengine
@pytest.mark.parametrize("secured_by", ["nh", "rtpengine"])
def test_nh_and_rtpengine_have_srtp_between_them(
    nh: NgRelay, rtpengine: NgRelay, alice: End, bob: End, secured_by: str
) -> None:
    """Alice, one relay, SRTP, the other relay, Bob: each takes the keys of the other's offer and answer."""
    near, far = (nh, rtpengine) if secured_by == "nh" else (rtpengine, nh)
    with contextlib.ExitStack() as stack:
        calls = [NgCall(stack.enter_context(NgClient(relay.address))) for relay in (near, far)]
        secured = calls[0].offer(alice.describe(), transport_protocol="RTP/SAVP")
        assert "RTP/SAVP" in secured
        bob.read(calls[1].offer(secured, transport_protocol="RTP/AVP"))
        answered = calls[1].answer(bob.describe())
        assert "RTP/SAVP" in answered
        alice.read(calls[0].answer(answered))
        for _ in range(3):
            talk(alice, bob)
        for call in calls:
            call.delete()
