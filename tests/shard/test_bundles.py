"""Bundles that end at the relay (RFC 9143): one port for all media of one end, one for each of the other."""

import msgspec
import pytest

from nh.commands import (
    Answer,
    BundleOptions,
    CodecChoice,
    DtlsOptions,
    IceHandling,
    Offer,
    OfferOptions,
    ShowCall,
)
from nh.errors import NhError, Unsupported, UnusableSdp
from nh.ipc.report_messages import RtcpPacket, RtcpSeen
from nh.results import CallDetail, Rewritten
from nh.shard.observers.rtcp_watch import RtcpWatch
from nh.verdict import judge_call
from tests.rtcp import receiver_report, report_block, sender_report
from tests.shard.bundled_call import (
    ACCEPT,
    OFFER,
    REQUIRE,
    STRICT,
    BundledCall,
    media_of,
    plain_sdp,
)
from tests.shard.conftest import MakePeer
from tests.shard.ng_testbed import CALL, NgTestbed, Savings, line, places
from tests.shard.offering_ends import FINGERPRINT
from tests.shard.testbed import V4
from tests.sip.sdp import MediaLine, write_sdp
from tests.srtp.phone import SrtpPhone
from tests.webrtc.bundle_phone import (
    AUDIO,
    MID_EXTENSION,
    PLAIN_SSRCS,
    SSRCS,
    VIDEO,
    BundlePhone,
    plain_packet,
    write_media,
)
from tools.harness.media_peer import RTCP, RTP, MediaPeer


@pytest.fixture
def call(ng: NgTestbed, phone: BundlePhone, plain: list[MediaPeer]) -> BundledCall:
    return BundledCall(ng, phone, plain)


# --- what the SDPs say ------------------------------------------------------------------------------------


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize(
    "names", [[[], []], [["mid:x"], ["mid:y"]], [["mid:v"], []]], ids=["none", "own", "v"]
)
def test_the_media_of_an_end_keep_their_names_where_the_other_end_offers(
    call: BundledCall, names: list[list[str]], *, restored: bool
) -> None:
    """A browser finds its media by a=mid: a plain phone that held the call gave them the names 1 and 2."""
    call.begin_by_phone()
    if restored:
        call.testbed.restore()
    ports = [each.port for each in call.plain]
    again = write_media(ports, names, address=call.plain[0].address).encode()
    offer = call.testbed.offer(again, tag=b"bob", to=b"alice")
    assert b"a=group:BUNDLE a v\r\n" in offer
    assert [mids_in(each) for each in media_of(offer)] == [["mid:a"], ["mid:v"]]
    answer = call.testbed.answer(call.phone.sdp().encode(), tag=b"alice", to=b"bob")
    assert [mids_in(each) for each in media_of(answer)] == names
    call.goes_both_ways()


def mids_in(medium: MediaLine) -> list[str]:
    """The a=mid of a medium."""
    return [each for each in medium.attributes if each.startswith("mid:")]


def test_the_plain_end_sees_no_bundle_and_the_other_one_gets_one_port(call: BundledCall) -> None:
    offer, answer = call.begin_by_phone()
    assert b"BUNDLE" not in offer
    assert len(set(places(offer))) == 2
    assert b"a=group:BUNDLE a v\r\n" in answer
    assert len(set(places(answer))) == 1
    assert [("mid:a" in each.attributes, "mid:v" in each.attributes) for each in media_of(answer)] == [
        (True, False),
        (False, True),
    ]
    assert all("rtcp-mux" in each.attributes for each in media_of(answer))


def test_a_bundle_takes_no_ports_that_nothing_comes_to(call: BundledCall) -> None:
    call.begin_by_phone()
    resources = call.testbed.relay.table.resources
    assert resources.sockets == 2 + 4
    call.testbed.delete()
    assert resources.sockets == 0


def test_a_medium_without_a_port_of_its_own_gets_one_towards_the_other_end(call: BundledCall) -> None:
    offer, answer = call.begin_by_phone(call.phone.sdp(bundle_only=True))
    assert all(port for _, port in places(offer))
    assert b"bundle-only" not in offer
    assert len(set(places(answer))) == 1
    call.goes_both_ways()


@pytest.mark.parametrize("bundle", [OFFER, REQUIRE, STRICT])
def test_the_relay_offers_a_bundle(call: BundledCall, bundle: BundleOptions) -> None:
    offer, answer = call.begin_by_plain(bundle)
    assert b"a=group:BUNDLE 1 2\r\n" in offer
    audio, video = media_of(offer)
    assert "mid:1" in audio.attributes
    assert "mid:2" in video.attributes
    assert ("bundle-only" in video.attributes) is bundle.strict
    if bundle.strict:
        assert video.port == 0
    else:
        assert "rtcp-mux" in video.attributes
        assert (video.port == audio.port) is bundle.require
    assert b"BUNDLE" not in answer and b"a=mid" not in answer
    assert len(set(places(answer))) == 2
    call.goes_both_ways()


