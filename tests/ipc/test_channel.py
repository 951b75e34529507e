"""nh.ipc.channel: whole records, in order, never waiting, and one word when the other side is gone."""

import fcntl
import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nh.errors import ChannelFull
from nh.ipc.channel import (
    MAX_MESSAGE_BYTES,
    MAX_QUEUED_BYTES,
    NO_ROOM,
    RECORDS_A_TURN,
    Channel,
    OnRecord,
    receive_record,
)
from nh.ipc.fd_passing import MAX_FDS
from nh.loop import SelectorLoop
from tests.descriptors import descriptors_here
from tools.harness.waiting import turn_until


class Participants:
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

    def turn_until(self, condition: Callable[[], bool]) -> None:
        turn_until(self.loop, condition)


@pytest.fixture
def ends() -> Iterator[Participants]:
    pair = Participants()
    yield pair
    pair.near.close()
    pair.far.close()
    pair.loop.close()
    for fd in pair.came[0] + pair.came[1]:
        os.close(fd)


def test_records_arrive_whole_and_in_order(ends: Participants) -> None:
    records = [b"one", b"\0two\0", b"3" * 70_000]
    for record in records:
        ends.near.send(record)
    ends.turn_until(lambda: len(ends.heard[1]) == 3)
    assert ends.heard[1] == records


