"""nh.loop: the same behaviour under every selector, under asyncio and under uvloop."""

import asyncio
import contextlib
import logging
import os
import select
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
import uvloop

from nh.asyncio_loop import AsyncioLoop
from nh.loop import PROBE_TURNS, Loop, SelectorLoop, Timer, TurnReads
from tests.supervisor.manual_loop import ManualLoop
from tools.harness.waiting import turn_until


class LoopTestbed(Protocol):
    """A loop under test and the means to turn it."""

    @property
    def loop(self) -> Loop: ...

    def turn_until(self, condition: Callable[[], bool]) -> None: ...


class SelectorTestbed:
    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.loop = SelectorLoop(selector)

    def turn_until(self, condition: Callable[[], bool]) -> None:
        turn_until(self.loop, condition)


class AsyncioTestbed:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio = loop
        self.loop = AsyncioLoop(loop)

    def turn_until(self, condition: Callable[[], bool]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.002)

        self._asyncio.run_until_complete(asyncio.wait_for(wait(), 20))


LOOPS = ["epoll", "poll", "select", "asyncio", "uvloop"]
SELECTORS: dict[str, Callable[[], selectors.BaseSelector]] = {
    "epoll": selectors.EpollSelector,
    "poll": selectors.PollSelector,
    "select": selectors.SelectSelector,
}


@pytest.fixture(params=LOOPS)
def testbed(request: pytest.FixtureRequest) -> Iterator[LoopTestbed]:
    if request.param in SELECTORS:
        of_selector = SelectorTestbed(SELECTORS[request.param]())
        yield of_selector
        of_selector.loop.close()
        return
    loop = uvloop.new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
    yield AsyncioTestbed(loop)
    loop.close()


@pytest.fixture
def selector_loop() -> Iterator[SelectorLoop]:
    loop = SelectorLoop()
    yield loop
    loop.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        yield near, far


Pair = tuple[socket.socket, socket.socket]


def test_a_reader_is_called_for_as_long_as_there_is_something_to_read(
    testbed: LoopTestbed, pair: Pair
) -> None:
    near, far = pair
    heard: list[bytes] = []
    testbed.loop.add_reader(near.fileno(), lambda: heard.append(near.recv(1)))
    far.send(b"abc")
    testbed.turn_until(lambda: len(heard) == 3)
    assert heard == [b"a", b"b", b"c"]
    testbed.loop.remove_reader(near.fileno())


def test_a_removed_reader_is_not_called_any_more(testbed: LoopTestbed, pair: Pair) -> None:
    near, far = pair
    calls: list[str] = []

    def read_once() -> None:
        calls.append("read")
        testbed.loop.remove_reader(near.fileno())

    testbed.loop.add_reader(near.fileno(), read_once)
    far.send(b"more than one call would read")
    testbed.turn_until(lambda: bool(calls))
    after: list[str] = []
    testbed.loop.call_later(0.02, lambda: after.append("later"))
    testbed.turn_until(lambda: bool(after))
    assert calls == ["read"]


def test_a_new_reader_replaces_the_one_before(testbed: LoopTestbed, pair: Pair) -> None:
    near, far = pair
    calls: list[str] = []
    testbed.loop.add_reader(near.fileno(), lambda: calls.append("old"))

    def read() -> None:
        near.recv(10)
        calls.append("new")

    testbed.loop.add_reader(near.fileno(), read)
    far.send(b"x")
    testbed.turn_until(lambda: bool(calls))
    assert calls == ["new"]
    testbed.loop.remove_reader(near.fileno())


def test_reader_and_writer_of_one_descriptor_do_not_disturb_each_other(
    testbed: LoopTestbed, pair: Pair
) -> None:
    near, far = pair
    heard: list[bytes] = []
    written: list[bool] = []

    def write_once() -> None:
        written.append(True)
        testbed.loop.remove_writer(near.fileno())

    testbed.loop.add_reader(near.fileno(), lambda: heard.append(near.recv(100)))
    testbed.loop.add_writer(near.fileno(), write_once)
    testbed.turn_until(lambda: bool(written))
    far.send(b"still there")
    testbed.turn_until(lambda: bool(heard))
    assert (heard, written) == ([b"still there"], [True])
    testbed.loop.remove_reader(near.fileno())


def test_a_writer_is_called_when_the_other_side_has_read(testbed: LoopTestbed, pair: Pair) -> None:
    near, far = pair
    with contextlib.suppress(BlockingIOError):
        while True:
            near.send(bytes(65_536))
    writable: list[bool] = []

    def write_once() -> None:
        writable.append(True)
        testbed.loop.remove_writer(near.fileno())

    testbed.loop.add_writer(near.fileno(), write_once)
    later: list[bool] = []
    testbed.loop.call_later(0.02, lambda: later.append(True))
    testbed.turn_until(lambda: bool(later))
    assert not writable
    with contextlib.suppress(BlockingIOError):
        while True:
            far.recv(1_000_000)
    testbed.turn_until(lambda: bool(writable))