def test_a_bundle_that_the_relay_has_offered_is_answered_after_a_restart(
    ng: NgTestbed, phone: BundlePhone, plain: list[MediaPeer]
) -> None:
    ng.offer(plain_sdp(plain).encode(), bundle=OFFER)
    ng.restore()
    answer = ng.answer(phone.sdp().encode())
    assert b"BUNDLE" not in answer and b"a=mid" not in answer
    assert len(set(places(answer))) == 2


@pytest.mark.parametrize("bundle", [OFFER, STRICT])
def test_a_medium_that_has_no_codec_left_is_in_no_bundle(
    ng: NgTestbed, plain: list[MediaPeer], bundle: BundleOptions
) -> None:
    """Not even as the first one, whose transport the others would have (RFC 9143 7.1.3)."""
    choice = CodecChoice(strip=("PCMU",), reject_empty=True)
    offer = ng.offer(plain_sdp(plain).encode(), codecs=choice, bundle=bundle)
    audio, video = media_of(offer)
    assert b"a=group:BUNDLE 2\r\n" in offer
    assert audio.port == 0
    assert video.port != 0


def test_no_medium_has_the_name_of_a_bundle_of_which_no_medium_is_left(
    ng: NgTestbed, plain: list[MediaPeer]
) -> None:
    choice = CodecChoice(strip=("all",), reject_empty=True)
    offer = ng.offer(plain_sdp(plain).encode(), codecs=choice, bundle=OFFER)
    assert [medium.port for medium in media_of(offer)] == [0, 0]
    assert b"BUNDLE" not in offer and b"a=mid" not in offer


@pytest.mark.parametrize("bundle", [OFFER, REQUIRE, STRICT])
def test_a_bundle_of_a_data_channel_alone_passes(ng: NgTestbed, bundle: BundleOptions) -> None:
    """As of a browser, with `WebRTC`: nothing of it can end at the relay."""
    data = MediaLine("127.0.0.11", 4000, "application", "UDP/DTLS/SCTP", attributes=("mid:0",))
    sdp = write_sdp([data]).replace("m=", "a=group:BUNDLE 0\r\nm=")
    offer = ng.offer(sdp.encode(), bundle=bundle)
    assert b"a=group:BUNDLE 0\r\n" in offer
    assert [each.port != 0 for each in media_of(offer)] == [True]


def test_a_bundle_only_medium_says_nothing_of_its_transport(ng: NgTestbed, plain: list[MediaPeer]) -> None:
    """That is the tagged medium's (RFC 9143 7.1.3)."""
    offer = ng.offer(
        plain_sdp(plain).encode(),
        transport_protocol="RTP/SAVPF",
        ice=IceHandling.FORCE,
        mux_offer=True,
        bundle=STRICT,
    )
    audio, video = media_of(offer)
    transport = ("ice", "candidate", "fingerprint", "setup", "tls-id", "crypto", "rtcp-mux")
    assert {name for name in transport for each in audio.attributes if each.startswith(name)} == set(
        transport
    )
    assert not [each for each in video.attributes if each.startswith(transport)]


@pytest.mark.parametrize("ice", [(), ("ice-ufrag:abcd", "ice-pwd:abcdefghijklmnopqrstuv")], ids=["", "ICE"])
def test_a_bundle_only_medium_at_a_zero_address_is_not_on_hold(
    ng: NgTestbed, alice: MediaPeer, ice: tuple[str, ...]
) -> None:
    """So browsers offer it (RFC 8829 5.2.1); the plain end has a port for it, and may send."""
    audio = line(alice, "rtcp-mux", "mid:a", *ice)
    video = MediaLine("0.0.0.0", 0, "video", attributes=("rtcp-mux", "mid:v", "bundle-only", *ice))
    sdp = write_sdp([audio, video]).replace("m=audio", "a=group:BUNDLE a v\r\nm=audio")
    sdp = sdp.replace("m=video 0 RTP/AVP 0", "m=video 0 RTP/AVP 96")
    offer = ng.offer(sdp.encode(), bundle=ACCEPT, ice=IceHandling.REMOVE)
    for medium in media_of(offer):
        assert medium.address == V4 and medium.port
        assert "sendonly" not in medium.attributes


def crypto_of(phone: SrtpPhone) -> str:
    """The attribute that has its key."""
    (crypto,) = [each for each in media_of(phone.sdp())[0].attributes if each.startswith("crypto")]
    return crypto


