"""nh.calls.call: what ends by itself, and when."""

import pytest

from nh.calls.settings import RelaySettings
from tests.calls.fakes import (
    ALICE_AUDIO,
    BOB_AUDIO,
    CALL,
    HELD_AUDIO,
    START,
    Proxy,
    make_proxy,
    receive,
)


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
        receive(pair.from_ if direction == "from" else pair.to, 80, at=proxy.now)
        session.note(now=proxy.now)
        assert proxy.expire().sessions == []
    assert len(proxy.expire(after_s=30).sessions) == 1


def test_calls_that_were_last_active_at_one_time_share_the_number_of_their_expiry(proxy: Proxy) -> None:
    """Else a number of 32 bytes for each call."""
    for call_id in (b"one", b"two", b"three"):
        proxy.connect(call_id=call_id)
    proxy.expire(after_s=0.25)
    one, two, three = [proxy.table.get_call(each) for each in (b"one", b"two", b"three")]
    assert one.next_expiry > proxy.now
    assert one.next_expiry is two.next_expiry is three.next_expiry


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
    assert [info.reason for info in proxy.expire().sessions] == ["replaced"]
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
    receive(session.pairs[0].to, 172, at=START + 7)
    session.note(now=START + 7)
    assert call.last_active == START + 7
