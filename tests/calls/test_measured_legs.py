"""Which legs have a meter, and what it knows of payload types."""

import pytest

from nh.calls.latching.source import SourcePolicy
from nh.calls.leg import Leg
from nh.calls.media import Media, Side
from nh.calls.rtp.payload_types import PayloadFormat
from nh.calls.session import Session
from tests.calls.fakes import ALICE_AUDIO, BOB_AUDIO, START, make_proxy
from tests.calls.legs import make_leg

OPUS = PayloadFormat(111, "opus", 48_000)


def session_of(*media: Media) -> Session:
    return make_proxy().connect(offered=media, answered=media)


def measured(session: Session) -> list[bool]:
    """Of each leg whether it has a meter."""
    return [leg.find_meter() is not None for leg in session.legs]


def clocks(leg: Leg) -> dict[int, int]:
    assert leg.payload_types is not None
    return dict(leg.payload_types.clocks)


@pytest.mark.parametrize("proto", ["RTP/AVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVPF", "rtp/avp"])
def test_both_ends_rtp_is_measured_and_their_rtcp_is_not(proto: str) -> None:
    assert measured(session_of(Media("192.0.2.7", 4000, 2, proto, "audio"))) == [True, True, False, False]


def test_every_second_port_of_several_pairs_is_rtp() -> None:
    session = session_of(Media("192.0.2.7", 4000, 4, "RTP/AVP", "video"))
    assert measured(session)[::2] == [True, False, True, False]


@pytest.mark.parametrize("proto", ["udptl", "UDP/DTLS/SCTP", ""])
def test_what_is_no_rtp_is_not_measured(proto: str) -> None:
    assert measured(session_of(Media("192.0.2.7", 4000, 1, proto, "image"))) == [False, False]


def test_a_leg_without_packets_has_no_meter_yet() -> None:
    session = session_of(ALICE_AUDIO)
    leg = session.legs[0]
    assert leg.meter is None
    assert leg.find_meter() is leg.find_meter() is leg.meter


def test_a_leg_of_which_nothing_is_known_is_not_measured() -> None:
    assert make_leg().find_meter() is None


def test_payload_types_are_those_of_either_end() -> None:
    offered = Media("198.51.100.1", 4000, 2, "RTP/AVP", "audio", formats=(OPUS,))
    session = make_proxy().connect(offered=(offered,), answered=(BOB_AUDIO,))
    assert [clocks(leg).get(111) for leg in session.legs[:2]] == [48_000, 48_000]


def test_thousands_of_legs_share_what_they_all_know() -> None:
    one, other = session_of(ALICE_AUDIO), session_of(ALICE_AUDIO)
    assert one.legs[0].payload_types is other.legs[1].payload_types


def test_new_signalling_changes_what_payload_types_mean_and_keeps_what_was_measured() -> None:
    session = session_of(ALICE_AUDIO)
    meter = session.legs[0].find_meter()
    group = session.group_to
    group.renew([Media("198.51.100.1", 4000, 2, "RTP/AVP", "audio", formats=(OPUS,))])
    session.renew(Side.TO, policy=SourcePolicy.HEURISTIC, latch_window_s=3.0, now=START)
    assert [clocks(leg).get(111) for leg in session.legs[:2]] == [48_000, 48_000]
    assert session.legs[0].find_meter() is meter
    assert meter is not None
    assert meter.choose_payload_type(111)
