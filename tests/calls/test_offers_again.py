"""Offers within a call: what keeps its ports, what gets others, and what is learned anew."""

import msgspec
import pytest

from nh.calls.latching.rules import ELSEWHERE_S
from nh.calls.leg import Leg
from nh.calls.media import Endpoint, Media
from nh.calls.session import Session
from tests.calls.fakes import receive
from tests.calls.legs import PACKET, speaks
from tests.calls.ng_proxy import (
    A_AUDIO,
    A_FAX,
    A_HELD,
    A_MOVED,
    A_PAUSED,
    A_VIDEO,
    B_AUDIO,
    B_FAX,
    B_MOVED,
    B_VIDEO,
    C_AUDIO,
    A,
    B,
    C,
    NgProxy,
)
from tests.calls.rtp import SSRC

BEHIND_NAT = Endpoint("203.0.113.50", 12_345)


def latch(leg: Leg, source: Endpoint, *, now: float) -> None:
    """The window is over and `source` has sent for some time."""
    assert speaks(leg, source, now=max(now, leg.window_ends), for_s=ELSEWHERE_S)
    assert leg.latched


# --- ports --------------------------------------------------------------------------------------------


def test_an_unchanged_reoffer_keeps_the_ports_and_the_session(ng: NgProxy) -> None:
    for_bob = ng.offer(A_AUDIO)
    for_alice = ng.answer(B_AUDIO)
    (session,) = ng.plane.running
    assert ng.offer(A_AUDIO, to=B) == for_bob
    assert ng.answer(B_AUDIO) == for_alice
    assert ng.plane.running == [session]
    assert ng.offer(B_AUDIO, tag=B, to=A) == for_alice
    assert ng.answer(A_AUDIO, tag=A, to=B) == for_bob
    assert ng.plane.running == [session]


@pytest.mark.parametrize(
    "moved",
    [
        A_MOVED,
        Media("198.51.100.1", 4500, 2, "RTP/AVP", "audio"),
        Media("198.51.100.1", 4000, 4, "RTP/AVP", "audio"),
    ],
    ids=["address", "port", "number of ports"],
)
def test_an_end_that_has_moved_gets_other_ports(ng: NgProxy, moved: Media) -> None:
    for_bob = ng.offer(A_AUDIO)
    for_alice = ng.answer(B_AUDIO)
    ng.outwait_forks()
    assert ng.offer(moved, to=B) != for_bob
    if moved.range == 2:
        assert ng.answer(B_AUDIO) == for_alice
    else:
        ng.answer(msgspec.structs.replace(B_AUDIO, range=4))
    (session,) = ng.plane.running
    assert session.group_from.media == (moved,)
    assert len(ng.plane.open) == 2 * moved.range


def test_the_callee_may_move_too(ng: NgProxy) -> None:
    for_bob = ng.offer(A_AUDIO)
    for_alice = ng.answer(B_AUDIO)
    assert ng.offer(B_MOVED, tag=B, to=A) != for_alice
    assert ng.answer(A_AUDIO, tag=A, to=B) == for_bob
    (session,) = ng.plane.running
    assert (session.group_from.id, session.group_to.media) == (A, (B_MOVED,))
    assert len(ng.plane.open) == 4


def test_who_moves_gets_other_ports_for_what_has_moved_only(ng: NgProxy) -> None:
    audio, video = ng.offer(A_AUDIO, A_VIDEO)
    ng.answer(B_AUDIO, B_VIDEO)
    _, video_session = ng.plane.running
    again = ng.offer(A_MOVED, A_VIDEO, to=B)
    assert again[0] != audio
    assert again[1] == video
    assert video_session in ng.plane.running


def test_latched_media_keep_their_ports_wherever_they_move(ng: NgProxy) -> None:
    for_bob = ng.offer(A_AUDIO)
    ng.answer(B_AUDIO)
    (session,) = ng.plane.running
    assert ng.offer(A_MOVED, to=B, latch=True) == for_bob
    assert ng.plane.running == [session]
    assert session.pairs[0].from_.announced == Endpoint("198.51.100.77", 4000)


def test_another_interface_means_other_ports(ng: NgProxy) -> None:
    for_bob = ng.offer(A_AUDIO)
    ng.offer(A_AUDIO, address="192.0.2.2")
    assert for_bob[0] is not None
    assert {local.address for local in ng.plane.open} == {"192.0.2.2"}


