"""nh.supervisor.handover.takeover_listener: a client that sends Yield is passed on, and no other one."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.ipc.handover_messages import Exit, Transfer, Yield, encode
from nh.loop import SelectorLoop
from nh.supervisor.handover.takeover_listener import TakeoverListener
from tools.harness.waiting import turn_until

TURNS = 20


class ListenerTestbed:
    """A takeover listener, and the connections that it passed on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = SelectorLoop()
        self.passed_on: list[socket.socket] = []
        self.clients: list[socket.socket] = []
        self.listener = TakeoverListener(self.loop, path, lambda sock, _: self.passed_on.append(sock))

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.clients.append(sock)
        sock.settimeout(10)
        sock.connect(str(self.path))
        return sock

    def turn(self) -> None:
        for _ in range(TURNS):
            self.loop.turn(0)

    def close(self) -> None:
        self.listener.close()
        for sock in (*self.passed_on, *self.clients):
            sock.close()
        self.loop.close()


@pytest.fixture
def testbed(tmp_path: Path, no_descriptor_leaks: None) -> Iterator[ListenerTestbed]:
    made = ListenerTestbed(tmp_path / "supervisor.sock")
    yield made
    made.close()


def test_a_socket_that_was_removed_is_made_anew(
    testbed: ListenerTestbed, caplog: pytest.LogCaptureFixture
) -> None:
    testbed.listener.renew()
    assert not caplog.messages
    testbed.path.unlink()
    testbed.listener.renew()
    testbed.connect().send(encode(Yield()))
    testbed.turn()
    assert len(testbed.passed_on) == 1
    testbed.listener.renew()
    assert len(caplog.messages) == 1


def test_a_socket_is_not_made_anew_when_the_next_supervisor_has_come(testbed: ListenerTestbed) -> None:
    testbed.listener.close()
    testbed.listener.renew()
    assert not testbed.path.exists()


def test_a_supervisor_that_sends_yield_is_passed_on(testbed: ListenerTestbed) -> None:
    client = testbed.connect()
    client.send(encode(Yield()))
    testbed.turn()
    (sock,) = testbed.passed_on
    sock.send(b"welcome")
    assert client.recv(100) == b"welcome"


@pytest.mark.parametrize(
    "record",
    [b"garbage", b"\xc1", b"\x81\xa4type\xa5\xffeave", encode(Transfer()), encode(Exit()), b"x" * 100_000],
)
def test_a_client_that_sends_anything_else_is_disconnected(testbed: ListenerTestbed, record: bytes) -> None:
    client = testbed.connect()
    client.send(record)
    testbed.turn()
    assert client.recv(100) == b""
    assert not testbed.passed_on


def test_a_client_that_closes_without_a_message_is_dropped(testbed: ListenerTestbed) -> None:
    testbed.connect().close()
    testbed.turn()
    client = testbed.connect()
    client.send(encode(Yield()))
    testbed.turn()
    assert len(testbed.passed_on) == 1


def test_a_silent_client_delays_no_other(testbed: ListenerTestbed) -> None:
    silent = testbed.connect()
    testbed.turn()
    client = testbed.connect()
    client.send(encode(Yield()))
    testbed.turn()
    assert len(testbed.passed_on) == 1
    assert silent.recv(100) == b"", "it was disconnected"


def test_a_closed_listener_accepts_no_connection_and_leaves_no_file(testbed: ListenerTestbed) -> None:
    waiting = testbed.connect()
    testbed.turn()
    testbed.listener.close()
    testbed.listener.close()
    assert waiting.recv(100) == b""
    assert not testbed.path.exists()
    with pytest.raises(FileNotFoundError):
        testbed.connect()


def test_the_file_of_a_supervisor_that_was_killed_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(path))
    testbed = ListenerTestbed(path)
    testbed.connect().send(encode(Yield()))
    testbed.turn()
    assert len(testbed.passed_on) == 1
    testbed.close()


def test_only_its_user_can_connect(testbed: ListenerTestbed) -> None:
    assert testbed.path.stat().st_mode & 0o777 == 0o600


def test_a_path_where_no_socket_can_be_does_not_keep_nh_from_running(tmp_path: Path) -> None:
    testbed = ListenerTestbed(tmp_path / "missing" / "supervisor.sock")
    testbed.turn()
    testbed.close()


def test_one_that_cannot_listen_does_so_as_soon_as_that_is_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nh.supervisor.handover.takeover_listener.RETRY_S", 0.01)
    path = tmp_path / "missing" / "supervisor.sock"
    testbed = ListenerTestbed(path)
    path.parent.mkdir()
    turn_until(testbed.loop, path.exists, "it listens")
    testbed.connect().send(encode(Yield()))
    testbed.turn()
    assert len(testbed.passed_on) == 1
    testbed.close()
