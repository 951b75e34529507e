"""nh.supervisor.shards.manager and backoff: when shards are started, started again, and given up."""

import fnmatch
import logging

import pytest

from nh.commands import CloseCall
from nh.ipc.handover_socket import SHARDS
from nh.ipc.link_messages import AllSaved
from nh.results import Closed, Failure, RelayResult
from nh.stats import ShardState, SupervisorStats
from nh.supervisor.host.cpu_use import CpuUse
from nh.supervisor.shards.backoff import (
    FIRST_DELAY_S,
    LONG_LIFE_S,
    MANY_DEATHS,
    MAX_DELAY_NEVER_UP_S,
    MAX_DELAY_WAS_UP_S,
)
from nh.supervisor.shards.handle import HandleState
from nh.supervisor.shards.manager import MAX_START_FAILURES, START_S, ShardManager
from tests.supervisor.fake_slots import FakeHandle, FakeSlot
from tests.supervisor.manual_loop import ManualLoop


class Stage:
    """A manager over fake slots; `handles` are those of all processes, in the order of their starts."""

    def __init__(self, shards: int = 2) -> None:
        self.loop = ManualLoop()
        self.stats = SupervisorStats()
        self.handles: list[FakeHandle] = []
        self.all_up = 0
        self.given_up: list[str] = []
        self.stopped = 0
        self.slots = [_RecordedSlot(self, number, shards) for number in range(shards)]
        self.starved = False
        self.busy_s = 0.0  # since the turn of the loop began
        self.manager = ShardManager(
            self.loop,
            self.slots,
            on_all_up=self._on_all_up,
            on_given_up=self.given_up.append,
            read_cpu_use=lambda _pid: CpuUse(self.starved, 0.1),
            clock=lambda: self.loop.now() + self.busy_s,
        )
        self.manager.start()

    def set_startable(self, startable: bool) -> None:
        for slot in self.slots:
            slot.startable = startable

    def _on_all_up(self) -> None:
        self.all_up += 1

    def on_stopped(self) -> None:
        self.stopped += 1

    def states(self) -> list[int]:
        return [status.state for status in self.stats.shards[:2]]


class _RecordedSlot(FakeSlot):
    def __init__(self, stage: Stage, number: int, shards: int) -> None:
        super().__init__(stage.loop, number, shards, stage.stats.shards[number])
        self.handles = stage.handles


def stage_with_all_up(shards: int = 2) -> Stage:
    stage = Stage(shards)
    for handle in stage.handles[:]:
        handle.become_ready()
    return stage


def test_it_is_all_up_once_when_the_last_shard_is_ready() -> None:
    stage = Stage()
    stage.handles[1].become_ready()
    assert (stage.all_up, stage.states()) == (0, [ShardState.STARTING, ShardState.UP])
    stage.handles[0].become_ready()
    assert (stage.all_up, stage.states()) == (1, [ShardState.UP, ShardState.UP])
    stage.handles[0].die()
    stage.loop.advance(1.0)
    stage.handles[2].become_ready()
    assert stage.all_up == 1


def test_a_shard_that_dies_is_started_again_at_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    stage = stage_with_all_up()
    with caplog.at_level(logging.ERROR):
        stage.handles[1].die("signal 11, SIGSEGV")
    assert "signal 11, SIGSEGV" in caplog.text
    assert [handle.slot.number for handle in stage.handles] == [0, 1, 1]
    assert stage.states() == [ShardState.UP, ShardState.STARTING]
    assert [status.restarts for status in stage.stats.shards[:2]] == [0, 1]


def test_each_process_of_a_shard_has_a_handover_socket_of_its_own() -> None:
    """One that an earlier supervisor left may listen for the next one while another serves in its place."""
    stage = Stage()
    names = [slot.process_name for slot in stage.slots]
    stage.handles[0].become_ready()
    stage.handles[0].die()
    names.append(stage.slots[0].process_name)
    assert len(set(names)) == 3
    assert all(fnmatch.fnmatch(f"{name}.sock", SHARDS) for name in names)


