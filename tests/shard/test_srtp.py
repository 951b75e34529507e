"""SRTP on one side of a call: a phone with SDES (RFC 4568, libsrtp) and a plain one, through the relay."""

import base64
import socket
import sys
from typing import Any

import msgspec
import pytest

from nh.calls.media import Block, Side
from nh.commands import Answer, DtlsOptions, OfferOptions, SdesOptions
from nh.errors import NhError, Unsupported
from nh.ice.stun import StunClass, encode
from nh.results import Rewritten
from nh.sdp.crypto import read_crypto
from nh.shard.media.sockets.media_socket import socket_of
from nh.srtp.keys import MasterKey
from nh.srtp.state import MAX_STREAMS, DirectionState
from nh.srtp.suites import SUITES
from tests.shard.conftest import MakeNg, MakePeer
from tests.shard.ng_testbed import CALL, NgTestbed, line, places
from tests.shard.offering_ends import FINGERPRINT, KEY
from tests.shard.secure_calls import TO_WEB, SecureCall, packet
from tests.sip.sdp import MediaLine, read_sdp, write_sdp
from tests.srtp import packets
from tests.srtp.packets import protect, rtp
from tests.srtp.phone import SrtpPhone
from tools.harness.media_peer import RTCP, MediaPeer
from tools.rtpload.libsrtp import PROFILES

suites = pytest.mark.parametrize("suite", sorted(PROFILES))


def protos(sdp: bytes) -> list[str]:
    return [medium.proto for medium in read_sdp(sdp.decode())]


@pytest.fixture
def testbed(make_ng: MakeNg) -> NgTestbed:
    return make_ng()


