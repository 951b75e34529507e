"""nh.shard.recovery.checkpoints: what changes is saved, cheaply with many calls, and restored."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from nh.calls.call import Call
from nh.calls.media import Endpoint
from nh.calls.session import Session
from nh.calls.snapshots.call import CallSnapshot, take_snapshot
from nh.calls.snapshots.codec import decode_snapshot
from nh.ice.agent import IceAgent
from nh.ice.credentials import new_credentials
from nh.ipc.link_messages import RestoreCall
from nh.loop import SelectorLoop, Timer
from nh.shard.media.plane import SocketPlane
from nh.shard.recovery import checkpoints, refresh
from nh.shard.recovery.checkpoints import Checkpointer
from nh.shard.recovery.refresh import REFRESH_S, SAVED_A_TURN
from nh.shard.recovery.restore import CallRestorer
from tests.calls.fakes import FakeFlow, FakePlane, Proxy, make_proxy, receive
from tests.calls.rtp import Sender

CALLS = 40
PORTS = (20_000, 20_000 + 4 * CALLS - 1)


class Saved:
    """A CheckpointSink that remembers."""

    def __init__(self) -> None:
        self.snapshots: dict[bytes, bytes] = {}
        self.how_often: Counter[bytes] = Counter()

    def in_one_record(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    @property
    def has_backlog(self) -> bool:
        return False

    def store_sockets(self, endpoints: Sequence[Endpoint], fds: Sequence[int]) -> None:
        pass

    def release_sockets(self, endpoints: Sequence[Endpoint]) -> None:
        pass

    def save_call(self, call_id: bytes, snapshot: bytes) -> None:
        self.snapshots[call_id] = snapshot
        self.how_often[call_id] += 1

    def drop_call(self, call_id: bytes, record: bytes = b"") -> None:
        del self.snapshots[call_id]

    def restore_calls(self, *, stored: bool = False) -> list[RestoreCall]:
        """What the next process gets; `stored`: from the store, which has snapshots only."""
        return [
            RestoreCall(call_id, data, of_this_run=not stored) for call_id, data in self.snapshots.items()
        ]


class AtOnce(SelectorLoop):
    """A loop that calls at once what was to come later."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        callback()
        return super().call_later(0, lambda: None)


class Calls:
    """Calls that talk, and the rounds of their checkpointer."""

    def __init__(self) -> None:
        self.saved = Saved()
        self.proxy: Proxy = make_proxy(ports=PORTS)
        self.proxy.now = time.monotonic()
        self.checkpointer = Checkpointer(self.proxy.table, self.saved)
        self._loop = AtOnce()
        self.checkpointer.attach(self._loop)
        self._rounds = 0

    def begin(self, count: int) -> None:
        for number in range(count):
            self.proxy.connect(call_id=b"%d" % number)
            self.checkpointer.call_changed(b"%d" % number)

    def talk(self) -> None:
        for session in self.proxy.plane.running:
            receive(session.legs[0], 172, at=time.monotonic())

    def round(self) -> None:
        self._rounds += 1
        self.checkpointer.housekeeping(time.monotonic() + 2 * REFRESH_S * self._rounds)

    def close(self) -> None:
        self._loop.close()


@pytest.fixture
def calls() -> Iterator[Calls]:
    calls = Calls()
    yield calls
    calls.close()


