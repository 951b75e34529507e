"""nh.calls.table: calls by call-id, from nothing back to nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.settings import RelaySettings
from nh.errors import AddressUnavailable, Draining, LimitReached, PortsExhausted, UnknownCall
from tests.calls.fakes import ALICE_AUDIO, ALICE_VIDEO, BOB_AUDIO, CALL, PORTS, Proxy, make_proxy


def test_calls_with_different_call_ids_know_nothing_of_each_other(proxy: Proxy) -> None:
    one = proxy.offer(ALICE_AUDIO, call_id=b"one", cseq=9)
    two = proxy.offer(ALICE_AUDIO, call_id=b"two", cseq=1)
    assert one != two
    assert len(proxy.table) == 2


@pytest.mark.parametrize("call_id", [b"a\0b", b"\xff\xfe", b"x" * 10_000])
def test_any_bytes_are_a_call_id(proxy: Proxy, call_id: bytes) -> None:
    proxy.connect(call_id=call_id)
    assert proxy.table.get_call(call_id).call_id == call_id
    assert len(proxy.bye(call_id=call_id)) == 1
    assert proxy.nothing_is_left


def test_an_unknown_call_is_neither_activated_nor_closed(proxy: Proxy) -> None:
    with pytest.raises(UnknownCall):
        proxy.activate()
    with pytest.raises(UnknownCall):
        proxy.bye()
    with pytest.raises(UnknownCall):
        proxy.cancel()
    with pytest.raises(UnknownCall):
        proxy.table.close_call(CALL, now=proxy.now)
    assert len(proxy.table) == 0


def test_a_table_that_drains_refuses_new_call_ids_and_goes_on_with_known_ones(proxy: Proxy) -> None:
    proxy.connect(call_id=b"known", cseq=1)
    proxy.table.draining = True
    with pytest.raises(Draining):
        proxy.offer(ALICE_AUDIO, call_id=b"new")
    proxy.connect(call_id=b"known", cseq=2)
    assert len(proxy.bye(call_id=b"known")) == 1
    with pytest.raises(Draining):
        proxy.offer(ALICE_AUDIO, call_id=b"known")
    proxy.table.draining = False
    proxy.offer(ALICE_AUDIO, call_id=b"new")


def test_a_call_whose_first_allocation_fails_is_not_kept(proxy: Proxy) -> None:
    proxy.plane.foreign.add("203.0.113.1")
    with pytest.raises(AddressUnavailable):
        proxy.offer(ALICE_AUDIO, address="203.0.113.1")
    proxy.plane.room = 3
    with pytest.raises(PortsExhausted):
        proxy.offer(ALICE_AUDIO, ALICE_VIDEO)
    assert proxy.nothing_is_left


def test_a_failed_answer_keeps_the_offer(proxy: Proxy) -> None:
    offered = proxy.offer(ALICE_AUDIO)
    proxy.plane.room = 2
    with pytest.raises(PortsExhausted):
        proxy.answer(BOB_AUDIO)
    assert proxy.offer(ALICE_AUDIO) == offered
    assert len(proxy.plane.open) == 2


def test_ports_of_other_programs_are_left_alone(proxy: Proxy) -> None:
    proxy.plane.held = set(range(PORTS[0], PORTS[1], 4))
    bases = [proxy.offer(ALICE_AUDIO, call_id=b"%d" % n)[0].port for n in range(10)]
    assert bases == list(range(PORTS[0] + 2, PORTS[1], 4))


def test_max_calls_is_a_limit() -> None:
    proxy = make_proxy(RelaySettings(max_calls=2))
    proxy.offer(ALICE_AUDIO, call_id=b"one")
    proxy.offer(ALICE_AUDIO, call_id=b"two")
    with pytest.raises(LimitReached, match="max_calls is reached: this shard has its share of it, 2"):
        proxy.offer(ALICE_AUDIO, call_id=b"three")
    proxy.answer(BOB_AUDIO, call_id=b"one")
    proxy.table.close_call(b"two", now=proxy.now)
    proxy.offer(ALICE_AUDIO, call_id=b"three")


def test_closing_a_call_ends_everything_in_it(proxy: Proxy) -> None:
    proxy.connect(cseq=1)
    proxy.connect(cseq=2)
    proxy.connect(cseq=3, callee=b"carol")
    proxy.offer(ALICE_AUDIO, cseq=4)
    ended = proxy.table.close_call(CALL, now=proxy.now)
    assert sorted(info.cseq for info in ended) == [2, 3], "the one that was replaced ended before"
    assert proxy.nothing_is_left


def test_closing_a_call_leaves_the_others(proxy: Proxy) -> None:
    proxy.connect(call_id=b"one")
    two = proxy.connect(call_id=b"two")
    proxy.table.close_call(b"one", now=proxy.now)
    assert proxy.plane.running == [two]
    assert list(proxy.table.running) == [two]


def test_expiry_looks_at_all_calls(proxy: Proxy) -> None:
    for number in range(5):
        proxy.connect(call_id=b"%d" % number)
    assert len(proxy.expire(after_s=30).sessions) == 5
    assert proxy.nothing_is_left


def test_a_session_that_was_replaced_and_then_closed_is_reported_once(proxy: Proxy) -> None:
    proxy.connect(cseq=1)
    proxy.connect(cseq=2)
    assert [info.cseq for info in proxy.bye()] == [2]
    ended = {each.number: each.reason for each in proxy.events.ended}
    assert ended == {1: "replaced", 2: "closed"}
    assert proxy.expire(after_s=2).sessions == []


@given(st.lists(st.integers(1, 8), min_size=1, max_size=6), st.integers(0, 40))
def test_an_allocation_is_whole_or_nothing(ranges: list[int], room: int) -> None:
    proxy = make_proxy()
    proxy.plane.room = room
    media = [ALICE_AUDIO.__class__("198.51.100.1", 4000, range_) for range_ in ranges]
    try:
        answered = proxy.offer(*media)
    except PortsExhausted:
        assert proxy.nothing_is_left
    else:
        assert [medium.range for medium in answered] == ranges
        assert len(proxy.plane.open) == sum(ranges)
        proxy.cancel()
        assert proxy.nothing_is_left