def test_both_directions_carry_the_longest_record(ends: Participants) -> None:
    longest = bytes(range(256)) * (MAX_MESSAGE_BYTES // 256)
    ends.near.send(longest)
    ends.far.send(longest)
    ends.turn_until(lambda: bool(ends.heard[0] and ends.heard[1]))
    assert ends.heard == ([longest], [longest])


@pytest.mark.parametrize("size", [0, MAX_MESSAGE_BYTES + 1])
def test_a_record_of_an_impossible_length_is_refused(ends: Participants, size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes"):
        ends.near.send(bytes(size))


def test_what_the_kernel_does_not_take_is_queued_and_arrives_later(ends: Participants) -> None:
    sent = 0
    while ends.near.queued < 10:
        ends.near.send(b"%06d" % sent + bytes(60_000))
        sent += 1
    ends.turn_until(lambda: len(ends.heard[1]) == sent)
    assert [int(record[:6]) for record in ends.heard[1]] == list(range(sent))
    assert ends.near.queued == 0


def test_a_side_that_does_not_read_fills_the_channel_and_no_more(ends: Participants) -> None:
    with pytest.raises(ChannelFull, match="does not read"):
        for _ in range(10_000):
            ends.near.send(bytes(MAX_MESSAGE_BYTES))
    waiting = ends.near.queued
    assert 0 < waiting * MAX_MESSAGE_BYTES <= MAX_QUEUED_BYTES
    ends.turn_until(lambda: ends.near.queued == 0)
    ends.near.send(b"again")
    ends.turn_until(lambda: ends.heard[1][-1:] == [b"again"])


def test_the_last_records_of_a_side_that_left_are_heard_before_its_end(ends: Participants) -> None:
    for _ in range(3 * RECORDS_A_TURN):
        ends.near.send(b"last words")
    ends.near.close()
    ends.turn_until(lambda: ends.closed[1] == 1)
    assert len(ends.heard[1]) == 3 * RECORDS_A_TURN
    assert ends.far.closed


def test_the_last_records_of_a_side_that_died_with_ours_unread_are_heard_too(ends: Participants) -> None:
    ends.far.send(b"never read")
    ends.near.send(b"last")
    ends.near.send(b"words")
    ends.near.close()
    ends.turn_until(lambda: ends.closed[1] == 1)
    assert ends.heard[1] == [b"last", b"words"]


def test_what_follows_the_records_of_a_turn_happens_once_behind_them() -> None:
    loop = SelectorLoop()
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    heard: list[bytes] = []
    reader = Channel(
        loop,
        far,
        lambda record, fds: heard.append(record),
        lambda: None,
        after_records=lambda: heard.append(b"|"),
        most=3,
    )
    for number in range(5):
        near.send(b"%d" % number)
    turn_until(loop, lambda: b"4" in heard)
    assert b"".join(heard) == b"012|34|"

    for number in range(5):
        near.send(b"%d" % number)
    heard.clear()
    reader.drain()
    assert b"".join(heard) == b"01234|"
    reader.close()
    near.close()
    loop.close()


def test_the_end_is_told_once_and_only_by_the_other_side(ends: Participants) -> None:
    ends.near.close()
    ends.near.close()
    ends.turn_until(lambda: ends.closed[1] == 1)
    for _ in range(3):
        ends.loop.turn(0)
    assert ends.closed == [0, 1]


def test_sending_to_a_side_that_is_gone_breaks_nothing(ends: Participants) -> None:
    ends.far.send(b"unread")  # makes the end a reset instead of a plain end
    ends.near.close()
    ends.far.send(b"unread")
    ends.turn_until(lambda: ends.closed[1] == 1)
    ends.far.send(b"nor this")
    assert ends.far.queued == 0


def test_a_reader_may_close_the_channel_from_within_a_record(ends: Participants) -> None:
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


def test_draining_reads_on_behind_a_record_that_meets_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    """The records of a process that has ended are in no later turn."""
    loop, heard = SelectorLoop(), list[bytes]()
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def hear(record: bytes, _fds: list[int]) -> None:
        if record == b"bad":
            raise RuntimeError("a bug")
        heard.append(record)

    channel = Channel(loop, near, hear, lambda: heard.append(b""))
    with far:
        for record in (b"first", b"bad", b"last"):
            far.send(record)
    channel.drain()
    assert heard == [b"first", b"last", b""]
    assert "this is a bug in nh" in caplog.text
    loop.close()


def test_draining_hands_over_what_is_there_at_once(ends: Participants) -> None:
    ends.near.send(b"a")
    ends.near.send(b"b")
    ends.near.close()
    ends.far.drain()
    assert ends.heard[1] == [b"a", b"b"]
    assert ends.closed[1] == 1


def test_a_record_that_is_too_long_ends_the_channel(ends: Participants) -> None:
    lost: list[bool] = []
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(ends.loop, near, lambda record, fds: None, lambda: lost.append(True))
    with far:
        far.send(bytes(MAX_MESSAGE_BYTES + 1))
        ends.turn_until(lambda: channel.closed)
    assert lost == [True]


# --- descriptors ----------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[int]]:
    """Descriptors of MAX_FDS files, each of which says its number."""
    opened = []
    for number in range(MAX_FDS):
        path = tmp_path / str(number)
        path.write_text(str(number))
        opened.append(os.open(path, os.O_RDONLY))
    yield opened
    for fd in opened:
        os.close(fd)


def contents(fds: list[int]) -> list[int]:
    return [int(os.pread(fd, 10, 0)) for fd in fds]


def test_descriptors_come_with_their_record_in_order_and_close_on_exec(
    ends: Participants, files: list[int]
) -> None:
    ends.near.send(b"all", files)
    ends.near.send(b"two", files[:2])
    ends.near.send(b"none")
    ends.turn_until(lambda: len(ends.heard[1]) == 3)
    assert contents(ends.came[1]) == [*range(MAX_FDS), 0, 1]
    assert all(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for fd in ends.came[1])


def test_more_descriptors_than_a_record_may_have_are_refused(ends: Participants, files: list[int]) -> None:
    with pytest.raises(ValueError, match="201 descriptors"):
        ends.near.send(b"x", [*files, files[0]])


def test_descriptors_that_wait_may_be_closed_by_their_owner(ends: Participants, files: list[int]) -> None:
    before = descriptors_here()
    sent = 0
    while ends.near.queued < 10:
        copy = os.dup(files[sent % MAX_FDS])
        ends.near.send(bytes(60_000), [copy])
        os.close(copy)
        sent += 1
    ends.turn_until(lambda: len(ends.heard[1]) == sent)
    assert contents(ends.came[1]) == [number % MAX_FDS for number in range(sent)]
    assert psutil.Process().num_fds() == before + sent


def refuse_twice(name: str, number: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have the system refuse the next two calls of a method of sockets; returns the refusals left."""
    refusals = [number, number]
    method = getattr(socket.socket, name)

    def refuse(sock: socket.socket, *arguments: Any) -> Any:
        if refusals:
            raise OSError(refusals.pop(), os.strerror(number))
        return method(sock, *arguments)

    monkeypatch.setattr(socket.socket, name, refuse)
    return refusals


@pytest.mark.parametrize("number", sorted(NO_ROOM))
def test_a_record_that_the_system_has_no_room_for_goes_a_moment_later_and_before_those_behind_it(
    ends: Participants, files: list[int], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It may have the sockets of calls: the next process of a shard could not restore them."""
    refusals = refuse_twice("sendmsg", number, monkeypatch)
    ends.near.send(b"sockets", files)
    ends.near.send(b"restore")
    ends.turn_until(lambda: len(ends.heard[1]) == 2)
    assert ends.heard[1] == [b"sockets", b"restore"]
    assert len(ends.came[1]) == len(files)
    assert not refusals


@pytest.mark.parametrize("number", sorted(NO_ROOM))
def test_a_record_that_the_system_has_no_room_to_read_is_read_a_moment_later(
    ends: Participants, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """An end of the channel would cost a shard its process, and clients the commands that it has."""
    refusals = refuse_twice("recvmsg_into", number, monkeypatch)
    ends.near.send(b"one")
    ends.near.send(b"other")
    ends.turn_until(lambda: len(ends.heard[1]) == 2)
    assert ends.heard[1] == [b"one", b"other"]
    assert not refusals
    assert ends.closed == [0, 0]


def test_descriptors_that_are_not_taken_are_closed(files: list[int]) -> None:
    before = descriptors_here()
    loop = SelectorLoop()
    heard: list[bytes] = []
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader = Channel(loop, far, lambda record, fds: heard.append(record), lambda: None)
    writer = Channel(loop, near, lambda record, fds: None, lambda: None)
    writer.send(b"not taken", files)
    while not heard:
        loop.turn(0.05)
    while writer.queued < 3:
        writer.send(bytes(60_000), files[:5])
    writer.close()
    reader.close()
    loop.close()
    assert psutil.Process().num_fds() == before


def test_a_record_arrives_where_there_is_no_room_for_its_descriptors(
    ends: Participants, files: list[int]
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ends.near.send(b"some", files)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(files) + 10, hard))
    try:
        ends.turn_until(lambda: ends.heard[1] == [b"some"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert contents(ends.came[1]) == list(range(len(ends.came[1])))
    assert len(ends.came[1]) < MAX_FDS


# --- without a loop -------------------------------------------------------------------------------


def test_descriptors_that_are_received_without_a_loop_do_not_outlive_exec() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far, Path(os.devnull).open() as file:
        socket.send_fds(near, [b"record"], [file.fileno()] * 2)
        record, fds = receive_record(far)
        assert record == b"record"
        assert [os.get_inheritable(fd) for fd in fds] == [False, False]
        for fd in fds:
            os.close(fd)
        near.close()
        assert receive_record(far) == (b"", [])


def test_a_record_that_is_too_long_is_an_error_without_a_loop_and_leaves_no_descriptor(
    no_descriptor_leaks: None,
) -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far, Path(os.devnull).open() as file:
        socket.send_fds(near, [b"x" * (MAX_MESSAGE_BYTES + 1)], [file.fileno()])
        with pytest.raises(OSError, match="a record of more than"):
            receive_record(far)
