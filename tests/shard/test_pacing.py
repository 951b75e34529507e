"""Pacing: rare packets are served at once, frequent ones once in a while, and none is left behind."""

import errno
from collections.abc import Callable

import pytest

from nh.loop import Callback, Timer
from nh.shard.media.pacing import BUSY_TURNS, QUIET_TURNS, Pacer
from nh.shard.media.poll import BATCH, BATCH_S, MediaPoll

COALESCE_S = 0.001


class FakeTimer:
    def __init__(self, delay_s: float, callback: Callback) -> None:
        self.delay_s = delay_s
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeLoop:
    """Keeps what it is asked for; the test says when a descriptor is readable and a timer due."""

    is_behind = False

    def __init__(self) -> None:
        self.readers: dict[int, Callback] = {}
        self.has_no_watches = False
        self.timers: list[FakeTimer] = []

    def now(self) -> float:
        return 0.0

    def add_reader(self, fd: int, callback: Callback) -> None:
        if self.has_no_watches:
            raise OSError(errno.ENOSPC, "fs.epoll.max_user_watches")
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        self.readers.pop(fd, None)

    def add_writer(self, fd: int, callback: Callback) -> None:
        raise AssertionError("a pacer writes nothing")

    def remove_writer(self, fd: int) -> None:
        raise AssertionError("a pacer writes nothing")

    def call_later(self, delay_s: float, callback: Callback) -> Timer:
        timer = FakeTimer(delay_s, callback)
        self.timers.append(timer)
        return timer

    def due(self) -> None:
        """The last timer is due."""
        callback = self.timers[-1].callback
        assert callback is not None
        callback()


class FakePoll(MediaPoll):
    """Serves what the test says, at the time that it says."""

    def __init__(self) -> None:
        super().__init__()
        self.ready: Callable[[], int] = lambda: 0
        self.served = 0

    def serve(self, most: int = BATCH) -> int:
        packets = min(self.ready(), most)
        self.served += packets
        return packets

    def will_serve(self, packets: int, *, now: float) -> None:
        def serve() -> int:
            self.now = now
            return packets

        self.ready = serve


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


def served_at(pacer_poll: FakePoll, loop: FakeLoop, now: float, packets: int = 1) -> None:
    pacer_poll.will_serve(packets, now=now)
    loop.readers[pacer_poll.fileno()]()


def test_rare_packets_are_served_as_soon_as_they_are_there(loop: FakeLoop) -> None:
    poll = FakePoll()
    Pacer(loop, poll, coalesce_s=COALESCE_S)
    for now in (10.0, 10.02, 10.04):
        served_at(poll, loop, now)
    assert loop.timers == []
    poll.close()


def test_frequent_packets_wait_for_each_other(loop: FakeLoop) -> None:
    poll = FakePoll()
    Pacer(loop, poll, coalesce_s=COALESCE_S)
    served_at(poll, loop, 10.0)
    served_at(poll, loop, 10.0005)
    assert poll.fileno() not in loop.readers
    assert loop.timers[-1].delay_s == COALESCE_S
    poll.close()


def test_a_full_batch_is_followed_by_the_next_at_once(loop: FakeLoop) -> None:
    poll = FakePoll()
    Pacer(loop, poll, coalesce_s=COALESCE_S)
    served_at(poll, loop, 10.0)
    served_at(poll, loop, 10.0005)
    poll.will_serve(BATCH, now=10.0015)
    loop.due()
    assert loop.timers[-1].delay_s == 0
    poll.close()


def test_a_command_waits_for_one_batch_at_most(loop: FakeLoop) -> None:
    poll = FakePoll()
    Pacer(loop, poll, coalesce_s=COALESCE_S)
    served_at(poll, loop, 10.0)
    served_at(poll, loop, 10.0005)
    poll.served = 0
    poll.will_serve(BATCH - 1, now=10.0015)
    loop.due()
    assert poll.served == BATCH
    poll.close()


def test_sockets_are_served_on_after_a_bug(loop: FakeLoop) -> None:
    """The poll is not in the loop then, so the timer is all that serves it."""
    poll = FakePoll()
    Pacer(loop, poll, coalesce_s=COALESCE_S)
    served_at(poll, loop, 10.0)
    served_at(poll, loop, 10.0005)

    def fail() -> int:
        raise RuntimeError("a bug")

    poll.ready = fail
    timers = len(loop.timers)
    with pytest.raises(RuntimeError, match="a bug"):
        loop.due()
    assert [timer.delay_s for timer in loop.timers[timers:]] == [COALESCE_S]
    poll.close()


