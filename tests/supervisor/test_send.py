"""nh.supervisor.handover.send: the command line of the next nh."""

import sys

import pytest

from nh.supervisor.handover.send import own_argv

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