def test_a_hang_up_wakes_the_reader(testbed: LoopTestbed, pair: Pair) -> None:
    near, far = pair
    heard: list[bytes] = []

    def read() -> None:
        heard.append(near.recv(10))
        testbed.loop.remove_reader(near.fileno())

    testbed.loop.add_reader(near.fileno(), read)
    far.close()
    testbed.turn_until(lambda: bool(heard))
    assert heard == [b""]


def test_removing_what_is_not_there_does_nothing(testbed: LoopTestbed, pair: Pair) -> None:
    testbed.loop.remove_reader(pair[0].fileno())
    testbed.loop.remove_writer(pair[0].fileno())


def test_a_poll_object_can_be_watched_as_one_descriptor(testbed: LoopTestbed, pair: Pair) -> None:
    near, far = pair
    heard: list[bytes] = []
    with select.epoll() as inner:
        inner.register(near.fileno(), select.EPOLLIN)

        def read() -> None:
            assert [fd for fd, _events in inner.poll(0)] == [near.fileno()]
            heard.append(near.recv(10))

        testbed.loop.add_reader(inner.fileno(), read)
        far.send(b"inside")
        testbed.turn_until(lambda: bool(heard))
        testbed.loop.remove_reader(inner.fileno())
    assert heard == [b"inside"]


def test_timers_run_in_the_order_of_their_times(testbed: LoopTestbed) -> None:
    order: list[int] = []

    def set_timers() -> list[Timer]:
        return [
            testbed.loop.call_later(delay / 1000, lambda delay=delay: order.append(delay))  # type: ignore[misc]
            for delay in (30, 10, 20)
        ]

    begun = time.monotonic()
    timers = set_timers()
    while time.monotonic() - begun > 0.005:  # the process was paused: a later one may be due before
        for timer in timers:
            timer.cancel()
        begun = time.monotonic()
        timers = set_timers()
    testbed.turn_until(lambda: len(order) == 3)
    assert order == [10, 20, 30]


def test_a_timer_never_runs_before_its_time(testbed: LoopTestbed) -> None:
    at: list[float] = []
    due = time.monotonic() + 0.03
    testbed.loop.call_later(0.03, lambda: at.append(time.monotonic()))
    testbed.turn_until(lambda: bool(at))
    # uvloop counts whole milliseconds from the start of its turn
    assert at[0] >= due - 0.002


def test_a_cancelled_timer_does_not_run(testbed: LoopTestbed) -> None:
    ran: list[str] = []
    cancelled = testbed.loop.call_later(0.005, lambda: ran.append("cancelled"))
    testbed.loop.call_later(0.02, lambda: ran.append("kept"))
    cancelled.cancel()
    cancelled.cancel()
    testbed.turn_until(lambda: bool(ran))
    assert ran == ["kept"]


def test_cancelling_a_timer_that_has_run_does_nothing(testbed: LoopTestbed) -> None:
    ran: list[bool] = []
    timer = testbed.loop.call_later(0, lambda: ran.append(True))
    testbed.turn_until(lambda: bool(ran))
    timer.cancel()
    assert ran == [True]


def test_a_timer_that_sets_itself_again_does_not_starve_descriptors(testbed: LoopTestbed, pair: Pair) -> None:
    near, far = pair
    heard: list[bytes] = []
    testbed.loop.add_reader(near.fileno(), lambda: heard.append(near.recv(10)))

    def again() -> None:
        if not heard:
            testbed.loop.call_later(0, again)

    again()
    far.send(b"served")
    testbed.turn_until(lambda: bool(heard))
    testbed.loop.remove_reader(near.fileno())


