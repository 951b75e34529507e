"""Commands in flight: those that a shard was sent and has not answered yet, each with its deadline.

Each is answered exactly once: with the shard's result, with a Failure when it is late, or with one when the
shard is gone. A result that comes after its deadline is dropped.
"""

import logging
from collections.abc import Callable
from typing import Final

from nh.errors import CommandTimeout, ShardUnavailable
from nh.loop import Loop, Timer
from nh.results import Failure, RelayResult

logger = logging.getLogger(__name__)

Answer = Callable[[RelayResult], None]

MAX_IN_FLIGHT: Final = 4096
"""Most commands of one shard in flight."""


class InFlight:
    """The commands of one shard.

    Args:
        loop: its clock counts, and it ends commands that are late.
        name: of the shard, for messages.
        timeout_s: seconds that the shard may take for each.
        on_answered: called with the seconds that a command took, for each that the shard answered in time.
    """

    def __init__(self, loop: Loop, name: str, timeout_s: float, on_answered: Callable[[float], None]) -> None:
        self._loop = loop
        self._name = name
        self._timeout_s = timeout_s
        self._on_answered = on_answered
        self._commands: dict[int, tuple[Answer, float]] = {}  # in the order of their deadlines
        self._last_id = 0
        self._timer: Timer | None = None

    def __bool__(self) -> bool:
        return bool(self._commands)

    def add(self, answer: Answer) -> int:
        """Add a command that is about to be sent; `answer` is called once.

        Returns:
            The id to send it with.

        Raises:
            ShardUnavailable: too many are in flight.
        """
        if len(self._commands) >= MAX_IN_FLIGHT:
            raise ShardUnavailable(f"{self._name} is overloaded: {MAX_IN_FLIGHT} commands wait")
        self._last_id += 1
        self._commands[self._last_id] = (answer, self._loop.now() + self._timeout_s)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._expire)
        return self._last_id

    def remove(self, request_id: int) -> None:
        """Remove a command that could not be sent, without an answer."""
        del self._commands[request_id]

    def answer(self, request_id: int, result: RelayResult) -> None:
        """Answer a command with the shard's result; no effect if it was answered already."""
        command = self._commands.pop(request_id, None)
        if command is not None:
            answer, deadline = command
            self._on_answered(self._loop.now() - deadline + self._timeout_s)
            _pass_on(answer, result)

    def fail_all(self, why: str) -> None:
        """Answer all commands: the shard is not there any more."""
        commands, self._commands = self._commands, {}
        for answer, _deadline in commands.values():
            _pass_on(answer, Failure.of(ShardUnavailable(why)))

    def close(self) -> None:
        """Let no command expire any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.now()
        late: list[Answer] = []
        while self._commands:
            request_id, (answer, deadline) = next(iter(self._commands.items()))
            if deadline > now:
                self._timer = self._loop.call_later(deadline - now, self._expire)
                break
            del self._commands[request_id]
            late.append(answer)
        failure = Failure.of(
            CommandTimeout(
                f"{self._name} did not answer within {self._timeout_s:g} s;"
                " a command that changes a call may still be executed"
            )
        )
        for answer in late:
            _pass_on(answer, failure)


def _pass_on(answer: Answer, result: RelayResult) -> None:
    try:
        answer(result)
    except Exception:  # a bug must cost one client its reply, not the others theirs
        logger.exception("the result of a command was not passed on: this is a bug in nh")
