"""nh.calls.call: the rules between the transactions of a call, as Net::SIP has them."""

import pytest

from nh.calls.media import Media, RelayMedia
from nh.calls.rules import RelaySettings
from nh.errors import NotAllocated, PortsExhausted, StaleTransaction, UnknownCall
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
    START,
    Proxy,
    make_proxy,
    receive,
)

# --- allocate ---------------------------------------------------------------------------------------


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


# --- activate ---------------------------------------------------------------------------------------


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


# --- replacement ------------------------------------------------------------------------------------


def test_a_newer_session_of_the_same_caller_replaces_the_older_one(proxy: Proxy) -> None:
    proxy.connect(cseq=1)
    newer = proxy.connect(cseq=2)
    (ended,) = proxy.expire().sessions
    assert (ended.cseq, ended.reason) == (1, "replaced")
    proxy.expire(after_s=1.1)
    assert proxy.plane.running == [newer]


def test_a_newer_session_in_the_other_direction_replaces_the_older_one(proxy: Proxy) -> None:
    proxy.connect(cseq=5)
    newer = proxy.connect(cseq=1, caller=BOB, callee=ALICE)
    (ended,) = proxy.expire().sessions
    assert (ended.cseq, ended.id_from, ended.reason) == (5, ALICE, "replaced")
    proxy.expire(after_s=1.1)
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
    receive(older.pairs[0].from_, 172)
    older.harvest(now=proxy.now)
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


# --- close ------------------------------------------------------------------------------------------


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


# --- expiry -----------------------------------------------------------------------------------------


def test_sockets_that_were_never_used_expire_after_180_seconds(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO)
    assert proxy.expire(after_s=179.9).unused_groups == 0
    assert proxy.expire(after_s=0.1).unused_groups == 1
    assert proxy.nothing_is_left


def test_each_unused_group_has_its_own_time(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO)
    proxy.now += 100
    proxy.answer(BOB_AUDIO)
    assert proxy.expire(after_s=80).unused_groups == 1
    assert len(proxy.plane.open) == 2
    assert proxy.expire(after_s=100).unused_groups == 1
    assert proxy.nothing_is_left


def test_a_silent_session_expires_after_30_seconds_with_its_ports(proxy: Proxy) -> None:
    proxy.connect()
    assert proxy.expire(after_s=29.9).sessions == []
    expired = proxy.expire(after_s=0.1)
    assert [info.reason for info in expired.sessions] == ["expired"]
    assert expired.unused_groups == 0
    assert proxy.nothing_is_left


@pytest.mark.parametrize("direction", ["from", "to"])
def test_packets_from_one_end_keep_a_session(proxy: Proxy, direction: str) -> None:
    session = proxy.connect()
    pair = session.pairs[1]
    for _ in range(10):
        proxy.now += 25
        receive(pair.from_ if direction == "from" else pair.to, 80)
        session.harvest(now=proxy.now)
        assert proxy.expire().sessions == []
    assert len(proxy.expire(after_s=30).sessions) == 1


def test_a_session_on_hold_lives_for_the_hold_time(proxy: Proxy) -> None:
    proxy.connect(offered=(HELD_AUDIO,))
    assert proxy.expire(after_s=3599).sessions == []
    (ended,) = proxy.expire(after_s=1).sessions
    assert ended.reason == "hold"
    assert proxy.nothing_is_left


def test_a_replacement_while_on_hold_ends_the_hold(proxy: Proxy) -> None:
    proxy.connect(cseq=1)
    proxy.connect(cseq=2, offered=(HELD_AUDIO,))
    proxy.now += 600
    proxy.expire()
    proxy.connect(cseq=3)
    assert [info.reason for info in proxy.expire(after_s=2).sessions] == ["replaced"]
    assert [info.reason for info in proxy.expire(after_s=29).sessions] == ["expired"]


def test_times_are_the_operators() -> None:
    proxy = make_proxy(RelaySettings(unused_s=5, silent_s=2, hold_s=9, replaced_s=0))
    proxy.offer(ALICE_AUDIO, call_id=b"unused")
    proxy.connect(call_id=b"silent")
    proxy.connect(call_id=b"held", offered=(HELD_AUDIO,))
    assert [info.call_id for info in proxy.expire(after_s=2).sessions] == [b"silent"]
    assert proxy.expire(after_s=3).unused_groups == 1
    assert [info.call_id for info in proxy.expire(after_s=4).sessions] == [b"held"]
    assert proxy.nothing_is_left


def test_last_active_is_that_of_the_last_packet(proxy: Proxy) -> None:
    session = proxy.connect()
    call = proxy.table.get_call(CALL)
    assert call.last_active == START
    receive(session.pairs[0].to, 172)
    session.harvest(now=START + 7)
    assert call.last_active == START + 7
