"""nh.supervisor.standby.ownership: what a relay does if its calls are not taken, or a step meets a bug."""

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from nh.commands import Demote
from nh.results import Demoting, Result
from nh.stats.layout import SupervisorStats
from nh.supervisor.standby import ownership
from nh.supervisor.standby.ownership import SAVE_S, TAKE_S, Ownership, Reactions
from nh.supervisor.store.lease import Lease
from tests.supervisor.manual_loop import ManualLoop


def fail(*_: object) -> None:
    """Meet a bug."""
    raise RuntimeError("a bug")


class Giver:
    """A relay with one standby, which does not take the calls.

    Args:
        lease_s: of the calls; the server has renewed it just now.
        silent: the server executes the first GIVE and answers nothing from then on.
    """

    def __init__(self, lease_s: float, monkeypatch: pytest.MonkeyPatch, *, silent: bool) -> None:
        self._silent = silent
        self.loop = ManualLoop()
        monkeypatch.setattr(ownership, "boottime", self.loop.now)
        self.lease = Lease(lease_s)
        self.lease.renewed(sent_at=self.loop.now())
        self.lease.told("", {"standby": 1})
        self.stats = SupervisorStats()
        self.moving: list[bool] = []
        self.kept_at: float | None = None
        self.replies: list[Result] = []
        self.why_lost = ""
        self.unsaved: list[bytes] = []
        self.told: list[str] = []
        self.lost: list[str] = []
        self.begins_with_a_bug = self.looks_with_a_bug = False
        self.store = SimpleNamespace(lease=self.lease, works=True, pending=0, give=self._give)
        runtime: Any = SimpleNamespace(
            loop=self.loop,
            stats=self.stats,
            storage=SimpleNamespace(
                store=self.store,
                deadline=SimpleNamespace(set_moving=self.moving.append),
                why_lost=self._why_lost,
            ),
        )
        manager: Any = SimpleNamespace(all_up=True, busy=False, stopping=False, save_all=self._save_all)
        self.manager = manager
        self.ownership = Ownership(
            runtime,
            manager,
            Reactions(
                is_leaving=lambda: False,
                on_lost=self.lost.append,
                on_begun=self._on_begun,
                on_kept=self._on_kept,
                on_given=lambda: self.told.append("given"),
                on_over=lambda: self.told.append("over"),
            ),
        )
        self.ownership.start()

    def demote(self) -> None:
        """Have it give the calls, and wait for what comes of it."""
        self.ownership.demote(Demote("standby"), self.replies.append)
        assert self.replies == [Demoting("standby", 1)]
        for _ in range(800):
            self.loop.advance(0.01)

    def _why_lost(self) -> str:
        if self.looks_with_a_bug:
            fail()
        return self.why_lost

    def _save_all(self, then: Callable[[list[bytes]], None]) -> None:
        self.loop.call_later(0, lambda: then(self.unsaved))

    def _give(self, standby: str) -> None:
        self.lease.give_to = standby
        if not self._silent or not self.lease.given_to:
            self.lease.given_to = standby

    def _on_begun(self) -> None:
        if self.begins_with_a_bug:
            fail()

    def _on_kept(self) -> None:
        self.kept_at = self.loop.now()


