"""A phone with several RTP streams: whichever goes on from elsewhere, it is followed, and no other device."""

import pytest

from nh.calls.bundle import BundledMedium, Demultiplexer
from nh.calls.latching.claims import Carried
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.snapshots.leg import LegSnapshot
from nh.calls.snapshots.values import TimeShift
from tests.calls.fakes import START, receive
from tests.calls.legs import ANY, ANY_2, EXACT, SAME_IP, SAME_PORT_2, hear, make_leg
from tests.calls.rtp import rtp_packet

AUDIO, OTHER = 0xA0D10, 0x07E4
"""SSRCs of one phone: two cameras, or a stream and its retransmissions."""

SAME_IP_OF_ANY = Endpoint(ANY.address, 1234)


class Phone:
    """A leg, and what comes to it every 20 ms.

    Args:
        carried: what the leg carries.
    """

    def __init__(self, carried: Carried = Carried.RTP | Carried.PADDED) -> None:
        self.leg = make_leg(carried=carried)
        self.now = START
        self._numbers = {AUDIO: 100, OTHER: 9000}

    def sends(self, ssrc: int, source: Endpoint, *, count: int = 1, lost: int = 0) -> bool:
        """So many packets of a stream come from there; returns whether the last one is admitted."""
        admitted = False
        self._numbers[ssrc] += lost
        for _ in range(count):
            self.now += 0.02
            number = self._numbers[ssrc] = self._numbers[ssrc] + 1
            admitted = hear(self.leg, source, rtp_packet(number, 160 * number, ssrc=ssrc), now=self.now)
        return admitted

    def repeats(self, ssrc: int, source: Endpoint, *, behind: int) -> bool:
        """A packet comes late."""
        number = self._numbers[ssrc] - behind
        return hear(self.leg, source, rtp_packet(number, 160 * number, ssrc=ssrc), now=self.now)

    def reports(self, ssrc: int, source: Endpoint, leg: Leg | None = None) -> bool:
        """RTCP of the sender of a stream comes from there."""
        report = b"\x80\xc9\0\1" + ssrc.to_bytes(4, "big")
        return (leg or self.leg).admit(source, memoryview(report), now=self.now)

    def is_restored(self) -> None:
        """Another process has the leg from now on."""
        snapshot = LegSnapshot.take(self.leg, None)
        self.leg = make_leg(carried=self.leg.terms.carried)
        snapshot.apply(self.leg, TimeShift(0.0, self.now))

    def talks_from(self, source: Endpoint) -> None:
        """Both streams come for longer than the window."""
        for _ in range(200):
            assert self.sends(AUDIO, source)
            assert self.sends(OTHER, source)
        assert self.leg.latched


@pytest.fixture
def phone() -> Phone:
    phone = Phone()
    phone.talks_from(ANY)
    return phone


@pytest.mark.parametrize("ssrc", [AUDIO, OTHER])
def test_any_of_its_streams_shows_where_a_phone_has_moved(phone: Phone, ssrc: int) -> None:
    assert phone.sends(ssrc, ANY_2)
    assert phone.leg.source == ANY_2


def test_a_phone_that_moves_again_is_followed_by_what_it_sends_there(phone: Phone) -> None:
    for source, ssrc in ((ANY_2, AUDIO), (SAME_PORT_2, AUDIO), (ANY, AUDIO), (ANY_2, AUDIO)):
        assert phone.sends(ssrc, source)
    assert phone.sends(OTHER, ANY_2)
    assert phone.sends(OTHER, ANY)
    assert phone.leg.source == ANY


def test_what_is_on_its_way_from_the_place_before_moves_nothing(phone: Phone) -> None:
    assert phone.sends(AUDIO, ANY_2)
    assert not phone.sends(OTHER, ANY)
    assert phone.sends(OTHER, ANY_2)
    assert not phone.repeats(OTHER, ANY, behind=3)
    assert phone.leg.source == ANY_2


@pytest.mark.parametrize("restored", [False, True], ids=["same process", "restored"])
def test_a_device_that_is_replaced_and_sends_on_is_not_heard_beside_the_new_one(restored: bool) -> None:
    phone = Phone(Carried.RTP | Carried.RTCP)
    assert phone.sends(AUDIO, SAME_IP, count=200)
    assert phone.sends(OTHER, EXACT, count=3)
    if restored:
        phone.is_restored()
    for _ in range(100):
        assert phone.sends(OTHER, EXACT)
        assert not phone.sends(AUDIO, SAME_IP)
    assert not phone.reports(AUDIO, SAME_IP)
    assert phone.leg.source == EXACT


def test_reports_of_a_replaced_device_do_not_move_those_of_the_new_one() -> None:
    phone = Phone()
    rtcp = make_leg(carried=Carried.RTCP, window_s=0)
    rtcp.rtp = phone.leg
    assert phone.sends(AUDIO, SAME_IP, count=200)
    assert phone.reports(AUDIO, ANY, rtcp)
    assert phone.sends(OTHER, EXACT, count=200)
    assert phone.reports(OTHER, SAME_PORT_2, rtcp)
    assert not phone.reports(AUDIO, ANY, rtcp)
    assert rtcp.source == SAME_PORT_2


def test_a_bundle_is_not_silent_while_one_of_its_media_comes() -> None:
    audio, video = make_leg(carried=Carried.RTP, relatch_s=2.0), make_leg(carried=Carried.RTP)
    audio.bundle = Demultiplexer(
        [(BundledMedium(0, "a"), audio), (BundledMedium(1, "v"), video)], [(0,), (96,)], 0
    )
    video.bundled_on = audio
    now, meter = START, video.find_meter()
    assert meter is not None
    for number in range(500):
        now += 0.02
        packet = memoryview(rtp_packet(number, 1800 * number, ssrc=OTHER))
        assert audio.admit(ANY, packet, now=now)
        receive(video, len(packet), at=now)
        meter.measure(packet, len(packet), now)
        if number > 200:
            other = memoryview(rtp_packet(number, ssrc=AUDIO))
            assert not audio.admit(SAME_IP_OF_ANY, other, now=now)
    assert audio.source == ANY
