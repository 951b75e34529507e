"""nh.supervisor.shards.in_flight: each command is answered once, in time or not, and clients take turns."""

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nh.calls.call_event import NO_CLIENT
from nh.commands import CloseCall, ListCalls
from nh.errors import ChannelFull
from nh.ipc.link_codec import decode_to_shard
from nh.ipc.link_messages import Execute
from nh.results import Closed, Failure, RelayResult
from nh.supervisor.shards import turns
from nh.supervisor.shards.in_flight import InFlight
from nh.supervisor.shards.turns import MAX_AT_ONCE, MAX_LISTS_AT_ONCE, MAX_WAITING_BYTES
from tests.profiles import examples
from tests.supervisor.manual_loop import ManualLoop

TIMEOUT_S = 5.0
DONE = Closed(0)
LIST = "list"
RUDE, POLITE = "192.0.2.1:5060", "192.0.2.2:5060"


class Commands:
    """Commands in flight, what the shard has got of them, and their answers in order."""

    def __init__(self) -> None:
        self.loop = ManualLoop()
        self.answers: list[tuple[str, str]] = []
        self.messages: list[str] = []
        self.seconds: list[float] = []
        self.ids: dict[str, int] = {}
        self.at_shard: list[str] = []
        self.is_full = False
        self.in_flight = InFlight(self.loop, "shard 5", TIMEOUT_S, self._get, self.seconds.append)

    def _get(self, record: bytes) -> None:
        if self.is_full:
            raise ChannelFull("the shard does not read")
        message = decode_to_shard(record)
        assert isinstance(message, Execute)
        command = message.command
        name = LIST if isinstance(command, ListCalls) else _name(command)
        self.ids[name] = message.id
        self.at_shard.append(name)

    def send(self, name: str, client: str = RUDE, *, length: int = 0) -> None:
        def answer(result: RelayResult) -> None:
            self.answers.append((name, result.code if isinstance(result, Failure) else "ok"))
            self.messages.append(result.message if isinstance(result, Failure) else "")

        text = name.encode().ljust(length)
        command = ListCalls(contains=text) if name == LIST else CloseCall(text)
        self.in_flight.begin(command, answer, NO_CLIENT, client)

    def answer(self, name: str) -> None:
        """The shard answers the command, or the latest list."""
        self.in_flight.answer(self.ids[name], DONE)

    def fill(self) -> Sequence[str]:
        """Have as many commands under way as the shard may have; returns their names."""
        names = [f"at once {number}" for number in range(MAX_AT_ONCE)]
        for name in names:
            self.send(name)
        return names


def _name(command: object) -> str:
    assert isinstance(command, CloseCall)
    return command.call_id.decode().rstrip()


@pytest.fixture
def commands() -> Commands:
    return Commands()


def test_each_result_answers_the_command_of_its_id(commands: Commands) -> None:
    commands.send("first")
    commands.send("second")
    commands.loop.advance(2.0)
    commands.answer("second")
    commands.loop.advance(1.0)
    commands.answer("first")
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
    commands.send("late")
    commands.loop.advance(TIMEOUT_S)
    assert commands.messages == [
        "shard 5 did not answer within 5 s; a command that changes a call may still be executed"
    ]


def test_a_result_that_comes_too_late_answers_no_command(commands: Commands) -> None:
    commands.send("late")
    commands.loop.advance(TIMEOUT_S)
    commands.send("following")
    commands.answer("late")
    assert commands.answers == [("late", "timeout")]
    commands.answer("following")
    assert commands.answers == [("late", "timeout"), ("following", "ok")]


def test_when_the_shard_is_gone_all_are_answered_and_none_a_second_time(commands: Commands) -> None:
    names = [*commands.fill(), "waits", LIST]
    for name in names[MAX_AT_ONCE:]:
        commands.send(name)
    commands.in_flight.fail_all("shard 5 ended")
    commands.loop.advance(2 * TIMEOUT_S)
    assert commands.answers == [(name, "unavailable") for name in names]
    assert not commands.in_flight


