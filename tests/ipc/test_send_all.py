"""Channel.send_all: more records than may wait, as fast as the other side reads them."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.ipc.channel import MAX_QUEUED_BYTES, Channel, ChannelRecord, receive_record
from nh.ipc.fd_passing import close_all
from nh.loop import SelectorLoop

RECORD_BYTES = 100_000
RECORDS = 3 * MAX_QUEUED_BYTES // RECORD_BYTES


class Stream:
    """Records that are sent from one end to the other."""

    def __init__(self) -> None:
        self.loop = SelectorLoop()
        self.lost = False
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.far.settimeout(10)
        self.channel = Channel(self.loop, near, lambda *_: None, self._on_lost)

    def send_all(self, records: Iterator[ChannelRecord]) -> None:
        self.channel.send_all(records)

    def _on_lost(self) -> None:
        self.lost = True

    def read(self) -> bytes:
        """The next record, first of all what the loop can do for it."""
        self.loop.turn(0)
        return self.far.recv(RECORD_BYTES + 1)

    def close(self) -> None:
        self.channel.close()
        self.far.close()
        self.loop.close()


class Counted:
    """Records, numbered, and how many were made."""

    def __init__(self) -> None:
        self.made = 0

    def records(self) -> Iterator[ChannelRecord]:
        for number in range(RECORDS):
            self.made += 1
            yield b"%d".ljust(RECORD_BYTES) % number, ()


def test_all_records_come_in_order_and_few_are_made_before_they_can_go() -> None:
    counted = Counted()
    stream = Stream()
    stream.send_all(counted.records())
    assert counted.made * RECORD_BYTES < MAX_QUEUED_BYTES
    assert stream.channel.queued == 1
    for number in range(RECORDS):
        assert int(stream.read()) == number
    assert stream.channel.queued == 0
    stream.close()


def test_records_with_descriptors_wait_also_in_a_process_that_can_open_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_room(*_: object) -> int:
        raise OSError("no descriptors")

    with Path(os.devnull).open() as file:
        fd = file.fileno()
        stream = Stream()
        monkeypatch.setattr("fcntl.fcntl", no_room)
        stream.send_all((b"x" * RECORD_BYTES, [fd]) for _ in range(RECORDS))
        assert stream.channel.queued == 1
        assert stream.channel.borrows
        for _ in range(RECORDS):
            stream.loop.turn(0)
            record, fds = receive_record(stream.far)
            assert (len(record), len(fds)) == (RECORD_BYTES, 1)
            close_all(fds)
        assert stream.channel.queued == 0
        stream.close()


def test_a_record_that_waits_has_descriptors_of_its_own(no_descriptor_leaks: None) -> None:
    opened: list[int] = []

    def records() -> Iterator[ChannelRecord]:
        for _ in range(RECORDS):
            close_all(opened)
            opened.append(os.open(os.devnull, os.O_RDONLY))
            yield b"x" * RECORD_BYTES, opened

    stream = Stream()
    stream.send_all(records())
    assert stream.channel.queued == 1
    assert not stream.channel.borrows
    close_all(opened)  # of the record that waits
    for _ in range(RECORDS):
        stream.loop.turn(0)
        _, fds = receive_record(stream.far)
        assert len(fds) == 1
        close_all(fds)
    stream.close()
    close_all(opened)


def test_nothing_more_is_made_when_the_other_side_is_gone() -> None:
    counted = Counted()
    stream = Stream()
    stream.send_all(counted.records())
    made = counted.made
    stream.far.close()
    while not stream.lost:
        stream.loop.turn(0.1)
    stream.send_all(counted.records())
    assert counted.made == made
    stream.close()
