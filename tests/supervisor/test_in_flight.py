"""nh.supervisor.shards.in_flight: each command is answered once, in time or not."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nh.errors import ShardUnavailable
from nh.results import Closed, Failure, RelayResult
from nh.supervisor.shards import in_flight
from nh.supervisor.shards.in_flight import InFlight
from tests.profiles import examples
from tests.supervisor.manual_loop import ManualLoop

TIMEOUT_S = 5.0
DONE = Closed(0)


class Commands:
    """Commands in flight, and their answers in order."""

    def __init__(self) -> None:
        self.loop = ManualLoop()
        self.answers: list[tuple[str, str]] = []
        self.seconds: list[float] = []
        self.in_flight = InFlight(self.loop, "shard 5", TIMEOUT_S, self.seconds.append)

    def send(self, name: str) -> int:
        def answer(result: RelayResult) -> None:
            self.answers.append((name, result.code if isinstance(result, Failure) else "ok"))

        return self.in_flight.add(answer)


@pytest.fixture
def commands() -> Commands:
    return Commands()


def test_each_result_answers_the_command_of_its_id(commands: Commands) -> None:
    first, second = commands.send("first"), commands.send("second")
    commands.loop.advance(2.0)
    commands.in_flight.answer(second, DONE)
    commands.loop.advance(1.0)
    commands.in_flight.answer(first, DONE)
    assert commands.answers == [("second", "ok"), ("first", "ok")]
    assert commands.seconds == pytest.approx([2.0, 3.0])
    assert not commands.in_flight


def test_each_command_has_its_own_deadline(commands: Commands) -> None:
    commands.send("first")
    commands.loop.advance(3.0)
    commands.send("second")
    commands.loop.advance(TIMEOUT_S - 3.0)
    assert commands.answers == [("first", "timeout")]
    commands.loop.advance(2.9)
    assert commands.answers == [("first", "timeout")]
    commands.loop.advance(0.2)
    assert commands.answers == [("first", "timeout"), ("second", "timeout")]
    assert not commands.seconds


def test_a_late_answer_claims_nothing_of_commands_that_only_read(commands: Commands) -> None:
    failures: list[RelayResult] = []
    commands.in_flight.add(failures.append)
    commands.loop.advance(TIMEOUT_S)
    (failure,) = failures
    assert isinstance(failure, Failure)
    assert failure.message == (
        "shard 5 did not answer within 5 s; a command that changes a call may still be executed"
    )


def test_a_result_that_comes_too_late_answers_no_command(commands: Commands) -> None:
    late = commands.send("late")
    commands.loop.advance(TIMEOUT_S)
    following = commands.send("following")
    commands.in_flight.answer(late, DONE)
    assert commands.answers == [("late", "timeout")]
    commands.in_flight.answer(following, DONE)
    assert commands.answers == [("late", "timeout"), ("following", "ok")]


def test_when_the_shard_is_gone_all_are_answered_and_none_a_second_time(
    commands: Commands,
) -> None:
    commands.send("first")
    commands.send("second")
    commands.in_flight.fail_all("shard 5 ended")
    commands.loop.advance(2 * TIMEOUT_S)
    assert commands.answers == [("first", "unavailable"), ("second", "unavailable")]


def test_a_command_that_could_not_be_sent_is_in_flight_no_more(commands: Commands) -> None:
    commands.in_flight.remove(commands.send("not sent"))
    assert not commands.in_flight
    commands.loop.advance(2 * TIMEOUT_S)
    assert not commands.answers


def test_one_that_is_too_many_is_refused_until_another_is_answered(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_flight, "MAX_IN_FLIGHT", 2)
    first = commands.send("first")
    commands.send("second")
    with pytest.raises(ShardUnavailable, match="shard 5 is overloaded: 2 commands wait"):
        commands.send("third")
    commands.in_flight.answer(first, DONE)
    commands.send("third")


def test_a_bug_costs_one_command_its_answer(commands: Commands, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: RelayResult) -> None:
        raise RuntimeError("a bug")

    commands.in_flight.add(fail)
    commands.send("late")
    commands.loop.advance(TIMEOUT_S + 0.1)
    commands.in_flight.add(fail)
    commands.send("of a shard that is gone")
    commands.in_flight.fail_all("gone")
    commands.in_flight.answer(commands.in_flight.add(fail), DONE)
    assert [name for name, _ in commands.answers] == ["late", "of a shard that is gone"]
    assert caplog.text.count("this is a bug in nh") == 3


class CommandsMachine(RuleBasedStateMachine):
    """Commands, results and deadlines in any order; a plain dictionary has those that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.commands = Commands()
        self.sent: list[int] = []
        self.waiting: dict[int, float] = {}
        self.expected: list[tuple[str, str]] = []

    def answered(self, number: int, code: str) -> None:
        del self.waiting[number]
        self.expected.append((str(number), code))

    @rule()
    def send(self) -> None:
        number = self.commands.send(str(len(self.sent) + 1))
        assert number == len(self.sent) + 1
        self.sent.append(number)
        self.waiting[number] = self.commands.loop.now() + TIMEOUT_S

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def result(self, data: st.DataObject) -> None:
        """A result of any command, also of one that was answered before."""
        number = data.draw(st.sampled_from(self.sent))
        self.commands.in_flight.answer(number, DONE)
        if number in self.waiting:
            self.answered(number, "ok")

    @precondition(lambda self: self.waiting)
    @rule()
    def the_latest_cannot_be_sent(self) -> None:
        latest = max(self.waiting)
        self.commands.in_flight.remove(latest)
        del self.waiting[latest]

    @rule()
    def the_shard_ends(self) -> None:
        self.commands.in_flight.fail_all("gone")
        for number in list(self.waiting):
            self.answered(number, "unavailable")

    @rule(seconds=st.sampled_from([0.5, 2.0, 4.5, TIMEOUT_S]))
    def time_passes(self, seconds: float) -> None:
        self.commands.loop.advance(seconds)
        for number, deadline in list(self.waiting.items()):
            if deadline <= self.commands.loop.now():
                self.answered(number, "timeout")

    @invariant()
    def each_is_answered_once_and_in_time(self) -> None:
        assert self.commands.answers == self.expected
        assert bool(self.commands.in_flight) == bool(self.waiting)


TestAnyResultsAndDeadlines = CommandsMachine.TestCase
TestAnyResultsAndDeadlines.settings = settings(
    max_examples=examples(60), stateful_step_count=30, deadline=None
)
