"""A refused offer leaves what was agreed, although the relay does not learn of the refusal."""

import pytest

from nh.calls.media import Endpoint, Media
from nh.errors import PortsExhausted
from tests.calls.fakes import receive
from tests.calls.ng_proxy import (
    A_AUDIO,
    A_FAX,
    A_HELD,
    A_MOVED,
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
    make_ng_proxy,
)


@pytest.mark.parametrize("offered", [A_FAX, A_MOVED], ids=["a fax", "another place"])
def test_what_was_agreed_goes_on_beside_an_offer(ng: NgProxy, offered: Media) -> None:
    agreed = ng.connect()
    ports = ng.plane.ports
    ng.offer(offered, to=B)
    assert agreed in ng.plane.running
    assert ports <= ng.plane.ports


@pytest.mark.parametrize(("offered", "answered"), [(A_FAX, B_FAX), (A_MOVED, B_AUDIO)])
def test_with_the_answer_it_ends(ng: NgProxy, offered: Media, answered: Media) -> None:
    agreed = ng.connect()
    ng.outwait_forks()
    ng.offer(offered, to=B)
    ng.answer(answered)
    (session,) = ng.plane.running
    assert session is not agreed
    assert len(ng.plane.open) == 2 * offered.range


def test_who_goes_back_has_the_old_ports_again(ng: NgProxy) -> None:
    for_bob = ng.offer(A_AUDIO)
    for_alice = ng.answer(B_AUDIO)
    (agreed,) = ng.plane.running
    for offered in (A_FAX, A_MOVED):
        ng.offer(offered, to=B)
        assert ng.offer(A_AUDIO, to=B) == for_bob
        assert ng.answer(B_AUDIO) == for_alice
        assert ng.plane.running == [agreed]
        assert len(ng.plane.open) == 4


def test_however_often_it_is_refused_there_is_one_offer_beside_what_was_agreed(ng: NgProxy) -> None:
    agreed = ng.connect()
    for number in range(10):
        ng.offer(Media("198.51.100.1", 5000 + 2 * number, 2), to=B)
    assert agreed in ng.plane.running
    assert len(ng.plane.running) == 2
    assert len(ng.plane.open) == 6


def test_a_medium_that_was_to_go_stays(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, A_VIDEO)
    ng.answer(B_AUDIO, B_VIDEO)
    agreed = list(ng.plane.running)
    ng.offer(A_AUDIO, None, to=B)
    assert ng.plane.running == agreed
    ng.offer(A_AUDIO, A_VIDEO, to=B)
    ng.answer(B_AUDIO, B_VIDEO)
    assert ng.plane.running == agreed


def test_offers_of_both_ends_may_be_refused(ng: NgProxy) -> None:
    agreed = ng.connect()
    ng.offer(A_MOVED, to=B)
    ng.offer(B_MOVED, tag=B, to=A)
    assert agreed in ng.plane.running
    ng.offer(A_AUDIO, to=B)
    ng.offer(B_AUDIO, tag=B, to=A)
    ng.answer(A_AUDIO, tag=A, to=B)
    assert ng.plane.running == [agreed]
    assert len(ng.plane.open) == 4


def test_every_fork_goes_on(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    ng.answer(B_AUDIO, tag=B)
    ng.answer(C_AUDIO, tag=C)
    agreed = list(ng.plane.running)
    ng.offer(A_FAX, to=B)
    assert ng.plane.running == agreed
    ng.delete(C)
    assert ng.plane.running == agreed[:1]
    ng.delete(A)
    assert ng.nothing_is_left


def test_an_offered_hold_takes_effect_with_the_answer(ng: NgProxy) -> None:
    agreed = ng.connect()
    to_alice = agreed.legs[0]
    ng.offer(A_HELD, to=B)
    assert (to_alice.destination, agreed.on_hold) == (Endpoint("198.51.100.1", 4000), False)
    ng.answer(B_AUDIO)
    assert ng.plane.running == [agreed]
    assert (to_alice.destination, agreed.on_hold) == (None, True)


def test_a_hold_that_is_refused_never_was(ng: NgProxy) -> None:
    agreed = ng.connect()
    ng.offer(A_HELD, to=B)
    ng.offer(B_AUDIO, tag=B, to=A)
    ng.answer(A_AUDIO, tag=A, to=B)
    assert agreed.legs[0].destination == Endpoint("198.51.100.1", 4000)
    ng.offer(A_HELD, to=B)
    ng.offer(A_AUDIO, to=B)
    ng.answer(B_AUDIO)
    assert (ng.plane.running, agreed.on_hold) == ([agreed], False)
    assert agreed.legs[0].destination == Endpoint("198.51.100.1", 4000)


def test_who_resumes_is_sent_to_at_once(ng: NgProxy) -> None:
    agreed = ng.connect()
    ng.offer(A_HELD, to=B)
    ng.answer(B_AUDIO)
    ng.offer(A_AUDIO, to=B)
    assert agreed.legs[0].destination == Endpoint("198.51.100.1", 4000)


def test_the_call_lives_as_long_as_what_was_agreed(ng: NgProxy) -> None:
    agreed = ng.connect()
    ng.offer(A_FAX, to=B)
    for _ in range(20):
        ng.now += 25
        receive(agreed.legs[0], 172, at=ng.now)
        agreed.note(now=ng.now)
        ng.expire()
    assert ng.plane.running == [agreed]
    ng.expire(after_s=30)
    ng.expire(after_s=180)
    assert ng.nothing_is_left


def test_who_is_blocked_is_blocked_there_too(ng: NgProxy) -> None:
    agreed = ng.connect()
    ng.offer(A_MOVED, to=B)
    ng.block(A)
    assert agreed.legs[0].blocked


def test_an_offer_without_room_leaves_what_was_agreed() -> None:
    ng = make_ng_proxy(ports=(20_000, 20_005))
    agreed = ng.connect()
    ng.offer(A_MOVED, to=B)
    with pytest.raises(PortsExhausted):
        ng.offer(A_FAX, to=B)
    assert agreed in ng.plane.running
    ng.offer(A_AUDIO, to=B)
    ng.answer(B_AUDIO)
    assert ng.plane.running == [agreed]
