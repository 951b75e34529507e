"""nh.supervisor.shards.handle: every command is answered once, whatever becomes of the shard."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

import nh
from nh.calls.settings import RelayConfig
from nh.commands import CloseCall
from nh.ipc import channel
from nh.ipc.backup_messages import BackupMessage, SaveCall
from nh.ipc.link_messages import (
    AllSaved,
    Configure,
    NoCallsLeft,
    RefuseNewCalls,
    Restore,
    Restored,
    TakeNewCalls,
    ToShard,
)
from nh.loop import SelectorLoop
from nh.results import Closed, Failure, RelayResult
from nh.supervisor.shards import handle as handle_module
from nh.supervisor.shards import turns
from nh.supervisor.shards.handle import HandleState, ShardHandle, ShardSpec
from nh.supervisor.shards.process import ShardProcess
from tests.descriptors import descriptors_here
from tools.harness.waiting import turn_until

FAKE_SHARD = str(Path(__file__).with_name("fake_shard.py"))


class FakeRecovery:
    """What would be backed up; nothing is restored."""

    def __init__(self) -> None:
        self.backed_up: list[BackupMessage] = []

    def begin(self) -> Iterator[tuple[ToShard, list[int]]]:
        yield Restore(), []

    def back_up(self, messages: Sequence[BackupMessage], fds: list[int]) -> None:
        self.backed_up += messages

    def restoring(self, message: object) -> None:
        pass

    def restored(self, message: Restored) -> None:
        pass

    def ready(self) -> None:
        pass

    def died(self) -> None:
        pass


class Reports:
    """What a handle reports of its process."""

    def __init__(self) -> None:
        self.ready = 0
        self.exits: list[str] = []
        self.empty: list[int] = []

    def on_ready(self) -> None:
        self.ready += 1

    def on_exit(self, why: str) -> None:
        self.exits.append(why)

    def on_answered(self, duration_s: float) -> None:
        pass

    def on_no_calls_left(self, message: NoCallsLeft) -> None:
        self.empty.append(message.round)

    def on_media_timed_out(self, message: object) -> None:
        pass

    def on_rtcp_seen(self, message: object) -> None:
        pass

    def on_all_saved(self, message: AllSaved) -> None:
        pass


class RunningShard(Reports):
    """A loop with one shard process."""

    def __init__(self, *options: str, command_timeout_s: float = 20.0) -> None:
        super().__init__()
        self.loop = SelectorLoop()
        self.results: list[RelayResult] = []
        spec = ShardSpec(
            configure=Configure(RelayConfig(ports=(40000, 40099), shard=5, shards=8), "none"),
            cpu=min(os.sched_getaffinity(0)),
            command_timeout_s=command_timeout_s,
        )
        self.recovery = FakeRecovery()
        argv = (sys.executable, "-P", FAKE_SHARD, "--version", nh.__version__, *options)
        self.handle = ShardHandle(
            self.loop,
            spec,
            ShardProcess.start(argv),
            self.recovery,
            self,
        )

    def ask(self, *call_ids: bytes) -> None:
        for call_id in call_ids:
            self.handle.execute(CloseCall(call_id), self.results.append)

    def turn_until(self, condition: Callable[[], object]) -> None:
        turn_until(self.loop, condition)

    def close(self) -> None:
        self.handle.kill()
        self.turn_until(lambda: self.handle.state is HandleState.GONE)
        self.loop.close()


@contextlib.contextmanager
def started(*options: str, command_timeout_s: float = 20.0) -> Iterator[RunningShard]:
    opened = RunningShard(*options, command_timeout_s=command_timeout_s)
    try:
        yield opened
    finally:
        opened.close()


@contextlib.contextmanager
def up(*options: str, command_timeout_s: float = 20.0) -> Iterator[RunningShard]:
    with started(*options, command_timeout_s=command_timeout_s) as opened:
        opened.turn_until(lambda: opened.ready)
        yield opened


def codes(results: list[RelayResult]) -> list[str]:
    return [result.code if isinstance(result, Failure) else "ok" for result in results]


def test_commands_are_answered_in_whatever_order_they_are_done() -> None:
    with up() as shard:
        shard.ask(b"late", b"b", b"c")
        shard.turn_until(lambda: len(shard.results) == 3)
        assert shard.results == [Closed(5)] * 3
        assert shard.handle.state is HandleState.UP


def test_results_that_come_together_answer_each_command_once() -> None:
    with up() as shard:
        shard.ask(b"together", b"together", b"ignore", b"last")
        shard.turn_until(lambda: len(shard.results) == 3)
        assert shard.results == [Closed(5)] * 3
        assert shard.handle.busy, "a fourth command is under way"


def test_changes_that_come_together_are_all_backed_up() -> None:
    with up() as shard:
        shard.ask(b"saves")
        shard.turn_until(lambda: shard.results)
        assert shard.results == [Closed(5)]
        assert shard.recovery.backed_up == [SaveCall(b"a", b"1"), SaveCall(b"b", b"2")]


def test_a_result_that_cannot_be_passed_on_holds_up_none_that_came_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_result: RelayResult) -> None:
        raise ValueError("the client's reply cannot be written")

    with up() as shard:
        shard.handle.execute(CloseCall(b"together"), fail)
        shard.ask(b"together", b"last")
        shard.turn_until(lambda: len(shard.results) == 2)
        assert shard.handle.state is HandleState.UP
        assert not shard.handle.busy
    assert "this is a bug in nh" in caplog.text


def test_a_shard_is_pinned_to_its_cpu() -> None:
    with up() as shard:
        assert psutil.Process(shard.handle.pid).cpu_affinity() == [min(os.sched_getaffinity(0))]


def test_a_shard_inherits_its_link_and_no_other_descriptor() -> None:
    read, write = os.pipe()
    try:
        with up() as shard:
            targets = [str(link.readlink()) for link in Path(f"/proc/{shard.handle.pid}/fd").iterdir()]
            assert not any(target.startswith("pipe:") and target in _ours(read, write) for target in targets)
            assert sum(target.startswith("socket:") for target in targets) == 1
    finally:
        os.close(read)
        os.close(write)


def _ours(*descriptors: int) -> set[str]:
    return {str(Path(f"/proc/self/fd/{number}").readlink()) for number in descriptors}


def test_a_shard_that_is_not_ready_yet_is_unavailable() -> None:
    with started("--silent-at-start") as shard:
        shard.ask(b"a")
        assert codes(shard.results) == ["unavailable"]
        assert "starting" in str(shard.results[0])


@pytest.mark.parametrize(("call_id", "why"), [(b"die", "exit status 3"), (b"kill", "signal 9, SIGKILL")])
def test_commands_under_way_are_answered_when_their_shard_dies(call_id: bytes, why: str) -> None:
    with up() as shard:
        shard.ask(b"ignore", b"ignore", b"before", call_id, b"after")
        shard.turn_until(lambda: shard.exits)
        assert shard.exits == [why]
        # what the shard said before it died counts
        assert codes(shard.results) == ["ok"] + ["unavailable"] * 4
        shard.ask(b"later")
        assert codes(shard.results[-1:]) == ["unavailable"]


def test_a_hanging_shard_costs_each_command_its_timeout_and_no_more() -> None:
    with up(command_timeout_s=0.2) as shard:
        shard.ask(b"hang", b"x", b"y")
        shard.turn_until(lambda: len(shard.results) == 3)
        assert codes(shard.results) == ["timeout"] * 3
        shard.ask(b"z")
        shard.turn_until(lambda: len(shard.results) == 4)
        assert codes(shard.results) == ["timeout"] * 4
        assert shard.handle.state is HandleState.UP


def test_an_answer_that_comes_too_late_is_dropped_and_no_other_is_confused() -> None:
    with up(command_timeout_s=0.3) as shard:
        shard.ask(b"late")
        shard.turn_until(lambda: shard.results)
        shard.handle._in_flight._timeout_s = 20.0  # on a busy host the shard may take long for the next one
        shard.ask(b"next")
        shard.turn_until(lambda: len(shard.results) == 2)
        assert codes(shard.results) == ["timeout", "ok"]


def test_only_so_many_commands_of_a_shard_are_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MAX_WAITING", 3)
    with up() as shard:
        shard.ask(*[b"ignore"] * (turns.MAX_AT_ONCE + 4))
        shard.turn_until(lambda: shard.results)
        assert codes(shard.results) == ["unavailable"]
        assert "overloaded" in str(shard.results[0])


def test_a_shard_that_does_not_read_is_overloaded_before_memory_is() -> None:
    with up() as shard:
        shard.ask(b"hang")
        for _ in range(2000):
            shard.ask(b"x" * 16_000)
        shard.turn_until(lambda: shard.results)
        assert set(codes(shard.results)) == {"unavailable"}
        assert "overloaded" in str(shard.results[-1])


def test_a_shard_that_is_told_to_drain_says_when_it_is_empty() -> None:
    with up() as shard:
        assert shard.handle.tell(RefuseNewCalls(3))
        shard.turn_until(lambda: shard.empty)
        assert shard.empty == [3]
        assert shard.handle.tell(TakeNewCalls())
        shard.ask(b"a")
        shard.turn_until(lambda: shard.results)
        assert codes(shard.results) == ["ok"]


def test_a_shard_that_is_not_up_need_not_be_told() -> None:
    with started("--silent-at-start") as shard:
        assert shard.handle.tell(RefuseNewCalls(1))


def test_that_a_shard_cannot_be_told_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in ("KERNEL_BUFFER_BYTES", "MAX_QUEUED_BYTES"):
        monkeypatch.setattr(channel, room, 10_000)
    with up() as shard:
        shard.ask(b"hang")
        assert not all(shard.handle.tell(RefuseNewCalls(1)) for _ in range(2000))


def test_a_shard_that_sends_nonsense_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    with up() as shard:
        shard.ask(b"garbage")
        shard.turn_until(lambda: shard.exits)
        assert codes(shard.results) == ["unavailable"]
        assert "invalid message" in caplog.text


def test_a_message_that_only_a_later_version_knows_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    with up("--version", "9.0.0") as shard:
        shard.ask(b"newer", b"newer", b"call")
        shard.turn_until(lambda: len(shard.results) == 3)
        assert codes(shard.results) == ["ok"] * 3
        assert caplog.text.count("a message that this version of nh does not know: mood") == 1


def test_a_shard_that_loses_its_link_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handle_module, "LOST_LINK_S", 0.1)
    with up() as shard:
        shard.ask(b"unlink")
        shard.turn_until(lambda: shard.results)
        assert codes(shard.results) == ["unavailable"]
        shard.turn_until(lambda: shard.exits)
        assert shard.exits == ["signal 9, SIGKILL"]


def test_a_shard_ends_in_order_when_asked_to() -> None:
    with up() as shard:
        shard.handle.terminate(20.0)
        shard.ask(b"too late")
        shard.turn_until(lambda: shard.exits)
        assert shard.exits == ["exit status 0"]
        assert codes(shard.results) == ["unavailable"]


def test_a_shard_that_does_not_want_to_end_is_killed() -> None:
    with up("--ignore-shutdown") as shard:
        shard.handle.terminate(0.1)
        shard.turn_until(lambda: shard.exits)
        assert shard.exits == ["signal 9, SIGKILL"]


def test_a_shard_of_another_version_is_used_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    with up("--version", "0.0.9") as shard:
        assert "nh was upgraded" in caplog.text
        assert shard.handle.state is HandleState.UP


def test_a_shard_that_cannot_be_watched_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no more watches")

    process = ShardProcess.start((sys.executable, "-P", FAKE_SHARD))
    loop = SelectorLoop()
    monkeypatch.setattr(loop, "add_reader", refuse)
    spec = ShardSpec(
        configure=Configure(RelayConfig(ports=(40000, 40099)), "none"), cpu=0, command_timeout_s=1.0
    )
    with pytest.raises(OSError, match="no more watches"):
        ShardHandle(
            loop,
            spec,
            process,
            FakeRecovery(),
            Reports(),
        )
    assert not psutil.pid_exists(process.pid)
    loop.close()


def test_a_program_that_cannot_be_started_is_an_os_error_and_leaves_nothing_open() -> None:
    before = descriptors_here()
    with pytest.raises(FileNotFoundError):
        ShardProcess.start(("/nonexistent/shard",))
    assert psutil.Process().num_fds() == before