def test_after_a_pause_packets_are_served_at_once_again(loop: FakeLoop) -> None:
    poll = FakePoll()
    Pacer(loop, poll, coalesce_s=COALESCE_S)
    served_at(poll, loop, 10.0)
    served_at(poll, loop, 10.0005)
    poll.will_serve(0, now=10.0015)
    for _ in range(QUIET_TURNS):
        assert poll.fileno() not in loop.readers
        loop.due()
    assert poll.fileno() in loop.readers
    timers = len(loop.timers)
    served_at(poll, loop, 10.002)
    assert len(loop.timers) == timers
    poll.close()


def test_packets_are_served_where_the_poll_cannot_be_put_back_into_the_loop(loop: FakeLoop) -> None:
    poll = FakePoll()
    Pacer(loop, poll, coalesce_s=COALESCE_S)
    served_at(poll, loop, 10.0)
    served_at(poll, loop, 10.0005)
    loop.has_no_watches = True
    poll.will_serve(0, now=10.0015)
    for _ in range(3 * QUIET_TURNS):
        loop.due()
        assert loop.timers[-1].callback is not None, "it goes on by the timer"
    loop.has_no_watches = False
    for _ in range(QUIET_TURNS):
        loop.due()
    assert poll.fileno() in loop.readers
    poll.close()


def test_without_coalescing_every_packet_is_served_at_once(loop: FakeLoop) -> None:
    poll = FakePoll()
    Pacer(loop, poll, coalesce_s=0)
    for now in (10.0, 10.0, 10.0):
        served_at(poll, loop, now)
    assert loop.timers == []
    poll.close()


def test_a_closed_pacer_serves_no_more(loop: FakeLoop) -> None:
    poll = FakePoll()
    pacer = Pacer(loop, poll, coalesce_s=COALESCE_S)
    served_at(poll, loop, 10.0)
    served_at(poll, loop, 10.0005)
    pacer.close()
    assert loop.timers[-1].callback is None
    assert loop.readers == {}
    poll.close()


def test_many_packets_at_one_socket_are_served_in_one_turn(loop: FakeLoop) -> None:
    waiting = BATCH // 2

    def serve_one() -> int:
        nonlocal waiting
        waiting -= waiting > 0
        return int(waiting > 0)

    poll = FakePoll()
    Pacer(loop, poll, coalesce_s=COALESCE_S)
    served_at(poll, loop, 10.0)
    served_at(poll, loop, 10.0005)
    poll.ready = serve_one
    loop.due()
    assert waiting == 0
    assert loop.timers[-1].delay_s == COALESCE_S
    poll.close()


def test_a_shard_that_is_busy_all_the_time_yields_the_cpu_after_each_batch(loop: FakeLoop) -> None:
    poll, yields = FakePoll(), list[int]()
    Pacer(loop, poll, coalesce_s=COALESCE_S, yield_cpu=lambda: yields.append(1))
    served_at(poll, loop, 10.0)
    served_at(poll, loop, 10.0005)
    poll.will_serve(BATCH, now=10.0015)
    for _ in range(BUSY_TURNS):
        loop.due()
    assert not yields, "these packets may have waited while the shard had no CPU"
    loop.due()
    loop.due()
    assert len(yields) == 2
    poll.ready = iter([BATCH - 1, 0]).__next__
    loop.due()
    poll.will_serve(BATCH, now=10.02)
    loop.due()
    assert len(yields) == 2, "it has had nothing to do in between"
    poll.close()


def test_a_shard_without_coalescing_yields_the_cpu_too(loop: FakeLoop) -> None:
    poll, yields = FakePoll(), list[int]()
    Pacer(loop, poll, coalesce_s=0, yield_cpu=lambda: yields.append(1))
    for _ in range(BUSY_TURNS + 1):
        served_at(poll, loop, 10.0, packets=BATCH)
    assert len(yields) == 1
    poll.close()


def test_a_batch_that_ran_out_of_time_is_followed_by_the_next_at_once(loop: FakeLoop) -> None:
    poll = FakePoll()
    Pacer(loop, poll, coalesce_s=COALESCE_S)
    served_at(poll, loop, 10.0)
    served_at(poll, loop, 10.0005)
    poll.will_serve(8, now=10.0015)
    poll.out_of_time = True
    loop.due()
    assert loop.timers[-1].delay_s == 0
    poll.close()


def test_many_packets_at_one_socket_are_served_until_a_batch_has_taken_its_time(loop: FakeLoop) -> None:
    poll = FakePoll()
    Pacer(loop, poll, coalesce_s=COALESCE_S)
    served_at(poll, loop, 10.0)
    served_at(poll, loop, 10.0005)
    poll.served, now = 0, iter(10.0015 + 0.6 * BATCH_S * step for step in range(BATCH))

    def serve_slowly() -> int:
        poll.now = next(now)
        return 1

    poll.ready = serve_slowly
    loop.due()
    assert poll.served == 3
    assert loop.timers[-1].delay_s == 0, "more may wait"
    poll.close()
