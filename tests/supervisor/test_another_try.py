"""nh.supervisor.handover.another_try: what was handed over is there once more for a start that fails."""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from nh.errors import NotNow
from nh.ipc.handover_messages import HandoverMessage
from nh.ipc.inherited import Inherited
from nh.start_again import HANDOVER_FD
from nh.supervisor.handover import another_try
from nh.supervisor.handover.another_try import keep_for_another_try, trying_again
from nh.supervisor.handover.receive import receive_after_exec
from nh.supervisor.handover.send import HandoverState, send_handover


@pytest.fixture(autouse=True)
def _nothing_leaks(no_descriptor_leaks: None) -> None:
    """Neither a try nor its end leaves a descriptor open."""


class Executed(Exception):
    """In place of the program that execve(2) executes."""


@pytest.fixture
def environments(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Of the programs that were executed; their descriptor is a duplicate."""
    found: list[dict[str, str]] = []

    def execute(_path: str, _argv: list[str], environment: dict[str, str]) -> NoReturn:
        found.append({HANDOVER_FD: str(os.dup(int(environment[HANDOVER_FD])))})
        raise Executed

    monkeypatch.setattr(os, "execve", execute)
    monkeypatch.setattr(another_try, "PAUSE_S", 0.0)
    return found


@contextlib.contextmanager
def handed_over(tmp_path: Path, try_until: float = 0.0) -> Iterator[Inherited]:
    """What a start behind execve(2) has got: a lock, a listening socket and the connection of a client."""
    lock = os.open(tmp_path / "nh.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with socket.socket() as listener, socket.socket() as client, near:
        message = HandoverMessage(
            (str(tmp_path / "nh.lock"),), (("unix", "x"),), group="pair", try_until=try_until
        )
        state = HandoverState(message, [lock, listener.fileno()], {"rpc": [client.fileno()]})
        send_handover(near, state)
    os.close(lock)
    inherited = receive_after_exec({HANDOVER_FD: str(far.detach())})
    with contextlib.closing(inherited):
        yield inherited
        inherited.drop_another_try()


def test_a_start_that_fails_is_begun_anew_with_all_that_was_handed_over(
    tmp_path: Path, environments: list[dict[str, str]]
) -> None:
    with handed_over(tmp_path) as inherited:
        keep_for_another_try(inherited)
        inherited.drop_listeners(())
        with pytest.raises(Executed), trying_again(inherited):
            raise OSError(errno.EIO, "a disk")
    with contextlib.closing(receive_after_exec(environments[0])) as again:
        assert again.message.group == "pair"
        assert again.message.try_until > time.monotonic(), "tries end some time"
        assert len(again.fds) == len(again.connections["rpc"]) + 1 == 2, "a lock, a listener, a connection"


def test_the_last_try_fails_as_any_start(tmp_path: Path, environments: list[dict[str, str]]) -> None:
    with handed_over(tmp_path, try_until=time.monotonic()) as inherited:
        keep_for_another_try(inherited)
        with pytest.raises(NotNow, match="no room"), trying_again(inherited):
            raise NotNow("no room")
        assert not inherited.goes_on_elsewhere
    assert not environments


def test_a_cold_start_is_tried_once(environments: list[dict[str, str]]) -> None:
    inherited = Inherited()
    keep_for_another_try(inherited)
    with pytest.raises(NotNow), trying_again(inherited):
        raise NotNow("no room")
    assert not environments


def test_a_supervisor_that_serves_is_not_begun_anew(
    tmp_path: Path, environments: list[dict[str, str]]
) -> None:
    with handed_over(tmp_path) as inherited:
        keep_for_another_try(inherited)
        assert inherited.goes_on_elsewhere
        inherited.confirm()
        with pytest.raises(ValueError, match="a bug"), trying_again(inherited):
            raise ValueError("a bug")
    assert not environments


def test_a_start_without_room_for_another_try_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_arguments: object) -> NoReturn:
        raise OSError(errno.ETOOMANYREFS, "Too many references")

    with handed_over(tmp_path) as inherited:
        monkeypatch.setattr(socket, "send_fds", refuse)
        keep_for_another_try(inherited)
        assert inherited.another_try is None
        assert inherited.fds, "this start has everything"
    assert "cannot be kept for another try: Too many references; nh ends if this start fails" in caplog.text


def test_what_cannot_be_executed_again_fails_with_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> NoReturn:
        raise OSError(errno.ENOENT, "No such file")

    monkeypatch.setattr(os, "execve", refuse)
    monkeypatch.setattr(another_try, "PAUSE_S", 0.0)
    with handed_over(tmp_path) as inherited:
        keep_for_another_try(inherited)
        with pytest.raises(NotNow, match="no room"), trying_again(inherited):
            raise NotNow("no room")
        assert not inherited.goes_on_elsewhere