def test_shards_whose_start_takes_long_are_started_in_turns_of_their_own() -> None:
    stage = stage_with_all_up(shards=3)
    stage.loop.advance(1.0)
    stage.busy_s = 5.0
    for handle in stage.handles[:]:
        handle.die()
    assert [handle.slot.number for handle in stage.handles[3:]] == [0], "the next waits for a turn"
    stage.busy_s = 0.0
    stage.loop.advance(1.0)
    assert sorted(handle.slot.number for handle in stage.handles[3:]) == [0, 1, 2]
    assert [status.restarts for status in stage.stats.shards[:3]] == [1, 1, 1]


def test_no_shard_that_waits_for_a_turn_is_started_when_nh_ends() -> None:
    stage = stage_with_all_up(shards=2)
    stage.loop.advance(1.0)
    stage.busy_s = 5.0
    for handle in stage.handles[:]:
        handle.die()
    stage.manager.stop(1.0, stage.on_stopped)
    stage.busy_s = 0.0
    stage.loop.advance(60.0)
    assert [handle.slot.number for handle in stage.handles[2:]] == [0]


def test_a_down_shard_answers_at_once_and_the_other_as_ever() -> None:
    stage = stage_with_all_up()
    stage.set_startable(False)
    stage.handles[1].die()
    results: list[RelayResult] = []
    for shard in (0, 1):
        stage.slots[shard].execute(CloseCall(b"c"), results.append)
    assert results == [Closed(0), Failure("unavailable", "shard 1 is down")]


def test_shards_are_busy_while_one_has_a_command_to_answer() -> None:
    stage = stage_with_all_up()
    assert not stage.manager.busy
    stage.handles[1].in_flight = 1
    assert stage.manager.busy, "a supervisor that left now would leave a client without an answer"
    stage.handles[1].die()
    stage.manager.stop(1.0, stage.on_stopped)
    assert not stage.manager.busy, "what has no process answers nothing"


def test_after_many_deaths_delays_double_from_death_to_death_up_to_a_limit() -> None:
    stage = stage_with_all_up(shards=1)
    for number in range(MANY_DEATHS):
        stage.handles[-1].die()
        assert len(stage.handles) == number + 2
        stage.handles[-1].become_ready()
    delays = []
    for _ in range(7):
        died_at, known = stage.loop.now(), len(stage.handles)
        stage.handles[-1].die()
        while len(stage.handles) == known:
            stage.loop.advance(0.05)
        delays.append(round(stage.loop.now() - died_at, 1))
        stage.handles[-1].become_ready()
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, *[MAX_DELAY_WAS_UP_S] * 3], abs=0.11)
    assert not stage.given_up


def test_a_shard_that_dies_before_it_is_ready_again_is_not_started_at_once() -> None:
    stage = stage_with_all_up(shards=1)
    stage.handles[-1].die()
    stage.handles[-1].die()
    assert (len(stage.handles), stage.states()[0]) == (2, ShardState.DOWN)
    stage.loop.advance(FIRST_DELAY_S)
    assert len(stage.handles) == 3


def test_a_shard_that_hangs_is_killed_counted_and_started_again() -> None:
    stage = stage_with_all_up()
    stage.slots[1].kill_hanging()
    assert [handle.slot.number for handle in stage.handles] == [0, 1, 1]
    assert [status.hangs for status in stage.stats.shards[:2]] == [0, 1]


def test_after_a_long_life_the_delay_begins_anew() -> None:
    stage = stage_with_all_up(shards=1)
    for _ in range(8):
        stage.handles[-1].die()
        stage.loop.advance(MAX_DELAY_NEVER_UP_S)
        stage.handles[-1].become_ready()
    stage.loop.advance(LONG_LIFE_S)
    known = len(stage.handles)
    stage.handles[-1].die()
    stage.loop.advance(0.11)
    assert len(stage.handles) == known + 1


def test_a_shard_that_never_gets_ready_makes_the_first_start_fail() -> None:
    stage = Stage()
    stage.handles[0].become_ready()
    for _ in range(MAX_START_FAILURES + 1):
        assert not stage.given_up
        stage.handles[-1].die("exit status 2")
        stage.loop.advance(MAX_DELAY_NEVER_UP_S)
    (why,) = stage.given_up
    assert "shard 1" in why
    assert "exit status 2" in why


