"""The answer's sockets are ready with the offer, and what comes before it is relayed."""

import pytest

from nh.calls.media import Endpoint
from nh.calls.settings import RelaySettings
from nh.errors import PortsExhausted
from tests.calls.fakes import CALL
from tests.calls.legs import speaks
from tests.calls.ng_proxy import (
    A_AUDIO,
    A_MOVED,
    A_VIDEO,
    B_AUDIO,
    B_VIDEO,
    C_AUDIO,
    A,
    B,
    C,
    NgProxy,
    make_ng_proxy,
)

EARLY = Endpoint("203.0.113.50", 12_345)


def test_the_answer_has_the_sockets_that_were_ready(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, A_VIDEO, expecting=True)
    ready = ng.plane.ports
    assert len(ready) == 8
    early = list(ng.plane.running)
    ng.answer(B_AUDIO, B_VIDEO)
    assert ng.plane.ports == ready
    assert ng.plane.running == early
    assert ng.talking == {frozenset((A, B))}


def test_who_is_called_may_send_before_the_answer_and_hears_nothing_yet(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, expecting=True)
    (session,) = ng.plane.running
    of_alice, of_bob = session.legs[:2]
    assert speaks(of_bob, EARLY, now=ng.now)
    assert of_alice.destination == Endpoint("198.51.100.1", 4000)
    assert of_bob.destination is None
    ng.answer(B_AUDIO)
    assert of_bob.destination == Endpoint("203.0.113.9", 6000)


def test_the_second_answer_of_a_fork_has_sockets_of_its_own(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, expecting=True)
    ng.answer(B_AUDIO)
    ng.answer(C_AUDIO, tag=C)
    assert len(ng.plane.open) == 6
    assert ng.talking == {frozenset((A, B)), frozenset((A, C))}


def test_an_offer_that_is_repeated_keeps_what_is_ready(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, expecting=True)
    ready = ng.plane.ports
    (early,) = ng.plane.running
    ng.offer(A_AUDIO, expecting=True)
    assert ng.plane.ports == ready
    assert ng.plane.running == [early]
    ng.offer(A_MOVED, A_VIDEO, expecting=True)
    assert len(ng.plane.ports) == 8
    ng.offer(A_AUDIO, expecting=True)
    assert len(ng.plane.ports) == 4


def test_an_answer_that_rejects_a_medium_frees_what_was_ready_for_it(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, A_VIDEO, expecting=True)
    ng.answer(B_AUDIO, None)
    assert len(ng.plane.open) == 6
    assert len(ng.plane.running) == 1


def test_an_offer_without_to_tag_after_an_answer_is_the_same_or_hunts_on_with_ports_of_its_own(
    ng: NgProxy,
) -> None:
    first = ng.offer(A_AUDIO, expecting=True)
    ng.answer(B_AUDIO)
    assert ng.offer(A_AUDIO, expecting=True) == first
    assert len(ng.plane.open) == 4
    assert ng.offer(A_MOVED, expecting=True) != first
    assert len(ng.plane.open) == 8
    ng.answer(C_AUDIO, tag=C)
    assert len(ng.plane.open) == 8
    assert ng.talking == {frozenset((A, B)), frozenset((A, C))}
    assert ng.offer(A_AUDIO, to=B) == first


def test_when_two_offers_cross_each_may_be_answered(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, expecting=True)
    ng.offer(B_AUDIO, tag=B, expecting=True)
    assert len(ng.plane.open) == 8
    ng.answer(A_AUDIO, tag=A, to=B)
    assert len(ng.plane.open) == 8
    ng.delete(A)
    assert ng.nothing_is_left


def test_an_offer_without_room_for_its_answer_is_refused() -> None:
    ng = make_ng_proxy(ports=(20_000, 20_003))
    with pytest.raises(PortsExhausted):
        ng.offer(A_AUDIO, A_VIDEO, expecting=True)
    assert ng.nothing_is_left
    ng.offer(A_AUDIO, expecting=True)
    ready = ng.plane.ports
    with pytest.raises(PortsExhausted):
        ng.offer(A_AUDIO, A_VIDEO, expecting=True)
    assert ng.plane.ports == ready
    ng.answer(B_AUDIO)
    assert ng.plane.ports == ready


def test_an_answer_that_is_refused_leaves_the_offer_as_it_was() -> None:
    ng = make_ng_proxy(RelaySettings(max_sockets_in_group=2))
    ng.offer(A_AUDIO, expecting=True)
    ready = ng.plane.ports
    with pytest.raises(PortsExhausted):
        ng.answer(B_AUDIO, B_VIDEO)
    assert ng.tags == {A}
    assert ng.plane.ports == ready
    ng.answer(B_AUDIO)
    assert ng.plane.ports == ready


@pytest.mark.parametrize("tag", [b"", A])
def test_what_is_ready_goes_with_the_offer(ng: NgProxy, tag: bytes) -> None:
    ng.offer(A_AUDIO, expecting=True)
    ng.delete(tag)
    assert ng.nothing_is_left


def test_what_is_ready_goes_with_the_call(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, expecting=True)
    ng.table.close_call(CALL, now=ng.now)
    assert ng.nothing_is_left


def test_expected_sockets_close_with_an_unanswered_offer(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, expecting=True)
    ng.expire(after_s=RelaySettings().unused_s - 1)
    assert len(ng.plane.open) == 4
    ng.expire(after_s=1)
    assert ng.nothing_is_left


def test_who_is_blocked_is_blocked_before_the_answer_too(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, expecting=True)
    ng.block(A)
    (session,) = ng.plane.running
    assert session.legs[0].blocked
    ng.answer(B_AUDIO)
    assert (session.legs[0].blocked, session.legs[1].blocked) == (True, False)
