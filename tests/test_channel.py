"""nh.channel: whole records, in order, never waiting, and one word when the other side is gone."""

import socket
from collections.abc import Callable, Iterator

import pytest

from nh.channel import MAX_QUEUED_BYTES, RECORDS_A_TURN, Channel, OnRecord
from nh.errors import ChannelFull
from nh.loop import SelectorLoop
from nh.wire.link import MAX_MESSAGE_BYTES


class Ends:
    """Two channels on one loop, and what each of them heard."""

    def __init__(self) -> None:
        self.loop = SelectorLoop()
        self.socks = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.heard: tuple[list[bytes], list[bytes]] = ([], [])
        self.came: tuple[list[int], list[int]] = ([], [])
        self.closed = [0, 0]
        self.near, self.far = self._channel(0), self._channel(1)

    def _channel(self, index: int) -> Channel:
        def on_close() -> None:
            self.closed[index] += 1

        return Channel(self.loop, self.socks[index], self._hear(index), on_close)

    def _hear(self, index: int) -> OnRecord:
        def on_record(record: bytes, fds: list[int]) -> None:
            self.heard[index].append(record)
            self.came[index].extend(fds)
            fds.clear()

        return on_record

    def turn_until(self, condition: Callable[[], bool], turns: int = 10_000) -> None:
        for _ in range(turns):
            if condition():
                return
            self.loop.turn(0.05)
        raise AssertionError("the condition did not come true")


@pytest.fixture
def ends() -> Iterator[Ends]:
    pair = Ends()
    yield pair
    pair.near.close()
    pair.far.close()
    pair.loop.close()


def test_records_arrive_whole_and_in_order(ends: Ends) -> None:
    records = [b"one", b"\0two\0", b"3" * 70_000]
    for record in records:
        ends.near.send(record)
    ends.turn_until(lambda: len(ends.heard[1]) == 3)
    assert ends.heard[1] == records


def test_both_directions_carry_the_longest_record(ends: Ends) -> None:
    longest = bytes(range(256)) * (MAX_MESSAGE_BYTES // 256)
    ends.near.send(longest)
    ends.far.send(longest)
    ends.turn_until(lambda: bool(ends.heard[0] and ends.heard[1]))
    assert ends.heard == ([longest], [longest])


@pytest.mark.parametrize("size", [0, MAX_MESSAGE_BYTES + 1])
def test_a_record_of_an_impossible_length_is_refused(ends: Ends, size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes"):
        ends.near.send(bytes(size))


def test_what_the_kernel_does_not_take_is_queued_and_arrives_later(ends: Ends) -> None:
    sent = 0
    while ends.near.queued < 10:
        ends.near.send(b"%06d" % sent + bytes(60_000))
        sent += 1
    ends.turn_until(lambda: len(ends.heard[1]) == sent)
    assert [int(record[:6]) for record in ends.heard[1]] == list(range(sent))
    assert ends.near.queued == 0


def test_a_side_that_does_not_read_fills_the_channel_and_no_more(ends: Ends) -> None:
    with pytest.raises(ChannelFull, match="does not read"):
        for _ in range(10_000):
            ends.near.send(bytes(MAX_MESSAGE_BYTES))
    waiting = ends.near.queued
    assert 0 < waiting * MAX_MESSAGE_BYTES <= MAX_QUEUED_BYTES
    ends.turn_until(lambda: ends.near.queued == 0)
    ends.near.send(b"again")
    ends.turn_until(lambda: ends.heard[1][-1:] == [b"again"])


def test_the_last_records_of_a_side_that_left_are_heard_before_its_end(ends: Ends) -> None:
    for _ in range(3 * RECORDS_A_TURN):
        ends.near.send(b"last words")
    ends.near.close()
    ends.turn_until(lambda: ends.closed[1] == 1)
    assert len(ends.heard[1]) == 3 * RECORDS_A_TURN
    assert ends.far.closed


def test_the_last_records_of_a_side_that_died_with_ours_unread_are_heard_too(ends: Ends) -> None:
    ends.far.send(b"never read")
    ends.near.send(b"last")
    ends.near.send(b"words")
    ends.near.close()
    ends.turn_until(lambda: ends.closed[1] == 1)
    assert ends.heard[1] == [b"last", b"words"]


def test_the_end_is_told_once_and_only_by_the_other_side(ends: Ends) -> None:
    ends.near.close()
    ends.near.close()
    ends.turn_until(lambda: ends.closed[1] == 1)
    for _ in range(3):
        ends.loop.turn(0)
    assert ends.closed == [0, 1]


def test_sending_to_a_side_that_is_gone_breaks_nothing(ends: Ends) -> None:
    ends.far.send(b"unread")  # makes the end a reset instead of a plain end
    ends.near.close()
    ends.far.send(b"nobody reads this")
    ends.turn_until(lambda: ends.closed[1] == 1)
    ends.far.send(b"nor this")
    assert ends.far.queued == 0


def test_a_reader_may_close_the_channel_from_within_a_record(ends: Ends) -> None:
    heard: list[bytes] = []
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def close_at_once(record: bytes, fds: list[int]) -> None:
        heard.append(record)
        closing.close()

    closing = Channel(ends.loop, near, close_at_once, lambda: None)
    with far:
        far.send(b"first")
        far.send(b"second")
        ends.turn_until(lambda: closing.closed)
    ends.loop.turn(0)
    assert heard == [b"first"]


def test_draining_hands_over_what_is_there_at_once(ends: Ends) -> None:
    ends.near.send(b"a")
    ends.near.send(b"b")
    ends.near.close()
    ends.far.drain()
    assert ends.heard[1] == [b"a", b"b"]
    assert ends.closed[1] == 1


def test_a_record_that_is_too_long_ends_the_channel(ends: Ends) -> None:
    lost: list[bool] = []
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(ends.loop, near, lambda record, fds: None, lambda: lost.append(True))
    with far:
        far.send(bytes(MAX_MESSAGE_BYTES + 1))
        ends.turn_until(lambda: channel.closed)
    assert lost == [True]
