"""nh.calls.offer_answer.offers: the ports before an answer relay on for `replaced_s`."""

from collections.abc import Callable

import pytest

from nh.calls.latching.latch import admit
from nh.calls.latching.rules import ELSEWHERE_S
from nh.calls.media import Endpoint, Media
from nh.calls.settings import RelaySettings
from tests.calls.fakes import receive
from tests.calls.legs import PACKET, speaks
from tests.calls.ng_proxy import A_AUDIO, A_MOVED, B_AUDIO, B_FAX, B_MOVED, A, B, NgProxy, make_ng_proxy
from tests.calls.snapshots import move_calls

NEW = Endpoint("203.0.113.9", 6500)


@pytest.fixture
def ng() -> NgProxy:
    return make_ng_proxy(RelaySettings(replaced_s=1))


def move_callee(ng: NgProxy) -> None:
    """A 183 and a 200 from another port."""
    ng.offer(A_AUDIO, expecting=True)
    ng.answer(B_AUDIO)
    ng.answer(B_MOVED)


def move_callee_again(ng: NgProxy) -> None:
    """A re-INVITE that is answered from another port."""
    ng.connect()
    ng.offer(A_AUDIO, to=B)
    ng.answer(B_MOVED)


def move_caller(ng: NgProxy) -> None:
    """A re-INVITE from another address."""
    ng.connect()
    ng.outwait_forks()
    ng.offer(A_MOVED, to=B)
    ng.answer(B_AUDIO)


def turn_to_fax(ng: NgProxy) -> None:
    ng.connect()
    ng.outwait_forks()
    ng.offer(Media("198.51.100.1", 4000, 1, "udptl", "image"), to=B)
    ng.answer(B_FAX)


MOVES = [move_callee, move_callee_again, move_caller, turn_to_fax]


@pytest.mark.parametrize("move", MOVES)
def test_both_sessions_relay_until_the_old_one_is_due(ng: NgProxy, move: Callable[[NgProxy], None]) -> None:
    move(ng)
    old, new = ng.plane.running
    assert (old.replaced_at, new.replaced_at) == (ng.now, None)
    assert all(leg.replaced for leg in old.legs)
    ng.expire(after_s=0.9)
    assert ng.plane.running == [old, new]
    ng.expire(after_s=0.1)
    assert ng.plane.running == [new]
    assert len(ng.plane.open) == len(new.legs)
    ng.delete(A)
    assert ng.nothing_is_left


@pytest.mark.parametrize("move", MOVES)
def test_an_end_of_the_call_ends_the_old_ports_too(ng: NgProxy, move: Callable[[NgProxy], None]) -> None:
    move(ng)
    ng.delete(B)
    assert ng.nothing_is_left


def test_new_sources_belong_to_the_new_session(ng: NgProxy) -> None:
    move_callee(ng)
    old, new = ng.plane.running
    legs = [old.legs[1], new.legs[1]]
    before = Endpoint("203.0.113.50", 1000)  # a NAT's, the same for the old and the new port
    assert speaks(old.legs[1], before, now=ng.now, for_s=ELSEWHERE_S)
    assert old.legs[1].source == before
    assert speaks(new.legs[1], before, now=ng.now, for_s=ELSEWHERE_S)
    assert admit(legs, before, PACKET, now=ng.now).leg is new.legs[1]
    assert old.legs[1].source == before, "packets to the old port still go there"
    assert admit(legs, NEW, PACKET, now=ng.now).leg is new.legs[1]


def test_an_offer_back_to_the_old_place_takes_the_old_session_up(ng: NgProxy) -> None:
    ports = ng.offer(A_AUDIO)
    ng.answer(B_AUDIO)
    (first,) = ng.plane.running
    ng.offer(A_MOVED, to=B)
    ng.answer(B_AUDIO)
    assert ng.offer(A_AUDIO, to=B) == ports
    ng.answer(B_AUDIO)
    ng.expire(after_s=1)
    assert ng.plane.running == [first]
    assert first.replaced_at is None
    assert not any(leg.replaced for leg in first.legs)


def test_a_medium_that_comes_back_after_its_rejection_begins_anew(ng: NgProxy) -> None:
    """As after a restart, which knows nothing of a session that ended."""
    ng.connect()
    ng.answer(None)
    ng.offer(B_MOVED, tag=B, to=A)
    *_, session = ng.plane.running
    assert not any(leg.inherited for leg in session.legs)


def test_replaced_sessions_are_restored(ng: NgProxy) -> None:
    move_callee(ng)
    after = make_ng_proxy(RelaySettings(replaced_s=1))
    after.now = ng.now
    move_calls(ng.table, after.table, now=ng.now)
    (dialog,) = after.offers.dialogs
    ((_, old),) = dialog.replaced
    assert all(leg.replaced for leg in old.legs)
    after.expire(after_s=1)
    assert len(after.plane.running) == 1


@pytest.mark.parametrize("packets", [0, 3])
def test_what_an_ended_session_has_received_is_known_still_if_it_has_received_anything(
    ng: NgProxy, packets: int
) -> None:
    """A phone that has never been heard may ring for minutes."""
    session = ng.connect()
    receive(session.legs[0], *([172] * packets), at=ng.now)
    ng.offer(A_MOVED, to=B)
    ng.answer(B_AUDIO)
    ng.expire(after_s=1.0)
    (dialog,) = ng.offers.dialogs
    assert bool(dialog.caller.ended_totals) is bool(dialog.callee.ended_totals) is bool(packets)
