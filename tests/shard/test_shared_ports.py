"""A port that RTP shares with further media and RTCP: its fast reader does what the one of all plans does."""

import base64
import contextlib
import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import pytest
from pylibsrtp import Session

from nh.commands import BundleOptions, IceHandling
from nh.srtp.suites import SUITES
from tests.calls.rtp import rtp_packet
from tests.ice.phone import IcePhone
from tests.rtcp import receiver_report, report_block, sender_report
from tests.shard.conftest import MakeNg, MakePeer
from tests.shard.ng_testbed import CALL, NgTestbed, places
from tests.shard.testbed import Where
from tests.sip.sdp import read_sdp, write_sdp
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
from tools.harness.media_peer import RTCP, MediaPeer
from tools.rtpload import libsrtp

MEDIA = (AUDIO, VIDEO)
MIDS = ("a", "v")
GCM = "AEAD_AES_128_GCM"
KEY = bytes(range(SUITES[GCM].key_bytes + SUITES[GCM].salt_bytes))


@dataclasses.dataclass
class SharedCall:
    """A phone whose audio and video share a port, and a plain one."""

    testbed: NgTestbed
    phone: BundlePhone
    plain: list[MediaPeer]
    phone_sends_to: Where
    plain_sends_to: Sequence[Where]
    outgoing: Session | None = None

    def send(self, packet: bytes) -> None:
        """From the phone, protected if it has SRTP."""
        is_rtcp = len(packet) > 1 and 192 <= packet[1] <= 223
        if self.outgoing is not None:
            packet = self.outgoing.protect_rtcp(packet) if is_rtcp else self.outgoing.protect(packet)
        self.phone.peer.send_raw(packet, self.phone_sends_to)

    def brings(self, medium: int, mid: str | None = None) -> None:
        """A packet of the phone comes to the plain end."""
        packet = self.phone.packet(medium, b"%d" % medium, mid)
        self.send(packet)
        assert self.testbed.receive(self.plain[medium])[0] == packet

    def brings_back(self, medium: int, number: int) -> None:
        """A packet of the plain end comes to the phone."""
        self.plain[medium].send_raw(plain_packet(medium, number, b"back"), self.plain_sends_to[medium])
        self.testbed.receive(self.phone.peer)

    def take_the_long_way(self) -> None:
        """Have the packets of all legs go stage by stage."""
        for session in self.testbed.relay.table.running:
            for leg in session.legs:
                leg.taps = (lambda _packet: None,)
            self.testbed.relay.plane.renew(session)

    def counted(self) -> list[object]:
        """What the legs have counted of packets, drops and RTP."""
        return [
            (leg.packets, leg.bytes, leg.drops, [(each.ssrc, each.packets) for each in streams])
            for session in self.testbed.relay.table.running
            for leg in session.legs
            for streams in [leg.meter.streams if leg.meter is not None else []]
        ]


def new_call(
    testbed: NgTestbed, make_peer: MakePeer, *, secured: bool, ice: IcePhone | None = None
) -> SharedCall:
    phone = BundlePhone(make_peer("127.0.0.11") if ice is None else ice.peer)
    plain = [make_peer("127.0.0.22") for _ in MEDIA]
    lines = [f"crypto:1 {GCM} inline:{base64.b64encode(KEY).decode()}"] if secured else []
    options: dict[str, Any] = {"transport_protocol": "RTP/AVP", "bundle": BundleOptions(accept=True)}
    if ice is not None:
        lines += ice.attributes
        options["ice"] = IceHandling.REMOVE
    sdp = phone.sdp(MID_EXTENSION, *lines).replace("RTP/AVP", "RTP/SAVP" if secured else "RTP/AVP")
    offer = testbed.offer(sdp.encode(), **options)
    theirs = write_media([each.port for each in plain], [[], []], address="127.0.0.22")
    answer = testbed.answer(theirs.encode())
    if ice is not None:
        ice.learn(write_sdp(read_sdp(answer.decode())[:1]).encode())
    outgoing = libsrtp.outgoing(GCM, KEY) if secured else None
    return SharedCall(testbed, phone, plain, places(answer)[0], places(offer), outgoing)


@pytest.fixture(params=["plain", "srtp"])
def call(request: pytest.FixtureRequest, ng: NgTestbed, make_peer: MakePeer) -> SharedCall:
    return new_call(ng, make_peer, secured=request.param == "srtp")


def test_media_arrive_with_their_mid_and_then_without(call: SharedCall) -> None:
    for mids in (MIDS, (None, None), (None, None)):
        for medium in MEDIA:
            call.brings(medium, mids[medium])
    assert call.testbed.stats().packets_out == 6