def test_a_command_that_could_not_be_sent_is_in_flight_no_more(commands: Commands) -> None:
    commands.is_full = True
    commands.send("not sent")
    commands.loop.advance(0)
    assert commands.answers == [("not sent", "unavailable")]
    assert not commands.in_flight
    commands.loop.advance(2 * TIMEOUT_S)
    assert len(commands.answers) == 1


def test_one_whose_turn_comes_and_that_cannot_be_sent_is_refused(commands: Commands) -> None:
    commands.fill()
    commands.send("waits")
    commands.is_full = True
    commands.answer("at once 0")
    commands.loop.advance(0)
    assert commands.answers == [("at once 0", "ok"), ("waits", "unavailable")]


def test_a_client_with_thousands_of_commands_is_before_one_of_another_with_one_of_those_that_wait(
    commands: Commands,
) -> None:
    names = commands.fill()
    for number in range(1000):
        commands.send(f"rude {number}")
    commands.send("polite", POLITE)
    assert len(commands.at_shard) == MAX_AT_ONCE
    for name in names[:2]:
        commands.answer(name)
    assert commands.at_shard[MAX_AT_ONCE:] == ["rude 0", "polite"]


def test_processes_at_unix_sockets_take_turns(commands: Commands) -> None:
    names = commands.fill()
    for name, client in (("a1", "pid 7 (uid 0)"), ("a2", "pid 7 (uid 0)"), ("b", "pid 8 (uid 0)")):
        commands.send(name, client)
    for name in names[:3]:
        commands.answer(name)
    assert commands.at_shard[MAX_AT_ONCE:] == ["a1", "b", "a2"]


def test_the_ports_of_an_address_are_one_client(commands: Commands) -> None:
    names = commands.fill()
    for name, client in (("a1", "[2001:db8::1]:1"), ("a2", "[2001:db8::2]:2"), ("b", POLITE)):
        commands.send(name, client)
    for name in names[:2]:
        commands.answer(name)
    assert commands.at_shard[MAX_AT_ONCE:] == ["a1", "b"]


def test_lists_have_turns_of_their_own_and_keep_no_command_waiting(commands: Commands) -> None:
    for _ in range(2 * MAX_AT_ONCE):
        commands.send(LIST)
    commands.send("call", POLITE)
    assert commands.at_shard == [LIST] * MAX_LISTS_AT_ONCE + ["call"]
    commands.fill()
    commands.answer(LIST)
    assert commands.at_shard.count(LIST) == MAX_LISTS_AT_ONCE + 1


def test_of_too_many_that_wait_the_latest_of_the_client_with_most_is_refused(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "MAX_WAITING", 2)
    commands.in_flight._turns = turns.Turns()
    commands.fill()
    for name, client in (("a1", RUDE), ("a2", RUDE), ("b", POLITE)):
        commands.send(name, client)
    assert not commands.answers, "its client may send the next one at once, and another is refused for that"
    assert commands.in_flight
    commands.loop.advance(0)
    assert commands.answers == [("a2", "unavailable")]
    assert commands.messages == ["shard 5 is overloaded: too many commands wait, most of them of 192.0.2.1"]


def test_those_that_wait_take_so_many_bytes_at_most(commands: Commands) -> None:
    commands.fill()
    number = MAX_WAITING_BYTES // 16_000
    for name in range(number):
        commands.send(str(name), length=16_000)
    commands.send("polite", POLITE, length=16_000)
    commands.loop.advance(0)
    refused = [name for name, _code in commands.answers]
    assert "polite" not in refused
    assert str(number - 1) in refused