def test_a_callback_that_raises_is_logged_and_the_loop_goes_on(
    testbed: LoopTestbed, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    near, far = pair
    heard: list[bytes] = []

    def fail() -> None:
        near.recv(10)
        raise RuntimeError("a bug in a callback")

    def fail_too() -> None:
        raise RuntimeError("a bug in a timer")

    testbed.loop.add_reader(near.fileno(), fail)
    testbed.loop.call_later(0, fail_too)
    far.send(b"first")
    with caplog.at_level(logging.ERROR):
        testbed.turn_until(lambda: len(caplog.records) == 2)
    assert "a bug in a callback" in caplog.text
    assert "a bug in a timer" in caplog.text
    testbed.loop.add_reader(near.fileno(), lambda: heard.append(near.recv(10)))
    far.send(b"second")
    testbed.turn_until(lambda: heard == [b"second"])
    testbed.loop.remove_reader(near.fileno())


def test_the_clock_is_monotonic_and_moves(testbed: LoopTestbed) -> None:
    before = testbed.loop.now()
    ran: list[float] = []
    testbed.loop.call_later(0.01, lambda: ran.append(testbed.loop.now()))
    testbed.turn_until(lambda: bool(ran))
    assert before < ran[0] <= time.monotonic()


def test_a_descriptor_number_that_is_used_again_is_watched_for_its_new_owner(testbed: LoopTestbed) -> None:
    heard: list[bytes] = []
    numbers = set()
    for word in (b"first", b"second"):
        near, far = socket.socketpair()
        with near, far:
            numbers.add(near.fileno())
            testbed.loop.add_reader(near.fileno(), lambda near=near: heard.append(near.recv(10)))  # type: ignore[misc]
            far.send(word)
            testbed.turn_until(lambda word=word: word in heard)  # type: ignore[misc]
            testbed.loop.remove_reader(near.fileno())
    assert len(numbers) == 1


def test_a_callback_may_close_another_descriptor_that_is_ready_in_the_same_turn(
    selector_loop: SelectorLoop,
) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    calls: list[int] = []

    def read(index: int) -> None:
        calls.append(index)
        for near, far in pairs:
            selector_loop.remove_reader(near.fileno())
            near.close()
            far.close()

    for index, (near, far) in enumerate(pairs):
        selector_loop.add_reader(near.fileno(), lambda index=index: read(index))  # type: ignore[misc]
        far.send(b"x")
    selector_loop.turn(0)
    assert len(calls) == 1


def test_run_ends_after_the_turn_in_which_stop_is_called(selector_loop: SelectorLoop) -> None:
    ran: list[str] = []

    def stop() -> None:
        ran.append("stop")
        selector_loop.stop()

    selector_loop.call_later(0, stop)
    selector_loop.call_later(60, lambda: ran.append("never"))
    selector_loop.run()
    assert ran == ["stop"]


def test_what_cannot_be_watched_is_refused_and_leaves_no_trace(
    selector_loop: SelectorLoop, tmp_path: Path
) -> None:
    number = os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY)
    with pytest.raises(PermissionError):  # epoll takes no regular files
        selector_loop.add_reader(number, lambda: None)
    heard: list[bytes] = []
    near, far = socket.socketpair()
    with near, far:
        os.dup2(near.fileno(), number)
        with socket.socket(fileno=number) as reused:
            selector_loop.add_reader(number, lambda: heard.append(reused.recv(10)))
            far.send(b"seen")
            selector_loop.turn(5)
            selector_loop.remove_reader(number)
    assert heard == [b"seen"]


def test_asyncio_loop_is_the_running_one_by_default() -> None:
    async def lives_in_it() -> bool:
        done = asyncio.Event()
        AsyncioLoop().call_later(0, done.set)
        await asyncio.wait_for(done.wait(), 20)
        return True

    assert asyncio.run(lives_in_it())


class Messages:
    """Messages that wait to be read.

    Attributes:
        waiting: how many.
        tries: how many reads the latest turn tried.
    """

    def __init__(self, reads: TurnReads) -> None:
        self.waiting = self.tries = 0
        self._reads = reads

    def turn(self, come: int) -> int:
        """A turn before which messages come; returns how many reads it tried."""
        self.waiting += come
        self.tries = 0
        self._reads.read(self._read_one)
        return self.tries

    def _read_one(self) -> bool:
        self.tries += 1
        if not self.waiting:
            return False
        self.waiting -= 1
        return True


def test_a_turn_reads_once_while_messages_come_one_by_one() -> None:
    messages = Messages(TurnReads(ManualLoop(), most=64))

    tries = [messages.turn(come=1) for _ in range(3 * PROBE_TURNS)]

    assert tries.count(1) >= len(tries) - 4, "a turn in PROBE_TURNS tries to read more than one message"

    for _ in range(2 * PROBE_TURNS):
        messages.turn(come=7)
    assert messages.waiting == 0, "messages that come faster are read until there is none"


def test_a_turn_that_the_loop_did_not_wait_for_reads_all_that_waits() -> None:
    loop = ManualLoop()
    messages = Messages(TurnReads(loop, most=64))
    messages.turn(come=1)
    assert messages.turn(come=3) == 1

    loop.is_behind = True
    messages.turn(come=0)

    assert messages.waiting == 0


def test_a_turn_leaves_what_is_beyond_its_share_to_the_next_one() -> None:
    messages = Messages(TurnReads(ManualLoop(), most=8))

    assert messages.turn(come=20) == 8
    assert messages.waiting == 12


def test_a_loop_is_behind_if_events_came_before_it_could_wait_for_them(selector_loop: SelectorLoop) -> None:
    seen: list[bool] = []
    near, far = socket.socketpair()
    with near, far:
        selector_loop.add_reader(near.fileno(), lambda: seen.append(selector_loop.is_behind))
        far.send(b"it is not read")
        turn_until(selector_loop, lambda: True in seen, "a turn finds the event at once")  # unless preempted
        near.recv(100)
        selector_loop.turn(0.001)
        assert not selector_loop.is_behind
