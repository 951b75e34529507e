"""nh.shard.media.poll: sockets are served in batches, so that commands get their turn."""

import contextlib
import select
import socket
import time
from collections.abc import Iterator

import pytest

from nh.shard.media.poll import BATCH, LOOK, MediaPoll
from tests.shard.testbed import V4


@pytest.fixture
def poll() -> Iterator[MediaPoll]:
    poll = MediaPoll()
    yield poll
    poll.close()


@pytest.fixture
def inbox() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((V4, 0))
        sock.setblocking(False)
        yield sock


def put(inbox: socket.socket, *payloads: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for payload in payloads:
            sender.sendto(payload, inbox.getsockname())
    assert select.select([inbox], [], [], 10.0)[0]


def is_readable(poll: MediaPoll) -> bool:
    """Whether an event loop would call serve()."""
    return bool(select.select([poll.fileno()], [], [], 0)[0])


def test_one_descriptor_tells_that_some_socket_is_readable(poll: MediaPoll, inbox: socket.socket) -> None:
    received: list[bytes] = []
    poll.add(inbox.fileno(), lambda sock: received.append(sock.recv(100)), inbox)
    assert not is_readable(poll)
    put(inbox, b"one", b"two")
    while is_readable(poll):
        poll.serve()
    assert received == [b"one", b"two"]


def test_a_reader_may_be_exchanged_while_packets_wait(poll: MediaPoll, inbox: socket.socket) -> None:
    first: list[bytes] = []
    then: list[bytes] = []
    put(inbox, b"one", b"two")

    def read_and_hand_over(sock: socket.socket) -> None:
        first.append(sock.recv(100))
        poll.set_reader(inbox.fileno(), lambda sock: then.append(sock.recv(100)))

    poll.add(inbox.fileno(), read_and_hand_over, inbox)
    poll.serve()
    poll.serve()
    assert (first, then) == ([b"one"], [b"two"])


def test_what_is_removed_is_not_served(poll: MediaPoll, inbox: socket.socket) -> None:
    poll.add(inbox.fileno(), lambda _: pytest.fail("it was removed"), None)
    put(inbox, b"one")
    poll.remove(inbox.fileno())
    assert not is_readable(poll)
    poll.serve()


def test_a_descriptor_number_may_come_back(poll: MediaPoll, inbox: socket.socket) -> None:
    received: list[bytes] = []
    poll.add(inbox.fileno(), lambda _: pytest.fail("this reader was removed"), None)
    poll.remove(inbox.fileno())
    poll.add(inbox.fileno(), lambda sock: received.append(sock.recv(100)), inbox)
    put(inbox, b"one")
    poll.serve()
    assert received == [b"one"]


def test_the_clock_is_read_once_a_batch(poll: MediaPoll, inbox: socket.socket) -> None:
    times: list[float] = []

    def read(sock: socket.socket) -> None:
        sock.recv(100)
        times.append(poll.now)

    poll.add(inbox.fileno(), read, inbox)
    before = time.monotonic()
    put(inbox, b"one")
    poll.serve()
    assert before <= times[0] <= time.monotonic()


def test_a_flood_on_one_socket_does_not_hold_up_the_others(poll: MediaPoll, inbox: socket.socket) -> None:
    order: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as quiet:
        quiet.bind((V4, 0))

        def read(sock: socket.socket, name: str) -> None:
            sock.recv(100)
            order.append(name)

        poll.add(inbox.fileno(), lambda sock: read(sock, "flood"), inbox)
        poll.add(quiet.fileno(), lambda sock: read(sock, "quiet"), quiet)
        put(inbox, *[b"x"] * 200)
        put(quiet, b"y")
        poll.serve()
        assert "quiet" in order, "one packet a socket and batch"
        assert len(order) <= BATCH


def test_a_reader_that_fails_does_not_keep_the_others_from_being_served(
    poll: MediaPoll, inbox: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    received: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((V4, 0))
        put(inbox, b"one")
        put(other, b"two")
        poll.add(inbox.fileno(), fail, None)
        poll.add(other.fileno(), lambda sock: received.append(sock.recv(100)), other)
        poll.serve()
        assert received == [b"two"]
    assert "could not be served" in caplog.text


def test_what_is_deferred_to_the_end_of_a_batch_runs_once_behind_its_packets(
    poll: MediaPoll, inbox: socket.socket
) -> None:
    done: list[bytes] = []

    def read(sock: socket.socket) -> None:
        done.append(sock.recv(100))
        poll.call_after_batch(lambda: done.append(b"applied"))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((V4, 0))
        poll.add(inbox.fileno(), read, inbox)
        poll.add(other.fileno(), lambda sock: done.append(sock.recv(100)), other)
        put(inbox, b"one")
        put(other, b"two")
        poll.serve()
        assert sorted(done[:2]) == [b"one", b"two"]
        assert done[2:] == [b"applied"]
        poll.serve()
        assert len(done) == 3
        poll.remove(other.fileno())


def test_a_batch_that_takes_long_ends_and_the_next_ones_serve_the_others(
    poll: MediaPoll, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[int] = []
    with contextlib.ExitStack() as sockets:
        for _ in range(2 * LOOK + 1):
            sock = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.bind((V4, 0))
            poll.add(sock.fileno(), lambda sock: served.append(len(sock.recv(100))), sock)
            put(sock, b"one")
        monkeypatch.setattr("nh.shard.media.poll.BATCH_S", -1.0)
        assert poll.serve() == len(served) == LOOK
        assert poll.out_of_time
        while poll.serve():
            pass
        assert not poll.out_of_time
        assert len(served) == 2 * LOOK + 1


def test_flooded_sockets_leave_batches_that_take_long_to_the_others_too(
    poll: MediaPoll, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each socket always has a packet, as epoll(7) reports it, and each batch ends early."""
    served: list[int] = []
    with contextlib.ExitStack() as sockets:
        for number in range(3 * LOOK):
            sock = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.bind((V4, 0))
            poll.add(sock.fileno(), served.append, number)
            put(sock, b"never read")
        monkeypatch.setattr("nh.shard.media.poll.BATCH_S", -1.0)
        for _ in range(3):
            assert poll.serve() == LOOK
        assert sorted(served) == [*range(3 * LOOK)]


def test_a_socket_that_a_batch_left_may_be_closed_before_the_next(
    poll: MediaPoll, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[int] = []
    with contextlib.ExitStack() as sockets:
        opened = []
        for _ in range(2 * LOOK):
            sock = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.bind((V4, 0))
            poll.add(sock.fileno(), lambda sock: served.append(sock.fileno()), sock)
            put(sock, b"one")
            opened.append(sock)
        monkeypatch.setattr("nh.shard.media.poll.BATCH_S", -1.0)
        assert poll.serve() == LOOK
        closed = next(each for each in opened if each.fileno() not in served)
        gone = closed.fileno()
        poll.remove(gone)
        closed.close()
        assert poll.serve() == LOOK
        assert gone not in served
        assert len(served) == 2 * LOOK - 1
