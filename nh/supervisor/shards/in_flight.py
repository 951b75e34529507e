"""Commands in flight: those of a shard that have no answer yet, each with its deadline.

Each is answered exactly once: with the shard's result, with a Failure when it is late, or with one when the
shard is gone. A result that comes after its deadline is dropped. Most commands are sent at once; where the
shard has enough to do, they wait for their turn (nh.supervisor.shards.turns).
"""

import logging
from collections.abc import Callable, Hashable
from typing import Final

from nh.calls.call_event import Client
from nh.commands import ListCalls, RelayCommand
from nh.errors import ChannelFull, CommandTimeout, ShardUnavailable
from nh.ipc.link_codec import encode
from nh.ipc.link_messages import Execute
from nh.loop import Loop, Timer
from nh.results import Failure, RelayResult
from nh.supervisor.shards.turns import MAX_AT_ONCE, Turn, Turns

logger = logging.getLogger(__name__)

Answer = Callable[[RelayResult], None]

_MAY_BE_EXECUTED: Final = "did not answer within %g s; a command that changes a call may still be executed"
_IS_NOT_EXECUTED: Final = "had no turn for the command within %g s; it is not executed"


class InFlight:
    """The commands of one shard.

    Args:
        loop: its clock counts, and it ends commands that are late.
        name: of the shard, for messages.
        timeout_s: seconds that the shard may take for each, from its coming on.
        send: sends a record to the shard; raises ChannelFull.
        on_answered: called with the seconds that a command took, for each that the shard answered in time.
    """

    def __init__(
        self,
        loop: Loop,
        name: str,
        timeout_s: float,
        send: Callable[[bytes], None],
        on_answered: Callable[[float], None],
    ) -> None:
        self._loop = loop
        self._name = name
        self._timeout_s = timeout_s
        self._send = send
        self._on_answered = on_answered
        self._commands: dict[int, tuple[Answer, float]] = {}  # and when they came, in this order
        self._last_id = 0
        self._timer: Timer | None = None
        self._turns = Turns()
        self._has_turns = False  # whether any command waits, or a list is made
        self._refused: list[tuple[Answer, str]] = []

    def __bool__(self) -> bool:
        return bool(self._commands or self._refused)

    def begin(self, command: RelayCommand, answer: Answer, client: Client, sender: Hashable) -> None:
        """Have the shard execute a command, now or in its turn; `answer` is called once.

        Args:
            command: the command.
            answer: called with its result or a Failure.
            client: whom the shard is told.
            sender: whose turn it is; see Turns.add().
        """
        self._last_id = request_id = self._last_id + 1
        self._commands[request_id] = (answer, self._loop.now())
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._expire)
        record = encode(Execute(request_id, command, client))
        if len(self._commands) > MAX_AT_ONCE or type(command) is ListCalls:
            self._wait(request_id, record, sender, is_list=type(command) is ListCalls)
            return
        try:
            self._send(record)
        except ChannelFull as exc:
            self._refuse(request_id, str(exc))

    def answer(self, request_id: int, result: RelayResult) -> None:
        """Answer a command with the shard's result; no effect if it was answered already."""
        command = self._commands.pop(request_id, None)
        if command is not None:
            answer, came_at = command
            self._on_answered(self._loop.now() - came_at)
            if self._has_turns:
                self._turns.end(request_id)
                self._send_next()
            _pass_on(answer, result)

    def _wait(self, request_id: int, record: bytes, sender: Hashable, *, is_list: bool) -> None:
        self._has_turns = True
        for turn in self._turns.add(request_id, record, sender, is_list=is_list):
            self._refuse(turn.request_id, f"too many commands wait, most of them of {turn.client}")
        self._send_next()

    def _send_next(self) -> None:
        """Send the commands whose turn it is."""
        while (turn := self._turns.take(len(self._commands))) is not None:
            self._send_waiting(turn)
        self._has_turns = bool(self._turns)

    def _send_waiting(self, turn: Turn) -> None:
        try:
            self._send(turn.record)
        except ChannelFull as exc:
            self._turns.end(turn.request_id)
            self._refuse(turn.request_id, str(exc))

    def _refuse(self, request_id: int, why: str) -> None:
        """Answer a command in the next turn of the loop: a client may send the next one at once, for which
        that of another client is refused, which sends the next one, and so on.
        """
        answer, _came_at = self._commands.pop(request_id)
        if not self._refused:
            self._loop.call_later(0, self._tell_refused)
        self._refused.append((answer, why))

    def _tell_refused(self) -> None:
        refused, self._refused = self._refused, []
        for answer, why in refused:
            _pass_on(answer, Failure.of(ShardUnavailable(f"{self._name} is overloaded: {why}")))

    def fail_all(self, why: str) -> None:
        """Answer all commands: the shard is not there any more."""
        commands, self._commands = self._commands, {}
        self._turns, self._has_turns = Turns(), False
        for answer, _came_at in commands.values():
            _pass_on(answer, Failure.of(ShardUnavailable(why)))

    def close(self) -> None:
        """Let no command expire any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        self._timer = None
        latest = self._loop.now() - self._timeout_s
        late: list[tuple[Answer, bool]] = []
        while self._commands:
            request_id, (answer, came_at) = next(iter(self._commands.items()))
            if came_at > latest:
                self._timer = self._loop.call_later(came_at - latest, self._expire)
                break
            del self._commands[request_id]
            late.append((answer, self._turns.end(request_id)))
        self._send_next()
        for answer, has_waited in late:
            why = (_IS_NOT_EXECUTED if has_waited else _MAY_BE_EXECUTED) % self._timeout_s
            _pass_on(answer, Failure.of(CommandTimeout(f"{self._name} {why}")))


def _pass_on(answer: Answer, result: RelayResult) -> None:
    try:
        answer(result)
    except Exception:  # a bug must cost one client its reply, not the others theirs
        logger.exception("the result of a command was not passed on: this is a bug in nh")
