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
"""Most commands that wait; beyond, the latest one of the client with most is refused."""


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


class Turns:
    """The commands of one shard that wait, and the lists that it makes."""

    def __init__(self) -> None:
        self._commands: FairQueue[Turn] = FairQueue(MAX_WAITING)
        self._lists: FairQueue[Turn] = FairQueue(MAX_WAITING)
        self._waiting: dict[int, Turn] = {}
        self._waiting_bytes = 0
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
        self._waiting_bytes += len(record)
        queue = self._queue_of(turn)
        refused = queue.put(turn.client, turn)
        gone = [] if refused is None else [refused]
        for each in gone:
            self._forget(each)
        while self._waiting_bytes > MAX_WAITING_BYTES:
            gone.append(queue.give_way(turn.client))
            self._forget(gone[-1])
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
        self._forget(turn)
        return turn

    def end(self, request_id: int) -> bool:
        """A command is answered, or given up; returns whether the shard never got it."""
        self._lists_begun.discard(request_id)
        turn = self._waiting.get(request_id)
        if turn is None:
            return False
        self._queue_of(turn).discard(turn.client, turn)
        self._forget(turn)
        return True

    def _queue_of(self, turn: Turn) -> FairQueue[Turn]:
        return self._lists if turn.is_list else self._commands

    def _forget(self, turn: Turn) -> None:
        del self._waiting[turn.request_id]
        self._waiting_bytes -= len(turn.record)
