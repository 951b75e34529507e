"""Descriptors that one supervisor leaves to the next, each used or closed once."""

import errno
import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from nh.errors import NotNow
from nh.ipc.fd_passing import MAX_FDS
from nh.ipc.handover_messages import (
    Connections,
    HandedOver,
    HandoverMessage,
    TakenOver,
    Yield,
    decode_to_old,
    encode,
)
from nh.ipc.inherited import NOTHING_INHERITED, Inherited
from nh.start_again import HANDOVER_FD
from nh.supervisor.handover.receive import NAME, receive_after_exec, take_over
from nh.supervisor.handover.send import HandoverState, send_handover
from tools.harness.waiting import TIMEOUT_S


@pytest.fixture(autouse=True)
def _nothing_leaks(no_descriptor_leaks: None) -> None:
    """Descriptors that were not claimed are closed."""


def opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)


def listener() -> int:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock.detach()


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


# --- claims ---------------------------------------------------------------------------------------


def test_a_lock_is_known_by_its_file_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "there")
    lock = opened(tmp_path / "there" / "nh.lock")
    inherited = Inherited(HandoverMessage(locks=("/in/another/container/nh.lock",)), [lock])
    assert inherited.take_lock(tmp_path / "missing") is None
    assert inherited.take_lock(tmp_path / "here" / "nh.lock") == lock
    assert inherited.take_lock(tmp_path / "here" / "nh.lock") is None, "it is given once"
    inherited.close()
    assert is_open(lock)
    os.close(lock)


def test_a_lock_of_a_file_that_was_made_anew_is_not_that_of_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "nh.lock"
    inherited = Inherited(HandoverMessage(locks=(str(path),)), [opened(path)])
    assert inherited, "the calls of an earlier run go on"
    assert not NOTHING_INHERITED
    path.rename(tmp_path / "old")
    path.touch()
    assert inherited.take_lock(path) is None
    inherited.close()


def test_a_listener_is_known_by_its_kind_and_what_the_settings_call_it() -> None:
    tcp, ng = listener(), listener()
    message = HandoverMessage(listeners=(("tcp", "localhost:0"), ("ng-tcp", "localhost:0")))
    inherited = Inherited(message, [tcp, ng])
    assert inherited.take_listener("tcp", "localhost:1") is None
    assert inherited.take_listener("unix", "localhost:0") is None
    taken = inherited.take_listener("ng-tcp", "localhost:0")
    assert taken is not None
    with taken:
        assert taken.fileno() == ng
        assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert inherited.take_listener("ng-tcp", "localhost:0") is None
    inherited.close()
    assert not is_open(tcp), "it was not claimed"


def test_what_is_not_claimed_is_closed_once(tmp_path: Path) -> None:
    fds = [opened(tmp_path / "a"), opened(tmp_path / "b"), listener()]
    inherited = Inherited(HandoverMessage(locks=("a", "b"), listeners=(("tcp", "x"),)), list(fds))
    for _ in range(2):
        inherited.close()
        assert not any(map(is_open, fds))


def test_listeners_that_will_not_be_taken_make_room_for_others() -> None:
    kept, dropped = listener(), listener()
    message = HandoverMessage(listeners=(("tcp", "localhost:0"), ("tcp", "127.0.0.1:0")))
    inherited = Inherited(message, [kept, dropped])
    inherited.drop_listeners([("tcp", "localhost:0")])
    assert not is_open(dropped)
    assert is_open(kept)
    inherited.close()
    assert not is_open(kept)


# --- from before exec -----------------------------------------------------------------------------


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        yield near, far