def test_a_few_deaths_at_the_first_start_are_survived() -> None:
    stage = Stage()
    stage.handles[0].become_ready()
    for _ in range(MAX_START_FAILURES):
        stage.handles[-1].die()
        stage.loop.advance(MAX_DELAY_NEVER_UP_S)
    stage.handles[-1].become_ready()
    assert (stage.all_up, stage.given_up) == (1, [])


def test_once_it_was_all_up_it_never_gives_up() -> None:
    stage = stage_with_all_up()
    for _ in range(5 * MAX_START_FAILURES):
        stage.handles[-1].die()
        stage.loop.advance(MAX_DELAY_NEVER_UP_S)
    assert not stage.given_up


def test_a_process_that_cannot_be_started_counts_as_one_that_died() -> None:
    stage = stage_with_all_up()
    stage.set_startable(False)
    stage.handles[0].die()
    stage.loop.advance(5.0)
    assert stage.states()[0] == ShardState.DOWN
    stage.set_startable(True)
    stage.loop.advance(MAX_DELAY_NEVER_UP_S)
    stage.handles[-1].become_ready()
    assert stage.states()[0] == ShardState.UP


def test_a_shard_that_does_not_get_ready_in_time_is_started_again() -> None:
    stage = Stage(shards=1)
    stage.loop.advance(START_S + 1.0)
    assert [handle.state for handle in stage.handles] == [HandleState.GONE, HandleState.STARTING]


def test_a_shard_that_waits_for_a_cpu_is_waited_for() -> None:
    stage = Stage(shards=1)
    stage.starved = True
    stage.loop.advance(3 * START_S)
    assert [handle.state for handle in stage.handles] == [HandleState.STARTING]
    stage.starved = False
    stage.loop.advance(START_S + 1.0)
    assert [handle.state for handle in stage.handles] == [HandleState.GONE, HandleState.STARTING]


def test_stopping_ends_every_shard_and_starts_none_again() -> None:
    stage = stage_with_all_up()
    stage.manager.stop(3.0, stage.on_stopped)
    assert all(handle.asked_to_end for handle in stage.handles)
    stage.handles[0].die("exit status 0")
    assert stage.stopped == 0
    stage.handles[1].die("exit status 0")
    stage.loop.advance(60.0)
    assert (stage.stopped, len(stage.handles)) == (1, 2)


def test_stopping_in_the_middle_of_a_delay_starts_nothing() -> None:
    stage = Stage(shards=1)
    stage.handles[0].die()
    stage.manager.stop(3.0, stage.on_stopped)
    stage.loop.advance(60.0)
    assert (stage.stopped, len(stage.handles)) == (1, 1)


def test_killing_ends_what_does_not_want_to_end() -> None:
    stage = stage_with_all_up()
    stage.manager.stop(3.0, stage.on_stopped)
    stage.manager.kill()
    assert stage.stopped == 1


def test_a_bug_in_what_watches_a_shard_keeps_it_from_no_restart(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    stage = stage_with_all_up()
    stage.slots[0].events.exit.insert(0, fail)
    stage.slots[0].events.up.insert(0, fail)
    stage.handles[0].die("signal 9, SIGKILL")
    assert len(stage.handles) == 3
    stage.handles[2].become_ready()
    assert stage.states() == [ShardState.UP, ShardState.UP]
    assert caplog.text.count("RuntimeError: a bug") == 2


def test_all_is_saved_when_each_shard_says_so_and_each_names_what_it_could_not_save() -> None:
    stage, saved = stage_with_all_up(), list[list[bytes]]()
    stage.manager.save_all(lambda unsaved: saved.append(list(unsaved)))
    stage.slots[0].on_all_saved(AllSaved((b"one",)))
    stage.slots[0].on_all_saved(AllSaved((b"said twice",)))
    assert not saved
    stage.slots[1].on_all_saved(AllSaved((b"other",)))
    assert saved == [[b"one", b"other"]]
