"""Pacing with real sockets on a real loop: every packet is served, in order, whatever the pace."""

import socket
from collections.abc import Callable, Iterator

import pytest

from nh.loop import SelectorLoop
from nh.shard.media.pacing import Pacer
from nh.shard.media.poll import BATCH, MediaPoll
from tests.shard.testbed import V4
from tools.harness.waiting import turn_until


class Paced:
    """A pacer on a loop, with one socket that is read into `received`."""

    def __init__(self, coalesce_s: float) -> None:
        self.loop = SelectorLoop()
        self.poll = MediaPoll()
        self.inbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.inbox.bind((V4, 0))
        self.outbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.received: list[bytes] = []
        self.poll.add(self.inbox.fileno(), self._read, self.inbox)
        self.pacer = Pacer(self.loop, self.poll, coalesce_s=coalesce_s)

    def _read(self, sock: socket.socket) -> None:
        self.received.append(sock.recv(100))

    def send(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.outbox.sendto(payload, self.inbox.getsockname())

    def turn_until(self, condition: Callable[[], bool]) -> None:
        turn_until(self.loop, condition)

    def close(self) -> None:
        self.pacer.close()
        self.poll.close()
        self.loop.close()
        self.inbox.close()
        self.outbox.close()


@pytest.fixture(params=[0.0, 0.001, 0.02])
def paced(request: pytest.FixtureRequest) -> Iterator[Paced]:
    paced = Paced(request.param)
    yield paced
    paced.close()


def test_every_packet_is_served_in_order_however_they_come(paced: Paced) -> None:
    sent = [b"%d" % number for number in range(50)]
    paced.send(*sent)
    paced.turn_until(lambda: len(paced.received) == 50)
    for number in range(50, 54):
        paced.send(b"%d" % number)
        paced.turn_until(lambda n=number: len(paced.received) == n + 1)  # type: ignore[misc]
    assert paced.received == [b"%d" % number for number in range(54)]


def test_after_a_pause_the_next_packet_is_served(paced: Paced) -> None:
    paced.send(*[b"x"] * 10)
    paced.turn_until(lambda: len(paced.received) == 10)
    quiet: list[bool] = []
    paced.loop.call_later(0.1, lambda: quiet.append(True))
    paced.turn_until(lambda: bool(quiet))
    paced.send(b"after the pause")
    paced.turn_until(lambda: paced.received[-1] == b"after the pause")


def test_a_reader_that_fails_does_not_end_the_service(paced: Paced, caplog: pytest.LogCaptureFixture) -> None:
    def read(sock: socket.socket) -> None:
        payload = sock.recv(100)
        if payload == b"bad":
            raise ZeroDivisionError
        paced.received.append(payload)

    paced.poll.set_reader(paced.inbox.fileno(), read)
    paced.send(*[b"good"] * 5, *[b"bad"] * 5, *[b"good"] * 5)
    paced.turn_until(lambda: len(paced.received) == 10)
    assert caplog.text.count("could not be served") == 1
    assert caplog.text.count("Traceback") == 1


def test_more_sockets_than_a_batch_are_all_served() -> None:
    paced = Paced(0.02)
    inboxes = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2 * BATCH)]
    for inbox in inboxes:
        inbox.bind((V4, 0))
        paced.poll.add(inbox.fileno(), lambda sock: paced.received.append(sock.recv(100)), inbox)
    for _ in range(3):
        for inbox in inboxes:
            paced.outbox.sendto(b"x", inbox.getsockname())
    paced.turn_until(lambda: len(paced.received) == 6 * BATCH)
    for inbox in inboxes:
        inbox.close()
    paced.close()