@pytest.mark.parametrize("key_at", ["each medium", "the tagged one", "the only one with a port"])
@pytest.mark.parametrize("towards", ["RTP/AVP", "UDP/TLS/RTP/SAVPF"])
def test_a_bundle_may_have_one_key_in_the_sdp(
    ng: NgTestbed, phone: BundlePhone, plain: list[MediaPeer], key_at: str, towards: str
) -> None:
    """SDES: its key is that of the tagged medium (RFC 8859 5.12), which alone has it in most offers."""
    keys = SrtpPhone(phone.peer)
    sdp = phone.sdp(
        crypto_of(keys), bundle_only=key_at == "the only one with a port", proto="RTP/SAVP"
    ).encode()
    if key_at != "each medium":
        sdp = without_keys(sdp, VIDEO)
    offer = ng.offer(sdp, transport_protocol=towards, mux_demux=True)
    assert b"crypto" not in offer and b"BUNDLE" not in offer
    assert all(port for _, port in places(offer))
    if towards != "RTP/AVP":
        assert offer.count(b"a=fingerprint") == 2
        return
    answer = ng.answer(plain_sdp(plain).encode())
    assert b"a=group:BUNDLE a v\r\n" in answer
    assert len({each for each in answer.split(b"\r\n") if each.startswith(b"a=crypto")}) == 1
    keys.learn(answer[: answer.index(b"m=video")])
    for medium, (peer, to) in enumerate(zip(plain, places(offer), strict=True)):
        for number in range(1, 4):
            packet = phone.packet(medium, b"from the bundle")
            keys.send(packet, places(answer)[0])
            assert ng.receive(peer)[0] == packet
            packet = plain_packet(medium, number, b"to the bundle")
            peer.send_raw(packet, to)
            assert keys.read(ng.receive(phone.peer)[0]) == packet


def without_keys(sdp: bytes, medium: int) -> bytes:
    """An SDP in which one medium has no a=crypto."""
    head, *media = sdp.split(b"m=")
    lines = media[medium].splitlines(keepends=True)
    media[medium] = b"".join(line for line in lines if not line.startswith(b"a=crypto"))
    return b"m=".join([head, *media])


@pytest.mark.parametrize("bundle_only", [False, True])
@pytest.mark.parametrize("restored", [False, True])
def test_an_answer_that_is_to_have_no_dtls_takes_the_key_of_a_bundle(
    ng: NgTestbed, phone: BundlePhone, plain: list[MediaPeer], *, bundle_only: bool, restored: bool
) -> None:
    """As of an offer without a bundle: the answer had a fingerprint all the same, and a warning."""
    keys = SrtpPhone(phone.peer)
    both = (crypto_of(keys), FINGERPRINT, "setup:actpass")
    sdp = phone.sdp(*both, bundle_only=bundle_only, proto="RTP/SAVPF").encode()
    to_plain = places(ng.offer(sdp, transport_protocol="RTP/AVP", mux_demux=True))
    if restored:
        ng.restore()
    answer = Answer(
        CALL, b"alice", b"bob", b"", plain_sdp(plain).encode(), OfferOptions(dtls=DtlsOptions(off=True))
    )
    result = ng.relay.execute(answer)
    assert isinstance(result, Rewritten)
    assert not result.warning
    assert b"a=group:BUNDLE a v\r\n" in result.sdp
    assert b"fingerprint" not in result.sdp
    keys.learn(result.sdp[: result.sdp.index(b"m=video")])
    for medium, (peer, to) in enumerate(zip(plain, to_plain, strict=True)):
        packet = phone.packet(medium, b"from the bundle")
        keys.send(packet, places(result.sdp)[0])
        assert ng.receive(peer)[0] == packet
        packet = plain_packet(medium, 1, b"to the bundle")
        peer.send_raw(packet, to)
        assert keys.read(ng.receive(phone.peer)[0]) == packet


@pytest.mark.parametrize("bundle_only", [False, True])
def test_a_bundle_may_have_one_fingerprint_in_the_sdp(
    ng: NgTestbed, phone: BundlePhone, *, bundle_only: bool
) -> None:
    """That of the tagged medium (RFC 8859 5.9)."""
    sdp = phone.sdp(bundle_only=bundle_only, proto="UDP/TLS/RTP/SAVPF")
    keyed = f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\na=setup:actpass\r\na=mid:a"
    offer = ng.offer(sdp.replace("a=mid:a", keyed).encode(), transport_protocol="RTP/AVP", mux_demux=True)
    assert b"BUNDLE" not in offer
    assert [(medium.proto, medium.port != 0) for medium in media_of(offer)] == [("RTP/AVP", True)] * 2


def test_an_answer_has_the_key_of_its_bundle_at_the_tagged_medium(
    ng: NgTestbed, phone: BundlePhone, plain: list[MediaPeer]
) -> None:
    offer = ng.offer(plain_sdp(plain).encode(), transport_protocol="RTP/SAVP", bundle=REQUIRE)
    keys = SrtpPhone(phone.peer)
    keys.learn(offer[: offer.index(b"m=video")])
    answer = ng.answer(without_keys(phone.sdp(crypto_of(keys), proto="RTP/SAVP").encode(), VIDEO))
    assert b"crypto" not in answer
    for medium, (peer, to) in enumerate(zip(plain, places(answer), strict=True)):
        packet = phone.packet(medium, b"from the bundle")
        keys.send(packet, places(offer)[0])
        assert ng.receive(peer)[0] == packet
        packet = plain_packet(medium, 1, b"to the bundle")
        peer.send_raw(packet, to)
        assert keys.read(ng.receive(phone.peer)[0]) == packet


