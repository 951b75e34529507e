"""nh.calls.offer_answer: branches and to-tags of one call by themselves, and the limit of their number."""

import pytest

from nh.calls.latching.latch import admit
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.offer_answer.participants import MAX_PARTIES
from nh.calls.session import Session
from nh.calls.settings import RelaySettings
from nh.errors import LimitReached, PortsExhausted
from tests.calls.fakes import receive
from tests.calls.legs import PACKET
from tests.calls.ng_proxy import (
    A_AUDIO,
    A_HELD,
    B_AUDIO,
    B_MOVED,
    C_AUDIO,
    A,
    B,
    C,
    D,
    NgProxy,
    make_ng_proxy,
)
from tests.calls.snapshots import move_calls

AB, AC, AD = frozenset((A, B)), frozenset((A, C)), frozenset((A, D))
PHONE = Endpoint(B_AUDIO.address, B_AUDIO.port)


def session_between(ng: NgProxy, one: bytes, other: bytes) -> Session:
    """The session between two ends."""
    (session,) = [each for each in ng.plane.running if {each.group_from.id, each.group_to.id} == {one, other}]
    return session


# --- one phone under two tags ----------------------------------------------------------------------------


def from_phone(ng: NgProxy) -> Leg | None:
    """The leg that gets a packet of Bob's phone, which answered under several tags."""
    legs = [each.legs[1] for each in ng.plane.running]
    return admit(legs, PHONE, PACKET, now=ng.now).leg


@pytest.mark.parametrize("branch", [b"", b"z1"])
@pytest.mark.parametrize("early", [False, True], ids=["silent", "early media"])
def test_a_phone_is_heard_from_the_port_that_its_last_answer_named(
    ng: NgProxy, branch: bytes, early: bool
) -> None:
    ng.offer(A_AUDIO, branch=branch)
    ng.answer(B_AUDIO, tag=B, branch=branch)
    if early:
        assert from_phone(ng) is session_between(ng, A, B).legs[1]
    ng.now += 1
    ng.answer(B_AUDIO, tag=C, branch=branch)
    for _ in range(2):
        assert from_phone(ng) is session_between(ng, A, C).legs[1]
    ng.now += 1
    ng.answer(B_AUDIO, tag=B, branch=branch)
    assert from_phone(ng) is session_between(ng, A, B).legs[1]
    assert session_between(ng, A, C).legs[1].destination == PHONE, "who sends to the other port is heard, too"