def test_hold_and_resume_keep_the_ports(ng: NgProxy) -> None:
    for_bob = ng.offer(A_AUDIO)
    ng.answer(B_AUDIO)
    (session,) = ng.plane.running
    for media, held in ((A_HELD, True), (A_AUDIO, False), (A_PAUSED, True), (A_AUDIO, False)):
        assert ng.offer(media, to=B) == for_bob
        ng.answer(B_AUDIO)
        assert session.on_hold is held
    assert ng.plane.running == [session]


def test_a_held_end_gets_nothing_until_it_resumes(ng: NgProxy) -> None:
    session = ng.connect()
    latch(session.legs[0], BEHIND_NAT, now=ng.now)
    ng.offer(A_HELD, to=B)
    ng.answer(B_AUDIO)
    assert session.legs[0].destination is None
    ng.offer(A_AUDIO, to=B)
    assert session.legs[0].destination == BEHIND_NAT, "on hold it is where it was"


def test_a_medium_that_is_added_is_relayed_with_its_answer(ng: NgProxy) -> None:
    audio = ng.offer(A_AUDIO)
    ng.answer(B_AUDIO)
    assert ng.offer(A_AUDIO, A_VIDEO, to=B)[:1] == audio
    assert len(ng.plane.running) == 1
    ng.answer(B_AUDIO, B_VIDEO)
    assert len(ng.plane.running) == 2
    assert len(ng.plane.open) == 8


@pytest.mark.parametrize("rest", [(), (None,)], ids=["left out", "port 0"])
def test_a_medium_that_is_taken_away_gives_its_ports_back(ng: NgProxy, rest: tuple[None, ...]) -> None:
    ng.offer(A_AUDIO, A_VIDEO)
    ng.answer(B_AUDIO, B_VIDEO)
    ng.outwait_forks()
    ng.offer(A_AUDIO, *rest, to=B)
    ng.answer(B_AUDIO, *rest)
    assert len(ng.plane.running) == 1
    assert len(ng.plane.open) == 4


def test_a_rejected_medium_may_come_back(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, A_VIDEO)
    ng.answer(B_AUDIO, None)
    ng.offer(A_AUDIO, A_VIDEO, to=B)
    ng.answer(B_AUDIO, B_VIDEO)
    assert len(ng.plane.running) == 2


def test_speech_becomes_a_fax_once_the_other_end_agrees(ng: NgProxy) -> None:
    ng.connect()
    ng.outwait_forks()
    ng.offer(A_FAX, to=B)
    ng.answer(B_FAX)
    (session,) = ng.plane.running
    assert [len(group.components) for group in (session.group_from, session.group_to)] == [1, 1]
    assert len(ng.plane.open) == 2
    ng.offer(B_AUDIO, tag=B, to=A)
    ng.answer(A_AUDIO, tag=A, to=B)
    assert len(ng.plane.running[0].legs) == 4