def test_media_that_a_reinvite_adds_to_a_bundle_answer_its_key(
    ng: NgTestbed, phone: BundlePhone, plain: list[MediaPeer]
) -> None:
    """Each medium has been offered suites of its own, in another order than the one with a key."""
    keys = SrtpPhone(phone.peer)
    sdp = phone.sdp(crypto_of(keys), proto="RTP/SAVP").encode()
    audio = sdp[: sdp.index(b"m=video")].replace(b"BUNDLE a v", b"BUNDLE a")
    ng.offer(audio, transport_protocol="RTP/AVP", mux_demux=True)
    ng.answer(plain_sdp(plain, media=1).encode())
    offer = ng.offer(plain_sdp(plain).encode(), tag=b"bob", to=b"alice")
    assert b"a=group:BUNDLE" in offer
    keys.learn(offer[: offer.index(b"m=video")])
    answer = without_keys(phone.sdp(crypto_of(keys), proto="RTP/SAVP").encode(), VIDEO)
    ng.answer(answer, tag=b"alice", to=b"bob")
    for medium, peer in enumerate(plain):
        packet = phone.packet(medium, b"from the bundle")
        keys.send(packet, places(offer)[0])
        assert ng.receive(peer)[0] == packet


def test_media_of_a_bundle_that_is_not_taken_have_the_keys_of_their_own(
    ng: NgTestbed, plain: list[MediaPeer], make_peer: MakePeer
) -> None:
    phones = [SrtpPhone(make_peer("127.0.0.33"), fill=fill) for fill in (1, 99)]
    reject = BundleOptions(reject=True)
    ng.offer(with_keys_of_their_own(phones), transport_protocol="RTP/AVP", mux_demux=True, bundle=reject)
    answer = ng.answer(plain_sdp(plain).encode(), bundle=reject)
    assert len(set(places(answer))) == 2
    for medium, (each, to) in enumerate(zip(phones, places(answer), strict=True)):
        packet = plain_packet(medium, 1, b"with a key of its own")
        each.send(packet, to)
        assert ng.receive(plain[medium])[0] == packet


def test_who_takes_no_bundle_has_two_ports(
    ng: NgTestbed, plain: list[MediaPeer], make_peer: MakePeer
) -> None:
    others = [make_peer("127.0.0.33"), make_peer("127.0.0.33")]
    to_bob = ng.offer(plain_sdp(plain).encode(), bundle=OFFER)
    to_alice = ng.answer(plain_sdp(others).encode())
    for medium in (AUDIO, VIDEO):
        packet = plain_packet(medium, 1, b"x")
        ng.passes(plain[medium], places(to_alice)[medium], others[medium], RTP, packet)
        ng.passes(others[medium], places(to_bob)[medium], plain[medium], RTP, packet)


def test_an_answer_may_reject_the_tagged_medium(call: BundledCall) -> None:
    """Then the next one is the tagged one (RFC 9143 7.3.1), and has the port."""
    plain = call.plain[VIDEO]
    offer = call.testbed.offer(call.phone.sdp().encode(), bundle=ACCEPT)
    rejecting = write_media([0, plain.port], [[], []], address=plain.address)
    answer = call.testbed.answer(rejecting.encode())
    assert b"a=group:BUNDLE v\r\n" in answer
    for number in range(1, 3):
        packet = call.phone.packet(VIDEO, b"video alone")
        source = call.testbed.passes(call.phone.peer, places(answer)[VIDEO], plain, RTP, packet)
        assert source == places(offer)[VIDEO]
        packet = plain_packet(VIDEO, number, b"back")
        source = call.testbed.passes(plain, places(offer)[VIDEO], call.phone.peer, RTP, packet)
        assert source == places(answer)[VIDEO]
    again = call.testbed.offer(call.phone.sdp().encode(), to=b"bob")
    assert places(again)[VIDEO] == places(offer)[VIDEO]
    assert places(call.testbed.answer(rejecting.encode())) == places(answer)


def test_the_next_medium_has_a_transport_of_its_own_if_the_tagged_one_is_rejected(
    ng: NgTestbed, plain: list[MediaPeer], make_peer: MakePeer
) -> None:
    """Its end has offered all of them (RFC 9143 7.2), and uses that of the first one that is accepted."""
    phones = [SrtpPhone(make_peer("127.0.0.33"), fill=fill) for fill in (1, 99)]
    offer = ng.offer(with_keys_of_their_own(phones), transport_protocol="RTP/AVP", mux_demux=True)
    rejecting = write_media([0, plain[VIDEO].port], [[], []], address=plain[VIDEO].address)
    answer = ng.answer(rejecting.encode())
    assert b"a=group:BUNDLE v\r\n" in answer
    phone = phones[VIDEO]
    phone.learn(answer[: answer.index(b"m=audio")] + answer[answer.index(b"m=video") :])
    packet = plain_packet(VIDEO, 1, b"to the phone")
    plain[VIDEO].send_raw(packet, places(offer)[VIDEO])
    assert phone.read(ng.receive(phone.peer)[0]) == packet
    phone.send(packet, places(answer)[VIDEO])
    assert ng.receive(plain[VIDEO])[0] == packet