def test_which_answer_was_the_last_outlives_the_process(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    for tag in (B, C, B):
        ng.now += 1
        ng.answer(B_AUDIO, tag=tag)
    after = make_ng_proxy()
    move_calls(ng.table, after.table, now=ng.now)
    legs = {each.group_to.id: each.legs[1] for each in after.plane.running}
    for order in ((B, C), (C, B)):
        assert admit([legs[tag] for tag in order], PHONE, PACKET, now=ng.now).leg is legs[B]


def test_two_phones_on_one_branch_stay_apart(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    ng.answer(B_AUDIO)
    ng.answer(C_AUDIO, tag=C)
    for _ in range(2):
        assert from_phone(ng) is session_between(ng, A, B).legs[1]


# --- tags that come new ------------------------------------------------------------------------------------


def test_an_offer_to_an_unknown_end_on_a_known_branch_has_its_own_ports(ng: NgProxy) -> None:
    first = ng.offer(A_AUDIO, branch=b"z1")
    ng.answer(B_AUDIO, branch=b"z1")
    second = ng.offer(A_AUDIO, to=C, branch=b"z1")
    assert second != first
    assert ng.offer(A_AUDIO, to=C, branch=b"z1") == second, "repeated"
    ng.answer(C_AUDIO, tag=C, branch=b"z1")
    assert ng.talking == {AB, AC}
    assert (ng.offer(A_AUDIO, to=B, branch=b"z1"), ng.offer(A_AUDIO, to=C)) == (first, second)


def test_a_caller_that_has_another_tag_on_a_known_branch_is_another_end(ng: NgProxy) -> None:
    first = ng.offer(A_AUDIO, branch=b"z1")
    ng.answer(B_AUDIO, branch=b"z1")
    second = ng.offer(A_AUDIO, tag=D, to=B, branch=b"z1")
    ng.answer(B_AUDIO, to=D, branch=b"z1")
    assert second != first
    assert ng.talking == {AB, frozenset((D, B))}
    ng.delete(D)
    assert ng.talking == {AB}


def test_a_callee_offers_to_a_tag_that_is_new(ng: NgProxy) -> None:
    """rtpengine's test "re-invite re-tag w/ via-branch"."""
    ng.offer(A_AUDIO, branch=b"foo")
    ng.offer(C_AUDIO, tag=C, branch=b"bar")
    for_caller = ng.answer(B_AUDIO, to=C, branch=b"bar")
    ng.delete(A)
    assert ng.offer(B_AUDIO, tag=B, to=D, branch=b"blah") != for_caller
    assert ng.offer(B_AUDIO, tag=B, to=C, branch=b"baz") == for_caller
    assert ng.talking == {frozenset((B, C))}


def test_a_callee_that_names_no_tag_offers_to_its_caller(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, branch=b"z1")
    for_caller = ng.answer(B_AUDIO, branch=b"z1")
    assert ng.offer(B_AUDIO, tag=B, branch=b"z2") == for_caller


# --- hunting ----------------------------------------------------------------------------------------------


def hunt(ng: NgProxy, branches: int, *, early_media: bool) -> None:
    """One branch after the other, none of which is deleted."""
    for number in range(branches):
        ng.now += 1
        ng.offer(A_AUDIO, branch=b"%d" % number, expecting=True)
        if early_media:
            ng.answer(C_AUDIO, tag=b"tag-%d" % number, branch=b"%d" % number)


@pytest.mark.parametrize("early_media", [False, True], ids=["silent", "early media"])
@pytest.mark.parametrize("held", [False, True], ids=["talking", "on hold"])
def test_hundreds_of_branches_leave_an_answered_call_alone(early_media: bool, held: bool) -> None:
    ng = make_ng_proxy(RelaySettings(silent_s=3600, replaced_s=0), ports=(20_000, 22_999))
    ng.offer(A_AUDIO, branch=b"answered")
    ng.answer(B_AUDIO, branch=b"answered")
    (talk,) = ng.plane.running
    hunt(ng, 100, early_media=early_media)
    if held:
        ng.offer(A_HELD, to=B)
        ng.answer(B_AUDIO)
        assert talk.on_hold
    else:
        receive(talk.legs[0], 172, at=ng.now)
    hunt(ng, 400, early_media=early_media)
    assert len(ng.offers.parties) <= MAX_PARTIES
    assert talk in ng.plane.running
    ng.offer(A_AUDIO, branch=b"last", expecting=True)
    ng.answer(B_MOVED, tag=D, branch=b"last")
    assert AD in ng.talking
    ng.delete()
    assert ng.nothing_is_left


def test_the_offer_that_is_being_answered_does_not_give_way(ng: NgProxy) -> None:
    ng = make_ng_proxy(ports=(20_000, 22_999))
    hunt(ng, MAX_PARTIES, early_media=False)
    ng.answer(B_AUDIO, branch=b"0")
    assert AB in ng.talking
    assert len(ng.offers.parties) == MAX_PARTIES


# --- limits -----------------------------------------------------------------------------------------------


def test_limits_refuse_new_calls_and_never_a_branch() -> None:
    ng = make_ng_proxy(RelaySettings(max_sockets=4))
    ng.offer(A_AUDIO, branch=b"z1", expecting=True)
    with pytest.raises(PortsExhausted, match="max_sockets"):
        ng.offer(A_AUDIO, branch=b"z2")
    with pytest.raises(LimitReached):
        ng.offer(A_AUDIO, call_id=b"another")
    ng.answer(B_AUDIO, branch=b"z1")
    assert ng.talking == {AB}


def test_ports_of_losing_branches_come_back(ng: NgProxy) -> None:
    """Four ports of audio for each branch, whether it is deleted or forgotten."""
    branches = [b"%d" % number for number in range(5)]
    for branch in branches:
        ng.offer(A_AUDIO, branch=branch, expecting=True)
    assert len(ng.plane.open) == 4 * len(branches)
    ng.answer(B_AUDIO, branch=b"0")
    assert len(ng.plane.open) == 4 * len(branches)
    ng.delete(A, branch=b"1")
    assert len(ng.plane.open) == 4 * 4
    (talk,) = [each for each in ng.plane.running if each.group_to.id == B]
    for _ in range(20):
        ng.now += 10
        receive(talk.legs[0], 172, at=ng.now)
        ng.expire()
    assert ng.plane.running == [talk]
    assert len(ng.plane.open) == 4


# --- what is shown ----------------------------------------------------------------------------------------


def test_ports_are_shown_once_an_sdp_announces_them(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, expecting=True)
    (dialog,) = ng.offers.participants.early
    (expected,) = dialog.callee.groups
    assert expected is not None
    assert not expected.announced
    (port,) = ng.answer(B_AUDIO)
    assert [medium.port for medium in expected.relay_media] == [port]


def test_ports_of_a_medium_on_hold_are_announced_all_the_same(ng: NgProxy) -> None:
    (port,) = ng.offer(A_HELD)
    (group,) = ng.offers.parties[0].groups
    assert group is not None
    assert [medium.port for medium in group.relay_media] == [port]
