"""nh.supervisor.handover.upgrade: a run hands over once, also if two ask for it in one turn of its loop."""

import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nh.calls.snapshots.version import READABLE
from nh.ipc.handover_messages import Yield, encode
from nh.loop import SelectorLoop
from nh.results import Result, Upgrading
from nh.supervisor.handover import upgrade
from nh.supervisor.handover.preflight import CheckedIn
from nh.supervisor.handover.receive import NAME
from nh.supervisor.handover.upgrade import UpgradeController


class Begun:
    """A handover that only remembers to whom it was begun."""

    def __init__(self) -> None:
        self.to: list[str] = []

    @property
    def begun(self) -> bool:
        return bool(self.to)

    def to_installed_code(self, _argv: Sequence[str], _listeners: object) -> None:
        self.to.append("the installed code")

    def to_process(self, sock: socket.socket, _listeners: object) -> None:
        self.to.append("another process")
        sock.close()


class Run:
    """A run that can be left, whose installed code is checked at once."""

    def __init__(self, directory: Path) -> None:
        self.loop = SelectorLoop()
        self.begun: Any
        self.begun = Begun()
        self.manager: Any
        self.manager = SimpleNamespace(stopping=False, all_up=True)
        runtime: Any = SimpleNamespace(
            loop=self.loop,
            settings=SimpleNamespace(runtime_path=directory),
            stats=SimpleNamespace(handing_over=0),
            kernel=None,
        )
        self.controller = UpgradeController(runtime, self.manager, self.begun, why_not=lambda: "")
        self.replies: list[Result] = []

    def upgrade(self) -> None:
        self.controller.upgrade(None, self.replies.append)
        assert isinstance(self.replies[-1], Upgrading)

    def turn(self) -> None:
        self.loop.turn(1.0)
        self.loop.turn(0)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    def check(_loop: object, _argv: object, then: Callable[[CheckedIn], None]) -> None:
        then(CheckedIn("9.9.9", READABLE))

    monkeypatch.setattr(upgrade, "Preflight", check)
    run = Run(tmp_path)
    yield run
    run.controller.close()
    run.loop.close()


def test_an_upgrade_is_begun_behind_its_reply(run: Run) -> None:
    run.upgrade()
    assert run.begun.to == []
    run.turn()
    assert run.begun.to == ["the installed code"]


def test_an_upgrade_leaves_the_calls_to_a_process_that_was_first_in_its_turn(
    run: Run, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.connect(str(tmp_path / NAME))
        other.send(encode(Yield(())))
        run.loop.turn(1.0)  # it is accepted, and read in the next turn
        run.upgrade()
        run.turn()
    assert run.begun.to == ["another process"]


def test_an_upgrade_does_not_begin_behind_the_signal_that_ends_nh(run: Run) -> None:
    run.upgrade()
    run.manager.stopping = True
    run.turn()
    assert run.begun.to == []