@pytest.fixture
def many(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """So many that each has its turn in one round of four."""
    monkeypatch.setattr(refresh, "SNAPSHOTS_A_ROUND", CALLS // 4)
    calls.begin(CALLS)
    calls.saved.how_often.clear()
    return calls


def test_few_calls_have_a_snapshot_in_each_round(calls: Calls) -> None:
    calls.begin(3)
    calls.saved.how_often.clear()
    for _ in range(2):
        calls.talk()
        calls.round()
    assert calls.saved.how_often == {b"%d" % number: 2 for number in range(3)}
    assert {decode_snapshot(each).grace_s for each in calls.saved.snapshots.values()} == {0.0}


def test_of_many_calls_each_has_a_snapshot_in_its_turn(many: Calls) -> None:
    for _ in range(4):
        many.talk()
        many.round()
    assert many.saved.how_often == {b"%d" % number: 1 for number in range(CALLS)}


def test_silent_calls_are_not_refreshed(many: Calls) -> None:
    many.talk()
    for _ in range(4):
        many.round()
    many.saved.how_often.clear()
    for _ in range(4):
        many.round()
    assert not many.saved.how_often


def test_calls_in_the_kernel_are_asked_for_the_store_only(many: Calls) -> None:
    flows = [FakeFlow(session.legs[0]) for session in many.proxy.plane.running]
    for _ in range(4):
        for flow in flows:
            flow.forward(172, at=time.monotonic())
        many.round()
    assert many.saved.how_often == {b"%d" % number: 1 for number in range(CALLS)}
    assert {flow.times_asked for flow in flows} <= {1, 2}, "for the snapshot"


def test_what_a_flow_leaves_when_it_ends_is_saved_in_the_next_turn() -> None:
    proxy, saved, loop = make_proxy(ports=PORTS), Saved(), SelectorLoop()
    checkpointer = Checkpointer(proxy.table, saved)
    checkpointer.attach(loop)
    flow = FakeFlow(proxy.connect(call_id=b"0").legs[0])
    checkpointer.path_changed(b"0", flow.leg)
    loop.turn(0)
    assert not saved.snapshots, "a flow that begins is in the kernel's own memory"
    flow.forward(172, at=proxy.now)
    flow.end()
    checkpointer.path_changed(b"0", flow.leg)
    loop.turn(0)
    (session,) = decode_snapshot(saved.snapshots[b"0"]).sessions
    assert session.legs[0].packets == 1
    loop.close()


def test_what_a_round_does_not_save_otherwise_comes_with_a_snapshot(many: Calls) -> None:
    leg = FakeFlow(many.proxy.plane.running[0].legs[0]).leg
    for _ in range(2):
        many.checkpointer.path_changed(b"0", leg)
        many.talk()
        many.round()
    assert many.saved.how_often[b"0"] == 2


def test_what_comes_up_in_the_middle_of_a_round_is_saved_in_the_next_one(many: Calls) -> None:
    """Whosever turn that is."""
    save_call, legs = many.saved.save_call, [FakeFlow(each.legs[0]).leg for each in many.proxy.plane.running]

    def save_and_change_all(call_id: bytes, snapshot: bytes) -> None:
        save_call(call_id, snapshot)
        for number, leg in enumerate(legs):
            many.checkpointer.path_changed(b"%d" % number, leg)
        legs.clear()

    many.saved.save_call = save_and_change_all  # type: ignore[method-assign]
    many.talk()
    many.round()
    assert len(many.saved.how_often) < CALLS
    many.talk()
    for _ in range(2):  # it has two turns
        many.round()
    assert len(many.saved.how_often) == CALLS


def failing_for(bad: bytes) -> Callable[..., CallSnapshot]:
    """take_snapshot() with a bug that one call meets."""

    def fail_for_one(call: Call, **more: Any) -> CallSnapshot:
        if call.call_id == bad:
            raise RuntimeError("a bug")
        return take_snapshot(call, **more)

    return fail_for_one


@pytest.mark.parametrize("bad", [b"0", b"1", b"2"])
def test_a_call_that_cannot_be_saved_keeps_no_other_from_its_round_and_ends_no_rounds(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, bad: bytes
) -> None:
    calls.begin(3)
    calls.saved.how_often.clear()
    calls.talk()
    with monkeypatch.context() as broken:
        broken.setattr(checkpoints, "take_snapshot", failing_for(bad))
        calls.round()
    others = {b"0", b"1", b"2"} - {bad}
    assert calls.saved.how_often == dict.fromkeys(others, 1)
    calls.talk()
    calls.round()
    assert calls.saved.how_often == {**dict.fromkeys(others, 2), bad: 1}


@pytest.mark.parametrize("bad", [b"0", b"1", b"2"])
def test_a_call_that_cannot_be_handed_over_keeps_no_other_from_the_next_process(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, bad: bytes
) -> None:
    calls.begin(3)
    monkeypatch.setattr(checkpoints, "take_snapshot", failing_for(bad))
    others = {b"0", b"1", b"2"} - {bad}
    assert {each.call_id for each in calls.checkpointer.checkpoints()} == others
    assert f"call {bad.decode()} cannot be handed over" in caplog.text
    calls.saved.snapshots.clear()
    calls.checkpointer.save_all()
    assert set(calls.saved.snapshots) == others


def test_calls_that_cannot_be_saved_before_a_move_are_named_and_the_others_are_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoints, "SAVED_A_TURN", 2)
    proxy, saved, loop, ends = make_proxy(ports=PORTS), Saved(), SelectorLoop(), list[list[bytes]]()
    checkpointer = Checkpointer(proxy.table, saved)
    checkpointer.attach(loop)
    for number in range(5):
        proxy.connect(call_id=b"%d" % number)
    monkeypatch.setattr(checkpoints, "take_snapshot", failing_for(b"3"))
    checkpointer.save_in_turns(lambda unsaved: ends.append(list(unsaved)))
    while not ends:
        loop.turn(0)
    loop.close()
    assert ends == [[b"3"]]
    assert set(saved.snapshots) == {b"0", b"1", b"2", b"4"}


def test_a_leg_that_needs_a_snapshot_gets_one_now_or_in_the_next_round() -> None:
    """Several legs of a call say so at different times."""
    proxy, saved, loop = make_proxy(ports=PORTS), Saved(), SelectorLoop()
    checkpointer = Checkpointer(proxy.table, saved)
    checkpointer.attach(loop)
    now = proxy.now = time.monotonic()
    legs = proxy.connect(call_id=b"0").legs
    for index, count in ((0, 1), (1, 1)):
        receive(legs[index], 172, at=now + index)
        proxy.table.get_call(b"0").note(now=now + index)
        checkpointer.leg_outdated(b"0", legs[index])
        loop.turn(0)
        assert saved.how_often[b"0"] == count
    checkpointer.housekeeping(now + 2 * REFRESH_S)
    loop.turn(0)
    assert saved.how_often[b"0"] == 2
    loop.close()


def restored(saved: list[RestoreCall]) -> list[Session]:
    """The sessions of these calls in the next process."""
    after = make_proxy(ports=PORTS)
    after.plane.inherited = {}  # type: ignore[attr-defined]
    plane: SocketPlane = after.plane  # type: ignore[assignment]
    restorer = CallRestorer(after.table, plane, Checkpointer(after.table, Saved()))
    assert restorer.restore({}, saved).restored == len(saved)
    return after.plane.running


def test_a_successor_learns_from_the_kernel_how_long_calls_are_silent(
    many: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snapshots do not follow what the kernel forwards. A flow that is gone cannot tell."""
    now = time.monotonic()
    for session in many.proxy.plane.running:
        FakeFlow(session.legs[0])
        session.last_active = now - 200.0
    many.checkpointer.save_all()
    first, *_, latest = many.proxy.plane.running
    start = FakePlane.start

    def adopt(plane: FakePlane, session: Session) -> None:
        start(plane, session)
        if session.id != latest.id:
            ago_s = 20.0 if session.id == first.id else 100.0
            FakeFlow(session.legs[0]).forward(172, at=now - ago_s)

    monkeypatch.setattr(FakePlane, "start", adopt)
    silent_s = {each.id: now - each.last_active for each in restored(many.saved.restore_calls())}
    assert silent_s.pop(first.id) == pytest.approx(20.0)
    assert silent_s.pop(latest.id) == pytest.approx(0.0, abs=50.0)
    assert list(silent_s.values()) == pytest.approx([100.0] * (CALLS - 2))


@pytest.mark.parametrize(("stored", "age_s"), [(True, 5.0), (False, 65.0)])
def test_a_call_of_the_store_may_have_been_active_until_its_next_snapshot(
    many: Calls, stored: bool, age_s: float
) -> None:
    """The age of a snapshot in the store is no silence, up to the time of the next."""
    many.talk()
    before = time.monotonic() - 65.0
    for session in many.proxy.plane.running:
        session.last_active = session.legs[0].last_seen = before
    many.checkpointer.save_all()
    (session, *_) = restored(many.saved.restore_calls(stored=stored))
    assert time.monotonic() - session.last_active == pytest.approx(age_s, abs=25.0)


@pytest.mark.parametrize(("in_order", "lost"), [(True, 7), (False, 0)])
def test_a_gap_is_loss_after_an_end_in_order_and_unknown_after_a_kill(
    many: Calls, in_order: bool, lost: int
) -> None:
    meter = next(iter(many.proxy.plane.running)).legs[0].find_meter()
    assert meter is not None
    Sender(meter).send(1, 2)
    if in_order:
        many.checkpointer.save_all()
    else:
        many.checkpointer.save_in_turns(lambda unsaved: None)
        many.round()
    (session, *_) = restored(many.saved.restore_calls())
    after = session.legs[0].find_meter()
    assert after is not None
    Sender(after).send(10, 11)
    assert [each.lost for each in after.streams] == [lost]


def test_what_an_end_has_shown_by_ice_is_saved_at_once_and_in_a_storm_of_checks_some_of_it_a_turn_later() -> (
    None
):
    proxy, saved, loop = make_proxy(ports=PORTS), Saved(), SelectorLoop()
    checkpointer = Checkpointer(proxy.table, saved)
    checkpointer.attach(loop)
    for number in range(SAVED_A_TURN + 2):
        proxy.connect(call_id=b"%d" % number)
    legs = [session.legs[0] for session in proxy.plane.running]
    checkpointer.source_changed(b"0", legs[0])
    assert not saved.snapshots, "the next packet of a phone without ICE shows the same again"
    for number, leg in enumerate(legs):
        leg.use_ice(IceAgent((new_credentials(),), "them"))
        checkpointer.source_changed(b"%d" % number, leg)
    assert len(saved.snapshots) == SAVED_A_TURN
    while len(saved.snapshots) < len(legs):
        loop.turn(0)
    loop.close()


def test_a_call_that_cannot_be_saved_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, saved, loop = make_proxy(ports=PORTS), Saved(), SelectorLoop()
    checkpointer = Checkpointer(proxy.table, saved)
    checkpointer.attach(loop)
    for number in range(2):
        proxy.connect(call_id=b"%d" % number)
    (bad, bad_leg), (good, good_leg) = [
        (b"%d" % number, session.legs[0]) for number, session in enumerate(proxy.plane.running)
    ]

    def note(*, now: float) -> float:
        raise RuntimeError(f"a bug at {now}")

    call = proxy.table.find_call(bad)
    assert call is not None
    monkeypatch.setattr(type(call), "note", lambda self, *, now: note(now=now) if self is call else now)
    for _ in range(2):
        saved.snapshots.clear()
        checkpointer.source_changed(bad, bad_leg)
        checkpointer.source_changed(good, good_leg)
        loop.turn(0)
        assert set(saved.snapshots) == {good}
    loop.close()


def test_what_a_command_changes_is_saved_with_it_once(calls: Calls) -> None:
    calls.begin(1)
    (session,) = calls.proxy.plane.running
    session.legs[0].use_ice(IceAgent((new_credentials(),), "them"))
    calls.saved.how_often.clear()
    calls.checkpointer.call_changing(b"0")
    calls.checkpointer.source_changed(b"0", session.legs[0])
    assert not calls.saved.how_often
    calls.checkpointer.call_changed(b"0")
    calls.checkpointer.source_changed(b"0", session.legs[0])
    assert calls.saved.how_often == {b"0": 2}