def test_media_with_a_transport_of_their_own_have_that_of_the_tagged_one_once_they_are_bundled(
    ng: NgTestbed, plain: list[MediaPeer], make_peer: MakePeer
) -> None:
    phones = [SrtpPhone(make_peer("127.0.0.33"), fill=fill) for fill in (1, 99)]
    offer = ng.offer(with_keys_of_their_own(phones), transport_protocol="RTP/AVP", mux_demux=True)
    answer = ng.answer(plain_sdp(plain).encode())
    assert len({each for each in answer.split(b"\r\n") if each.startswith(b"a=crypto")}) == 1
    phone = phones[AUDIO]
    phone.learn(answer[: answer.index(b"m=video")])
    bundled = BundlePhone(phone.peer)
    for medium in (AUDIO, VIDEO):
        packet = plain_packet(medium, 1, b"to the phone")
        plain[medium].send_raw(packet, places(offer)[medium])
        assert phone.read(ng.receive(phone.peer)[0]) == packet
        packet = bundled.packet(medium, b"from the phone")
        phone.send(packet, places(answer)[medium])
        assert ng.receive(plain[medium])[0] == packet
    later = bundled.sdp(crypto_of(phone), proto="RTP/SAVP").encode()
    assert places(ng.offer(later, to=b"bob")) == places(offer)
    assert ng.answer(plain_sdp(plain).encode()) == answer


def with_keys_of_their_own(phones: list[SrtpPhone]) -> bytes:
    """The SDP of a bundle whose media have a port and a key each, as before it is agreed on."""
    own = [["rtcp-mux", f"mid:{mid}", crypto_of(each)] for mid, each in zip("av", phones, strict=True)]
    ports = [each.peer.port for each in phones]
    return write_media(ports, own, address="127.0.0.33", group="BUNDLE a v", proto="RTP/SAVP").encode()


@pytest.mark.parametrize(
    ("group", "mids", "error"),
    [
        ("BUNDLE a a", ("a", "v"), "in two bundles"),
        ("BUNDLE a\r\na=group:BUNDLE v a", ("a", "v"), "in two bundles"),
        ("BUNDLE a v", ("a", "a"), "another medium has its a=mid"),
    ],
)
def test_a_bundle_that_contradicts_its_media_is_an_error(
    ng: NgTestbed, group: str, mids: tuple[str, str], error: str
) -> None:
    sdp = write_media([4000, 4000], [["rtcp-mux", f"mid:{mid}"] for mid in mids], group=group)
    with pytest.raises(UnusableSdp, match=error):
        ng.offer(sdp.encode(), bundle=ACCEPT)
    assert ng.relay.table.find_call(CALL) is None


@pytest.mark.parametrize("group", ["BUNDLE x a v", "BUNDLE a v x", "BUNDLE a x\r\na=group:BUNDLE y"])
def test_a_name_that_no_medium_has_is_no_part_of_a_bundle(
    ng: NgTestbed, phone: BundlePhone, plain: list[MediaPeer], group: str
) -> None:
    """A proxy has removed that medium, but not its name."""
    sdp = phone.sdp().replace("a=group:BUNDLE a v", f"a=group:{group}").encode()
    assert b"BUNDLE" not in ng.offer(sdp, bundle=ACCEPT)
    named = group.partition("\r\n")[0].replace(" x", "").encode()
    assert b"a=group:%s\r\n" % named in ng.answer(plain_sdp(plain).encode())


def test_media_with_one_payload_type_are_not_bundled_and_the_client_is_told(
    ng: NgTestbed, phone: BundlePhone
) -> None:
    sdp = phone.sdp(formats=(96, 96)).encode()
    result = ng.relay.execute(Offer(CALL, b"alice", b"", b"", sdp, OfferOptions(bundle=ACCEPT)))
    assert isinstance(result, Rewritten)
    assert "payload type 96 of another medium" in result.warning
    with pytest.raises(UnusableSdp, match="payload type 96"):
        ng.offer(phone.sdp(formats=(96, 96), bundle_only=True).encode(), bundle=ACCEPT)
    sdp = phone.sdp(MID_EXTENSION, formats=(96, 96)).encode()
    result = ng.relay.execute(Offer(CALL, b"alice", b"", b"", sdp, OfferOptions(bundle=ACCEPT)))
    assert isinstance(result, Rewritten)
    assert result.warning == ""


# --- packets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("caller", ["phone", "plain"])
def test_each_medium_arrives_at_its_own_port_and_all_leave_from_one(call: BundledCall, caller: str) -> None:
    call.begin_by_phone() if caller == "phone" else call.begin_by_plain()
    for _ in range(3):
        call.goes_both_ways()
    assert call.testbed.dropped() == 0


def test_a_mid_tells_the_medium(call: BundledCall) -> None:
    call.begin_by_phone(call.phone.sdp(MID_EXTENSION))
    call.goes_both_ways(mids=("a", "v"))
    call.goes_both_ways()


