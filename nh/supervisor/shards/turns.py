"""Turns of commands: what a shard gets later, as it has enough to do, and whose command is next.

A shard executes its commands in the order in which they come, so those that it has are before every further
one. Here clients take turns. Lists have turns of their own: a shard makes one at a time, beside the commands.
"""

from collections.abc import Hashable
from typing import Final, NamedTuple

from nh.fair_queue import FairQueue
from nh.fair_shares import client_at
from nh.ip_address import split_host_port

MAX_AT_ONCE: Final = 32
"""Most commands that a shard has: it executes 8 in a turn of its loop, and further ones have to be there."""

MAX_LISTS_AT_ONCE: Final = 2
"""Most lists that a shard has: the one that it makes, and the next."""

MAX_WAITING: Final = 4096
MAX_WAITING_BYTES: Final = 4 * 1024 * 1024
"""Most commands that wait, and as many lists; beyond, the latest one of the client with most is refused."""


class Turn(NamedTuple):
    """A command that waits for its turn.

    Attributes:
        request_id: of the command.
        record: it, as the shard gets it.
        client: whose it is, see nh.fair_shares.client_at(); a process at a Unix socket stands for itself.
        is_list: whether it asks for a list.
    """

    request_id: int
    record: bytes
    client: str
    is_list: bool


class _Queue:
    """What waits of one kind: commands, or lists. Neither kind takes the other one's room."""

    def __init__(self) -> None:
        self._turns: FairQueue[Turn] = FairQueue(MAX_WAITING)
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._turns)

    def put(self, turn: Turn) -> list[Turn]:
        """Add a turn; returns what gives way, which may be this one."""
        self._bytes += len(turn.record)
        refused = self._turns.put(turn.client, turn)
        gone = [] if refused is None else [self._without(refused)]
        while self._bytes > MAX_WAITING_BYTES:
            gone.append(self._without(self._turns.give_way(turn.client)))
        return gone

    def take(self) -> Turn:
        """Take the next one out. Raises StopIteration if there is none."""
        return self._without(self._turns.take())

    def discard(self, turn: Turn) -> None:
        """Take one that waits out."""
        self._turns.discard(turn.client, self._without(turn))

    def _without(self, turn: Turn) -> Turn:
        self._bytes -= len(turn.record)
        return turn


class Turns:
    """The commands of one shard that wait, and the lists that it makes."""

    def __init__(self) -> None:
        self._commands = _Queue()
        self._lists = _Queue()
        self._waiting: dict[int, Turn] = {}
        self._lists_begun: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting or self._lists_begun)

    def add(self, request_id: int, record: bytes, sender: Hashable, *, is_list: bool) -> list[Turn]:
        """Have a command wait.

        Args:
            request_id, record, is_list: see Turn.
            sender: its client; as text it is HOST:PORT, or the process at a Unix socket.

        Returns:
            What gives way, which may be this command.
        """
        text = str(sender)
        turn = Turn(request_id, record, client_at(split_host_port(text)[0] or text), is_list)
        self._waiting[request_id] = turn
        gone = self._queue_of(turn).put(turn)
        for each in gone:
            del self._waiting[each.request_id]
        return gone

    def take(self, unanswered: int) -> Turn | None:
        """The next command that the shard is to have; None: it has enough, or none waits.

        Args:
            unanswered: how many commands of the shard have no answer yet, with those that wait.
        """
        if self._lists and len(self._lists_begun) < MAX_LISTS_AT_ONCE:
            turn = self._lists.take()
            self._lists_begun.add(turn.request_id)
        elif self._commands and unanswered - len(self._waiting) - len(self._lists_begun) < MAX_AT_ONCE:
            turn = self._commands.take()
        else:
            return None
        del self._waiting[turn.request_id]
        return turn

    def end(self, request_id: int) -> bool:
        """A command is answered, or given up; returns whether the shard never got it."""
        self._lists_begun.discard(request_id)
        turn = self._waiting.pop(request_id, None)
        if turn is None:
            return False
        self._queue_of(turn).discard(turn)
        return True

    def _queue_of(self, turn: Turn) -> _Queue:
        return self._lists if turn.is_list else self._commands
