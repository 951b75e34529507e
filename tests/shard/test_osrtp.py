"""OSRTP (RFC 8643): plain RTP that is offered with keys, which the other end may take or leave."""

from dataclasses import replace
from typing import Any

import pytest

from nh.commands import DtlsOptions, Offer, OfferOptions, SdesOptions, SdpText
from nh.errors import UnusableSdp
from nh.results import Rewritten
from nh.srtp.suites import SUITES
from tests.shard.conftest import MakeNg, MakePeer
from tests.shard.ng_testbed import CALL, NgTestbed, line, places
from tests.shard.offering_ends import FINGERPRINT, KEY
from tests.shard.secure_calls import SecureCall, packet
from tests.shard.test_srtp import protos
from tests.sip.sdp import MediaLine, read_sdp, write_sdp
from tests.srtp.phone import SrtpPhone
from tools.harness.media_peer import MediaPeer
from tools.rtpload.libsrtp import PROFILES

NO_DTLS = DtlsOptions(off=True)
NO_KEYS = SdesOptions(no_new=True)


class OptionalCall(SecureCall):
    """A call in which an offer of plain RTP has keys."""

    def offered_by_plain(self) -> bytes:
        return self.testbed.offer(self.plain, osrtp_offer=True, dtls=NO_DTLS)

    def offered_by_secure(self) -> bytes:
        return self.testbed.offer(self.secure.sdp(), osrtp_accept=True)

    def answered_by_plain(self, offer: bytes) -> bytes:
        answer = self.testbed.answer(self.plain, osrtp_accept=True)
        self.secure.learn(answer)
        (self.secure_sends_to,), (self.plain_sends_to,) = places(answer), places(offer)
        return answer


def phone_with(peer: MediaPeer, suite: str = "AES_CM_128_HMAC_SHA1_80", fill: int = 1) -> SrtpPhone:
    """A phone that has SRTP and says RTP/AVP."""
    return SrtpPhone(peer, suite, fill=fill, proto="RTP/AVP")


@pytest.fixture
def testbed(make_ng: MakeNg) -> NgTestbed:
    return make_ng()


def offered_keys(sdp: bytes) -> int:
    return sdp.count(b"a=crypto:")


