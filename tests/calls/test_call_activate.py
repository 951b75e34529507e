"""nh.calls.transactions: when sessions begin, and how newer ones replace older ones."""

import pytest

from nh.errors import NotAllocated, StaleTransaction, UnknownCall
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
from tests.calls.ng_proxy import make_ng_proxy


def test_the_first_activation_is_news_and_a_retransmitted_one_is_not(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO)
    proxy.answer(BOB_AUDIO)
    assert proxy.activate() is True
    assert proxy.activate() is False
    assert len(proxy.plane.running) == 1


def test_a_retransmitted_activation_changes_nothing(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO)
    proxy.answer(BOB_AUDIO)
    proxy.activate(param={"tenant": "blue"})
    proxy.now += 10
    proxy.activate(param={"tenant": "red"})
    (info,) = proxy.bye()
    assert info.param == {"tenant": "blue"}
    assert info.created == START


@pytest.mark.parametrize("side", ["request", "response"])
def test_a_session_needs_the_sockets_of_both_sides(proxy: Proxy, side: str) -> None:
    if side == "request":
        proxy.answer(BOB_AUDIO)
    else:
        proxy.offer(ALICE_AUDIO)
    with pytest.raises(NotAllocated, match=side):
        proxy.activate()


def test_an_unknown_transaction_cannot_be_activated(proxy: Proxy) -> None:
    proxy.connect()
    with pytest.raises(UnknownCall):
        proxy.activate(cseq=2)
    with pytest.raises(UnknownCall):
        proxy.activate(caller=BOB, callee=ALICE)


def test_a_call_of_ng_has_no_transaction_to_activate_or_to_close() -> None:
    ng = make_ng_proxy()
    ng.connect()
    between = {"call_id": CALL, "id_from": ALICE, "id_to": BOB}
    with pytest.raises(UnknownCall, match="no transactions"):
        ng.table.activate(**between, cseq=1, param={}, now=ng.now)
    for cseq in (1, None):
        assert ng.table.close(**between, cseq=cseq, now=ng.now) == []
    assert len(ng.plane.running) == 1


def test_a_newer_session_of_the_same_caller_replaces_the_older_one(proxy: Proxy) -> None:
    older = proxy.connect(cseq=1)
    newer = proxy.connect(cseq=2)
    (ended,) = proxy.expire(after_s=1.1).sessions
    assert (ended.number, ended.reason) == (older.id, "replaced")
    assert proxy.plane.running == [newer]


def test_a_newer_session_in_the_other_direction_replaces_the_older_one(proxy: Proxy) -> None:
    older = proxy.connect(cseq=5)
    newer = proxy.connect(cseq=1, caller=BOB, callee=ALICE)
    (ended,) = proxy.expire(after_s=1.1).sessions
    assert (ended.number, ended.id_from, ended.reason) == (older.id, ALICE, "replaced")
    assert proxy.plane.running == [newer]


def test_a_session_between_others_is_not_replaced(proxy: Proxy) -> None:
    proxy.connect(cseq=1, callee=BOB)
    proxy.connect(cseq=2, callee=CAROL)
    assert proxy.expire(after_s=2).sessions == []
    assert len(proxy.plane.running) == 2


def test_a_session_of_another_call_is_not_replaced(proxy: Proxy) -> None:
    proxy.connect(call_id=b"one")
    proxy.connect(call_id=b"two")
    assert proxy.expire(after_s=2).sessions == []
    assert len(proxy.plane.running) == 2


def test_what_is_on_its_way_is_still_relayed_until_the_replaced_ports_close(proxy: Proxy) -> None:
    older = proxy.connect(cseq=1)
    newer = proxy.connect(cseq=2)
    proxy.expire(after_s=0.9)
    assert proxy.plane.running == [older, newer]
    assert len(proxy.plane.open) == 8
    proxy.expire(after_s=0.2)
    assert proxy.plane.running == [newer]
    assert len(proxy.plane.open) == 4


def test_packets_do_not_keep_a_replaced_session(proxy: Proxy) -> None:
    older = proxy.connect(cseq=1)
    newer = proxy.connect(cseq=2)
    proxy.now += 0.9
    receive(older.pairs[0].from_, 172, at=proxy.now)
    older.note(now=proxy.now)
    proxy.expire(after_s=0.2)
    assert proxy.plane.running == [newer]


def test_a_replaced_session_is_reported_once(proxy: Proxy) -> None:
    proxy.connect(cseq=1)
    proxy.connect(cseq=2)
    reasons = [info.reason for _ in range(4) for info in proxy.expire(after_s=0.5).sessions]
    assert reasons == ["replaced"]


def test_a_replaced_session_cannot_be_activated_again(proxy: Proxy) -> None:
    proxy.connect(cseq=1)
    newer = proxy.connect(cseq=2)
    with pytest.raises(StaleTransaction):
        proxy.activate(cseq=1)
    proxy.expire(after_s=1.1)
    with pytest.raises(UnknownCall):
        proxy.activate(cseq=1)
    assert proxy.plane.running == [newer]


def test_a_retransmitted_allocate_of_a_replaced_session_returns_its_ports_while_they_are_open(
    proxy: Proxy,
) -> None:
    old = proxy.offer(ALICE_AUDIO, cseq=1)
    proxy.connect(cseq=1)
    proxy.connect(cseq=2)
    assert proxy.offer(ALICE_AUDIO, cseq=1) == old
    proxy.expire(after_s=1.1)
    with pytest.raises(StaleTransaction):
        proxy.offer(ALICE_AUDIO, cseq=1)


def test_replacing_again_and_again_leaves_one_session(proxy: Proxy) -> None:
    for cseq in range(1, 9):
        proxy.connect(cseq=cseq)
        proxy.expire(after_s=2)
    assert len(proxy.plane.running) == 1
    assert len(proxy.plane.open) == 4


def test_a_fork_is_not_replaced_by_a_session_with_another_answerer(proxy: Proxy) -> None:
    proxy.connect(cseq=1, callee=BOB)
    proxy.connect(cseq=1, callee=CAROL)
    newer = proxy.connect(cseq=2, callee=BOB)
    proxy.expire(after_s=2)
    assert [session.group_to.id for session in proxy.plane.running] == [CAROL, BOB]
    assert proxy.plane.running[-1] is newer
