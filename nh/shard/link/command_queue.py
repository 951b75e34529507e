"""Command queue: the commands that the supervisor has sent, executed in a row.

Those that are read in one turn of the loop are executed when all of them have been read, and their results go
back together (nh.shard.link.replies): the supervisor wakes up once for them.
"""

import functools
import logging
from collections.abc import Callable
from typing import Final

from nh.calls.call_event import Client
from nh.commands import RelayCommand
from nh.errors import NhError
from nh.ipc.link_messages import Execute
from nh.results import Failure, RelayResult
from nh.shard.link.replies import Replies
from nh.shard.observers.call_log import log_refusal
from nh.shard.relay import Relay

logger = logging.getLogger(__name__)

COMMANDS_A_TURN: Final = 8
"""Most commands in one turn of the loop, some 2 ms; packets wait for two turns at most."""


class CommandQueue:
    """The commands of one shard.

    Args:
        replies: sends their results.
        on_executed: called after the results of some commands have been sent.

    Attributes:
        relay: executes commands; None: calls are not served yet, and commands fail.
        together: whether the supervisor takes several results in one record.
    """

    def __init__(self, replies: Replies, on_executed: Callable[[], None]) -> None:
        self.relay: Relay | None = None
        self.together = False
        self._replies = replies
        self._on_executed = on_executed
        self._waiting: list[Execute] = []

    def add(self, execute: Execute) -> None:
        """Add a command that has been read."""
        self._waiting.append(execute)

    def execute_all(self) -> None:
        """Execute the commands that wait, and send their results."""
        while self._waiting:
            some, self._waiting = (
                (self._waiting, []) if self.together else (self._waiting[:1], self._waiting[1:])
            )
            self._replies.hold()
            for each in some:
                self._execute(each.command, each.client, functools.partial(self._replies.send, each.id))
            self._replies.flush()
            self._on_executed()

    def _execute(self, command: RelayCommand, client: Client, reply: Callable[[RelayResult], None]) -> None:
        if self.relay is None:
            reply(Failure("unavailable", "the shard does not serve calls yet"))
            return
        try:
            self.relay.answer(command, reply, client)
        except NhError as exc:
            log_refusal(command, exc)
            reply(Failure.of(exc))
        except Exception:
            # a bug must cost one command, not the shard's calls
            name = type(command).__name__
            logger.exception("the command %s failed: this is a bug in nh, calls go on", name)
            reply(Failure("internal", f"{name} failed inside nh; its log says why"))
