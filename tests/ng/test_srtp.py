"""SRTP on one side of a call over ng: phones with libsrtp, nh and rtpengine, and both of these in a row."""

import contextlib
from collections.abc import Iterator

import psutil
import pytest

from tests.ng.client import NgClient
from tests.ng.ng_call import End, NgCall
from tests.ng.relays import NgRelay
from tests.srtp.phone import SrtpPhone
from tests.srtp.talk import OptionalTalk, SecureTalk
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.waiting import eventually
from tools.rtpload.libsrtp import PROFILES


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


@pytest.mark.parametrize("caller", ["plain", "secure"])
def test_media_arrive_where_an_offer_of_plain_rtp_has_keys(
    either: NgRelay, alice: End, secure_peer: MediaPeer, caller: str
) -> None:
    with NgClient(either.address) as client:
        call = OptionalTalk(NgCall(client), alice, SrtpPhone(secure_peer, proto="RTP/AVP"))
        call.begin_by_plain() if caller == "plain" else call.begin_by_secure()
        for _ in range(3):
            call.goes_both_ways()
        call.call.delete()


def test_what_srtp_and_dtls_need_is_loaded_before_the_first_call(nh: NgRelay) -> None:
    """A shard would need 0.1 s for it, in which media wait."""
    for process in psutil.Process(nh.program.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # a helper of the start may have ended meanwhile
            assert any("cryptography" in each.path for each in process.memory_maps()), process.name()


@pytest.fixture
def ends(alice: End, bob: End) -> tuple[End, End]:
    return alice, bob


def say(speaker: End, listener: End, component: int, text: bytes) -> None:
    """A packet arrives, perhaps after others."""
    speaker.media[0].send(text, speaker.remote[0].target, component)
    while listener.media[0].receive(component)[0] != text:
        pass


def wait_for_keys(speaker: End, listener: End, component: int) -> None:
    """Packets arrive: handshakes take their time."""

    def arrives() -> bool:
        speaker.media[0].send(b"hello?", speaker.remote[0].target, component)
        return bool(listener.media[0].pending(component))

    eventually(arrives, "packets arrive")


@pytest.mark.rtpengine
@pytest.mark.parametrize("relays", ["nh-rtpengine", "rtpengine-nh"])
@pytest.mark.parametrize(
    ("transport", "flags"),
    [
        ("RTP/SAVP", {"DTLS": "off"}),
        ("RTP/SAVP", {}),
        pytest.param("RTP/SAVPF", {"SDES": ["off"]}, marks=pytest.mark.full),
        pytest.param("UDP/TLS/RTP/SAVPF", {"DTLS": "passive", "rtcp-mux": ["offer"]}, marks=pytest.mark.full),
    ],
    ids=["SDES", "DTLS of both", "DTLS", "DTLS passive"],
)
def test_nh_and_rtpengine_have_srtp_between_them(
    request: pytest.FixtureRequest,
    ends: tuple[End, End],
    relays: str,
    transport: str,
    flags: dict[str, object],
) -> None:
    """Alice, one relay, SRTP, the other relay, Bob: each agrees with the other on keys."""
    alice, bob = ends
    near, far = (request.getfixturevalue(name) for name in relays.split("-"))
    with contextlib.ExitStack() as stack:
        calls = [NgCall(stack.enter_context(NgClient(relay.address))) for relay in (near, far)]
        secured = calls[0].offer(alice.describe(), **{"transport-protocol": transport, **flags})
        assert f" {transport} " in secured
        demux = {"rtcp-mux": ["demux"]} if "rtcp-mux" in flags else {}
        bob.read(calls[1].offer(secured, **{"transport-protocol": "RTP/AVP", **demux}))
        answered = calls[1].answer(bob.describe())
        assert f" {transport} " in answered
        assert ("a=fingerprint" in answered) is (flags != {"DTLS": "off"})
        alice.read(calls[0].answer(answered))
        for component in (RTP, RTCP):
            for speaker, listener in (ends, ends[::-1]):
                wait_for_keys(speaker, listener, component)
                for number in range(3):
                    say(speaker, listener, component, b"%d" % number)
        for call in calls:
            call.delete()