def test_what_was_handed_over_before_exec_is_found_by_the_variable_which_goes(
    tmp_path: Path, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, far = ends
    lock = opened(tmp_path / "lock")
    send_handover(
        near, HandoverState(HandoverMessage(locks=("lock",), draining=True, drain_left_s=1.5), [lock], {})
    )
    near.close()
    os.close(lock)
    environment = {HANDOVER_FD: str(far.detach()), "OTHER": "stays"}
    inherited = receive_after_exec(environment)
    assert environment == {"OTHER": "stays"}
    assert (inherited.message.draining, inherited.message.drain_left_s) == (True, 1.5)
    taken = inherited.take_lock(tmp_path / "lock")
    assert taken is not None
    assert not os.get_inheritable(taken)
    os.close(taken)


def test_clients_connections_come_in_any_number_and_by_protocol(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    near, far = ends
    pairs = [socket.socketpair() for _ in range(MAX_FDS + 3)]
    fds = [theirs.fileno() for _, theirs in pairs]
    send_handover(
        near, HandoverState(HandoverMessage(), [], {"rpc": fds[3:], "ng": fds[:2], "later": fds[2:3]})
    )
    near.close()
    inherited = receive_after_exec({HANDOVER_FD: str(far.detach())})
    connections = {protocol: inherited.take_connections(protocol) for protocol in ("rpc", "ng")}
    assert {protocol: len(socks) for protocol, socks in connections.items()} == {"rpc": MAX_FDS, "ng": 2}
    assert inherited.take_connections("rpc") == [], "they are given once"
    inherited.close()
    for ours, theirs in pairs:
        theirs.close()
        ours.settimeout(0)
    for sock in (*connections["rpc"], *connections["ng"]):
        assert not os.get_inheritable(sock.fileno())
        sock.close()
    for ours, _ in pairs:
        assert ours.recv(1) == b"", "no process has the other end any more"
        ours.close()


def test_what_a_newer_nh_says_besides_is_left_out(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    near.send(encode(HandoverMessage(draining=True)))
    with socket.socket() as of_use:
        socket.send_fds(near, [b"\x81\xa4type\xa3new"], [of_use.fileno()])
        socket.send_fds(near, [encode(Connections("rpc"))], [of_use.fileno()])
    near.close()
    inherited = receive_after_exec({HANDOVER_FD: str(far.detach())})
    assert inherited.message == HandoverMessage(draining=True)
    [connection] = inherited.take_connections("rpc")
    connection.close()


def test_a_moment_without_room_costs_nothing_that_was_handed_over(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = ends
    near.send(encode(HandoverMessage(draining=True)))
    near.close()
    fd, left = far.detach(), [errno.ENOBUFS, errno.EMFILE]
    open_socket = socket.socket

    def refuse(*arguments: Any, **options: Any) -> socket.socket:
        if left:
            raise OSError(left.pop(), "no room")
        return open_socket(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", refuse)
        inherited = receive_after_exec({HANDOVER_FD: str(fd)})
    assert not left
    assert inherited.message == HandoverMessage(draining=True)


def test_what_no_room_comes_for_holds_no_lock_that_the_start_without_it_needs(
    ends: tuple[socket.socket, socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = ends
    lock = opened(tmp_path / "lock")
    fcntl.flock(lock, fcntl.LOCK_EX)
    send_handover(near, HandoverState(HandoverMessage(locks=("lock",)), [lock], {}))
    near.close()
    os.close(lock)

    def refuse(*_arguments: Any, **_options: Any) -> socket.socket:
        raise OSError(errno.ENOBUFS, "no room")

    with monkeypatch.context() as patch:
        patch.setattr("nh.supervisor.handover.receive.READ_S", 0.02)
        patch.setattr(socket, "socket", refuse)
        assert not receive_after_exec({HANDOVER_FD: str(far.detach())})
    again = opened(tmp_path / "lock")
    fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(again)


def test_who_was_not_executed_by_nh_inherits_nothing() -> None:
    inherited = receive_after_exec({})
    assert inherited.message == HandoverMessage()


@pytest.mark.parametrize("text", ["x", "-1", "999999", "1e3"])
def test_a_variable_that_another_program_set_is_no_reason_not_to_start(text: str) -> None:
    environment = {HANDOVER_FD: text}
    assert receive_after_exec(environment).message == HandoverMessage()
    assert not environment


@pytest.mark.parametrize("record", [b"garbage", encode(HandedOver()), b""])
def test_what_is_no_handover_message_is_no_reason_not_to_start(
    ends: tuple[socket.socket, socket.socket], record: bytes
) -> None:
    near, far = ends
    if record:
        near.send(record)
    assert receive_after_exec({HANDOVER_FD: str(far.detach())}).message == HandoverMessage()


# --- from another process -------------------------------------------------------------------------


def test_there_is_nothing_to_take_over_without_an_nh(tmp_path: Path) -> None:
    assert take_over(tmp_path).message == HandoverMessage()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(tmp_path / NAME))
    assert take_over(tmp_path).message == HandoverMessage(), "a file of one that was killed"


@pytest.mark.parametrize("answer", [b"", b"garbage", encode(HandedOver())])
def test_a_supervisor_that_does_not_yield_is_an_error(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path, answer), pytest.raises(NotNow, match="takeover: the nh that runs with"):
        take_over(tmp_path)


def test_what_the_other_one_leaves_is_taken(tmp_path: Path) -> None:
    with answering(tmp_path, encode(HandoverMessage(draining=True))):
        assert take_over(tmp_path).message == HandoverMessage(draining=True)


def test_one_that_waits_is_told_once_that_it_was_taken_over(tmp_path: Path) -> None:
    with answering(tmp_path, encode(HandoverMessage(awaits=True))) as old:
        inherited = take_over(tmp_path)
        inherited.close()
        assert inherited.awaited_by is not None, "this process may still end before it serves"
        for _ in range(2):
            inherited.confirm()
    assert decode_to_old(old.heard) == TakenOver()


def test_one_that_waits_is_told_a_moment_later_where_the_system_has_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is told nothing executes the installed code: two supervisors would have the same calls."""
    refusals = [errno.ENOMEM, errno.ENOBUFS]
    send = socket.socket.send

    def refuse(sock: socket.socket, record: bytes) -> int:
        if refusals:
            number = refusals.pop()
            raise OSError(number, os.strerror(number))
        return send(sock, record)

    with answering(tmp_path, encode(HandoverMessage(awaits=True))) as old:
        inherited = take_over(tmp_path)
        inherited.close()
        monkeypatch.setattr(socket.socket, "send", refuse)
        inherited.confirm()
    assert decode_to_old(old.heard) == TakenOver()


def test_one_that_does_not_wait_is_told_nothing(tmp_path: Path) -> None:
    with answering(tmp_path, encode(HandoverMessage(draining=True))) as old:
        inherited = take_over(tmp_path)
        assert inherited.awaited_by is None
        inherited.confirm()
    assert old.heard == b""


class answering:  # noqa: N801  a context manager
    """A supervisor that answers Yield with a record; b"": it ends the connection."""

    def __init__(self, directory: Path, answer: bytes) -> None:
        self._answer = answer
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.settimeout(TIMEOUT_S)
        self._sock.bind(str(directory / NAME))
        self._sock.listen(1)
        self._thread = threading.Thread(target=self._serve)
        self.heard = b""
        """What follows Yield, when the block is over."""

    def _serve(self) -> None:
        connection, _ = self._sock.accept()
        with connection:
            assert isinstance(decode_to_old(connection.recv(1000)), Yield)
            if self._answer:
                connection.send(self._answer)
            connection.shutdown(socket.SHUT_WR)
            self.heard = connection.recv(1000)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._sock.close()