def test_what_a_packet_shows_of_its_medium_is_saved_before_the_packet_goes_on(call: BundledCall) -> None:
    """A shard may be killed as soon as the packet is at the other end, and the phone sends no mid again."""
    call.begin_by_phone(call.phone.sdp(MID_EXTENSION))
    audio, video = (call.phone.packet(at, b"x", mid) for at, mid in enumerate("av"))
    call.testbed.passes(call.phone.peer, call.one_port, call.plain[AUDIO], RTP, audio)
    savings = Savings(lambda leg: (leg.known_ssrcs, call.plain[VIDEO].has_waiting()))
    call.testbed.relay.observe(savings)
    call.testbed.passes(call.phone.peer, call.one_port, call.plain[VIDEO], RTP, video)
    assert savings.each == [([SSRCS[VIDEO]], False)]


def test_video_may_come_first(call: BundledCall) -> None:
    call.begin_by_phone()
    packet = call.phone.packet(VIDEO, b"video")
    call.testbed.passes(call.phone.peer, call.one_port, call.plain[VIDEO], RTP, packet)
    call.goes_both_ways()


def test_what_is_of_no_medium_is_dropped_and_counted(call: BundledCall) -> None:
    call.begin_by_phone(call.phone.sdp(MID_EXTENSION))
    call.goes_both_ways()
    call.phone.peer.send_raw(call.phone.packet(AUDIO, b"?", "x"), call.one_port)
    call.testbed.turn_until(lambda: call.testbed.stats().drop_no_medium == 1, "it is counted")
    call.goes_both_ways()


def test_reports_of_a_bundle_go_to_their_media_and_those_of_the_media_to_the_one_port(
    call: BundledCall,
) -> None:
    call.begin_by_phone()
    call.goes_both_ways()
    audio, video = (sender_report(ssrc, 7) for ssrc in SSRCS)
    call.phone.peer.send_raw(audio + video, call.one_port)
    for medium, report in ((AUDIO, audio), (VIDEO, video)):
        received, source = call.testbed.receive(call.plain[medium], RTCP)
        assert received == report
        address, port = call.plain_sends_to[medium]
        assert source == (address, port + 1)
    heard, seen = (report_block(ssrc, lsr=1) for ssrc in PLAIN_SSRCS)
    call.phone.peer.send_raw(receiver_report(1, heard, seen), call.one_port)
    assert call.testbed.receive(call.plain[AUDIO], RTCP)[0] == receiver_report(1, heard)
    assert call.testbed.receive(call.plain[VIDEO], RTCP)[0] == receiver_report(1, seen)
    for medium in (AUDIO, VIDEO):
        report = sender_report(PLAIN_SSRCS[medium], 9)
        call.plain[medium].send_raw(report, call.plain_sends_to[medium], RTCP)
        assert call.testbed.receive(call.phone.peer) == (report, call.one_port)


def test_homer_gets_reports_of_a_bundle_from_where_the_phone_is_to_the_port_of_all(call: BundledCall) -> None:
    told: list[RtcpSeen] = []

    def report(seen: RtcpSeen) -> bool:
        told.append(seen)
        return True

    watch = RtcpWatch(report)
    call.testbed.relay.observe(watch)
    call.begin_by_phone()
    call.goes_both_ways()
    for medium in (AUDIO, VIDEO):
        sent = sender_report(SSRCS[medium], 9)
        call.phone.peer.send_raw(sent, call.one_port)
        assert call.testbed.receive(call.plain[medium], RTCP)[0] == sent
    watch.housekeeping(0.0)
    assert not any(seen.lost for seen in told)
    # the relay's own housekeeping may have told the first of them already
    packets = [msgspec.msgpack.decode(each, type=RtcpPacket) for seen in told for each in seen.packets]
    phone = (call.phone.peer.address, call.phone.peer.port)
    assert [(each.source, each.local) for each in packets] == [(phone, call.one_port)] * 2


@pytest.mark.parametrize("restored", [False, True], ids=["same process", "restored"])
@pytest.mark.parametrize("medium", [AUDIO, VIDEO])
def test_any_medium_of_a_bundle_shows_where_the_phone_has_moved(
    call: BundledCall, make_peer: MakePeer, medium: int, restored: bool
) -> None:
    call.begin_by_phone()
    call.goes_both_ways()
    if restored:
        call.testbed.restore()
    call.phone.peer = make_peer()
    packet = call.phone.packet(medium, b"from elsewhere")
    call.testbed.passes(call.phone.peer, call.one_port, call.plain[medium], RTP, packet)
    for each, plain in enumerate(call.plain):
        packet = plain_packet(each, 70, b"to elsewhere %d" % each)
        call.testbed.passes(plain, call.plain_sends_to[each], call.phone.peer, RTP, packet)


def test_each_medium_has_its_own_figures(call: BundledCall) -> None:
    call.begin_by_phone()
    for _ in range(4):
        call.goes_both_ways()
    detail = call.testbed.relay.execute(ShowCall(CALL))
    assert isinstance(detail, CallDetail)
    for session in detail.sessions:
        from_, to = session.pairs[0].from_, session.pairs[0].to
        assert (from_.packets, to.packets) == (4, 4)
        assert len(from_.streams) == 1


