"""nh.rpc.reply_cache: what is kept, for how long, and how much of it."""

import random
from collections.abc import Callable

import pytest

from nh.rpc import reply_cache
from nh.rpc.packed_replies import MAX_BYTES, TOGETHER
from nh.rpc.reply_cache import ReplyCache


def keep(replies: ReplyCache, cookie: bytes, reply: bytes, now: float = 0.0) -> None:
    replies.begin(cookie, "sender", ignore)
    replies.finish(cookie, reply, now)


def ignore(_reply: bytes) -> None:
    pass


def test_a_reply_is_forgotten_after_its_time() -> None:
    replies = ReplyCache(keep_s=60)
    keep(replies, b"1", b"one", now=0)
    keep(replies, b"2", b"two", now=30)
    assert (replies.find(b"1", 59.9), replies.find(b"2", 59.9)) == (b"one", b"two")
    assert (replies.find(b"1", 60), replies.find(b"2", 60)) == (None, b"two")
    assert replies.dropped == 0


def test_no_reply_is_forgotten_before_its_time_and_none_stays_a_second_longer() -> None:
    replies = ReplyCache(keep_s=60)
    for number in range(30):
        keep(replies, b"%d" % number, b"reply", now=number / 10)
    for number in range(30):
        assert replies.find(b"%d" % number, number / 10 + 59.99) == b"reply"
    assert replies.find(b"10", 62.0) is None
    assert replies.find(b"29", 63.0) is None


@pytest.mark.parametrize("replies", [ReplyCache(max_replies=2), ReplyCache(max_bytes=8)])
def test_the_oldest_replies_make_room(replies: ReplyCache) -> None:
    for number in (b"1", b"2", b"3"):
        keep(replies, number, b"xyz")
    assert [replies.find(number, 1) for number in (b"1", b"2", b"3")] == [None, b"xyz", b"xyz"]
    assert replies.dropped == 1


def test_a_reply_larger_than_all_room_is_not_kept() -> None:
    replies = ReplyCache(max_bytes=10)
    keep(replies, b"1", b"x" * 100)
    assert replies.find(b"1", 0) is None
    keep(replies, b"2", b"x")
    assert replies.find(b"2", 0) == b"x"


@pytest.mark.parametrize("packed", [64, 1000])
def test_packed_replies_come_back_byte_for_byte_and_in_their_time(packed: int) -> None:
    replies = ReplyCache(keep_s=60)
    sent = {b"%d" % number: b"%d reply" % number + b"x" * (number % 300) for number in range(packed)}
    for number, (cookie, reply) in enumerate(sent.items()):
        keep(replies, cookie, reply, now=number / packed * 30)
    assert {cookie: replies.find(cookie, 30) for cookie in sent} == sent
    assert [replies.find(cookie, 91) for cookie in sent] == [None] * packed


def test_long_replies_are_kept_as_they_are() -> None:
    """To pack and to unpack many of them together would take long."""
    replies = ReplyCache()
    sent = {b"%d" % number: b"%d" % number + b"x" * MAX_BYTES for number in range(TOGETHER)}
    for cookie, reply in sent.items():
        keep(replies, cookie, reply)
    assert all(replies.find(cookie, 1) is reply for cookie, reply in sent.items())


def test_the_same_cookie_is_packed_anew_after_its_reply_was_forgotten() -> None:
    replies = ReplyCache(keep_s=60)
    keep(replies, b"again", b"first" * 100, now=0)
    assert replies.find(b"again", 100) is None
    keep(replies, b"again", b"second" * 100, now=100)
    for number in range(100):
        keep(replies, b"%d" % number, b"reply" * 100, now=100)
    assert replies.find(b"again", 101) == b"second" * 100


def test_packed_replies_leave_room_for_more() -> None:
    alike = random.Random(1).randbytes(500)  # a reply by itself becomes no shorter
    replies = ReplyCache(max_bytes=100_000)
    for number in range(1000):
        keep(replies, b"%d" % number, b"%d" % number + alike)
    assert replies.dropped == 0
    assert replies.find(b"0", 1) == b"0" + alike
    for number in range(1000, 10_000):
        keep(replies, b"%d" % number, b"%d" % number + alike)
    assert replies.dropped > 0
    assert replies.find(b"0", 1) is None
    assert replies.find(b"9999", 1) == b"9999" + alike
    assert not any(replies.find(b"%d" % number, 60) for number in range(10_000))


def test_what_is_pending_makes_no_room_and_one_sender_is_answered_once() -> None:
    replies = ReplyCache(max_replies=1)
    sent: list[str] = []

    def sender(name: str) -> Callable[[bytes], None]:
        return lambda _reply: sent.append(name)

    replies.begin(b"1", "a", sender("a"))
    keep(replies, b"2", b"x")
    keep(replies, b"3", b"x")
    assert replies.is_pending(b"1")
    assert replies.find(b"1", 0) is None
    for name in ("a", "b", "b"):
        assert replies.wait(b"1", name, sender(name))
    for send in replies.finish(b"1", b"reply", 0):
        send(b"reply")
    assert sent == ["a", "b"]
    assert not replies.is_pending(b"1")


def test_only_so_many_may_wait_for_one_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_cache, "MAX_WAITING", 2)
    replies = ReplyCache()
    replies.begin(b"1", "a", ignore)
    assert replies.wait(b"1", "b", ignore)
    assert not replies.wait(b"1", "c", ignore)
    assert replies.wait(b"1", "a", ignore)


def test_only_so_many_requests_may_be_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_cache, "MAX_PENDING", 1)
    replies = ReplyCache()
    assert not replies.full
    replies.begin(b"1", "a", ignore)
    assert replies.full
