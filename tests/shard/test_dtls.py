"""DTLS-SRTP on one side of a call: a phone with OpenSSL and libsrtp, and a plain one, through the relay."""

import contextlib
from typing import Any

import msgspec
import pytest
from OpenSSL import SSL

from nh.calls.media import Endpoint, Side
from nh.calls.protocols import dtls_security
from nh.calls.protocols.dtls_security import DtlsSecurity
from nh.commands import Answer, DtlsOptions, Offer, OfferOptions, SdesOptions, ShowCall
from nh.dtls import attempts
from nh.dtls.problem import Problem
from nh.errors import NhError, Unsupported, UnusableSdp
from nh.results import CallDetail, Rewritten
from nh.verdict.judge import judge_call
from tests.shard.conftest import MakeNg, MakePeer
from tests.shard.ng_testbed import CALL, NgTestbed, line, places
from tests.shard.offering_ends import FINGERPRINT
from tests.shard.secure_calls import TO_WEB, DtlsCall, SecureCall
from tests.sip.sdp import MediaLine, read_sdp, write_sdp
from tests.srtp.dtls_phone import DtlsPhone
from tests.srtp.packets import rtp
from tests.srtp.phone import SrtpPhone
from tools.harness.media_peer import RTP, MediaPeer
from tools.rtpload.openssl_end import OpensslEnd

PROFILES = ("SRTP_AES128_CM_SHA1_32", "SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM")
Phones = tuple[NgTestbed, MediaPeer, MediaPeer]


@pytest.fixture
def testbed(make_ng: MakeNg) -> NgTestbed:
    return make_ng()