def test_each_medium_of_a_bundle_comes_from_where_the_phone_is_in_every_view(call: BundledCall) -> None:
    """The port of all knows the source, and nh why, the list and ng's query ask for that of each medium."""
    call.begin_by_phone()
    call.goes_both_ways()
    phone = f"{call.phone.peer.address}:{call.phone.peer.port}"
    detail = call.testbed.relay.execute(ShowCall(CALL))
    assert isinstance(detail, CallDetail)
    seen = [(session.pairs[0].from_.source, session.pairs[0].from_.latched) for session in detail.sessions]
    assert seen == [(phone, True)] * 2
    for verdict in judge_call(detail).verdicts:
        assert verdict.found.startswith(f"1 packet came from {verdict.seen} ")
    of_phone = next(each for each in call.testbed.query().tags if each.tag == b"alice")
    assert [medium.streams[0].source for medium in of_phone.media] == [phone] * 2


# --- another offer ----------------------------------------------------------------------------------------


def test_a_client_that_rejects_bundles_gets_none_beside_a_flag_that_offers_one(
    ng: NgTestbed, plain: list[MediaPeer]
) -> None:
    """As with `WebRTC`, which offers one."""
    both = BundleOptions(offer=True, reject=True)
    assert b"BUNDLE" not in ng.offer(plain_sdp(plain).encode(), bundle=both)


def test_a_medium_that_a_reinvite_adds_comes_to_the_one_port(call: BundledCall) -> None:
    call.begin_by_phone(call.phone.sdp(media=1), media=1)
    packet = call.phone.packet(AUDIO, b"alone")
    call.testbed.passes(call.phone.peer, call.one_port, call.plain[AUDIO], RTP, packet)
    before = call.one_port
    offer = call.testbed.offer(call.phone.sdp().encode(), to=b"bob")
    answer = call.testbed.answer(plain_sdp(call.plain).encode())
    call.plain_sends_to, call.phone_sends_to = places(offer), places(answer)
    assert set(places(answer)) == {before}
    call.goes_both_ways()


def test_a_medium_that_a_reinvite_adds_to_a_converted_bundle_is_converted_too(
    ng: NgTestbed, phone: BundlePhone, plain: list[MediaPeer]
) -> None:
    """Its keys are those of the first one, which end at the relay."""
    keys = SrtpPhone(phone.peer)
    added = phone.sdp(crypto_of(keys), proto="RTP/SAVP").encode()
    begun = phone.sdp(crypto_of(keys), media=1, proto="RTP/SAVP").encode()
    ng.offer(begun, transport_protocol="RTP/AVP", mux_demux=True)
    keys.learn(ng.answer(plain_sdp(plain, media=1).encode()))
    offer = ng.offer(added, to=b"bob", mux_demux=True)
    assert [medium.proto for medium in media_of(offer)] == ["RTP/AVP"] * 2
    assert b"BUNDLE" not in offer and b"crypto" not in offer
    answer = ng.answer(plain_sdp(plain).encode())
    assert b"a=group:BUNDLE a v\r\n" in answer
    for medium, to in enumerate(places(offer)):
        packet = phone.packet(medium, b"from the bundle")
        keys.send(packet, places(answer)[0])
        assert ng.receive(plain[medium])[0] == packet
        packet = plain_packet(medium, 1, b"to the bundle")
        plain[medium].send_raw(packet, to)
        assert keys.read(ng.receive(phone.peer)[0]) == packet


@pytest.mark.parametrize("refused", [[0], [0, 4000]])
def test_a_call_is_converted_still_after_a_refused_offer_without_its_media(
    ng: NgTestbed, phone: BundlePhone, plain: list[MediaPeer], refused: list[int]
) -> None:
    """What was agreed on before a refused offer holds (RFC 3261 14.1), as to the end that refused it."""
    keys = SrtpPhone(phone.peer)
    begun = phone.sdp(crypto_of(keys), media=1, proto="RTP/SAVP").encode()
    ng.offer(begun, transport_protocol="RTP/AVP", mux_demux=True)
    ng.answer(plain_sdp(plain, media=1).encode())
    other = write_media(refused, [[], []], address=plain[AUDIO].address)
    ng.offer(other.encode(), tag=b"bob", to=b"alice", transport_protocol="RTP/SAVP")
    (audio,) = media_of(ng.offer(begun, to=b"bob", mux_demux=True))
    assert audio.proto == "RTP/AVP"


def test_a_medium_that_is_added_has_its_srtp_with_the_relay_where_that_of_the_others_ends(
    ng: NgTestbed, phone: BundlePhone, plain: list[MediaPeer]
) -> None:
    """On both sides, as with `recrypt`: media of a bundle have one key."""
    ends = [SrtpPhone(phone.peer), SrtpPhone(plain[AUDIO], fill=99)]
    bundle = BundlePhone(plain[AUDIO])
    begun, answered = (
        end.sdp(crypto_of(keys), media=1, proto="RTP/SAVP").encode()
        for end, keys in zip((phone, bundle), ends, strict=True)
    )
    ng.offer(begun, recrypt=True)
    ng.answer(answered.replace(b"crypto:1 ", b"crypto:2 "))
    added = without_keys(phone.sdp(crypto_of(ends[0]), proto="RTP/SAVP").encode(), VIDEO)
    for medium in media_of(ng.offer(added, to=b"bob")):
        keys = [each for each in medium.attributes if each.startswith("crypto")]
        assert keys and crypto_of(ends[0]) not in keys


