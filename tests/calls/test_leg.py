"""nh.calls.leg: what time does to a leg, where replies go, and what is counted."""

import pytest

from nh.calls.drop import Drop
from nh.calls.latching.source import SourcePolicy
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from tests.calls.fakes import START, receive
from tests.calls.legs import (
    ANNOUNCED,
    ANY,
    BY_IP,
    EXACT,
    HEURISTIC,
    PACKET,
    SAME_IP,
    SAME_IP_2,
    SAME_PORT,
    STRICT,
    WINDOW_S,
    make_leg,
    speaks,
)
from tests.calls.rtp import rtp_packet

# --- time without packets ---------------------------------------------------------------------------


def test_the_window_closes_without_packets() -> None:
    leg = make_leg()
    speaks(leg, ANY, now=START)
    assert not leg.close_window(now=START + 2.9)
    assert not leg.latched
    assert leg.close_window(now=START + 3)
    assert leg.latched
    assert not leg.close_window(now=START + 4), "that is no news"


def test_a_window_without_any_source_does_not_latch() -> None:
    leg = make_leg()
    assert not leg.close_window(now=START + 60)
    assert not leg.latched
    assert speaks(leg, ANY, now=START + 61)


# --- where replies go -------------------------------------------------------------------------------


def test_media_go_to_the_announced_endpoint_until_a_source_is_known() -> None:
    leg = make_leg()
    assert leg.destination == ANNOUNCED
    leg.admit(SAME_IP, PACKET, now=START)
    assert leg.destination == SAME_IP


def test_media_follow_the_better_source() -> None:
    leg = make_leg()
    speaks(leg, ANY, now=START)
    assert leg.destination == ANY
    leg.admit(EXACT, PACKET, now=START + 1)
    assert leg.destination == EXACT


def test_where_nothing_was_announced_media_wait_for_the_first_packet() -> None:
    leg = make_leg(announced=None)
    assert leg.destination is None
    speaks(leg, ANY, now=START)
    assert leg.destination == ANY


def test_an_end_on_hold_may_send_and_gets_nothing() -> None:
    leg = make_leg(announced=None, receives=False)
    assert speaks(leg, ANY, now=START)
    assert leg.destination is None


# --- relatching after a silence -------------------------------------------------------------------

SILENCE_S = 20.0


def silent_leg(
    policy: SourcePolicy = HEURISTIC, source: Endpoint = EXACT, *, relatch_s: float = SILENCE_S
) -> Leg:
    """A leg that latched on `source` and then heard nothing for a minute."""
    leg = make_leg(policy, relatch_s=relatch_s)
    speaks(leg, source, now=START)
    receive(leg, 172, at=START)
    leg.note(now=START)
    leg.close_window(now=START + WINDOW_S)
    assert leg.latched
    return leg


def streams(leg: Leg, source: Endpoint, *, now: float) -> bool:
    """Whether the second packet of another stream from `source` is admitted."""
    leg.admit(source, memoryview(rtp_packet(1000, ssrc=1)), now=now - 0.02)
    return leg.admit(source, memoryview(rtp_packet(1001, ssrc=1)), now=now)


def test_a_leg_does_not_relatch_before_the_silence_is_over() -> None:
    leg = silent_leg()
    assert not streams(leg, SAME_IP, now=START + SILENCE_S - 0.1)
    assert leg.destination == EXACT
    assert streams(leg, SAME_IP, now=START + SILENCE_S + 0.1)


def test_a_silence_is_measured_from_the_first_look() -> None:
    leg = silent_leg()
    receive(leg, 172, at=START + 59.5)  # a pause of speech
    assert not streams(leg, SAME_IP, now=START + 60)
    assert not streams(leg, SAME_IP, now=START + 60 + SILENCE_S - 0.1)
    assert streams(leg, SAME_IP, now=START + 60 + SILENCE_S)


def test_after_a_silence_another_port_of_the_same_ip_takes_over() -> None:
    leg = silent_leg()
    assert streams(leg, SAME_IP, now=START + 60)
    assert leg.latched
    assert leg.destination == SAME_IP
    receive(leg, 172, at=START + 60)
    assert not streams(leg, SAME_IP_2, now=START + 61), "one rebinding, not a free-for-all"


def test_a_single_packet_is_no_stream() -> None:
    leg = silent_leg()
    assert not leg.admit(SAME_IP, PACKET, now=START + 60)


@pytest.mark.parametrize("source", [SAME_PORT, ANY])
def test_after_a_silence_another_ip_does_not_take_over(source: Endpoint) -> None:
    leg = silent_leg()
    assert not streams(leg, source, now=START + 60)
    assert leg.destination == EXACT


def test_the_same_ip_is_the_sources_and_not_the_announced_one() -> None:
    leg = silent_leg(source=ANY)
    assert streams(leg, Endpoint(ANY.address, 1234), now=START + 60)


def test_a_silent_source_that_comes_back_stays() -> None:
    leg = silent_leg()
    assert leg.admit(EXACT, PACKET, now=START + 60)
    receive(leg, 172, at=START + 60)
    assert not streams(leg, SAME_IP, now=START + 60)


def test_strict_takes_no_other_port_even_after_a_silence() -> None:
    leg = silent_leg(STRICT)
    assert not streams(leg, SAME_IP, now=START + 60)
    assert leg.admit(EXACT, PACKET, now=START + 60)


def test_the_announced_ip_may_change_its_port_after_a_silence() -> None:
    leg = silent_leg(BY_IP, SAME_IP)
    assert streams(leg, SAME_IP_2, now=START + 60)
    assert leg.latched


def test_without_the_setting_no_other_port_takes_over() -> None:
    leg = silent_leg(relatch_s=0.0)
    assert not streams(leg, SAME_IP, now=START + 600)


# --- counting ---------------------------------------------------------------------------------------


def test_drops_are_counted_by_reason() -> None:
    leg = make_leg()
    assert leg.drops is None
    leg.count_drop(Drop.SOURCE_MISMATCH)
    leg.count_drop(Drop.SOURCE_MISMATCH)
    leg.count_drop(Drop.SEND_FAILED)
    assert leg.drops is not None
    assert dict(zip(Drop, leg.drops, strict=True)) == {
        Drop.SOURCE_MISMATCH: 2,
        Drop.NO_TARGET: 0,
        Drop.SEND_FAILED: 1,
        Drop.NO_SESSION: 0,
        Drop.LOOPED: 0,
        Drop.OVERFLOW: 0,
        Drop.DTMF_BLOCKED: 0,
        Drop.SRTP_AUTHENTICATION: 0,
        Drop.SRTP_REPLAY: 0,
        Drop.SRTP_NO_KEY: 0,
        Drop.SRTP_UNSENT_INDEX_USED: 0,
        Drop.NO_MEDIUM: 0,
        Drop.SRTP_UNSENT_NO_KEY: 0,
        Drop.SRTP_UNSENT_EXHAUSTED: 0,
        Drop.SRTP_UNSENT_NOT_MEDIA: 0,
        Drop.PROTOCOL_OVERFLOW: 0,
        Drop.SRTP_EXHAUSTED: 0,
    }


def test_a_leg_that_is_replaced_before_its_first_packet_has_nothing_to_count() -> None:
    leg = make_leg()
    leg.replaced = True
    assert leg.untouched
    leg.count_drop(Drop.SOURCE_MISMATCH)
    assert not leg.untouched
