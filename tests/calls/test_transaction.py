"""nh.calls.transaction: one request, its responses, and the sessions between them."""

import math

import pytest

from nh.calls.settings import RelaySettings
from nh.calls.transaction import Transaction
from nh.errors import NotAllocated
from tests.calls.fakes import (
    ALICE,
    ALICE_AUDIO,
    BOB,
    BOB_AUDIO,
    CALL,
    CAROL,
    START,
    Proxy,
    receive,
)

CAROL_AUDIO = BOB_AUDIO.__class__("203.0.113.77", 6000, 2, "RTP/AVP", "audio")


def transaction_of(proxy: Proxy, cseq: int = 1) -> Transaction:
    found = proxy.table.get_call(CALL).transaction_rules.find(ALICE, cseq)
    assert found is not None
    return found


def fork(proxy: Proxy) -> None:
    """A request that Bob and Carol both answered."""
    proxy.offer(ALICE_AUDIO)
    for callee, audio in ((BOB, BOB_AUDIO), (CAROL, CAROL_AUDIO)):
        proxy.answer(audio, callee=callee)
        proxy.activate(callee=callee)


def test_the_responses_of_a_forked_request_have_ports_of_their_own(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO)
    of_bob = proxy.answer(BOB_AUDIO, callee=BOB)
    of_carol = proxy.answer(BOB_AUDIO, callee=CAROL)
    assert of_bob != of_carol
    assert proxy.answer(BOB_AUDIO, callee=BOB) == of_bob


def test_the_request_has_one_group_for_all_answerers(proxy: Proxy) -> None:
    first = proxy.offer(ALICE_AUDIO, callee=b"")
    assert proxy.offer(ALICE_AUDIO, callee=BOB) == first
    assert proxy.offer(ALICE_AUDIO, callee=CAROL) == first


def test_forks_share_the_group_of_the_request(proxy: Proxy) -> None:
    fork(proxy)
    to_bob, to_carol = proxy.plane.running
    assert to_bob.group_from is to_carol.group_from
    assert to_bob.group_to is not to_carol.group_to
    assert len(proxy.plane.open) == 6


def test_a_fork_that_is_cancelled_leaves_the_other_alone(proxy: Proxy) -> None:
    fork(proxy)
    (ended,) = proxy.cancel(callee=CAROL)
    assert ended.id_to == CAROL
    assert [session.group_to.id for session in proxy.plane.running] == [BOB]
    proxy.expire(after_s=1.1)
    assert len(proxy.plane.open) == 4, "Carol's ports are free, the request's are still in use"
    assert not proxy.activate(callee=BOB)


def test_a_fork_that_fell_silent_leaves_the_other_alone(proxy: Proxy) -> None:
    fork(proxy)
    to_bob, _ = proxy.plane.running
    proxy.now += 20
    receive(to_bob.pairs[0].to, 172, at=proxy.now)
    to_bob.note(now=proxy.now)
    (ended,) = proxy.expire(after_s=11).sessions
    assert ended.id_to == CAROL
    assert proxy.plane.running == [to_bob]
    assert len(proxy.plane.open) == 4


def test_the_last_session_takes_the_sockets_of_all_forks_with_it(proxy: Proxy) -> None:
    fork(proxy)
    proxy.cancel(callee=CAROL)
    proxy.cancel(callee=BOB)
    assert proxy.nothing_is_left


def test_a_bye_to_one_fork_leaves_the_other_alone(proxy: Proxy) -> None:
    fork(proxy)
    assert len(proxy.bye(callee=BOB)) == 1
    assert [session.group_to.id for session in proxy.plane.running] == [CAROL]


def test_an_answer_that_never_came_cannot_be_activated(proxy: Proxy) -> None:
    fork(proxy)
    with pytest.raises(NotAllocated, match="response"):
        proxy.activate(callee=b"dave")


def test_nothing_can_expire_before_next_expiry(proxy: Proxy) -> None:
    rules = RelaySettings()
    proxy.offer(ALICE_AUDIO)
    assert transaction_of(proxy).next_expiry(rules) == START + 180
    proxy.now += 10
    proxy.answer(BOB_AUDIO)
    proxy.activate()
    assert transaction_of(proxy).next_expiry(rules) == START + 40


def test_an_empty_transaction_never_expires() -> None:
    assert Transaction(ALICE, 1).next_expiry(RelaySettings()) == math.inf
    assert Transaction(ALICE, 1).is_empty