@pytest.mark.parametrize("lease_s", [1.0, 2.0, 5.0])
def test_it_keeps_the_calls_before_its_shards_end_by_their_deadline(
    lease_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    giver = Giver(lease_s, monkeypatch, silent=True)
    giver.demote()
    assert giver.kept_at is not None
    assert giver.kept_at < giver.lease.ends_at
    assert not giver.lost
    assert giver.moving == [True, False]
    assert not giver.told
    assert giver.stats.handover_fault == "the store's server does not answer; the standby may have the calls"


def test_it_takes_back_the_calls_that_the_standby_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    giver = Giver(60.0, monkeypatch, silent=False)
    begun = giver.loop.now()
    giver.demote()
    assert giver.lease.given_to == ""
    assert giver.kept_at is not None
    assert giver.kept_at < begun + TAKE_S + 1
    assert giver.moving == [True, False]
    assert giver.stats.handover_fault == f"the standby standby has not taken the calls within {TAKE_S:g} s"


def test_a_standby_that_asks_in_vain_is_told_of_once_each_time_that_it_begins_to_ask(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    giver = Giver(60.0, monkeypatch, silent=False)
    giver.manager.all_up = False
    for wanted_by in ("standby", "", "standby"):
        giver.lease.told(wanted_by, {"standby": 1})
        for _ in range(500):
            giver.loop.advance(0.01)
    assert caplog.text.count("the standby standby asks for the calls, and does not get them") == 2
    assert not giver.moving


def never(*_: object) -> None:
    """Say nothing of what was saved."""


@pytest.mark.parametrize(
    "reason", [{"pending": 1}, {"works": False}, {"save_all": never}], ids=["slow", "away", "a shard hangs"]
)
def test_it_keeps_the_calls_where_the_store_has_not_all_of_them(
    reason: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standby would go on with some as they were before."""
    giver = Giver(60.0, monkeypatch, silent=False)
    changes = giver.manager if "save_all" in reason else giver.store
    giver.loop.call_later(0, lambda: vars(changes).update(reason))
    giver.demote()
    assert giver.kept_at is not None
    assert True not in giver.moving
    assert giver.stats.handover_fault == f"the calls could not be written to the store within {SAVE_S:g} s"


@pytest.mark.parametrize("step", ["_save", "_give", "_take_back", "_end_without"])
def test_a_step_that_meets_a_bug_ends_the_handover_and_commands_are_read_again(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ownership, step, fail)
    giver = Giver(5.0, monkeypatch, silent=True)
    giver.ownership.demote(Demote("standby"), giver.replies.append)
    with pytest.raises(RuntimeError, match="a bug"):  # the loop logs it
        giver.loop.advance(10.0)
    assert giver.kept_at == giver.loop.now()
    assert giver.lease.give_to == ""
    assert not giver.moving or not giver.moving[-1]
    assert giver.stats.handing_over == 0


def test_a_bug_where_a_move_begins_leaves_no_relay_that_reads_no_commands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    giver = Giver(60.0, monkeypatch, silent=False)
    giver.begins_with_a_bug = True
    with pytest.raises(RuntimeError, match="a bug"):
        giver.ownership.demote(Demote("standby"), giver.replies.append)
    for _ in range(800):
        giver.loop.advance(0.01)
    assert giver.kept_at is not None
    assert giver.stats.handing_over == 0


def test_a_relay_whose_store_cannot_be_closed_has_given_its_calls_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    giver = Giver(5.0, monkeypatch, silent=False)
    giver.store.close = fail
    giver.ownership.demote(Demote("standby"), giver.replies.append)
    giver.loop.advance(0.01)
    giver.lease.lost("standby")
    giver.why_lost = "the standby has the calls now"
    with contextlib.suppress(RuntimeError):  # what a loop does with an error that is left to it
        giver.loop.advance(1.0)
    giver.loop.advance(10.0)
    assert giver.told == ["given", "over"]
    assert giver.stats.handing_over == 0


def test_a_look_at_the_lease_that_meets_a_bug_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the relay would go on beside another one that has its calls."""
    giver = Giver(5.0, monkeypatch, silent=False)
    giver.looks_with_a_bug = True
    with pytest.raises(RuntimeError, match="a bug"):  # the loop logs it
        giver.loop.advance(1.0)
    giver.looks_with_a_bug = False
    giver.loop.advance(1.0)
    assert not giver.lost
    giver.why_lost = "another relay has the calls now"
    giver.loop.advance(ownership.LOOK_S)
    assert set(giver.lost) == {"another relay has the calls now"}


def test_a_call_that_cannot_be_saved_is_named_and_keeps_no_other_from_the_standby(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    giver = Giver(60.0, monkeypatch, silent=False)
    giver.unsaved = [b"one", b"\x1bother"]
    giver.ownership.demote(Demote("standby"), giver.replies.append)
    giver.loop.advance(0.1)
    assert giver.lease.give_to == "standby"
    assert giver.stats.handover_unsaved == r"one, \x1bother"
    assert r"go as they were saved before: one, \x1bother" in caplog.text


def test_of_many_calls_that_cannot_be_saved_some_are_named_whole_and_the_log_has_all(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    giver = Giver(60.0, monkeypatch, silent=False)
    giver.unsaved = [b"%050d" % number for number in range(20)]
    giver.ownership.demote(Demote("standby"), giver.replies.append)
    giver.loop.advance(0.1)
    *named, others = giver.stats.handover_unsaved.split(", ")
    assert [name.encode() for name in named] == giver.unsaved[:4]
    assert others == "…"
    assert giver.unsaved[-1].decode() in caplog.text


def test_no_call_was_given_away_unsaved_where_all_calls_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    giver = Giver(60.0, monkeypatch, silent=False)
    giver.unsaved = [b"one"]
    giver.demote()
    assert giver.stats.handover_fault
    assert not giver.stats.handover_unsaved