@suites
def test_a_plain_phone_calls_one_with_srtp(
    suite: str, testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = SecureCall(testbed, SrtpPhone(bob, suite), alice)
    offer = call.offered_by_plain()
    assert protos(offer) == ["RTP/SAVP"]
    answer = call.answered_by_secure(offer)
    assert protos(answer) == ["RTP/AVP"]
    assert b"crypto" not in answer
    call.goes_both_ways()
    assert testbed.dropped() == 0


@suites
def test_a_phone_with_srtp_calls_a_plain_one(
    suite: str, testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = SecureCall(testbed, SrtpPhone(alice, suite), bob)
    offer = call.offered_by_secure()
    assert protos(offer) == ["RTP/AVP"]
    assert b"crypto" not in offer
    answer = call.answered_by_plain(offer)
    assert protos(answer) == ["RTP/SAVP"]
    call.goes_both_ways()
    assert testbed.dropped() == 0


def test_srtp_on_both_sides_passes_through(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    caller, callee = SrtpPhone(alice), SrtpPhone(bob, fill=99)
    offer = testbed.offer(caller.sdp(), transport_protocol="RTP/SAVP")
    assert callee.learn(offer)[0].split()[2] in caller.sdp().decode()
    answer = testbed.answer(callee.sdp())
    caller.learn(answer)
    sent = caller.send(packet(1), places(answer)[0])
    assert testbed.receive(bob)[0] == sent
    assert callee.read(sent) == packet(1)


GCM = "AEAD_AES_128_GCM"


def test_srtp_on_both_sides_ends_at_the_relay_if_the_client_wants_it(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """`recrypt`: each end has its own suite and key, also after a re-INVITE that does not say it again."""
    caller, callee = SrtpPhone(alice), SrtpPhone(bob, GCM, fill=99)
    to_bob = testbed.offer(caller.sdp(), recrypt=True)
    callee.learn(to_bob)
    to_alice = testbed.answer(callee.sdp())
    caller.learn(to_alice)
    for number in (1, 2):
        assert protos(to_bob) == protos(to_alice) == ["RTP/SAVP"]
        for sender, receiver, sdp in ((caller, callee, to_alice), (callee, caller, to_bob)):
            sent = sender.send(packet(number), places(sdp)[0])
            received, _ = testbed.receive(receiver.peer)
            assert received != sent
            assert receiver.read(received) == packet(number)
        to_bob = testbed.offer(caller.sdp(), to=b"bob")
        callee.learn(to_bob)
        to_alice = testbed.answer(callee.sdp())
        caller.learn(to_alice)
    assert testbed.dropped() == 0


def test_recrypt_without_a_key_that_nh_can_use_is_refused(testbed: NgTestbed, alice: MediaPeer) -> None:
    unknown = SrtpPhone(alice).sdp().replace(b"AES_CM_128_HMAC_SHA1_80", b"F8_128_HMAC_SHA1_80")
    with pytest.raises(Unsupported, match="recrypt: nh passes RTP/SAVP on as it is"):
        testbed.offer(unknown, recrypt=True)
    assert testbed.stats().sockets == 0


def both_suites(peer: MediaPeer) -> tuple[SrtpPhone, bytes]:
    """A phone that offers two suites, and its SDP."""
    phone = SrtpPhone(peer)
    return phone, phone.sdp(f"crypto:7 {GCM} inline:{base64.b64encode(bytes(28)).decode()}")


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        (SdesOptions(), ["7", "1"]),
        (SdesOptions(only=("AES_CM_128_HMAC_SHA1_80",)), ["1"]),
        (SdesOptions(excluded=(GCM,)), ["1"]),
        (SdesOptions(excluded=(GCM,), only=(GCM,)), ["7"]),
        (SdesOptions(order=("AES_CM_128_HMAC_SHA1_80",)), ["1", "7"]),
        (SdesOptions(excluded=(GCM,), no_new=True), ["7", "1"]),
    ],
)
def test_of_keys_that_pass_through_the_other_end_sees_those_that_the_client_permits(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, options: SdesOptions, seen: list[str]
) -> None:
    caller, sdp = both_suites(alice)
    callee = SrtpPhone(bob, fill=99)
    offer = testbed.offer(sdp, sdes=options)
    assert [each.split()[0] for each in callee.learn(offer)] == seen
    if "1" in seen:
        answer = testbed.answer(callee.sdp())
        caller.learn(answer)
        sent = caller.send(packet(1), places(answer)[0])
        assert testbed.receive(bob)[0] == sent
        assert callee.read(sent) == packet(1)


def test_srtp_ends_at_the_relay_where_the_caller_has_no_suite_that_the_client_permits(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """As in rtpengine: the callee is offered the permitted suite, and the caller keeps its own."""
    caller, callee = SrtpPhone(alice), SrtpPhone(bob, GCM, fill=99)
    offer = testbed.offer(caller.sdp(), sdes=SdesOptions(only=(GCM,)))
    assert [each.split()[1] for each in callee.learn(offer)] == [GCM]
    answer = testbed.answer(callee.sdp())
    assert [each.split()[:2] for each in caller.learn(answer)] == [["1", caller.suite]]
    caller.send(packet(1), places(answer)[0])
    assert callee.read(testbed.receive(bob)[0]) == packet(1)


def test_nothing_passes_before_the_key_of_the_answerer_is_known(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """Neither as it is to the plain phone, nor by itself to the other one."""
    secure = SrtpPhone(bob)
    call = SecureCall(testbed, secure, alice)
    offer = call.offered_by_plain()
    secure.send(packet(1), places(offer)[0])
    testbed.turn_until(lambda: testbed.stats().drop_srtp_no_key == 1, "the early packet is counted")
    call.answered_by_secure(offer)
    call.goes_both_ways()
    assert alice.pending() == []


def test_forged_and_repeated_packets_are_counted_and_move_nothing(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    call = SecureCall(testbed, SrtpPhone(bob), alice)
    call.answered_by_secure(call.offered_by_plain())
    call.goes_both_ways()
    sent, unsent = call.reaches_plain(), call.secure.protect(call.next())
    for mallory in (bob, make_peer("127.0.0.66")):
        for forged in (
            unsent[:-1] + bytes([unsent[-1] ^ 1]),
            unsent[:11],
            packet(7),
            b"\x80",
            b"\x16\xfe\xff",
        ):
            mallory.send_raw(forged, call.secure_sends_to)
        mallory.send_raw(sent, call.secure_sends_to)
    stats = testbed.relay.stats
    testbed.turn_until(
        lambda: (stats.drop_srtp_authentication, stats.drop_srtp_replay) == (10, 2), "each is counted"
    )
    call.goes_both_ways()
    assert stats.drop_source_mismatch == 0
    assert alice.pending() == []


def test_a_payload_that_would_repeat_an_index_is_dropped(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """Two payloads under one index would give the key stream away (RFC 3711 9.1)."""
    call = SecureCall(testbed, SrtpPhone(bob), alice)
    call.answered_by_secure(call.offered_by_plain())
    call.goes_both_ways()
    for text in (b"one", b"another"):
        alice.send_raw(rtp(500, text), call.plain_sends_to)
    testbed.turn_until(lambda: testbed.stats().drop_srtp_unsent_index_used == 1, "the second one is counted")
    assert call.secure.read(testbed.receive(bob)[0]) == rtp(500, b"one")
    assert bob.pending() == []


def test_what_srtp_cannot_protect_is_dropped_and_counted_by_its_reason(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = SecureCall(testbed, SrtpPhone(bob), alice)
    call.answered_by_secure(call.offered_by_plain())
    call.goes_both_ways()
    alice.send_raw(b"\x10\0T.38", call.plain_sends_to)
    testbed.turn_until(lambda: testbed.stats().drop_srtp_unsent_not_media == 1, "what is no media")
    for ssrc in range(MAX_STREAMS + 3):
        alice.send_raw(rtp(1, ssrc=ssrc), call.plain_sends_to)
    testbed.turn_until(lambda: testbed.stats().drop_srtp_unsent_exhausted == 4, "one SSRC was there before")
    assert testbed.stats().drop_srtp_unsent_index_used == testbed.stats().drop_srtp_unsent_no_key == 0


def test_a_re_invite_with_the_same_key_goes_on(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    call = SecureCall(testbed, SrtpPhone(alice), bob)
    first = call.answered_by_plain(call.offered_by_secure())
    for _ in range(3):
        call.goes_both_ways()
    offer = testbed.offer(call.secure.sdp(), to=b"bob", transport_protocol="RTP/AVP")
    call.goes_both_ways()
    again = testbed.answer(bob)
    assert places(offer) == [call.plain_sends_to]
    assert first.split(b"inline:")[1] == again.split(b"inline:")[1]
    call.goes_both_ways()
    assert testbed.dropped() == 0


def test_a_medium_with_feedback_that_a_re_invite_adds_is_converted_as_the_others(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """An end with SRTP could not take the video of one that has AVP for audio and AVPF for video."""
    call = SecureCall(testbed, SrtpPhone(alice), bob)
    call.answered_by_plain(call.offered_by_secure())
    added = [line(bob), MediaLine(bob.address, bob.port + 2, "video", "RTP/AVPF")]
    assert protos(testbed.offer(added, tag=b"bob", to=b"alice")) == ["RTP/SAVP"] * 2


SDES = f"crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}"


@pytest.mark.parametrize(
    ("before", "wanted", "now"),
    [("RTP/SAVP", TO_WEB, "RTP/SAVPF"), ("RTP/AVP", TO_WEB, "RTP/SAVP"), ("RTP/AVP", "RTP/AVP", "RTP/SAVP")],
)
def test_a_medium_is_converted_as_the_others_where_their_end_changes_its_profile(
    testbed: NgTestbed, before: str, wanted: str, now: str
) -> None:
    """The re-INVITE that adds it has another profile than the call had until then."""

    def offered(kind: str, port: int, proto: str) -> MediaLine:
        return MediaLine("127.0.0.11", port, kind, proto, attributes=(SDES,) if "SAVP" in proto else ())

    testbed.offer([offered("audio", 4000, before)], transport_protocol=wanted)
    dtls = (FINGERPRINT, "setup:active") if wanted == TO_WEB else ()
    testbed.answer([MediaLine("127.0.0.22", 5000, proto=wanted, attributes=dtls)])
    both = [offered("audio", 4000, now), offered("video", 4002, now)]
    assert protos(testbed.offer(both, to=b"bob")) == [wanted] * 2


FAX = "udptl"


def begin_converted(testbed: NgTestbed, phone: MediaPeer, plain: MediaPeer, caller: str) -> tuple[str, str]:
    """A call of a phone with SRTP and a plain one; the tag of the plain one, then that of the other."""
    call = SecureCall(testbed, SrtpPhone(phone), plain)
    if caller == "plain":
        call.answered_by_secure(call.offered_by_plain())
        return "alice", "bob"
    call.answered_by_plain(call.offered_by_secure())
    return "bob", "alice"


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("caller", ["secure", "plain"])
def test_audio_that_gives_its_place_to_a_fax_is_converted_at_its_new_place(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, caller: str, refused: bool
) -> None:
    """The transport of a medium was known by its place alone."""
    plain, secure = begin_converted(testbed, alice, bob, caller)
    media = [
        MediaLine(bob.address, bob.port, "image", FAX),
        MediaLine(bob.address, bob.port + 2),
    ]
    for _ in range(2 if refused else 1):
        offer = testbed.offer(media, tag=plain.encode(), to=secure.encode())
        assert protos(offer) == [FAX, "RTP/SAVP"]


@pytest.mark.parametrize("caller", ["secure", "plain"])
def test_audio_after_a_fax_is_converted_again(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, caller: str
) -> None:
    plain, secure = (tag.encode() for tag in begin_converted(testbed, alice, bob, caller))
    fax = MediaLine(bob.address, bob.port, "image", FAX)
    testbed.offer([fax], tag=plain, to=secure)
    testbed.answer([MediaLine(alice.address, alice.port, "image", FAX)], tag=secure, to=plain)
    assert protos(testbed.offer(bob, tag=plain, to=secure)) == ["RTP/SAVP"]


@pytest.mark.parametrize("wanted", ["", "RTP/SAVP"])
@pytest.mark.parametrize("caller", ["secure", "plain"])
def test_a_rejected_medium_has_the_transport_that_its_receiver_has(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, caller: str, wanted: str
) -> None:
    """As the offer before, and as in rtpengine; the answer has that of its offer, as any."""
    plain, secure = (tag.encode() for tag in begin_converted(testbed, alice, bob, caller))
    offer = testbed.offer([MediaLine(bob.address, 0)], tag=plain, to=secure, transport_protocol=wanted)
    assert [(each.port, each.proto) for each in read_sdp(offer.decode())] == [(0, "RTP/SAVP")]
    answer = testbed.answer([MediaLine(alice.address, 0, proto="RTP/SAVP")], tag=secure, to=plain)
    assert [(each.port, each.proto) for each in read_sdp(answer.decode())] == [(0, "RTP/AVP")]


@pytest.mark.parametrize("caller", ["secure", "plain"])
def test_media_that_were_all_rejected_are_converted_when_they_come_again(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer, caller: str
) -> None:
    """When the sockets before were closed, the relay knew nothing of their transport any more."""
    testbed = make_ng(replaced_s=0)
    plain, secure = (tag.encode() for tag in begin_converted(testbed, alice, bob, caller))
    testbed.offer(bob, tag=plain, to=secure)
    testbed.answer([MediaLine(alice.address, 0, proto="RTP/SAVP")], tag=secure, to=plain)
    testbed.relay.expire()
    assert protos(testbed.offer(bob, tag=plain, to=secure)) == ["RTP/SAVP"]


@pytest.mark.parametrize("wanted", ["RTP/SAVP", "RTP/AVPF"])
@pytest.mark.parametrize("with_fax", [False, True])
def test_media_that_the_first_answer_rejected_are_converted_when_they_come_again(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, wanted: str, with_fax: bool
) -> None:
    """As in rtpengine: a script says the transport of the first offer alone."""
    fax = [MediaLine(alice.address, alice.port + 2, "image", FAX)] if with_fax else []
    assert protos(testbed.offer([line(alice), *fax], transport_protocol=wanted))[0] == wanted
    testbed.answer([MediaLine(bob.address, 0, proto=wanted), *fax])
    testbed.restore()
    assert protos(testbed.offer([line(alice), *fax], to=b"bob"))[0] == wanted
    testbed.answer([MediaLine(bob.address, 0, proto=wanted), *fax])
    assert protos(testbed.offer([line(alice)], to=b"bob", transport_protocol="RTP/AVP")) == ["RTP/AVP"]


@pytest.mark.parametrize("rejections", [1, 2])
@pytest.mark.parametrize("by_keys", [False, True])
def test_a_phone_that_rejected_all_media_is_offered_the_means_of_the_first_offer_again(
    testbed: NgTestbed, alice: MediaPeer, by_keys: bool, rejections: int
) -> None:
    """As in rtpengine: a script turns the other means off in the first offer alone."""
    turned_off = means_off(by_keys=by_keys)
    offers = [testbed.offer(alice, transport_protocol="RTP/SAVP", **turned_off)]
    for _ in range(rejections):
        testbed.answer([MediaLine("127.0.0.1", 0, proto="RTP/SAVP")])
        testbed.restore()
        offers.append(testbed.offer(alice, to=b"bob"))
    assert [offered_means(offer) for offer in offers] == [(by_keys, not by_keys)] * (rejections + 1)
    other = testbed.offer(alice, to=b"bob", **means_off(by_keys=not by_keys))
    assert offered_means(other) == (not by_keys, by_keys), "what the client says counts"


def test_a_phone_that_took_plain_media_is_offered_all_means_of_srtp_later(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """Also those that the first offer did not have."""
    testbed.offer(alice, osrtp_offer=True, dtls=DtlsOptions(off=True))
    testbed.answer(bob)
    testbed.restore()
    assert offered_means(testbed.offer(alice, to=b"bob", transport_protocol="RTP/SAVP")) == (True, True)


def means_off(*, by_keys: bool) -> dict[str, Any]:
    """The options that leave one means of SRTP alone."""
    return {"dtls": DtlsOptions(off=True)} if by_keys else {"sdes": SdesOptions(off=True)}


def offered_means(sdp: bytes) -> tuple[bool, bool]:
    """Whether an SDP has keys, and whether a fingerprint."""
    return b"a=crypto:" in sdp, b"a=fingerprint:" in sdp


def test_a_medium_with_feedback_that_is_added_to_a_plain_call_keeps_it(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed.connect(alice, bob)
    added = [line(bob), MediaLine(bob.address, bob.port + 2, "video", "RTP/AVPF")]
    assert protos(testbed.offer(added, tag=b"bob", to=b"alice")) == ["RTP/AVP", "RTP/AVPF"]


@pytest.mark.parametrize("caller", ["secure", "plain"])
def test_a_re_invite_without_a_transport_keeps_the_conversion(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, caller: str
) -> None:
    """As in rtpengine: what a script says of the first offer alone holds for the dialog."""
    call = SecureCall(testbed, SrtpPhone(alice), bob)
    call.answered_by_plain(call.offered_by_secure())
    call.goes_both_ways()
    if caller == "secure":
        assert protos(testbed.offer(call.secure.sdp(), to=b"bob")) == ["RTP/AVP"]
        assert protos(testbed.answer(bob)) == ["RTP/SAVP"]
    else:
        offer = testbed.offer(bob, tag=b"bob", to=b"alice")
        assert protos(offer) == ["RTP/SAVP"]
        call.secure.learn(offer)
        assert protos(testbed.answer(call.secure.sdp(), tag=b"alice", to=b"bob")) == ["RTP/AVP"]
    call.goes_both_ways()
    assert testbed.dropped() == 0


def test_no_new_keys_are_offered_and_those_of_every_suite_are_taken(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """`SDES-nonew`; a suite that the client excludes is taken all the same."""
    nonew = SdesOptions(no_new=True, excluded=("AES_CM_128_HMAC_SHA1_80",))
    assert b"crypto" not in testbed.offer(bob, transport_protocol="RTP/SAVP", sdes=nonew, call_id=b"other")
    with pytest.raises(Unsupported, match="transport-protocol"):
        testbed.offer(bob, transport_protocol="RTP/SAVP", sdes=nonew, dtls=DtlsOptions(off=True))
    call = SecureCall(testbed, SrtpPhone(alice), bob)
    call.answered_by_plain(testbed.offer(call.secure.sdp(), transport_protocol="RTP/AVP", sdes=nonew))


@pytest.mark.parametrize("dtls", [DtlsOptions(), DtlsOptions(off=True)])
def test_a_key_that_is_agreed_on_is_no_new_one(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, dtls: DtlsOptions
) -> None:
    """With `SDES-nonew` the end with SRTP was offered plain phones' re-INVITEs without its key."""
    call = SecureCall(testbed, SrtpPhone(alice), bob)
    call.answered_by_plain(call.offered_by_secure())
    nonew = SdesOptions(no_new=True)
    for wanted in ("", "RTP/SAVP"):
        options = OfferOptions(transport_protocol=wanted, sdes=nonew, dtls=dtls)
        offer = testbed.offer(bob, tag=b"bob", to=b"alice", **msgspec.structs.asdict(options))
        assert len(call.secure.learn(offer)) == 1
        testbed.answer(call.secure.sdp(), tag=b"alice", to=b"bob")
        call.goes_both_ways()


@pytest.mark.parametrize("sdes", [SdesOptions(off=True), SdesOptions(no_new=True)])
def test_means_that_an_answer_excludes_count_no_more(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, sdes: SdesOptions
) -> None:
    """The offer has decided; beside a transport the answer was refused."""
    call = SecureCall(testbed, SrtpPhone(alice), bob)
    offer = call.offered_by_secure()
    answer = testbed.answer(bob, transport_protocol="RTP/SAVP", sdes=sdes, dtls=DtlsOptions(off=True))
    assert protos(answer) == ["RTP/SAVP"]
    call.secure.learn(answer)
    (call.secure_sends_to,), (call.plain_sends_to,) = places(answer), places(offer)
    call.goes_both_ways()


def test_a_client_is_told_of_means_that_its_answer_excludes_too_late(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed.offer(SrtpPhone(alice).sdp(), transport_protocol="RTP/AVP")
    options = OfferOptions(sdes=SdesOptions(off=True))
    result = testbed.relay.execute(
        Answer(CALL, b"alice", b"bob", b"", write_sdp([line(bob)]).encode(), options)
    )
    assert isinstance(result, Rewritten)
    assert result.warning == "Ignored by nh: SDES=off (the offer has decided how its sender has SRTP)"


def master_key(phone: SrtpPhone) -> MasterKey:
    """What the phone sends with."""
    suite = SUITES[phone.suite]
    return MasterKey(suite, phone.key[: suite.key_bytes], phone.key[suite.key_bytes :])


@pytest.mark.parametrize("restored", [False, True], ids=["same process", "restored"])
@pytest.mark.parametrize("kept", [True, False], ids=["counter stays", "counter begins anew"])
def test_a_call_of_an_hour_goes_on_with_a_new_key(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, kept: bool, restored: bool
) -> None:
    """Its stream has rolled over. Most phones begin at 0 with a new key, some go on (RFC 3711 3.3.1)."""
    call = SecureCall(testbed, SrtpPhone(alice), bob)
    call.answered_by_plain(call.offered_by_secure())
    phone = packets.sender(master_key(call.secure))
    for index in (0, 30_000, 60_000, 90_000):
        alice.send_raw(protect(phone, rtp(index)), call.secure_sends_to)
        assert testbed.receive(bob)[0] == rtp(index)
    call.secure.set_key(99)
    call.answered_by_plain(testbed.offer(call.secure.sdp(), to=b"bob", transport_protocol="RTP/AVP"))
    if restored:
        testbed.restore()
    phone = packets.sender(
        master_key(call.secure), DirectionState(phone.to_state().rtp, []) if kept else None
    )
    for index in (90_001, 90_002):
        alice.send_raw(protect(phone, rtp(index)), call.secure_sends_to)
        assert testbed.receive(bob)[0] == rtp(index)


def test_a_new_key_counts_from_the_answer_on(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    """Until then the phone that offers it goes on with the key before; a refused offer changes nothing."""
    call = SecureCall(testbed, SrtpPhone(alice), bob)
    call.answered_by_plain(call.offered_by_secure())
    call.goes_both_ways()
    renewed = SrtpPhone(alice, fill=77)
    testbed.offer(renewed.sdp(), to=b"bob", transport_protocol="RTP/AVP")
    call.goes_both_ways()
    call.secure = renewed
    renewed.learn(testbed.answer(bob))
    call.goes_both_ways()
    assert testbed.dropped() == 0


def test_the_plain_side_may_offer_again(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    call = SecureCall(testbed, SrtpPhone(alice), bob)
    answer = call.answered_by_plain(call.offered_by_secure())
    call.goes_both_ways()
    offer = testbed.offer(bob, tag=b"bob", to=b"alice", transport_protocol="RTP/SAVP")
    # the key that she is sent media with already comes first
    assert read_sdp(offer.decode())[0].attributes[0].split()[2] in answer.decode()
    reply = testbed.answer(call.secure.sdp(), tag=b"alice", to=b"bob")
    assert protos(reply) == ["RTP/AVP"]
    call.goes_both_ways()


@pytest.mark.parametrize("caller", ["plain", "secure"])
def test_an_end_is_silenced_on_either_side(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, caller: str
) -> None:
    call = SecureCall(testbed, SrtpPhone(bob), alice)
    if caller == "plain":
        call.answered_by_secure(call.offered_by_plain())
    else:
        call = SecureCall(testbed, SrtpPhone(alice), bob)
        call.answered_by_plain(call.offered_by_secure())
    call.goes_both_ways()
    testbed.block(b"alice", Block.SOUND)
    silent = packet(50)[:12] + b"\xff" * 160
    if caller == "plain":
        alice.send_raw(rtp(950, b"speech".ljust(160)), call.plain_sends_to)
        assert call.secure.read(testbed.receive(bob)[0])[12:] == silent[12:]
    else:
        call.secure.send(rtp(950, b"speech".ljust(160)), call.secure_sends_to)
        assert testbed.receive(bob)[0][12:] == silent[12:]


def test_each_fork_has_a_key_of_its_own(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    carol = make_peer("127.0.0.33")
    offer = testbed.offer(alice, transport_protocol="RTP/SAVP")
    phones = {b"bob": SrtpPhone(bob, fill=5), b"carol": SrtpPhone(carol, "AEAD_AES_128_GCM", fill=6)}
    calls = []
    for tag, phone in phones.items():
        phone.learn(offer)
        call = SecureCall(testbed, phone, alice)
        answer = testbed.answer(phone.sdp(), tag=tag)
        (call.secure_sends_to,), (call.plain_sends_to,) = places(offer), places(answer)
        call.goes_both_ways()
        calls.append(call)
    # both send to the port that Alice was announced with: the key tells whose a packet is
    first, second = calls
    first.numbers = 300
    first.goes_both_ways()
    first.reaches_plain()
    second.reaches_plain()


def test_a_new_key_of_a_repeated_offer_holds_for_the_callee_that_answered_before(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    """The phone has one key for its medium, whichever callee it sends to."""
    phone = SrtpPhone(alice)
    calls = []
    for fill, tag, plain in ((1, b"bob", bob), (9, b"carol", make_peer("127.0.0.33"))):
        phone.set_key(fill)
        offer = testbed.offer(phone.sdp(), transport_protocol="RTP/AVP")
        call = SecureCall(testbed, phone, plain)
        answer = testbed.answer(plain, tag=tag)
        (call.secure_sends_to,), (call.plain_sends_to,) = places(answer), places(offer)
        call.numbers = fill * 100
        call.reaches_plain()
        calls.append(call)
    for number, call in enumerate(calls, 1000):
        call.numbers = number  # one stream goes to both
        call.reaches_plain()


def test_an_offer_that_is_repeated_has_the_same_keys(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """Proxies repeat an offer for further callees, and each of them may answer."""
    call = SecureCall(testbed, SrtpPhone(bob), alice)
    offer = call.offered_by_plain()
    assert call.secure.learn(call.offered_by_plain()) == call.secure.learn(offer)
    call.answered_by_secure(offer)
    call.goes_both_ways()


def test_several_lines_are_offered_and_the_cheapest_one_is_taken(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    phone = SrtpPhone(alice, "AEAD_AES_128_GCM")
    phone.tag = 3
    others = (
        "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4",
        "crypto:2 F8_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj",
        "crypto:x nonsense",
    )
    testbed.offer(phone.sdp(*others), transport_protocol="RTP/AVP")
    (taken,) = phone.learn(testbed.answer(bob))
    assert taken.split()[:2] == ["3", "AEAD_AES_128_GCM"]


def test_a_client_says_what_is_taken_of_an_offer(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """SDES-offerer_pref, before the order of what nh offers itself."""
    phone = SrtpPhone(alice)
    phone.tag = 2
    better = f"crypto:1 AEAD_AES_128_GCM inline:{base64.b64encode(bytes(28)).decode()}"
    options = SdesOptions(offerer_order=("AES_256_CM_HMAC_SHA1_80", phone.suite), order=("AEAD_AES_128_GCM",))
    call = SecureCall(testbed, phone, bob)
    offer = testbed.offer(phone.sdp(better), transport_protocol="RTP/AVP", sdes=options)
    answer = call.answered_by_plain(offer)
    assert [line.split()[:2] for line in phone.learn(answer)] == [["2", phone.suite]]
    call.goes_both_ways()


def test_a_client_chooses_suites(testbed: NgTestbed, alice: MediaPeer) -> None:
    only = SdesOptions(only=("AES_256_CM_HMAC_SHA1_80",), pad=True, lifetime=True)
    (line,) = SrtpPhone(alice).learn(testbed.offer(alice, transport_protocol="RTP/SAVP", sdes=only))
    assert line.startswith("1 AES_256_CM_HMAC_SHA1_80 inline:")
    assert line.endswith("==|2^31")
    (read,) = read_crypto([line.encode()])
    assert (read.tag, read.key.suite.name) == (1, "AES_256_CM_HMAC_SHA1_80")


@pytest.mark.parametrize(
    ("proto", "wanted", "options"),
    [
        ("RTP/AVP", "RTP/SAVP", OfferOptions(sdes=SdesOptions(off=True), dtls=DtlsOptions(off=True))),
        ("RTP/SAVP", "RTP/AVP", OfferOptions()),
        ("RTP/AVP", "UDP/TLS/RTP/SAVPF", OfferOptions(dtls=DtlsOptions(off=True))),
    ],
)
def test_what_cannot_be_had_without_keys_in_sdp_is_refused(
    testbed: NgTestbed, alice: MediaPeer, proto: str, wanted: str, options: OfferOptions
) -> None:
    sdp = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d %b 0\r\n"
    with pytest.raises(Unsupported, match="transport-protocol"):
        body = sdp % (alice.port, proto.encode())
        testbed.offer(body, transport_protocol=wanted, sdes=options.sdes, dtls=options.dtls)
    assert testbed.stats().sockets == 0


def test_an_answer_that_takes_no_offered_line_is_refused_and_can_be_repeated(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = SecureCall(testbed, SrtpPhone(bob), alice)
    offer = call.offered_by_plain()
    call.secure.learn(offer)
    tag, call.secure.tag = call.secure.tag, 42
    with pytest.raises(NhError, match="takes no line that was offered"):
        testbed.answer(call.secure.sdp())
    call.secure.tag = tag
    call.answered_by_secure(offer)
    call.goes_both_ways()


def test_nothing_that_is_shown_of_a_call_has_its_keys(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, caplog: pytest.LogCaptureFixture
) -> None:
    call = SecureCall(testbed, SrtpPhone(bob), alice)
    offer = call.offered_by_plain()
    call.answered_by_secure(offer)
    call.goes_both_ways()
    key = offer.split(b"inline:")[1].split()[0].decode()
    offers = testbed.relay.table.get_call(b"ng-call").get_offers(now=0.0)
    seen = f"{testbed.query()} {caplog.text} {offers.parties[0].relay_offer} {testbed.snapshots()}"
    seen += " ".join(repr(group.security) for group in offers.groups)
    assert key not in seen
    for offered in offers.parties[0].relay_offer.keys[0]:
        assert repr(offered.master.key)[2:-1] not in seen


def past_roll_over(call: SecureCall) -> None:
    """The sequence numbers begin again, and the receiver has to count that (RFC 3711 3.3.1)."""
    call.numbers = 65_529
    for _ in range(3):
        call.goes_both_ways()


def test_a_phone_that_muxes_talks_to_one_that_does_not(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    secure = SrtpPhone(alice)
    offer = testbed.offer(secure.sdp("rtcp-mux"), transport_protocol="RTP/AVP", mux_accept=True)
    answer = testbed.answer(bob)
    secure.learn(answer)
    (to_alice,), (to_bob,) = places(offer), places(answer)
    assert b"a=rtcp-mux" in answer
    for number in range(3):
        secure.peer.send_raw(secure.protect(packet(number)), to_bob)
        assert testbed.receive(bob)[0] == packet(number)
        secure.peer.send_raw(secure.protect(packet(number, RTCP), RTCP), to_bob)
        assert testbed.receive(bob, RTCP)[0] == packet(number, RTCP)
        bob.send_raw(packet(number), to_alice)
        assert secure.read(testbed.receive(alice)[0]) == packet(number)
        bob.send_raw(packet(number, RTCP), to_alice, RTCP)
        assert secure.read(testbed.receive(alice)[0], RTCP) == packet(number, RTCP)


def test_a_new_key_counts_in_the_dialog_that_it_was_offered_in(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    """Bob and Carol have answered; Alice has the same port for both, and a new key for Bob."""
    carol = make_peer("127.0.0.33")
    call = SecureCall(testbed, SrtpPhone(alice), bob)
    call.answered_by_plain(call.offered_by_secure())
    call.goes_both_ways()
    (to_carol,) = places(testbed.answer(carol, tag=b"carol"))
    renewed = SrtpPhone(alice, fill=77)
    testbed.offer(renewed.sdp(), to=b"bob", transport_protocol="RTP/AVP")
    renewed.learn(testbed.answer(bob))
    before, call.secure = call.secure, renewed
    call.goes_both_ways()
    before.send(packet(900), to_carol)
    assert testbed.receive(carol)[0] == packet(900)
    call.goes_both_ways()


def test_a_refused_change_to_t38_leaves_the_key_where_it_is(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = SecureCall(testbed, SrtpPhone(alice), bob)
    first = call.answered_by_plain(call.offered_by_secure())
    past_roll_over(call)
    fax = [MediaLine(alice.address, alice.port, "image", "udptl")]
    testbed.offer(fax, to=b"bob", transport_protocol="RTP/AVP")
    call.goes_both_ways()
    testbed.offer(call.secure.sdp(), to=b"bob", transport_protocol="RTP/AVP")
    call.goes_both_ways()
    assert first.split(b"inline:")[1] == testbed.answer(bob).split(b"inline:")[1]
    call.goes_both_ways()
    assert testbed.dropped() == 0


def test_a_re_invite_without_its_to_tag_leaves_the_key_where_it_is(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = SecureCall(testbed, SrtpPhone(alice), bob)
    call.answered_by_plain(call.offered_by_secure())
    past_roll_over(call)
    offer = testbed.offer(call.secure.sdp("sendonly"), transport_protocol="RTP/AVP")
    answer = testbed.answer(bob)
    call.secure.learn(answer)
    (call.secure_sends_to,), (call.plain_sends_to,) = places(answer), places(offer)
    call.goes_both_ways()


def test_fax_takes_the_place_of_audio_and_gives_it_back(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """T.38 has no SRTP (RFC 7345 would be DTLS): it passes as it is, and the audio after it has its key."""
    call = SecureCall(testbed, SrtpPhone(alice), bob)
    call.answered_by_plain(call.offered_by_secure())
    call.goes_both_ways()
    fax = [[MediaLine(each.address, each.port, "image", "udptl")] for each in (alice, bob)]
    offer = testbed.offer(fax[0], to=b"bob", transport_protocol="RTP/AVP")
    answer = testbed.answer(fax[1])
    alice.send_raw(b"\0\1fax", places(answer)[0])
    assert testbed.receive(bob)[0] == b"\0\1fax"
    bob.send_raw(b"\0\2fax", places(offer)[0])
    assert testbed.receive(alice)[0] == b"\0\2fax"
    call.secure.set_key(9)
    offer = testbed.offer(call.secure.sdp(), to=b"bob", transport_protocol="RTP/AVP")
    call.answered_by_plain(offer)
    call.goes_both_ways()


def test_an_offer_of_srtp_needs_cryptography(
    testbed: NgTestbed, alice: MediaPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An offer that promises what no answer can have would end the call there."""
    monkeypatch.setitem(sys.modules, "nh.srtp.sender", None)
    with pytest.raises(Unsupported, match="install"):
        testbed.offer(alice, transport_protocol="RTP/SAVP")


def test_ends_that_check_the_path_with_each_other_do_so_beside_srtp_and_nothing_else_is_unprotected(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = SecureCall(testbed, SrtpPhone(bob), alice)
    call.answered_by_secure(call.offered_by_plain())
    call.goes_both_ways()
    check = encode(StunClass.REQUEST, bytes(12), [])
    for sender, to, receiver in ((bob, call.secure_sends_to, alice), (alice, call.plain_sends_to, bob)):
        sender.send_raw(check, to)
        assert testbed.receive(receiver)[0] == check
        sender.send_raw(b"\0\1" + bytes(18), to)
    stats = testbed.stats
    testbed.turn_until(lambda: stats().drop_srtp_authentication == 1, "what the phone sent is dropped")
    testbed.turn_until(lambda: stats().drop_srtp_unsent_not_media == 1, "so is what it would be sent")
    assert alice.pending() == bob.pending() == []


def test_a_check_is_sent_although_icmp_says_that_a_packet_before_it_did_not_arrive(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = SecureCall(testbed, SrtpPhone(bob), alice)
    call.answered_by_secure(call.offered_by_plain())
    call.goes_both_ways()
    (session,) = testbed.relay.table.running
    check = encode(StunClass.REQUEST, bytes(12), [])
    port = bob.port
    bob.close()
    alice.send_raw(check, call.plain_sends_to)
    # the relay finds the check first, and the error when it sends it
    socket_of(session.legs[Side.TO]).send(b"lost")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
        back.bind((bob.address, port))
        back.setblocking(False)
        testbed.turn_until(lambda: _takes(back, check), "the check arrives")
    assert session.legs[Side.FROM].drops is None


def _takes(sock: socket.socket, packet: bytes) -> bool:
    try:
        return sock.recv(2048) == packet
    except BlockingIOError:
        return False


@pytest.mark.parametrize("attributes", [(), ("rtcp-mux",)], ids=["RTP alone", "RTP and RTCP"])
def test_a_leg_is_noted_by_packets_that_cannot_be_sent_too(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, attributes: tuple[str, ...]
) -> None:
    secure = SrtpPhone(bob)
    secure.learn(testbed.offer([line(alice, *attributes)], transport_protocol="RTP/SAVP", mux_accept=True))
    (to_bob,) = places(testbed.answer(secure.sdp()))
    for number in range(3):
        alice.send_raw(rtp(number, b"one"), to_bob)
        assert secure.read(testbed.receive(bob)[0]) == rtp(number, b"one")
    (session,) = testbed.relay.table.running
    leg = session.legs[Side.FROM]
    leg.note_due = 0.0  # as some seconds later
    alice.send_raw(rtp(2, b"another"), to_bob)
    testbed.turn_until(lambda: testbed.stats().drop_srtp_unsent_index_used == 1, "it is counted")
    assert leg.note_due > 0.0