@pytest.mark.parametrize("suite", sorted(PROFILES))
def test_a_phone_that_takes_an_offered_key_has_srtp(
    suite: str, testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = OptionalCall(testbed, phone_with(bob, suite), alice)
    offer = call.offered_by_plain()
    assert protos(offer) == ["RTP/AVP"]
    assert offered_keys(offer) == len(SUITES)
    answer = call.answered_by_secure(offer)
    assert protos(answer) == ["RTP/AVP"]
    assert offered_keys(answer) == 0
    call.goes_both_ways()
    assert testbed.dropped() == 0


def test_a_phone_that_takes_no_key_has_plain_rtp(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    offer = testbed.offer(alice, osrtp_offer=True)
    answer = testbed.answer(bob)
    assert offered_keys(answer) == 0
    talk(testbed, alice, bob, answer, offer)
    assert testbed.dropped() == 0


def talk(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, answer: bytes, offer: bytes) -> None:
    """Both phones hear each other as they speak."""
    for number in range(3):
        for speaker, listener, sdp in ((alice, bob, answer), (bob, alice, offer)):
            speaker.send_raw(packet(number), places(sdp)[0])
            assert testbed.receive(listener)[0] == packet(number)


def test_each_fork_answers_for_itself(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    carol = make_peer("127.0.0.33")
    call = OptionalCall(testbed, phone_with(bob), alice)
    offer = call.offered_by_plain()
    call.answered_by_secure(offer)
    call.goes_both_ways()
    answer = testbed.answer(carol, tag=b"carol")
    talk(testbed, alice, carol, answer, offer)
    call.goes_both_ways()


@pytest.mark.parametrize("again", [True, False], ids=["with OSRTP=offer", "without"])
def test_a_re_invite_keeps_srtp(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, again: bool) -> None:
    call = OptionalCall(testbed, phone_with(bob), alice)
    first = call.offered_by_plain()
    call.answered_by_secure(first)
    call.goes_both_ways()
    offer = testbed.offer(alice, to=b"bob", osrtp_offer=again, dtls=NO_DTLS)
    assert key_in(offer, call.secure) == key_in(first, call.secure)
    call.goes_both_ways()
    testbed.answer(call.secure.sdp())
    call.goes_both_ways()
    assert testbed.dropped() == 0


def test_a_key_that_is_agreed_on_is_offered_again_where_the_client_wants_no_new_ones(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """With `OSRTP=offer` and `SDES=nonew`: the phone was offered DTLS alone."""
    call = OptionalCall(testbed, phone_with(bob), alice)
    first = call.offered_by_plain()
    call.answered_by_secure(first)
    offer = testbed.offer(alice, to=b"bob", osrtp_offer=True, sdes=SdesOptions(no_new=True))
    assert offered_keys(offer) == 1
    assert key_in(offer, call.secure) == key_in(first, call.secure)


def test_a_client_that_wants_no_keys_in_a_re_invite_has_none(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = OptionalCall(testbed, phone_with(bob), alice)
    call.answered_by_secure(call.offered_by_plain())
    offer = testbed.offer(alice, to=b"bob", sdes=SdesOptions(off=True))
    assert offered_keys(offer) == 0
    call.goes_both_ways()
    talk(testbed, alice, bob, testbed.answer(bob), offer)


def key_in(sdp: bytes, phone: SrtpPhone) -> str:
    """The key for the phone's suite."""
    (key,) = [line.split()[2] for line in phone.learn(sdp) if line.split()[1] == phone.suite]
    return key


def test_a_phone_that_took_srtp_offers_it_again(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    """The end that has none sees nothing of that."""
    call = OptionalCall(testbed, phone_with(bob), alice)
    call.answered_by_secure(call.offered_by_plain())
    call.goes_both_ways()
    offer = testbed.offer(call.secure.sdp(), tag=b"bob", to=b"alice")
    assert offered_keys(offer) == 0
    answer = testbed.answer(alice, tag=b"alice", to=b"bob")
    assert offered_keys(answer) == 1
    call.goes_both_ways()
    assert testbed.dropped() == 0


def test_a_phone_leaves_srtp_in_a_re_invite(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    call = OptionalCall(testbed, phone_with(bob), alice)
    call.answered_by_secure(call.offered_by_plain())
    call.goes_both_ways()
    offer = testbed.offer(alice, to=b"bob", osrtp_offer=True)
    call.goes_both_ways()
    talk(testbed, alice, bob, testbed.answer(bob), offer)


@pytest.mark.parametrize("off", [set(), {"sdes"}, {"dtls"}, {"sdes", "dtls"}], ids=sorted)
@pytest.mark.parametrize("offered", [{"sdes"}, {"dtls"}, {"sdes", "dtls"}], ids=sorted)
@pytest.mark.parametrize("wanted", ["", "RTP/AVP", "RTP/AVPF"])
def test_means_that_a_client_turns_off_are_hidden_of_plain_rtp_that_offers_them(
    testbed: NgTestbed, alice: MediaPeer, offered: set[str], off: set[str], wanted: str
) -> None:
    """Also the only one: plain RTP is left. Of two, the other one was seen despite DTLS=off and SDES=off."""
    lines = {"sdes": [f"crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}"], "dtls": [FINGERPRINT, "setup:actpass"]}
    sdp = write_sdp([line(alice, *[each for means in sorted(offered) for each in lines[means]])]).encode()
    options = OfferOptions(
        transport_protocol=wanted,
        sdes=SdesOptions(off="sdes" in off),
        dtls=DtlsOptions(off="dtls" in off),
    )
    result = testbed.relay.execute(Offer(CALL, b"alice", b"", b"", sdp, options))
    assert isinstance(result, Rewritten)
    attributes = {"sdes": b"a=crypto:", "dtls": b"a=fingerprint:"}
    assert {means for means, name in attributes.items() if name in result.sdp} == offered - off
    assert (b"a=setup:" in result.sdp) == ("dtls" in offered - off)
    assert protos(result.sdp) == [wanted or "RTP/AVP"]
    assert not result.warning


def test_an_offer_whose_keys_are_hidden_is_completed(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = OptionalCall(testbed, phone_with(alice), bob)
    offer = testbed.offer(call.secure.sdp(), sdes=SdesOptions(off=True), dtls=NO_DTLS)
    assert offered_keys(offer) == 0
    assert offered_keys(call.answered_by_plain(offer)) == 1
    call.goes_both_ways()


def test_an_offer_with_keys_is_completed(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    call = OptionalCall(testbed, phone_with(alice), bob)
    offer = call.offered_by_secure()
    assert offered_keys(offer) == 1
    answer = call.answered_by_plain(offer)
    assert (protos(answer), offered_keys(answer)) == (["RTP/AVP"], 1)
    call.goes_both_ways()
    # as often as the answerer repeats itself, and in both directions
    call.answered_by_plain(offer)
    call.goes_both_ways()
    again = call.testbed.offer(call.secure.sdp(), to=b"bob", osrtp_accept=True)
    assert offered_keys(again) == 0
    assert testbed.answer(bob).split(b"inline:")[1] == answer.split(b"inline:")[1]
    call.goes_both_ways()
    reverse = testbed.offer(bob, tag=b"bob", to=b"alice")
    assert reverse.split(b"inline:")[1].split()[0] == answer.split(b"inline:")[1].split()[0]
    call.secure.learn(reverse)
    assert offered_keys(testbed.answer(call.secure.sdp(), tag=b"alice", to=b"bob")) == 0
    call.goes_both_ways()
    assert testbed.dropped() == 0


def test_without_accept_an_answer_without_keys_makes_the_call_plain(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    offer = testbed.offer(phone_with(alice).sdp())
    answer = testbed.answer(bob)
    assert offered_keys(answer) == 0
    talk(testbed, alice, bob, answer, offer)


def test_an_offer_with_keys_is_completed_where_the_other_end_has_srtp_by_others(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """`transport-protocol` has the other end offered SRTP: each end has keys of its own with the relay."""
    caller, callee = phone_with(alice), SrtpPhone(bob, "AES_CM_128_HMAC_SHA1_80", fill=99)
    for to in (b"", b"bob"):
        offer = testbed.offer(caller.sdp(), to=to, transport_protocol="RTP/SAVP", dtls=NO_DTLS)
        callee.learn(offer)
        answer = testbed.answer(callee.sdp(), osrtp_accept=True)
        assert (protos(answer), offered_keys(answer)) == (["RTP/AVP"], 1)
        caller.learn(answer)
        for number, (speaker, listener, sdp) in enumerate(
            ((caller, callee, answer), (callee, caller, offer))
        ):
            sent = packet(10 * len(to) + number)
            protected = speaker.send(sent, places(sdp)[0])
            received = testbed.receive(listener.peer)[0]
            assert received not in (sent, protected)
            assert listener.read(received) == sent
    assert testbed.dropped() == 0


def test_without_accept_an_end_with_optional_keys_is_plain_beside_srtp(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    caller, callee = phone_with(alice), SrtpPhone(bob, "AES_CM_128_HMAC_SHA1_80", fill=99)
    offer = testbed.offer(caller.sdp(), transport_protocol="RTP/SAVP", dtls=NO_DTLS)
    callee.learn(offer)
    answer = testbed.answer(callee.sdp())
    assert (protos(answer), offered_keys(answer)) == (["RTP/AVP"], 0)
    alice.send_raw(packet(1), places(answer)[0])
    assert callee.read(testbed.receive(bob)[0]) == packet(1)


def test_a_key_that_is_taken_passes_through(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    caller, callee = phone_with(alice), phone_with(bob, fill=99)
    offer = testbed.offer(caller.sdp(), osrtp_accept=True, osrtp_offer=True)
    assert callee.learn(offer)[0].split()[2] in caller.sdp().decode()
    answer = testbed.answer(callee.sdp(), osrtp_accept=True)
    caller.learn(answer)
    sent = caller.send(packet(1), places(answer)[0])
    assert testbed.receive(bob)[0] == sent
    assert callee.read(sent) == packet(1)
    sent = callee.send(packet(2), places(offer)[0])
    assert caller.read(testbed.receive(alice)[0]) == packet(2)


def test_the_latest_answer_to_an_offer_with_keys_counts(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    """A branch without SRTP rings, another one with SRTP answers."""
    caller, callee = phone_with(alice), phone_with(bob, fill=99)
    offer = testbed.offer(caller.sdp(), osrtp_accept=True)
    carol = make_peer("127.0.0.33")
    early = OptionalCall(testbed, caller, carol)
    early_answer = testbed.answer(carol, tag=b"carol", osrtp_accept=True)
    caller.learn(early_answer)
    (early.secure_sends_to,), (early.plain_sends_to,) = places(early_answer), places(offer)
    early.goes_both_ways()
    callee.learn(offer)
    answer = testbed.answer(callee.sdp(), osrtp_accept=True)
    caller.learn(answer)
    sent = caller.send(packet(500), places(answer)[0])
    assert testbed.receive(bob)[0] == sent
    callee.send(packet(501), places(offer)[0])
    assert caller.read(testbed.receive(alice)[0]) == packet(501)


def test_each_branch_is_completed_for_itself(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    """Branches have ports and keys of their own, so the caller has SRTP with all of them at once."""
    calls = []
    for branch, tag, plain in ((b"z1", b"bob", bob), (b"z2", b"carol", make_peer("127.0.0.33"))):
        call = OptionalCall(testbed, phone_with(alice), plain)
        offer = testbed.offer(call.secure.sdp(), branch=branch, osrtp_accept=True)
        calls.append((call, offer, branch, tag))
    keys = set()
    for call, offer, branch, tag in calls:
        answer = testbed.answer(call.plain, tag=tag, branch=branch, osrtp_accept=True)
        keys.update(call.secure.learn(answer))
        (call.secure_sends_to,), (call.plain_sends_to,) = places(answer), places(offer)
    assert len(keys) == 2
    for _ in range(2):
        for call, *_ in calls:
            call.goes_both_ways()
    assert testbed.dropped() == 0


def test_an_answer_that_takes_no_offered_line_is_refused(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = OptionalCall(testbed, phone_with(bob), alice)
    offer = call.offered_by_plain()
    call.secure.learn(offer)
    tag, call.secure.tag = call.secure.tag, 42
    with pytest.raises(UnusableSdp, match="takes no line that was offered"):
        testbed.answer(call.secure.sdp())
    call.secure.tag = tag
    call.answered_by_secure(offer)
    call.goes_both_ways()


def test_srtp_of_the_caller_ends_where_the_callee_may_have_it(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    """RTP/SAVP on one side, OSRTP on the other."""
    caller, callee = SrtpPhone(alice), phone_with(bob, fill=99)
    offer = testbed.offer(caller.sdp(), transport_protocol="RTP/AVP", osrtp_offer=True, dtls=NO_DTLS)
    assert (protos(offer), offered_keys(offer)) == (["RTP/AVP"], len(SUITES))
    callee.learn(offer)
    answer = testbed.answer(callee.sdp())
    assert (protos(answer), offered_keys(answer)) == (["RTP/SAVP"], 1)
    caller.learn(answer)
    caller.send(packet(1), places(answer)[0])
    assert callee.read(testbed.receive(bob)[0]) == packet(1)
    callee.send(packet(2), places(offer)[0])
    assert caller.read(testbed.receive(alice)[0]) == packet(2)


# --- each medium twice, as before RFC 8643 ----------------------------------------------------------------


class TwiceOfferedCall(SecureCall):
    """A call of a phone that offers each medium twice, and a plain one, which sees it once."""

    def __init__(self, testbed: NgTestbed, secure: SrtpPhone, plain: MediaPeer, *, first: str) -> None:
        super().__init__(testbed, secure, plain)
        self.first = first

    def sdp(self, *, plain: int = 4000) -> list[MediaLine]:
        """What the phone offers; `plain` is its port for plain RTP."""
        (secure,) = read_sdp(self.secure.sdp().decode())
        both = [MediaLine(secure.address, plain), secure]
        return both if self.first == "plain" else both[::-1]

    def secure_of(self, sdp: bytes) -> bytes:
        """An SDP that the phone gets, which has each medium twice, as one that has SRTP alone."""
        plain, secure = read_sdp(sdp.decode())[:: 1 if self.first == "plain" else -1]
        assert (plain.proto, plain.port, secure.proto) == ("RTP/AVP", 0, "RTP/SAVP")
        return write_sdp([secure]).encode()

    def offered(self, *, plain: int = 4000, **options: Any) -> bytes:
        """The phone offers; returns what the plain one gets."""
        return self.testbed.offer(self.sdp(plain=plain), osrtp_accept_twice=True, **options)

    def answered_by_plain(self, offer: bytes) -> bytes:
        """See SecureCall."""
        answer = self.secure_of(self.testbed.answer(self.plain))
        self.secure.learn(answer)
        (self.secure_sends_to,), (self.plain_sends_to,) = places(answer), places(offer)
        return answer


@pytest.fixture(params=["plain", "secure"])
def call(
    request: pytest.FixtureRequest, testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> TwiceOfferedCall:
    return TwiceOfferedCall(testbed, SrtpPhone(alice), bob, first=request.param)


def test_a_medium_that_is_offered_twice_is_seen_once(call: TwiceOfferedCall) -> None:
    offer = call.offered(transport_protocol="RTP/AVP")
    assert protos(offer) == ["RTP/AVP"]
    assert offered_keys(offer) == 0
    call.answered_by_plain(offer)
    call.goes_both_ways()


@pytest.mark.parametrize("plain", [0, 4000])
def test_a_medium_that_is_offered_twice_is_seen_once_in_later_offers_too(
    call: TwiceOfferedCall, plain: int
) -> None:
    """Also of the other end, and where the client does not say it again."""
    offer = call.offered(transport_protocol="RTP/AVP")
    call.answered_by_plain(offer)
    assert places(call.testbed.offer(call.sdp(plain=plain), to=b"bob")) == places(offer)
    call.answered_by_plain(offer)
    call.goes_both_ways()
    to_phone = call.testbed.offer(call.plain, tag=b"bob", to=b"alice")
    assert places(call.secure_of(to_phone)) == [call.secure_sends_to]


def test_without_the_word_both_pass(call: TwiceOfferedCall) -> None:
    offer = call.testbed.offer(call.sdp())
    assert protos(offer) == protos(write_sdp(call.sdp()).encode())
    assert offered_keys(offer) == 1


def test_the_form_that_alone_has_a_port_is_seen(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    media = [line(alice), MediaLine(alice.address, 0, proto="RTP/SAVP")]
    offer = testbed.offer(media, osrtp_accept_twice=True)
    assert protos(offer) == ["RTP/AVP"]
    answer = testbed.answer(bob)
    assert protos(answer) == ["RTP/AVP", "RTP/SAVP"]
    assert places(answer)[1][1] == 0
    talk(testbed, alice, bob, answer, offer)


def test_media_of_two_kinds_are_each_seen_once(testbed: NgTestbed, alice: MediaPeer) -> None:
    kinds = ["audio", "audio", "video", "video", "video"]
    forms = ["RTP/AVP", "RTP/SAVP", "RTP/SAVP", "RTP/AVP", "RTP/AVP"]
    media = [
        MediaLine(alice.address, 4000 + 2 * number, kind, proto)
        for number, (kind, proto) in enumerate(zip(kinds, forms, strict=True))
    ]
    offer = read_sdp(testbed.offer(media, osrtp_accept_twice=True).decode())
    assert [(each.kind, each.proto) for each in offer] == [
        ("audio", "RTP/SAVP"),
        ("video", "RTP/SAVP"),
        ("video", "RTP/AVP"),
    ]


@pytest.mark.parametrize("excluded", [False, True])
def test_the_form_that_no_phone_sees_has_no_keys(call: TwiceOfferedCall, excluded: bool) -> None:
    """It needs none, so the client may exclude them: the form that is seen passes."""
    sdes, dtls = SdesOptions(no_new=excluded), DtlsOptions(off=excluded)
    offer = call.offered(transport_protocol="RTP/SAVP", osrtp_offer=True, sdes=sdes, dtls=dtls)
    assert (protos(offer), offered_keys(offer)) == (["RTP/SAVP"], 1)
    (sender,) = call.testbed.relay.table.get_call(CALL).get_offers(now=0.0).parties
    assert not any(sender.relay_offer)


def test_a_medium_of_plain_rtp_that_the_receiver_does_not_see_has_no_keys(
    testbed: NgTestbed, alice: MediaPeer
) -> None:
    """With `sdp-media-remove`: it is no reason to refuse an offer whose other media need no conversion."""
    secure, video = SrtpPhone(alice), MediaLine(alice.address, 4000, "video")
    media = [*read_sdp(secure.sdp().decode()), video]
    hidden = SdpText(removed_media=("video",))
    offer = testbed.offer(media, text=hidden, transport_protocol="RTP/SAVP", sdes=NO_KEYS, dtls=NO_DTLS)
    assert (protos(offer), offered_keys(offer)) == (["RTP/SAVP"], 1)
    testbed.delete()
    testbed.offer(media, osrtp_offer=True, text=hidden)
    (sender,) = testbed.relay.table.get_call(CALL).get_offers(now=0.0).parties
    assert not any(sender.relay_offer)


@pytest.mark.parametrize("plain", [0, 4000])
def test_the_form_of_srtp_may_be_added_later(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, plain: int
) -> None:
    """The receiver goes on with the medium that it has."""
    first = testbed.offer(alice, osrtp_accept_twice=True)
    testbed.answer(bob)
    call = TwiceOfferedCall(testbed, SrtpPhone(alice), bob, first="plain")
    offer = call.offered(plain=plain, to=b"bob")
    assert (protos(offer), places(offer)) == (["RTP/AVP"], places(first))
    call.answered_by_plain(offer)
    call.goes_both_ways()


def test_a_phone_changes_to_its_other_form_and_back(call: TwiceOfferedCall) -> None:
    """Its form of SRTP had port 0 then, and the other end heard nothing."""
    testbed, alice, bob = call.testbed, call.secure.peer, call.plain
    call.answered_by_plain(call.offered(transport_protocol="RTP/AVP"))
    both = call.sdp(plain=alice.port)
    plain_only = [replace(each, port=0) if each.proto == "RTP/SAVP" else each for each in both]
    offer = testbed.offer(plain_only, to=b"bob")
    answer = read_sdp(testbed.answer(bob).decode())
    assert [each.port != 0 for each in answer] == [each.port != 0 for each in plain_only]
    talk(testbed, alice, bob, write_sdp([each for each in answer if each.port]).encode(), offer)
    call.answered_by_plain(testbed.offer(call.sdp(), to=b"bob"))
    call.goes_both_ways()


FAXES = ["udptl", "UDP/TLS/UDPTL"]
"""Transports of a fax; the second one has a fingerprint, as SRTP may have (RFC 7345)."""


def fax_of(peer: MediaPeer, proto: str = "udptl") -> MediaLine:
    """The fax of a phone."""
    fingerprint = (FINGERPRINT, "setup:actpass") if "TLS" in proto else ()
    return line(peer, *fingerprint, kind="image", proto=proto)


def live_media(sdp: bytes | list[MediaLine]) -> list[tuple[str, str, bool]]:
    """The type and the transport of each medium of an SDP, and whether it has a port."""
    media = read_sdp(sdp.decode()) if isinstance(sdp, bytes) else sdp
    return [(each.kind, each.proto, each.port != 0) for each in media]


@pytest.mark.parametrize("proto", FAXES)
def test_a_fax_of_the_other_end_is_one_medium_for_it(call: TwiceOfferedCall, proto: str) -> None:
    """It was answered two: that which the phone had rejected, too."""
    testbed, alice, bob = call.testbed, call.secure.peer, call.plain
    call.answered_by_plain(call.offered(transport_protocol="RTP/AVP"))
    offer = read_sdp(testbed.offer([fax_of(bob, proto)], tag=b"bob", to=b"alice").decode())
    expected = [("image", proto, True), ("audio", "RTP/SAVP", False)]
    assert live_media(offer) == (expected if call.first == "plain" else expected[::-1])
    mirrored = [fax_of(alice, proto) if each.port else each for each in offer]
    answer = testbed.answer(mirrored, tag=b"alice", to=b"bob")
    assert live_media(answer) == [("image", proto, True)]
    assert places(call.secure_of(testbed.offer(bob, tag=b"bob", to=b"alice")))[0][1]


@pytest.mark.parametrize("proto", FAXES)
@pytest.mark.parametrize("place", [0, 1])
def test_a_fax_of_the_phone_has_the_place_of_one_form(call: TwiceOfferedCall, place: int, proto: str) -> None:
    """Both forms are one medium for the other end during the fax and after it: it got another one then."""
    testbed, alice, bob = call.testbed, call.secure.peer, call.plain
    call.answered_by_plain(call.offered(transport_protocol="RTP/AVP"))
    media = [replace(each, port=0, attributes=()) for each in call.sdp()]
    media[place] = fax_of(alice, proto)
    for _ in range(2):
        assert live_media(testbed.offer(media, to=b"bob")) == [("image", proto, True)]
        assert live_media(testbed.answer([fax_of(bob, proto)])) == live_media(media)
    of_bob = testbed.offer([fax_of(bob, proto)], tag=b"bob", to=b"alice")
    assert live_media(of_bob) == live_media(media)
    assert live_media(testbed.answer(media, tag=b"alice", to=b"bob")) == [("image", proto, True)]
    offer = call.offered(to=b"bob", transport_protocol="RTP/AVP")
    assert protos(offer) == ["RTP/AVP"]
    call.answered_by_plain(offer)
    call.goes_both_ways()


@pytest.mark.parametrize("place", [0, 1])
def test_the_other_end_ends_a_fax_of_the_phone(call: TwiceOfferedCall, place: int) -> None:
    """The phone gets both forms again, in their order."""
    testbed, alice, bob = call.testbed, call.secure.peer, call.plain
    call.answered_by_plain(call.offered(transport_protocol="RTP/AVP"))
    media = [replace(each, port=0, attributes=()) for each in call.sdp()]
    media[place] = fax_of(alice)
    testbed.offer(media, to=b"bob")
    testbed.answer([fax_of(bob)])
    assert places(call.secure_of(testbed.offer(bob, tag=b"bob", to=b"alice")))[0][1]


class TwiceAnsweredCall(SecureCall):
    """A call to a phone that is offered each medium twice, from a plain one."""

    def offered_by_plain(self) -> bytes:
        """See SecureCall."""
        offer = self.testbed.offer(
            self.plain, osrtp_offer_twice=True, transport_protocol="RTP/SAVP", dtls=NO_DTLS
        )
        assert protos(offer) == ["RTP/AVP", "RTP/SAVP"]
        return one_form_of(offer, "RTP/SAVP")

    def answered_by_secure(self, offer: bytes) -> bytes:
        """See SecureCall."""
        self.secure.learn(offer)
        answer = self.testbed.answer(self.answer_with("RTP/SAVP"))
        (self.secure_sends_to,), (self.plain_sends_to,) = places(offer), places(answer)
        return answer

    def answer_with(self, proto: str) -> list[MediaLine]:
        """The phone's SDP in which one of the forms has a port."""
        (secure,) = read_sdp(self.secure.sdp().decode())
        both = [replace(secure, proto="RTP/AVP", attributes=()), secure]
        return [each if each.proto == proto else replace(each, port=0) for each in both]


def one_form_of(sdp: bytes, proto: str) -> bytes:
    """One of the forms of the media in an SDP."""
    return write_sdp([each for each in read_sdp(sdp.decode()) if each.proto == proto]).encode()


@pytest.fixture
def twice(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> TwiceAnsweredCall:
    return TwiceAnsweredCall(testbed, SrtpPhone(bob), alice)


def test_a_phone_that_is_offered_both_forms_takes_srtp(twice: TwiceAnsweredCall) -> None:
    answer = twice.answered_by_secure(twice.offered_by_plain())
    assert protos(answer) == ["RTP/AVP"]
    twice.goes_both_ways()


def test_a_phone_that_is_offered_both_forms_takes_plain_rtp(
    twice: TwiceAnsweredCall, testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    both = testbed.offer(alice, osrtp_offer_twice=True, transport_protocol="RTP/SAVP")
    offer = one_form_of(both, "RTP/AVP")
    assert offered_keys(offer) == 0
    answer = testbed.answer(twice.answer_with("RTP/AVP"))
    assert protos(answer) == ["RTP/AVP"]
    talk(testbed, alice, bob, answer, offer)


@pytest.mark.parametrize("again", [False, True], ids=["without the word", "with the word"])
def test_later_sdps_have_both_forms_too(twice: TwiceAnsweredCall, again: bool) -> None:
    testbed = twice.testbed
    twice.answered_by_secure(twice.offered_by_plain())
    options: dict[str, Any] = {"transport_protocol": "RTP/SAVP"} if again else {}
    offer = testbed.offer(twice.plain, to=b"bob", osrtp_offer_twice=again, dtls=NO_DTLS, **options)
    assert live_media(offer) == [("audio", "RTP/AVP", again), ("audio", "RTP/SAVP", True)]
    twice.answered_by_secure(one_form_of(offer, "RTP/SAVP"))
    twice.goes_both_ways()
    to_plain = testbed.offer(twice.answer_with("RTP/SAVP"), tag=b"bob", to=b"alice")
    assert protos(to_plain) == ["RTP/AVP"]
    to_phone = testbed.answer(twice.plain, tag=b"alice", to=b"bob")
    assert live_media(to_phone) == [("audio", "RTP/AVP", False), ("audio", "RTP/SAVP", True)]
    twice.goes_both_ways()


def test_a_phone_may_have_its_other_form_in_the_place_of_one(twice: TwiceAnsweredCall) -> None:
    testbed, bob = twice.testbed, twice.secure.peer
    twice.answered_by_secure(twice.offered_by_plain())
    testbed.offer([replace(fax_of(bob), port=0), line(bob)], tag=b"bob", to=b"alice")
    testbed.answer(twice.plain, tag=b"alice", to=b"bob")
    offer = testbed.offer(
        twice.plain, to=b"bob", osrtp_offer_twice=True, transport_protocol="RTP/SAVP", dtls=NO_DTLS
    )
    assert live_media(offer) == [("audio", "RTP/SAVP", True), ("audio", "RTP/AVP", True)]


def test_media_that_are_no_srtp_are_offered_once(testbed: NgTestbed, alice: MediaPeer) -> None:
    media = [line(alice), line(alice, kind="image", proto="udptl")]
    offer = testbed.offer(media, osrtp_offer_twice=True)
    assert protos(offer) == ["RTP/AVP", "udptl"]
    offer = testbed.offer(media, osrtp_offer_twice=True, transport_protocol="RTP/SAVP")
    assert protos(offer) == ["RTP/AVP", "RTP/SAVP", "udptl"]


def test_both_forms_that_the_relay_has_offered_are_answered_after_a_restart(twice: TwiceAnsweredCall) -> None:
    offer = twice.offered_by_plain()
    twice.testbed.restore()
    assert protos(twice.answered_by_secure(offer)) == ["RTP/AVP"]
    twice.goes_both_ways()


def test_both_forms_survive_with_the_call(twice: TwiceAnsweredCall) -> None:
    """The SDPs after it have as many media as those before."""
    twice.answered_by_secure(twice.offered_by_plain())
    testbed = twice.testbed
    testbed.offer(twice.answer_with("RTP/SAVP"), tag=b"bob", to=b"alice")
    testbed.restore()
    answer = testbed.answer(twice.plain, tag=b"alice", to=b"bob")
    offer = testbed.offer(twice.plain, to=b"bob")
    assert protos(answer) == protos(offer) == ["RTP/AVP", "RTP/SAVP"]
