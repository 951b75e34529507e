"""nh.supervisor.handover.send: the command line of the next nh, and a system that has no room for it now."""

import errno
import os
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

import pytest

from nh.ipc.handover_messages import HandoverMessage
from nh.start_again import HANDOVER_FD
from nh.supervisor.handover import send
from nh.supervisor.handover.receive import receive_after_exec
from nh.supervisor.handover.send import HandoverState, execute_next, own_argv

HOW = ["/usr/bin/python3", "-P", "-m", "nh", "run"]


@pytest.mark.parametrize(
    ("given", "shards", "following"),
    [
        ([], None, []),
        (["--shards", "2", "--ports", "1-2"], None, ["--shards", "2", "--ports", "1-2"]),
        ([], 3, ["--shards", "3"]),
        (["--shards", "2", "--rpc", "x"], 3, ["--shards", "2", "--rpc", "x", "--shards", "3"]),
        (["--rpc", "x", "--shards", "3"], 4, ["--rpc", "x", "--shards", "4"]),
        (["--shards=2"], 4, ["--shards=2", "--shards", "4"]),
    ],
)
def test_the_next_nh_has_the_same_arguments_and_the_last_number_of_shards(
    monkeypatch: pytest.MonkeyPatch, given: list[str], shards: int | None, following: list[str]
) -> None:
    monkeypatch.setattr(sys, "orig_argv", [*HOW, *given])
    assert own_argv(shards) == [sys.executable, *HOW[1:], *following]


def test_the_command_line_does_not_grow_with_every_change_of_the_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "orig_argv", [*HOW, "--rpc", "x"])
    for shards in (1, 2, 3):
        monkeypatch.setattr(sys, "orig_argv", own_argv(shards))
    assert own_argv() == [sys.executable, *HOW[1:], "--rpc", "x", "--shards", "3"]


class Executed(Exception):
    """In place of the program that execve(2) executes."""


def execute(_path: str, _argv: list[str], environment: dict[str, str]) -> NoReturn:
    """See what the program receives."""
    variables = {HANDOVER_FD: str(os.dup(int(environment[HANDOVER_FD])))}
    assert receive_after_exec(variables).message.group == "pair"
    raise Executed


def at_first_refused(step: Callable[..., object], number: int) -> Callable[..., object]:
    """A step for which the system has room at the third try only."""
    refusals = [number, number]

    def tried(*arguments: object) -> object:
        if refusals:
            number = refusals.pop()
            raise OSError(number, os.strerror(number))
        return step(*arguments)

    return tried


STATE = HandoverState(HandoverMessage(group="pair"), [], {})
SHORTAGES = [
    (socket, "socketpair", errno.ENFILE),
    (socket, "send_fds", errno.ETOOMANYREFS),
    (os, "execve", errno.ENOMEM),
    (os, "execve", errno.EAGAIN),
]


@pytest.mark.parametrize(("module", "step", "number"), SHORTAGES)
def test_a_system_that_has_no_room_for_a_moment_does_not_end_nh(
    monkeypatch: pytest.MonkeyPatch, module: object, step: str, number: int, no_descriptor_leaks: None
) -> None:
    """The shards have left this supervisor, so it cannot stay."""
    monkeypatch.setattr(os, "execve", execute)
    monkeypatch.setattr(module, step, at_first_refused(getattr(module, step), number))
    with pytest.raises(Executed):
        execute_next(STATE, ["nh"])


@pytest.mark.parametrize(("module", "step", "number"), SHORTAGES)
def test_a_system_that_has_no_room_for_long_is_told(
    monkeypatch: pytest.MonkeyPatch, module: object, step: str, number: int, no_descriptor_leaks: None
) -> None:
    monkeypatch.setattr(send, "SHORT_S", 0.0)
    monkeypatch.setattr(os, "execve", execute)
    monkeypatch.setattr(module, step, at_first_refused(getattr(module, step), number))
    with pytest.raises(OSError, match=os.strerror(number)):
        execute_next(STATE, ["nh"])
