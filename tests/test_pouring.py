"""nh.ipc.pouring: more records than may wait, as fast as they are read."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.errors import ChannelFull
from nh.ipc.channel import MAX_QUEUED_BYTES, Channel
from nh.ipc.pouring import Pouring, Record
from nh.loop import SelectorLoop

RECORD_BYTES = 100_000
RECORDS = 3 * MAX_QUEUED_BYTES // RECORD_BYTES


class Stream:
    """Records that are poured from one end to the other."""

    def __init__(self, records: Iterator[Record]) -> None:
        self.loop = SelectorLoop()
        self.lost = False
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.far.settimeout(10)
        self.channel = Channel(self.loop, near, lambda *_: None, self._on_lost, on_drained=self._on_drained)
        self.pouring = Pouring(self.channel, records)

    def _on_drained(self) -> None:
        self.pouring.go_on()

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

    def records(self) -> Iterator[Record]:
        for number in range(RECORDS):
            self.made += 1
            yield b"%d".ljust(RECORD_BYTES) % number, ()


def test_all_records_come_in_order_and_few_are_made_before_they_can_go() -> None:
    counted = Counted()
    stream = Stream(counted.records())
    stream.pouring.go_on()
    assert counted.made * RECORD_BYTES < MAX_QUEUED_BYTES
    assert stream.channel.queued == 1
    for number in range(RECORDS):
        assert int(stream.read()) == number
    assert stream.channel.queued == 0
    stream.close()


def test_descriptors_that_cannot_wait_end_it_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> int:
        raise OSError("no descriptors")

    with Path(os.devnull).open() as file:
        fd = file.fileno()
        stream = Stream((b"x" * RECORD_BYTES, [fd]) for _ in range(RECORDS))
        monkeypatch.setattr("fcntl.fcntl", no_room)
        with pytest.raises(ChannelFull, match="descriptors cannot be kept"):
            stream.pouring.go_on()
        stream.close()


def test_nothing_more_is_made_when_the_other_side_is_gone() -> None:
    counted = Counted()
    stream = Stream(counted.records())
    stream.pouring.go_on()
    stream.far.close()
    while not stream.lost:
        stream.loop.turn(0.1)
    made = counted.made
    stream.pouring.go_on()
    assert counted.made == made
    stream.close()
