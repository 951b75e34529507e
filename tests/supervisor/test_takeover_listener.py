"""nh.supervisor.handover.takeover_listener: who wants a supervisor to leave is heard, and nobody else."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.ipc.handover_messages import Exit, Transfer, Yield, encode
from nh.loop import SelectorLoop
from nh.supervisor.handover.takeover_listener import TakeoverListener

TURNS = 20


class House:
    """A takeover listener, and the connections that it passed on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = SelectorLoop()
        self.let_in: list[socket.socket] = []
        self.comers: list[socket.socket] = []
        self.listener = TakeoverListener(self.loop, path, self.let_in.append)

    def come(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.comers.append(sock)
        sock.settimeout(10)
        sock.connect(str(self.path))
        return sock

    def turn(self) -> None:
        for _ in range(TURNS):
            self.loop.turn(0)

    def close(self) -> None:
        self.listener.close()
        for sock in (*self.let_in, *self.comers):
            sock.close()
        self.loop.close()


@pytest.fixture
def house(tmp_path: Path, no_descriptor_leaks: None) -> Iterator[House]:
    made = House(tmp_path / "supervisor.sock")
    yield made
    made.close()


def test_a_supervisor_that_sends_yield_is_let_in_and_spoken_to(house: House) -> None:
    comer = house.come()
    comer.send(encode(Yield()))
    house.turn()
    (sock,) = house.let_in
    sock.send(b"welcome")
    assert comer.recv(100) == b"welcome"


@pytest.mark.parametrize(
    "record",
    [b"garbage", b"\xc1", b"\x81\xa4type\xa5\xffeave", encode(Transfer()), encode(Exit()), b"x" * 100_000],
)
def test_who_says_anything_else_is_sent_away(house: House, record: bytes) -> None:
    comer = house.come()
    comer.send(record)
    house.turn()
    assert comer.recv(100) == b""
    assert not house.let_in


def test_who_goes_without_a_word_is_forgotten(house: House) -> None:
    house.come().close()
    house.turn()
    comer = house.come()
    comer.send(encode(Yield()))
    house.turn()
    assert len(house.let_in) == 1


def test_who_says_nothing_holds_nobody_up(house: House) -> None:
    silent = house.come()
    house.turn()
    comer = house.come()
    comer.send(encode(Yield()))
    house.turn()
    assert len(house.let_in) == 1
    assert silent.recv(100) == b"", "it was sent away"


def test_a_closed_listener_lets_nobody_in_and_leaves_no_file(house: House) -> None:
    waiting = house.come()
    house.turn()
    house.listener.close()
    house.listener.close()
    assert waiting.recv(100) == b""
    assert not house.path.exists()
    with pytest.raises(FileNotFoundError):
        house.come()


def test_the_file_of_a_supervisor_that_was_killed_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(path))
    house = House(path)
    house.come().send(encode(Yield()))
    house.turn()
    assert len(house.let_in) == 1
    house.close()


def test_only_its_user_may_come(house: House) -> None:
    assert house.path.stat().st_mode & 0o777 == 0o600


def test_a_place_where_no_socket_can_be_is_no_reason_not_to_run(tmp_path: Path) -> None:
    house = House(tmp_path / "missing" / "supervisor.sock")
    house.turn()
    house.close()