def test_an_offer_that_comes_twice_after_a_refused_one_is_the_same(
    ng: NgTestbed, phone: BundlePhone, plain: list[MediaPeer]
) -> None:
    """What has been offered and not agreed on decides nothing of the media that a later offer adds."""
    ends = [SrtpPhone(phone.peer), SrtpPhone(plain[AUDIO], fill=99)]
    begun, answered = (
        write_media([end.peer.port], [[crypto_of(end)]], address=end.peer.address, proto="RTP/SAVP").encode()
        for end in ends
    )
    ng.offer(begun, transport_protocol="RTP/AVP")
    ng.answer(plain_sdp(plain, media=1).encode())
    ng.offer(begun, to=b"bob", transport_protocol="RTP/SAVP")
    ng.answer(answered)
    ng.offer(answered, tag=b"bob", to=b"alice", transport_protocol="UDP/TLS/RTP/SAVPF")
    own = [[crypto_of(ends[0])]] * 2
    added = write_media([phone.peer.port, 4000], own, address=phone.peer.address, proto="RTP/SAVP").encode()
    once = ng.offer(added, to=b"bob")
    assert ng.offer(added, to=b"bob") == once


def test_an_offer_that_comes_twice_without_the_media_before_is_the_same(
    ng: NgTestbed, phone: BundlePhone, plain: list[MediaPeer]
) -> None:
    """SRTP of the only medium ended at the relay on both sides; the first offer took its sockets away."""
    caller, callee = SrtpPhone(phone.peer), SrtpPhone(plain[AUDIO], fill=99)
    callee.learn(ng.offer(caller.sdp(), recrypt=True))
    ng.answer(callee.sdp())
    own = [[], [crypto_of(caller)]]
    added = write_media([0, 4000], own, address=phone.peer.address, proto="RTP/SAVP").encode()
    once = ng.offer(added, to=b"bob")
    assert crypto_of(caller) not in once.decode()
    assert ng.offer(added, to=b"bob") == once


def test_a_reinvite_of_a_converted_bundle_whose_keys_are_of_no_use_is_refused(
    ng: NgTestbed, phone: BundlePhone, plain: list[MediaPeer]
) -> None:
    """It would pass through as it is, to an end with plain RTP; what was agreed on goes on."""
    keys = SrtpPhone(phone.peer)
    sdp = phone.sdp(crypto_of(keys), proto="RTP/SAVP").encode()
    offer = ng.offer(sdp, transport_protocol="RTP/AVP", mux_demux=True)
    answer = ng.answer(plain_sdp(plain).encode())
    keys.learn(answer[: answer.index(b"m=video")])
    with pytest.raises(Unsupported, match="RTP/SAVP"):
        ng.offer(sdp.replace(b"AES_CM", b"AES_XX"), to=b"bob", mux_demux=True)
    for medium, to in enumerate(places(offer)):
        packet = plain_packet(medium, 1, b"to the bundle")
        plain[medium].send_raw(packet, to)
        assert keys.read(ng.receive(phone.peer)[0]) == packet


def test_the_first_medium_may_leave(call: BundledCall) -> None:
    call.begin_by_phone()
    call.goes_both_ways()
    before = call.one_port
    sdp = write_media(
        [0, call.phone.peer.port],
        [["mid:a"], ["rtcp-mux", "mid:v"]],
        address=call.phone.peer.address,
        group="BUNDLE v",
    )
    offer = call.testbed.offer(sdp.encode(), to=b"bob")
    rejected = write_media([0, call.plain[VIDEO].port], [[], []], address=call.plain[VIDEO].address)
    answer = call.testbed.answer(rejected.encode())
    assert b"a=group:BUNDLE v\r\n" in answer
    assert places(answer)[VIDEO] == before
    packet = call.phone.packet(VIDEO, b"video alone")
    call.testbed.passes(call.phone.peer, before, call.plain[VIDEO], RTP, packet)
    packet = plain_packet(VIDEO, 99, b"back")
    source = call.testbed.passes(call.plain[VIDEO], places(offer)[VIDEO], call.phone.peer, RTP, packet)
    assert source == before


def test_a_bundle_may_be_rejected_later(call: BundledCall) -> None:
    call.begin_by_phone()
    call.goes_both_ways()
    sdp = call.phone.sdp()
    call.testbed.offer(sdp.encode(), to=b"bob", bundle=BundleOptions(reject=True))
    answer = call.testbed.answer(plain_sdp(call.plain).encode())
    assert b"BUNDLE" not in answer
    assert len(set(places(answer))) == 2


def test_a_refused_reinvite_changes_nothing(call: BundledCall) -> None:
    call.begin_by_phone()
    call.goes_both_ways()
    with pytest.raises(NhError):
        call.testbed.offer(
            call.phone.sdp().replace("BUNDLE a v", "BUNDLE a a").encode(), to=b"bob", bundle=ACCEPT
        )
    call.goes_both_ways()
