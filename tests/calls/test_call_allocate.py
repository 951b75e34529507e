"""nh.calls.transactions: which ports a request and its responses get, first and again."""

import pytest

from nh.calls.media import Media, RelayMedia
from nh.calls.transactions import MAX_GROUPS
from nh.errors import LimitReached, PortsExhausted, StaleTransaction
from tests.calls.fakes import (
    ALICE,
    ALICE_AUDIO,
    ALICE_VIDEO,
    BOB,
    BOB_AUDIO,
    CALL,
    CAROL,
    HELD_AUDIO,
    RELAY,
    Proxy,
)


def test_a_retransmitted_allocate_returns_the_same_ports(proxy: Proxy) -> None:
    first = proxy.offer(ALICE_AUDIO)
    assert proxy.offer(ALICE_AUDIO) == first
    assert len(proxy.plane.open) == 2


def test_a_retransmitted_allocate_returns_the_same_ports_even_with_different_media(proxy: Proxy) -> None:
    offered = proxy.offer(ALICE_AUDIO)
    assert proxy.offer(ALICE_AUDIO, ALICE_VIDEO) == offered
    assert proxy.offer(HELD_AUDIO) == offered
    assert proxy.offer() == offered
    assert proxy.offer(ALICE_AUDIO, address="192.0.2.99") == offered
    answered = proxy.answer(BOB_AUDIO)
    assert proxy.answer(BOB_AUDIO, ALICE_VIDEO) == answered
    assert len(proxy.plane.open) == 4


def test_a_retransmitted_allocate_returns_the_same_ports_after_activation(proxy: Proxy) -> None:
    offered = proxy.offer(ALICE_AUDIO)
    answered = proxy.answer(BOB_AUDIO)
    proxy.activate()
    assert proxy.offer(ALICE_AUDIO) == offered
    assert proxy.answer(BOB_AUDIO) == answered


def test_a_retransmitted_allocate_changes_nothing_of_the_call(proxy: Proxy) -> None:
    proxy.connect()
    call = proxy.table.get_call(CALL)
    proxy.table.expire(now=proxy.now)
    due = call.next_expiry
    assert due > proxy.now
    proxy.now += 1
    proxy.offer(ALICE_AUDIO)
    proxy.answer(BOB_AUDIO)
    assert call.next_expiry == due, "nothing has to be looked at again"


def test_the_two_sides_of_a_transaction_have_different_ports(proxy: Proxy) -> None:
    assert proxy.offer(ALICE_AUDIO) != proxy.answer(BOB_AUDIO)


def test_the_key_of_a_request_leaves_idto_out(proxy: Proxy) -> None:
    assert proxy.offer(ALICE_AUDIO, callee=b"") == proxy.offer(ALICE_AUDIO, callee=BOB)


def test_the_key_of_a_response_includes_idto(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO)
    assert proxy.answer(BOB_AUDIO, callee=BOB) != proxy.answer(BOB_AUDIO, callee=CAROL)


def test_both_ends_count_their_requests_by_themselves(proxy: Proxy) -> None:
    of_alice = proxy.offer(ALICE_AUDIO, cseq=9)
    of_bob = proxy.offer(BOB_AUDIO, caller=BOB, callee=ALICE, cseq=1)
    assert of_alice != of_bob
    assert proxy.offer(ALICE_AUDIO, cseq=9) == of_alice


def test_a_known_older_cseq_still_gets_its_ports(proxy: Proxy) -> None:
    old = proxy.offer(ALICE_AUDIO, cseq=1)
    proxy.offer(ALICE_AUDIO, cseq=2)
    assert proxy.offer(ALICE_AUDIO, cseq=1) == old


def test_a_known_older_cseq_still_gets_ports_for_its_response(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO, cseq=1)
    proxy.offer(ALICE_AUDIO, cseq=2)
    assert proxy.answer(BOB_AUDIO, cseq=1)


@pytest.mark.parametrize("cseq", [0, 1, 4])
def test_an_unknown_cseq_below_a_known_one_of_the_same_sender_is_refused(proxy: Proxy, cseq: int) -> None:
    proxy.offer(ALICE_AUDIO, cseq=5)
    with pytest.raises(StaleTransaction, match=f"{cseq} is below 5"):
        proxy.offer(ALICE_AUDIO, cseq=cseq)
    with pytest.raises(StaleTransaction):
        proxy.answer(BOB_AUDIO, cseq=cseq)
    assert len(proxy.plane.open) == 2


def test_cseqs_are_compared_as_numbers(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO, cseq=9)
    assert proxy.offer(ALICE_AUDIO, cseq=10), "as text, 10 would be below 9"


def test_a_cseq_whose_allocation_failed_does_not_make_lower_ones_stale(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO, cseq=1)
    proxy.plane.room = 2
    with pytest.raises(PortsExhausted):
        proxy.offer(ALICE_AUDIO, cseq=9)
    proxy.plane.room = 100
    assert proxy.offer(ALICE_AUDIO, cseq=5)


def test_an_inactive_medium_answers_port_0(proxy: Proxy) -> None:
    held = Media("198.51.100.1", 0, 2)
    assert proxy.offer(ALICE_AUDIO, held) == (RelayMedia(RELAY, 20_000, 2), RelayMedia(RELAY, 0, 2))
    assert proxy.plane.ports == {20_000, 20_001, 20_002, 20_003}, "its sockets are there all the same"


def test_empty_media_get_an_empty_answer(proxy: Proxy) -> None:
    assert proxy.offer() == ()
    assert proxy.answer() == ()
    assert proxy.activate()
    assert len(proxy.bye()) == 1


def test_a_call_has_a_limited_number_of_groups_even_if_they_need_no_sockets(proxy: Proxy) -> None:
    for number in range(MAX_GROUPS):
        proxy.offer(cseq=number + 1)
    with pytest.raises(LimitReached, match=str(MAX_GROUPS)):
        proxy.offer(cseq=MAX_GROUPS + 1)
    assert proxy.offer(cseq=MAX_GROUPS) == ()