@pytest.mark.parametrize(("many", "one"), [(LIST, "command"), ("command", LIST)])
def test_lists_and_commands_take_no_room_of_each_other(commands: Commands, many: str, one: str) -> None:
    for _ in range(MAX_LISTS_AT_ONCE):
        commands.send(LIST)
    commands.fill()
    for length in (16_000, 8):
        for _ in range(MAX_WAITING_BYTES // 16_000):
            commands.send(many, length=length)
    commands.loop.advance(0)
    commands.answers.clear()
    commands.send(one, POLITE)
    commands.loop.advance(0)
    assert not commands.answers


def test_one_that_is_late_before_its_turn_is_never_sent(commands: Commands) -> None:
    commands.fill()
    commands.send("waits")
    commands.loop.advance(TIMEOUT_S)
    assert commands.answers[-1] == ("waits", "timeout")
    assert commands.messages[-1] == "shard 5 had no turn for the command within 5 s; it is not executed"
    assert "waits" not in commands.at_shard
    assert not commands.in_flight


def test_where_the_shard_is_late_those_that_wait_get_their_turn(commands: Commands) -> None:
    commands.fill()
    commands.loop.advance(TIMEOUT_S - 1)
    commands.send("waits")
    commands.loop.advance(1)
    assert commands.at_shard[-1] == "waits"
    assert commands.in_flight


def test_a_bug_costs_one_command_its_answer(commands: Commands, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: RelayResult) -> None:
        raise RuntimeError("a bug")

    def send_one() -> None:
        commands.in_flight.begin(CloseCall(b"failing"), fail, NO_CLIENT, RUDE)

    send_one()
    commands.send("late")
    commands.loop.advance(TIMEOUT_S + 0.1)
    send_one()
    commands.send("of a shard that is gone")
    commands.in_flight.fail_all("gone")
    send_one()
    commands.answer("failing")
    assert [name for name, _ in commands.answers] == ["late", "of a shard that is gone"]
    assert caplog.text.count("this is a bug in nh") == 3


class CommandsMachine(RuleBasedStateMachine):
    """Commands, results and deadlines in any order; a plain dictionary has those that wait for an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.commands = Commands()
        self.numbers = 0
        self.waiting: dict[str, float] = {}
        self.expected: list[tuple[str, str]] = []

    def answered(self, name: str, code: str) -> None:
        del self.waiting[name]
        self.expected.append((name, code))

    @rule(number=st.sampled_from([1, MAX_AT_ONCE // 2, MAX_AT_ONCE]), client=st.sampled_from([RUDE, POLITE]))
    def send(self, number: int, client: str) -> None:
        for _ in range(number):
            self.numbers += 1
            self.waiting[str(self.numbers)] = self.commands.loop.now() + TIMEOUT_S
            self.commands.send(str(self.numbers), client)

    @precondition(lambda self: self.commands.at_shard)
    @rule(data=st.data())
    def result(self, data: st.DataObject) -> None:
        """A result of any command that the shard has had, also of one that was answered before."""
        name = data.draw(st.sampled_from(self.commands.at_shard))
        self.commands.answer(name)
        if name in self.waiting:
            self.answered(name, "ok")

    @rule()
    def the_shard_ends(self) -> None:
        self.commands.in_flight.fail_all("gone")
        for name in list(self.waiting):
            self.answered(name, "unavailable")

    @rule(seconds=st.sampled_from([0.5, 2.0, 4.5, TIMEOUT_S]))
    def time_passes(self, seconds: float) -> None:
        self.commands.loop.advance(seconds)
        for name, deadline in list(self.waiting.items()):
            if deadline <= self.commands.loop.now():
                self.answered(name, "timeout")

    @invariant()
    def each_is_answered_once_and_in_time(self) -> None:
        assert self.commands.answers == self.expected
        assert bool(self.commands.in_flight) == bool(self.waiting)

    @invariant()
    def the_shard_has_as_many_as_it_may_and_each_once(self) -> None:
        at_shard = self.commands.at_shard
        assert len(set(at_shard)) == len(at_shard)
        unanswered = self.waiting.keys() & set(at_shard)
        assert len(unanswered) == min(MAX_AT_ONCE, len(self.waiting))


TestAnyResultsAndDeadlines = CommandsMachine.TestCase
TestAnyResultsAndDeadlines.settings = settings(
    max_examples=examples(60), stateful_step_count=30, deadline=None
)