def test_a_moved_offerer_keeps_all_its_forks(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    ng.answer(B_AUDIO, tag=B)
    ng.answer(C_AUDIO, tag=C)
    ng.offer(A_MOVED, to=B)
    ng.answer(B_AUDIO, tag=B)
    assert ng.talking == {frozenset((A, B)), frozenset((A, C))}
    to_carol, *_ = ng.plane.running
    assert to_carol.replaced_at is None, "Carol does not know the new ports yet"
    ng.offer(A_MOVED, to=C)
    ng.answer(C_AUDIO, tag=C)
    assert all(session.group_from.media == (A_MOVED,) for session in ng.plane.running)


# --- learning ---------------------------------------------------------------------------------------


def learned(session: Session) -> list[bool]:
    """Of each leg: whether its source is latched."""
    return [leg.latched for leg in session.legs]


REPORT = memoryview(bytes([0x80, 201, 0, 1]) + SSRC.to_bytes(4, "big"))


def latch_all(session: Session, source: Endpoint, *, now: float) -> None:
    """RTP and RTCP of both ends come from `source`, and their windows are over."""
    for leg in session.legs[:2]:
        latch(leg, source, now=now)
    for leg in session.legs[2:]:
        leg.admit(source, REPORT, now=max(now, leg.window_ends) - ELSEWHERE_S)
        assert leg.admit(source, REPORT, now=max(now, leg.window_ends))
        assert leg.latched


def test_an_end_that_says_the_same_again_keeps_its_source(ng: NgProxy) -> None:
    session = ng.connect()
    latch_all(session, BEHIND_NAT, now=ng.now)
    ng.now += 60
    ng.offer(A_AUDIO, to=B)
    ng.answer(B_AUDIO)
    assert learned(session) == [True] * 4
    assert {leg.source for leg in session.legs} == {BEHIND_NAT}
    assert not session.legs[0].admit(Endpoint(BEHIND_NAT.address, 1), PACKET, now=ng.now)


def test_an_end_that_has_not_sent_yet_has_a_new_window(ng: NgProxy) -> None:
    session = ng.connect()
    ng.now += 60
    ng.offer(A_AUDIO, to=B)
    assert session.legs[0].window_ends == ng.now + 3


def test_an_end_that_moves_is_learned_anew_and_the_other_is_not(ng: NgProxy) -> None:
    session = ng.connect()
    latch_all(session, BEHIND_NAT, now=ng.now)
    ng.now += 60
    ng.offer(A_MOVED, to=B, latch=True)
    assert learned(session) == [False, True, False, True]
    assert session in ng.plane.renewed
    assert session.legs[0].destination == Endpoint("198.51.100.77", 4000), "it is somewhere else now"
    assert session.legs[0].window_ends == ng.now + 3


def test_the_announced_endpoint_takes_over_after_a_reoffer(ng: NgProxy) -> None:
    session = ng.connect()
    leg = session.legs[0]
    latch(leg, BEHIND_NAT, now=ng.now)
    ng.now += 60
    ng.offer(A_AUDIO, to=B)
    assert leg.admit(BEHIND_NAT, PACKET, now=ng.now)
    assert leg.admit(Endpoint("198.51.100.1", 4000), PACKET, now=ng.now + 1)
    assert leg.latched


def test_the_address_of_the_signalling_ranks_before_strangers(ng: NgProxy) -> None:
    nat = BEHIND_NAT.address
    behind_nat = msgspec.structs.replace(A_AUDIO, address="10.0.0.5", signalled_from=nat)
    ng.offer(behind_nat)
    ng.answer(B_AUDIO)
    leg = ng.plane.running[0].legs[0]
    stranger = Endpoint("192.0.2.66", 4000)
    assert not leg.admit(stranger, PACKET, now=ng.now)
    assert leg.admit(BEHIND_NAT, PACKET, now=ng.now + 1)
    assert leg.source == BEHIND_NAT
    assert not leg.admit(stranger, PACKET, now=ng.now + 2)
    ng.offer(msgspec.structs.replace(behind_nat, signalled_from="192.0.2.66"), to=B)
    assert leg.destination == BEHIND_NAT, "until it sends, it gets its media where it got them"
    assert leg.admit(BEHIND_NAT, PACKET, now=ng.now)
    assert leg.admit(stranger, PACKET, now=ng.now + 1), "its signalling came from elsewhere this time"


# --- counters ---------------------------------------------------------------------------------------


def test_what_was_counted_outlasts_the_ports(ng: NgProxy) -> None:
    session = ng.connect()
    receive(session.legs[0], 100, 100, at=ng.now)
    receive(session.legs[1], 50, at=ng.now)
    ng.outwait_forks()
    ng.offer(A_MOVED, to=B)
    ng.answer(B_AUDIO)
    (session,) = ng.plane.running
    receive(session.legs[0], 30, at=ng.now)
    ng.offer(A_AUDIO, to=B)
    ng.answer(B_AUDIO)
    (alice,), (bob,) = (ng.offers.participants.with_tag(tag) for tag in (A, B))
    assert alice.ended_totals[0, 0][:2] == (3, 230)
    assert bob.ended_totals[0, 0][:2] == (1, 50)


def test_what_was_counted_follows_the_sessions_of_its_medium(ng: NgProxy) -> None:
    """Two media exchange their sessions: a query showed what ended before at the wrong one."""
    ng.offer(A_AUDIO, A_VIDEO)
    ng.answer(B_AUDIO, B_VIDEO)
    audio, _ = ng.plane.running
    receive(audio.legs[0], 100, 100, at=ng.now)
    receive(audio.legs[1], 50, at=ng.now)
    ng.outwait_forks()
    ng.offer(A_MOVED, A_VIDEO, to=B)
    ng.answer(B_AUDIO, B_VIDEO)
    ng.expire(after_s=2)
    (alice,), (bob,) = (ng.offers.participants.with_tag(tag) for tag in (A, B))
    (dialog,) = ng.offers.participants.dialogs
    for medium, other in ((0, 1), (1, 0)):
        assert (alice.ended_totals[medium, 0][:2], bob.ended_totals[medium, 0][:2]) == ((2, 200), (1, 50))
        assert not any(any(each.ended_totals.get((other, 0), ())) for each in (alice, bob))
        dialog.exchange_media(0, 1)
