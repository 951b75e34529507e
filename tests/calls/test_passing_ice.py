"""Ends that use ICE with each other through the relay: checks show where they are if nothing else does."""

import pytest

from nh.calls.latching.claims import Carried
from nh.calls.latching.rules import CONSENT_S
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from tests.calls.fakes import START
from tests.calls.legs import ANY, ANY_2, hear, make_leg
from tests.calls.rtp import rtp_packet

CHECK = b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)
INTERVAL_S = 5.0
"""Of checks that ask for consent (RFC 7675 5.1)."""

LEFT_S = 30.0
"""After so long without consent the peer gives up."""

ANY_MOVED = Endpoint(ANY.address, 1234)


@pytest.fixture
def leg() -> Leg:
    """The leg of an end that has sent media, and now only listens."""
    leg = make_leg(carried=Carried.RTP | Carried.STUN, relatch_s=2.0)
    for number in range(200):
        assert hear(leg, ANY, rtp_packet(number, 160 * number), now=START + number / 50)
    assert leg.latched
    return leg


def first_heard_s(leg: Leg, source: Endpoint, *, also: Endpoint | None = None) -> float | None:
    """After how many seconds a check from there passes; checks come from another place, too."""
    for each in range(1, 20):
        now = START + 4.0 + each * INTERVAL_S
        if also is not None:
            assert hear(leg, also, CHECK, now=now)
        if hear(leg, source, CHECK, now=now + 1):
            return each * INTERVAL_S
    return None


def test_an_end_that_only_listens_is_found_before_its_peer_gives_up(leg: Leg) -> None:
    found_s = first_heard_s(leg, ANY_MOVED)
    assert found_s is not None
    assert CONSENT_S <= found_s < LEFT_S - INTERVAL_S
    assert leg.source == ANY_MOVED


def test_checks_of_another_candidate_do_not_move_an_end_that_is_there(leg: Leg) -> None:
    assert first_heard_s(leg, ANY_MOVED, also=ANY) is None
    assert leg.source == ANY


def test_checks_from_another_host_do_not_move_it(leg: Leg) -> None:
    assert first_heard_s(leg, ANY_2) is None


def test_one_check_moves_nothing(leg: Leg) -> None:
    assert not hear(leg, ANY_MOVED, CHECK, now=START + 100)
    assert leg.source == ANY
