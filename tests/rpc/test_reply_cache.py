"""nh.rpc.reply_cache: what is kept, for how long, and how much of it."""

from collections.abc import Callable

import pytest

from nh.rpc import reply_cache
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