@pytest.fixture
def phones(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> Phones:
    return testbed, alice, bob


@pytest.mark.parametrize("answers", ["active", "passive"])
@pytest.mark.parametrize(("proto", "mux"), [(TO_WEB, True), ("UDP/TLS/RTP/SAVP", False), ("RTP/SAVPF", True)])
def test_a_plain_phone_calls_one_with_dtls(phones: Phones, answers: str, proto: str, mux: bool) -> None:
    testbed, alice, bob = phones
    call = DtlsCall(testbed, DtlsPhone(bob, proto=proto, mux=mux), alice)
    call.begin_by_plain(answers=answers, transport_protocol=proto)
    call.agrees()
    for _ in range(3):
        call.goes_both_ways()
    assert testbed.dropped() == 0
    assert testbed.stats().dtls_ok == len(call.phone.components)


@pytest.mark.parametrize(
    ("setup", "role"),
    [
        (("actpass", False), "passive"),
        (("actpass", True), "active"),
        (("active", True), "passive"),
        (("passive", False), "active"),
    ],
)
@pytest.mark.parametrize("mux", [False, True], ids=["two ports", "mux"])
def test_a_phone_with_dtls_calls_a_plain_one(
    phones: Phones, setup: tuple[str, bool], role: str, mux: bool
) -> None:
    testbed, alice, bob = phones
    says, prefers_active = setup
    call = DtlsCall(testbed, DtlsPhone(alice, setup=says, mux=mux), bob)
    assert call.begin_by_phone(dtls=DtlsOptions(active=prefers_active)) == role
    call.agrees()
    for _ in range(3):
        call.goes_both_ways()


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_carries_media(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, profile: str
) -> None:
    call = DtlsCall(testbed, DtlsPhone(bob, profiles=[profile]), alice)
    call.begin_by_plain()
    call.agrees()
    call.goes_both_ways()


def test_a_re_invite_that_changes_nothing_keeps_the_keys_and_the_role(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = DtlsCall(testbed, DtlsPhone(alice), bob)
    role = call.begin_by_phone()
    call.agrees()
    call.goes_both_ways()
    for options in (DtlsOptions(), DtlsOptions(active=True)):
        testbed.offer(call.phone.sdp(), to=b"bob", transport_protocol="RTP/AVP", dtls=options)
        call.goes_both_ways()
        assert call.phone.read(testbed.answer(bob)) == role
        call.goes_both_ways()
    # the plain one offers again: the phone takes the same part as before
    offer = testbed.offer(bob, tag=b"bob", to=b"alice", transport_protocol=TO_WEB)
    assert call.phone.read(offer) == "actpass"
    testbed.answer(call.phone.sdp("active"), tag=b"alice", to=b"bob")
    call.goes_both_ways()


@pytest.mark.parametrize("change", ["fingerprint", "tls-id", "address"])
def test_a_new_association_takes_the_place_of_the_old_one(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer, change: str
) -> None:
    call = DtlsCall(testbed, DtlsPhone(alice), bob)
    call.begin_by_phone()
    call.agrees()
    call.goes_both_ways()
    peer = make_peer() if change == "address" else alice
    extra = ["tls-id:" + "b" * 32] if change == "tls-id" else []
    call.phone = DtlsPhone(peer, name="new" if change == "fingerprint" else "phone", extra=extra)
    (call.plain_sends_to,) = places(testbed.offer(call.phone.sdp(), to=b"bob", transport_protocol="RTP/AVP"))
    answer = testbed.answer(bob)
    call.phone.begin(client=call.phone.read(answer) == "passive")
    assert any(each.startswith("tls-id:") for each in call.phone.says) is (change == "tls-id")
    call.agrees()
    call.goes_both_ways()


def test_an_end_that_was_restarted_gets_new_keys_without_signalling(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = DtlsCall(testbed, DtlsPhone(alice), bob)
    call.begin_by_phone()
    for _ in range(2):
        call.phone.begin(client=True)
        call.agrees()
        call.goes_both_ways()


def test_dtls_on_both_sides_passes_through(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    caller, callee = DtlsPhone(alice, mux=True), DtlsPhone(bob, mux=True, name="bob")
    callee.read(testbed.offer(caller.sdp(), transport_protocol="UDP/TLS/RTP/SAVP"))
    assert f"fingerprint:{OpensslEnd(client=True).fingerprint}" in callee.says
    assert caller.read(testbed.answer(callee.sdp("active"))) == "active"
    caller.begin(client=False)
    callee.begin(client=True)
    testbed.turn_until(lambda: caller.step() & callee.step(), "the phones agree with each other")
    callee.send(rtp(1, b"through"))
    assert caller.receive(read=testbed.receive) == rtp(1, b"through")


def test_dtls_that_passes_to_a_transport_of_keys_does_so_in_later_offers(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """Its association would begin again with the relay, in the middle of the call."""
    caller, callee = DtlsPhone(alice), DtlsPhone(bob, proto="RTP/SAVP", name="bob")
    offer = testbed.offer(caller.sdp(), transport_protocol="RTP/SAVP", sdes=SdesOptions(off=True))
    answer = testbed.answer(callee.sdp("active"))
    assert testbed.offer(caller.sdp(), to=b"bob") == offer
    assert testbed.answer(callee.sdp("active")) == answer


def test_a_plain_phone_rejects_the_data_channel_of_a_browser_and_the_audio_goes_on(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    phone = DtlsPhone(alice, mux=True, extra=["mid:0"])
    head, audio = phone.sdp().split(b"m=audio")
    said = b"".join(
        each + b"\r\n" for each in audio.split(b"\r\n") if each.startswith((b"a=setup", b"a=fing"))
    )
    channel = b"m=application %d UDP/DTLS/SCTP webrtc-datachannel\r\n" % alice.port
    channel += b"c=IN IP4 %s\r\na=mid:1\r\n" % alice.address.encode() + said
    bundle = head + b"a=group:BUNDLE 0 1\r\nm=audio" + audio + channel
    offer = testbed.offer(bundle, transport_protocol="RTP/AVP", mux_demux=True)
    speech, data = read_sdp(offer.decode())
    assert (speech.proto, data.proto) == ("RTP/AVP", "UDP/DTLS/SCTP")
    assert speech.port != data.port
    assert b"BUNDLE" not in offer
    rejected = MediaLine(bob.address, 0, "application", "UDP/DTLS/SCTP")
    answer = testbed.answer(write_sdp([MediaLine(bob.address, bob.port), rejected]).encode())
    assert read_sdp(answer.decode())[1].port == 0
    assert b"a=group:BUNDLE 0\r\n" in answer
    phone.begin(client=phone.read(answer.split(b"m=application")[0]) == "passive")
    testbed.turn_until(phone.step, "there are keys")
    phone.send(rtp(1, b"speech"))
    assert testbed.receive(bob)[0] == rtp(1, b"speech")


def test_keys_in_sdp_on_one_side_and_dtls_on_the_other(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    caller, callee = SrtpPhone(alice), DtlsPhone(bob)
    callee.read(testbed.offer(caller.sdp(), transport_protocol=TO_WEB))
    assert not any("crypto" in each for each in callee.says)
    answer = testbed.answer(callee.sdp("active"))
    assert b"fingerprint" not in answer
    assert caller.learn(answer)
    callee.begin(client=True)
    testbed.turn_until(callee.step, "there are keys")
    callee.send(rtp(1, b"one"))
    assert caller.read(testbed.receive(alice)[0]) == rtp(1, b"one")
    caller.send(rtp(2, b"two"), places(answer)[0])
    assert callee.receive(read=testbed.receive) == rtp(2, b"two")


@pytest.mark.parametrize("off", [True, False])
def test_dtls_on_one_side_and_keys_in_sdp_on_the_other(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, off: bool
) -> None:
    """Also where the client permits DTLS: it passed through then, and the other end was offered no keys."""
    caller, callee = DtlsPhone(alice), SrtpPhone(bob)
    offer = testbed.offer(caller.sdp(), transport_protocol="RTP/SAVP", dtls=DtlsOptions(off=off))
    assert means_in(offer) == ({"sdes"} if off else {"dtls", "sdes"})
    assert callee.learn(offer)
    caller.begin(client=caller.read(testbed.answer(callee.sdp())) == "passive")
    testbed.turn_until(caller.step, "there are keys")
    caller.send(rtp(1, b"one"))
    assert callee.read(testbed.receive(bob)[0]) == rtp(1, b"one")


@pytest.mark.parametrize("takes", ["dtls", "sdes"])
def test_both_are_offered_and_the_answerer_chooses(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, takes: str
) -> None:
    offer = testbed.offer(alice, transport_protocol="RTP/SAVP")
    assert b"a=crypto" in offer
    if takes == "dtls":
        phone = DtlsPhone(bob, proto="RTP/SAVP")
        phone.read(offer)
        testbed.answer(phone.sdp("active"))
        phone.begin(client=True)
        testbed.turn_until(phone.step, "there are keys")
        phone.send(rtp(1, b"one"))
    else:
        keyed = SrtpPhone(bob)
        keyed.learn(offer)
        testbed.answer(keyed.sdp())
        keyed.send(rtp(1, b"one"), places(offer)[0])
    assert testbed.receive(alice)[0] == rtp(1, b"one")
    assert means_in(testbed.offer(alice, to=b"bob")) == {takes}
    others = testbed.offer(
        alice, to=b"bob", dtls=DtlsOptions(off=takes == "dtls"), sdes=SdesOptions(off=takes == "sdes")
    )
    assert means_in(others) == {"dtls", "sdes"} - {takes}, "only if the client excludes what is agreed on"


def means_in(sdp: bytes) -> set[str]:
    """How SRTP may be had by an SDP."""
    return {name for name, line in (("dtls", b"a=fingerprint:"), ("sdes", b"a=crypto:")) if line in sdp}


@pytest.mark.parametrize(
    ("dtls", "sdes"),
    [
        (DtlsOptions(), SdesOptions()),
        (DtlsOptions(off=True), SdesOptions()),
        (DtlsOptions(), SdesOptions(prefer=True)),
    ],
)
def test_dtls_is_preferred_where_an_end_offers_both(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, dtls: DtlsOptions, sdes: SdesOptions
) -> None:
    keys = dtls.off or sdes.prefer
    keyed = SrtpPhone(alice).sdp().decode().split("a=crypto:")[1].strip()
    caller = DtlsPhone(alice, proto="RTP/SAVP", extra=[f"crypto:{keyed}"])
    testbed.offer(caller.sdp(), transport_protocol="RTP/AVP", dtls=dtls, sdes=sdes)
    answer = testbed.answer(bob)
    assert (b"fingerprint" in answer, b"a=crypto" in answer) == (not keys, keys)


@pytest.mark.parametrize("in_session", [False, True])
@pytest.mark.parametrize("off", ["", "dtls", "sdes"])
def test_of_both_that_pass_the_other_end_sees_those_that_the_client_leaves_on(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, off: str, in_session: bool
) -> None:
    """As in rtpengine: a phone that saw both took the one that the client had turned off."""
    keyed = SrtpPhone(alice).sdp().decode().split("a=crypto:")[1].strip()
    sdp = DtlsPhone(alice, proto="RTP/SAVP", extra=[f"crypto:{keyed}"]).sdp()
    offer = testbed.offer(
        in_head(sdp) if in_session else sdp,
        dtls=DtlsOptions(off=off == "dtls"),
        sdes=SdesOptions(off=off == "sdes"),
    )
    seen = {"dtls", "sdes"} - {off}
    assert means_in(offer) == seen
    assert (b"a=setup:" in offer) is ("dtls" in seen)
    assert read_sdp(offer.decode())[0].proto == "RTP/SAVP"
    answerer = SrtpPhone(bob).sdp() if "sdes" in seen else DtlsPhone(bob, proto="RTP/SAVP").sdp("active")
    assert means_in(testbed.answer(answerer)) == means_in(answerer)


@pytest.mark.parametrize(
    ("proto", "off", "kept"),
    [
        ("UDP/TLS/RTP/SAVP", ["dtls"], "DTLS=off"),
        ("RTP/SAVP", ["dtls", "sdes"], "DTLS=off"),
        ("RTP/SAVP", ["sdes"], ""),
    ],
)
def test_a_client_is_told_of_the_only_means_of_an_offer_that_it_turns_off_and_that_passes(
    testbed: NgTestbed, alice: MediaPeer, proto: str, off: list[str], kept: str
) -> None:
    offer = DtlsPhone(alice, proto=proto).sdp()
    result = testbed.relay.execute(Offer(CALL, b"alice", b"", b"", offer, turning_off(*off)))
    assert isinstance(result, Rewritten)
    assert means_in(result.sdp) == {"dtls"}
    assert result.warning == (
        f"Ignored by nh: {kept} (the ends agree on SRTP with each other)" if kept else ""
    )


@pytest.mark.parametrize("proto", ["RTP/SAVP", "UDP/TLS/RTP/SAVP"])
@pytest.mark.parametrize("off", ["dtls", "sdes"])
def test_a_client_is_told_of_means_of_an_answer_that_it_turns_off_and_that_pass(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, proto: str, off: str
) -> None:
    """The ends have agreed by the offer: the answerer would begin DTLS, and the offerer wait for keys."""
    keyed = SrtpPhone(bob).sdp().decode().split("a=crypto:")[1].strip()
    testbed.offer(DtlsPhone(alice, proto=proto, extra=[f"crypto:{keyed}"]).sdp())
    answer = DtlsPhone(bob, proto=proto, extra=[f"crypto:{keyed}"]).sdp("active")
    result = testbed.relay.execute(Answer(CALL, b"alice", b"bob", b"", answer, turning_off(off)))
    assert isinstance(result, Rewritten)
    assert means_in(result.sdp) == {"dtls", "sdes"}
    assert result.warning.startswith(f"Ignored by nh: {off.upper()}=off (the offer has decided")


def turning_off(*means: str) -> OfferOptions:
    return OfferOptions(dtls=DtlsOptions(off="dtls" in means), sdes=SdesOptions(off="sdes" in means))


def test_keys_of_a_transport_of_dtls_pass_alone_where_the_client_turns_dtls_off(
    testbed: NgTestbed, alice: MediaPeer
) -> None:
    keyed = SrtpPhone(alice).sdp().decode().split("a=crypto:")[1].strip()
    sdp = DtlsPhone(alice, proto="UDP/TLS/RTP/SAVP", extra=[f"crypto:{keyed}"]).sdp()
    offer = testbed.offer(sdp, transport_protocol="RTP/SAVP", dtls=DtlsOptions(off=True))
    assert means_in(offer) == {"sdes"}
    assert read_sdp(offer.decode())[0].proto == "RTP/SAVP"


def test_dtls_of_a_data_channel_is_none_that_the_client_turns_off(
    testbed: NgTestbed, alice: MediaPeer
) -> None:
    keyed = SrtpPhone(alice).sdp().decode().split("a=crypto:")[1].strip()
    sdp = in_head(DtlsPhone(alice, proto="RTP/SAVP", extra=[f"crypto:{keyed}"]).sdp())
    sdp += b"m=application 5000 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 127.0.0.1\r\n"
    options = OfferOptions(dtls=DtlsOptions(off=True))
    result = testbed.relay.execute(Offer(CALL, b"alice", b"", b"", sdp, options))
    assert isinstance(result, Rewritten)
    audio, channel = result.sdp.split(b"m=application")
    assert b"fingerprint" not in audio
    assert b"fingerprint" in channel
    assert not result.warning


def in_head(sdp: bytes) -> bytes:
    """An SDP whose lines of DTLS are in the session."""
    head, media = sdp.split(b"m=audio")
    lines = [each for each in media.splitlines() if each.startswith((b"a=setup", b"a=fingerprint"))]
    others = [each for each in (b"m=audio" + media).splitlines() if each not in lines]
    return head + b"".join(each + b"\r\n" for each in (*lines, *others))


def test_the_client_chooses_what_is_offered(testbed: NgTestbed, alice: MediaPeer) -> None:
    offer = testbed.offer(alice, transport_protocol="RTP/SAVPF", sdes=SdesOptions(off=True))
    assert b"crypto" not in offer
    assert b"a=fingerprint:sha-256 " in offer
    again = testbed.offer(alice, transport_protocol="RTP/SAVPF", dtls=DtlsOptions(algorithm="sha-512"))
    assert b"a=fingerprint:sha-512 " in again
    assert b"a=tls-id:" in again
    with pytest.raises(Unsupported):
        testbed.offer(alice, transport_protocol=TO_WEB, dtls=DtlsOptions(off=True))


def test_lines_of_the_session_are_those_of_its_media(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    offer = testbed.offer(in_head(DtlsPhone(alice).sdp()), transport_protocol="RTP/AVP")
    assert b"fingerprint" not in offer
    assert b"a=setup" not in offer
    assert b"a=setup:passive" in testbed.answer(bob)


def test_a_fingerprint_that_the_client_turns_off_is_not_said_to_be_missing(
    testbed: NgTestbed, alice: MediaPeer
) -> None:
    with pytest.raises(Unsupported, match=r"^recrypt: nh passes UDP/TLS/RTP/SAVPF on as it is$"):
        testbed.offer(DtlsPhone(alice, proto=TO_WEB).sdp(), recrypt=True, dtls=DtlsOptions(off=True))


def test_sha_1_is_refused_by_name(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    weak = OpensslEnd(client=True).sha1
    with pytest.raises(Unsupported, match="SHA-256"):
        testbed.offer(DtlsPhone(alice, fingerprint=weak).sdp(), transport_protocol="RTP/AVP")
    testbed.offer(alice, transport_protocol=TO_WEB)
    with pytest.raises(UnusableSdp, match="SHA-256"):
        testbed.answer(DtlsPhone(bob, fingerprint=weak).sdp("active"))


def test_another_certificate_than_the_sdp_says_gets_no_media(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    other = OpensslEnd(client=True, name="other").fingerprint
    call = DtlsCall(testbed, DtlsPhone(bob, mux=True, fingerprint=other), alice)
    call.begin_by_plain()

    def refused() -> bool:
        with contextlib.suppress(SSL.Error):  # the alert
            call.phone.step()
        return call.problem(Side.TO) is Problem.FINGERPRINT

    testbed.turn_until(refused, "the relay says why")
    assert testbed.stats().dtls_fingerprint == 1
    detail = testbed.relay.execute(ShowCall(CALL))
    assert isinstance(detail, CallDetail)
    assert detail.sessions[0].pairs[0].to.dtls == "fingerprint differs from the SDP"
    assert any("DTLS: fingerprint differs from the SDP" in each.found for each in judge_call(detail).verdicts)
    alice.send_raw(rtp(1, b"plain"), call.plain_sends_to)
    testbed.turn_until(lambda: testbed.stats().drop_srtp_unsent_no_key == 1, "nothing is sent in clear")


def test_strangers_do_not_disturb_a_call(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    call = DtlsCall(testbed, DtlsPhone(bob), alice)
    call.begin_by_plain()
    mallory = make_peer("127.0.0.66")
    stranger = OpensslEnd(client=True, name="stranger")
    alert = bytes.fromhex("15fefd0000000000000001000202") + b"\x28"
    for datagram in (*stranger.begin(), alert, b"\x16\xfe\xfd", b"\x14", rtp(1, b"x")):
        mallory.send_raw(datagram, call.phone.sends_to)
    bob.send_raw(alert, call.phone.sends_to)
    call.agrees()
    call.goes_both_ways()


def test_a_handshake_that_the_relay_begins_is_with_whom_it_sends_to(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "ALONE_S", 60.0)  # a busy host may be slow
    call = DtlsCall(testbed, DtlsPhone(bob, mux=True), alice)
    call.begin_by_plain(answers="passive")
    budget = dtls_security._budget()
    before = budget.running
    testbed.turn_until(lambda: budget.running == before + 1, "the relay has begun")
    mallory = make_peer("127.0.0.66")
    no_common_cipher = bytes.fromhex("020000250000000000000025fefd") + bytes(35)
    mallory.send_raw(b"\x16\xfe\xfd" + bytes(9) + b"\x31" + no_common_cipher, call.phone.sends_to)
    testbed.turn_until(lambda: testbed.stats().drop_source_mismatch == 1, "the stranger is refused")
    call.agrees()
    call.goes_both_ways()
    (session,) = testbed.relay.plane._running
    assert {leg.offender for leg in session.legs} >= {Endpoint("127.0.0.66", mallory.port)}


def test_media_before_the_keys_are_dropped_and_counted(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = DtlsCall(testbed, DtlsPhone(bob), alice)
    call.begin_by_plain()
    bob.send_raw(rtp(1, b"early"), call.phone.sends_to)
    alice.send_raw(rtp(1, b"early"), call.plain_sends_to)
    testbed.turn_until(
        lambda: testbed.stats().drop_srtp_no_key == 1 and testbed.stats().drop_srtp_unsent_no_key == 1,
        "counted",
    )
    call.agrees()
    call.goes_both_ways()
    assert alice.pending() == bob.pending() == []


def test_an_end_is_where_it_finished_its_handshake(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    """A phone behind NAT that sends no media yet: its SDP has an address that nothing reaches."""
    phone = DtlsPhone(bob, mux=True)
    call = DtlsCall(testbed, phone, alice)
    phone.read(testbed.offer(alice, transport_protocol=TO_WEB, mux_offer=True))
    private = phone.sdp("active").replace(b"IN IP4 127.0.0.1", b"IN IP4 192.168.7.7")
    (call.plain_sends_to,) = places(testbed.answer(private))
    phone.begin(client=True)
    call.agrees()
    alice.send_raw(rtp(7, b"to you"), call.plain_sends_to)
    assert phone.receive(read=testbed.receive) == rtp(7, b"to you")


def test_calls_that_end_within_a_handshake_leave_room_for_others(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    budget = dtls_security._budget()  # of the process: another test may have left something
    before = budget.running
    call = DtlsCall(testbed, DtlsPhone(bob, mux=True), alice)
    call.begin_by_plain(answers="passive")
    testbed.turn_until(lambda: budget.running == before + 1, "the relay has begun")
    testbed.delete()
    testbed.turn_until(lambda: budget.running == before, "it has ended")


@pytest.mark.parametrize("active", [False, True])
def test_a_reading_says_who_begins_and_whether_the_certificate_was_right(
    phones: Phones, *, active: bool
) -> None:
    testbed, alice, bob = phones
    call = DtlsCall(testbed, DtlsPhone(alice), bob)
    role = call.begin_by_phone(dtls=DtlsOptions(active=active))
    secure, plain = testbed.query().tags
    assert secure.media[0].flags[-2:] == ("DTLS-SRTP", f"DTLS role {role}")
    assert (secure.media[0].streams[RTP].flags, plain.media[0].flags) == ((), ("send", "recv"))
    call.agrees()
    secure, _ = testbed.query().tags
    assert secure.media[0].streams[RTP].flags == ("DTLS fingerprint verified",)


# --- flags of an answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "offer", "answer", "role"),
    [
        ("actpass", None, True, "active"),
        ("actpass", None, False, "passive"),
        ("actpass", True, False, "passive"),
        ("actpass", True, None, "active"),
        ("active", None, True, "passive"),
        ("passive", None, False, "active"),
    ],
)
def test_an_answer_decides_who_begins_where_the_offer_leaves_it_to_the_relay(
    phones: Phones, *, says: str, offer: bool | None, answer: bool | None, role: str
) -> None:
    """As in rtpengine, whose clients say so in the answer; nh heard it in the offer alone."""
    testbed, alice, bob = phones
    call = DtlsCall(testbed, DtlsPhone(alice, setup=says, mux=True), bob)
    options = DtlsOptions(active=offer)
    assert call.begin_by_phone(dtls=options, answer_says=DtlsOptions(active=answer)) == role
    call.agrees()
    call.goes_both_ways()


@pytest.mark.parametrize(
    ("setups", "role"), [(("actpass", "active"), "passive"), (("active", "actpass"), "active")]
)
def test_an_answer_decides_by_the_last_offer_who_begins(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, *, setups: tuple[str, str], role: str
) -> None:
    """By the first one both ends were clients."""
    phone = DtlsPhone(alice)
    testbed.offer(phone.sdp(setups[0]), transport_protocol="RTP/AVP")
    testbed.answer(bob)
    testbed.offer(phone.sdp(setups[1]), to=b"bob")
    assert phone.read(testbed.answer(bob, dtls=DtlsOptions(active=True))) == role


def test_an_offer_that_is_refused_leaves_the_role_as_it_was(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    phone = DtlsPhone(alice)
    testbed.offer(phone.sdp(), transport_protocol="RTP/AVP")
    testbed.answer(bob)
    resources = testbed.relay.table.resources
    resources.settings = msgspec.structs.replace(resources.settings, max_sockets=1)
    before = testbed.snapshots()
    with pytest.raises(NhError):
        testbed.offer(phone.sdp("active") + b"m=video 5000 RTP/AVP 96\r\n", to=b"bob")
    assert testbed.snapshots() == before


def test_a_handshake_that_the_answer_leaves_to_the_end_is_over(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    budget = dtls_security._budget()
    before = budget.running
    testbed.offer(DtlsPhone(alice).sdp(), transport_protocol="RTP/AVP", dtls=DtlsOptions(active=True))
    testbed.turn_until(lambda: budget.running == before + 2, "the relay begins for RTP and RTCP")
    testbed.answer(bob, dtls=DtlsOptions(active=False))
    testbed.turn_until(lambda: budget.running == before, "the end is to begin")


def test_a_process_that_goes_on_with_an_offer_knows_that_the_role_is_open(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed.offer(DtlsPhone(alice).sdp(), transport_protocol="RTP/AVP")
    testbed.restore()
    assert DtlsPhone(alice).read(testbed.answer(bob, dtls=DtlsOptions(active=True))) == "active"


def test_a_process_that_goes_on_with_a_call_knows_whose_the_last_flight_is(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = DtlsCall(testbed, DtlsPhone(alice, mux=True), bob)
    call.begin_by_phone()
    call.agrees()
    testbed.restore()
    (session,) = testbed.relay.table.get_call(CALL).running
    dtls = session.legs[Side.FROM].security
    assert isinstance(dtls, DtlsSecurity)
    assert dtls.last_flight
    assert dtls.agreed_source == Endpoint(alice.address, alice.port)


@pytest.mark.parametrize("restored", [False, True])
def test_an_answer_takes_the_key_of_an_offer_that_has_dtls_too(phones: Phones, restored: bool) -> None:
    """As in rtpengine, with DTLS=off in the answer; nh did so by the offer alone."""
    testbed, alice, bob = phones
    call = SecureCall(testbed, SrtpPhone(alice), bob)

    def offer(to: bytes = b"") -> None:
        sdp = call.secure.sdp(FINGERPRINT, "setup:actpass")
        (call.plain_sends_to,) = places(testbed.offer(sdp, to=to, transport_protocol="RTP/AVP"))

    def answer() -> None:
        to_alice = testbed.answer(bob, dtls=DtlsOptions(off=True))
        assert means_in(to_alice) == {"sdes"}
        call.secure.learn(to_alice)
        (call.secure_sends_to,) = places(to_alice)

    offer()
    if restored:
        testbed.restore()
    answer()
    call.goes_both_ways()
    offer(b"bob")
    call.goes_both_ways()
    answer()
    call.goes_both_ways()
    offer(b"bob")
    assert means_in(testbed.answer(bob)) == {"dtls"}


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ({"dtls": DtlsOptions(off=True)}, "DTLS=off"),  # the offer has nothing else
        ({"sdes": SdesOptions(off=True)}, ""),
        ({}, ""),
    ],
    ids=["DTLS=off", "SDES=off", "none"],
)
def test_an_answer_that_is_to_have_no_dtls_says_that_the_offer_decided(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, options: dict[str, Any], warned: str
) -> None:
    """The client relied on an answer without: nh gave it with DTLS all the same, and said nothing."""
    testbed.offer(DtlsPhone(alice).sdp(), transport_protocol="RTP/AVP")
    answer = Answer(CALL, b"alice", b"bob", b"", write_sdp([line(bob)]).encode(), OfferOptions(**options))
    result = testbed.relay.execute(answer)
    assert isinstance(result, Rewritten)
    assert b"a=fingerprint:" in result.sdp
    assert (warned in result.warning) if warned else not result.warning
