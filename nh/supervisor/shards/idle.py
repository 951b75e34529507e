"""Waiting for shards that are about to be left: until no command is in flight, and each has a process."""

import math
from collections.abc import Callable
from typing import Final, Protocol

from nh.loop import Loop
from nh.supervisor.shards.manager import START_S

POLL_S: Final = 0.01
"""How often when_idle() asks whether anything is in flight."""


def when_idle(loop: Loop, busy: Callable[[], bool], *, timeout_s: float, then: Callable[[], None]) -> None:
    """Call `then` from the loop: when nothing is in flight any more, or after `timeout_s` seconds.

    Args:
        loop: runs the timer.
        busy: whether anything is in flight; while it raises, that is not known, and is waited for.
        timeout_s: longest wait.
        then: called once.
    """
    deadline = loop.now() + timeout_s

    def poll() -> None:
        if loop.now() >= deadline:
            then()
            return
        again = loop.call_later(POLL_S, poll)  # first: a bug in `busy` must not end the wait
        if not busy():
            again.cancel()
            then()

    loop.call_later(0, poll)


class Shards(Protocol):
    """The shards that are about to be left: ShardManager."""

    @property
    def busy(self) -> bool:
        """Whether any has commands in flight."""

    @property
    def all_up(self) -> bool:
        """Whether each is up."""


def when_all_can_be_left(
    loop: Loop,
    shards: Shards,
    *,
    command_timeout_s: float,
    longest_s: float = math.inf,
    then: Callable[[], None],
) -> None:
    """Call `then` from the loop when no command is in flight, and each shard is up.

    A shard that has died since has no process that goes on with its calls: its backup ends with this process.

    Args:
        loop: runs the timer.
        shards: what is waited for.
        command_timeout_s: longest wait for commands. A shard has as long as for any start.
        longest_s: bounds each of the two waits, where another process waits meanwhile.
        then: called once.
    """
    start_s = min(START_S, longest_s)
    when_idle(
        loop,
        lambda: shards.busy,
        timeout_s=min(command_timeout_s, longest_s),
        then=lambda: when_idle(loop, lambda: not shards.all_up, timeout_s=start_s, then=then),
    )
