"""nh.calls.transactions: what CANCEL and BYE end."""

import pytest

from tests.calls.fakes import (
    ALICE,
    ALICE_AUDIO,
    BOB,
    BOB_AUDIO,
    CALL,
    CAROL,
    Proxy,
    make_proxy,
)
from tests.calls.ng_proxy import make_ng_proxy


def test_cancel_before_activation_answers_nothing_and_frees_the_ports(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO)
    proxy.answer(BOB_AUDIO)
    assert proxy.cancel() == []
    assert proxy.nothing_is_left


def test_cancel_ends_its_own_transaction_only(proxy: Proxy) -> None:
    proxy.connect(cseq=1)
    proxy.offer(ALICE_AUDIO, cseq=2)
    assert proxy.cancel(2) == []
    assert len(proxy.plane.running) == 1
    assert len(proxy.plane.open) == 4


def test_cancel_of_an_unknown_transaction_ends_nothing(proxy: Proxy) -> None:
    proxy.connect(cseq=1)
    assert proxy.cancel(2) == []
    assert proxy.cancel(1, caller=BOB, callee=ALICE) == []
    assert len(proxy.plane.running) == 1


def test_closing_by_cseq_ends_the_session(proxy: Proxy) -> None:
    proxy.connect(cseq=3)
    (info,) = proxy.cancel(3)
    assert info.cseq == 3
    assert proxy.nothing_is_left


@pytest.mark.parametrize("cseq", [None, 0])
@pytest.mark.parametrize(("sender", "receiver"), [(ALICE, BOB), (BOB, ALICE)], ids=["caller", "callee"])
def test_a_bye_from_either_end_closes_the_session(
    proxy: Proxy, sender: bytes, receiver: bytes, cseq: int | None
) -> None:
    proxy.connect(cseq=7)
    (info,) = proxy.bye(caller=sender, callee=receiver, cseq=cseq)
    assert (info.cseq, info.id_from, info.id_to) == (7, ALICE, BOB)
    assert proxy.nothing_is_left


def test_a_bye_closes_replaced_sessions_too_and_counts_the_active_one(proxy: Proxy) -> None:
    proxy.connect(cseq=1)
    proxy.connect(cseq=1, caller=BOB, callee=ALICE)
    (info,) = proxy.bye()
    assert info.id_from == BOB
    assert proxy.nothing_is_left


def test_bye_closes_sessions_in_both_directions() -> None:
    # one that was replaced by the other would be one session: so two answerers, who also call back
    proxy = make_proxy()
    proxy.connect(cseq=1, callee=BOB)
    proxy.connect(cseq=1, caller=CAROL, callee=ALICE)
    assert len(proxy.bye(caller=ALICE, callee=BOB)) == 1
    assert len(proxy.bye(caller=ALICE, callee=CAROL)) == 1
    assert proxy.nothing_is_left


def test_a_bye_frees_transactions_of_both_ends_that_were_never_activated(proxy: Proxy) -> None:
    proxy.connect(cseq=1)
    proxy.offer(ALICE_AUDIO, cseq=2)
    proxy.offer(BOB_AUDIO, caller=BOB, callee=ALICE, cseq=1)
    assert len(proxy.bye()) == 1
    assert proxy.nothing_is_left


def test_a_bye_between_others_closes_nothing(proxy: Proxy) -> None:
    proxy.connect()
    assert proxy.bye(caller=CAROL, callee=b"dave") == []
    assert proxy.bye(caller=BOB, callee=CAROL) == []
    assert len(proxy.plane.running) == 1


def test_an_end_that_calls_itself_is_closed_once(proxy: Proxy) -> None:
    proxy.connect(caller=ALICE, callee=ALICE)
    assert len(proxy.bye(caller=ALICE, callee=ALICE)) == 1
    assert proxy.nothing_is_left


def test_after_a_close_the_same_cseq_starts_anew(proxy: Proxy) -> None:
    first = proxy.connect(cseq=1)
    proxy.bye()
    assert proxy.connect(cseq=1).id != first.id


@pytest.mark.parametrize("by_silence", [False, True])
def test_once_its_transactions_have_ended_a_call_of_ng_is_as_if_it_never_had_any(by_silence: bool) -> None:
    """A snapshot does not tell the two apart, and a restored call behaves the same."""
    ng = make_ng_proxy()
    proxy = Proxy(ng.table, ng.plane)
    proxy.offer(ALICE_AUDIO)
    ng.now += 1
    ng.offer(ALICE_AUDIO)
    if by_silence:
        ng.table.expire(now=proxy.now + ng.table.resources.settings.unused_s)
    else:
        proxy.cancel()
    assert ng.table.get_call(CALL).transactions == ()
