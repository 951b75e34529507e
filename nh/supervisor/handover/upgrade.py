"""When a supervisor makes way for the next one: for the code that is installed now, or for another process.

What has to be stopped and handed on is for the one that leaves to say, the Testator; here is in which order.
"""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from nh.calls.snapshots.version import VERSION
from nh.errors import Refused
from nh.loop import Loop
from nh.results import Failure, Result, Upgrading
from nh.supervisor.handover.preflight import CheckedIn, Preflight
from nh.supervisor.handover.send import (
    HandoverState,
    become_new_code,
    end_without_undoing,
    own_argv,
    send_handover,
    when_quiet,
)

logger = logging.getLogger(__name__)


class Testator(Protocol):
    """The supervisor, as far as it leaves something."""

    def may_leave(self) -> str:
        """Why it cannot leave now, for people; "" if it can."""

    def busy(self) -> bool:
        """Whether commands are under way, or a shard is not up."""

    def take_leave(self) -> None:
        """Take no more commands; those that are under way are answered."""

    def legacy(self) -> HandoverState:
        """What is left; nothing is served or stored any more from now on."""

    def leave_signals(self) -> None:
        """Leave signals to the code that is about to be executed, those that were not obeyed too."""

    def let_shards_go(self, on_gone: Callable[[], None]) -> None:
        """Leave the shards to the next one; told when the last one has ended."""


class UpgradeController:
    """Makes way, once.

    Arguments:
        loop: see Loop.
        testator: who leaves.
        timeout_s: how long commands that are under way are waited for.

    `leaving` tells whether it has begun.
    """

    def __init__(self, loop: Loop, testator: Testator, *, timeout_s: float) -> None:
        self.leaving = False
        self._loop = loop
        self._testator = testator
        self._timeout_s = timeout_s
        self._checking = False

    def upgrade(self, shards: int | None, reply: Callable[[Result], None]) -> None:
        """Become the code that is installed now; see nh.commands.Upgrade.

        Arguments:
            shards: how many to go on with; None: as the settings say.
            reply: called once: with Upgrading when it begins, with a Failure if everything stays as it is.
        """
        why = self._testator.may_leave() or ("an upgrade has begun" if self._checking else "")
        if why:
            _refuse(f"no upgrade now: {why}", reply)
            return
        argv = own_argv(shards)

        def checked(result: CheckedIn | str) -> None:
            self._checking = False
            if isinstance(result, CheckedIn) and VERSION not in result.reads:
                result = f"nh {result.version} does not read the calls of this one (version {VERSION})"
            if isinstance(result, CheckedIn):
                result = self._testator.may_leave() or result
            if isinstance(result, str):
                _refuse(f"everything stays as it is: {result}", reply)
                return
            logger.info("upgrade: going on as nh %s, pid %d as before", result.version, os.getpid())
            reply(Upgrading(result.version))
            self._loop.call_later(0, lambda: self._leave(lambda: self._become(argv)))

        try:
            Preflight(self._loop, argv, checked)
            self._checking = True
        except OSError as exc:
            _refuse(f"everything stays as it is: {argv[0]}: {exc.strerror}", reply)

    def make_way(self, sock: socket.socket) -> None:
        """Leave to the process at the other end of a connection, which is closed then."""
        why = self._testator.may_leave()
        if why:
            logger.error("another nh wants to take over, which cannot be now: %s", why)
            sock.close()
            return
        logger.info("another nh takes over: leaving the calls to it")
        self._leave(lambda: self._hand_on(sock))

    def _leave(self, then: Callable[[], None]) -> None:
        self.leaving = True
        self._testator.take_leave()
        when_quiet(self._loop, self._testator.busy, timeout_s=self._timeout_s, then=then)

    def _become(self, argv: Sequence[str]) -> None:
        legacy = self._testator.legacy()
        self._testator.leave_signals()
        try:
            become_new_code(legacy, argv)
        except OSError as exc:
            logger.critical(
                "nh cannot go on: %s: %s; its shards relay on, start nh again", argv[0], exc.strerror
            )
            end_without_undoing(1)

    def _hand_on(self, sock: socket.socket) -> None:
        legacy = self._testator.legacy()
        try:
            send_handover(sock, legacy)
        except OSError as exc:
            logger.critical("who took over is gone: %s; the shards relay on, start nh again", exc.strerror)
        sock.close()
        # the last process of a container takes all others with it: it waits for them
        self._testator.let_shards_go(lambda: end_without_undoing(0))


def _refuse(why: str, reply: Callable[[Result], None]) -> None:
    """Say so to who asked, and in the log: SIGUSR2 has nobody else to tell."""
    logger.error("upgrade: %s", why)
    reply(Failure.of(Refused(why)))