def test_a_mid_moves_a_stream_to_another_medium(call: SharedCall) -> None:
    for _ in range(2):
        call.brings(AUDIO, "a")
    for mid in ("v", None):
        packet = call.phone.packet(AUDIO, b"moved", mid, payload_type=96)
        call.send(packet)
        assert call.testbed.receive(call.plain[VIDEO])[0] == packet


def test_reports_between_packets_of_media_go_to_their_media(call: SharedCall) -> None:
    for medium in MEDIA:
        call.brings(medium, MIDS[medium])
        call.brings_back(medium, 1)
    call.send(sender_report(SSRCS[VIDEO], 7))
    assert call.testbed.receive(call.plain[VIDEO], RTCP)[0] == sender_report(SSRCS[VIDEO], 7)
    report = receiver_report(SSRCS[AUDIO], report_block(PLAIN_SSRCS[AUDIO], lsr=1))
    call.send(report)
    assert call.testbed.receive(call.plain[AUDIO], RTCP)[0] == report
    call.brings(AUDIO)


def test_media_follow_a_plain_end_that_its_nat_moves(call: SharedCall, make_peer: MakePeer) -> None:
    for number in (1, 2):
        for medium in MEDIA:
            call.brings(medium, MIDS[medium])
            call.brings_back(medium, number)
    call.plain[VIDEO] = make_peer("127.0.0.22")
    call.brings_back(VIDEO, 3)
    for medium in MEDIA:
        call.brings(medium)


def test_checks_of_ice_are_answered_between_packets_of_plain_media(
    ng: NgTestbed, make_peer: MakePeer
) -> None:
    """With SRTP it is the keys that tell them from media."""
    ice = IcePhone(make_peer("127.0.0.11"))
    call = new_call(ng, make_peer, secured=False, ice=ice)
    for _ in range(3):
        checked = ice.check(call.phone_sends_to, nominates=True)
        response, _ = ng.receive(ice.peer)
        assert ice.read(response).transaction == checked
        for medium in MEDIA:
            call.brings(medium, MIDS[medium])


def test_the_source_of_a_port_is_told_once_for_all_its_media(call: SharedCall) -> None:
    """What shows which stream is of which medium is saved for the medium, which has no source of its own."""
    for medium in MEDIA:
        call.brings(medium, MIDS[medium])
    events = call.testbed.relay.table.get_call(CALL).timeline.events
    found = [event.detail for event in events if event.event in ("source", "latched")]
    assert found == [f"{call.phone.peer.address}:{call.phone.peer.port}"]


def odd_packets(seed: int) -> list[bytes]:
    """Packets of both media, known and unknown streams, reports, and such as end early."""
    chance, phone = random.Random(seed), BundlePhone(MediaPeer.__new__(MediaPeer))
    packets = []
    for number in range(60):
        medium, mid = chance.choice(MEDIA), chance.choice([None, None, None, "a", "v", "x"])
        packet = phone.packet(medium, b"x" * 9, mid, payload_type=chance.choice([None, None, None, 0, 96, 5]))
        if chance.random() < 0.2:
            other = rtp_packet(
                number, number, ssrc=chance.choice([1, 2]), payload_type=chance.choice([0, 96, 5])
            )
            packet = chance.choice([other, sender_report(chance.choice([*SSRCS, 9]), number)])
        packets.append(packet[: chance.randrange(12, 24)] if chance.random() < 0.1 else packet)
    return packets


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("secured", [False, True], ids=["plain", "srtp"])
def test_the_short_way_leads_where_the_long_one_does(
    make_ng: MakeNg, make_peer: MakePeer, secured: bool, seed: int
) -> None:
    results = []
    for long in (False, True):
        call = new_call(make_ng(), make_peer, secured=secured)
        for medium in MEDIA:
            call.brings(medium, MIDS[medium])
        if long:
            call.take_the_long_way()
        send_all(call, odd_packets(seed))
        arrived = [all_of(peer, component) for peer in call.plain for component in (0, RTCP)]
        results.append((arrived, call.counted()))
        call.testbed.delete()
    assert results[0] == results[1]


def send_all(call: SharedCall, packets: Sequence[bytes]) -> None:
    """Send all that libsrtp protects: none that ends early."""
    expected = call.testbed.stats().packets_in
    for packet in packets:
        with contextlib.suppress(libsrtp.Error):
            call.send(packet)
            expected += 1
    call.testbed.turn_until(lambda: call.testbed.stats().packets_in >= expected, "all have come")


def all_of(peer: MediaPeer, component: int) -> list[bytes]:
    found = []
    while peer.has_waiting(component):
        found.append(peer.sockets[component].recv(65_536))
    return found
