"""When a supervisor hands over to the next one: `nh upgrade`, or `nh run --takeover` of another process.

It refuses while nh is ending, a shard is not up or a standby is about to get the calls, and an upgrade if the
installed code could not go on. How it hands over: nh.supervisor.handover.handover.
"""

import logging
import os
import socket
from collections.abc import Callable, Sequence

from nh.calls.snapshots.version import VERSION
from nh.errors import Refused
from nh.ipc.handover_messages import Yield
from nh.results import Failure, Result, Upgrading
from nh.supervisor.handover.handover import Handover
from nh.supervisor.handover.preflight import CheckedIn, Preflight
from nh.supervisor.handover.receive import NAME
from nh.supervisor.handover.send import own_argv
from nh.supervisor.handover.takeover_listener import TakeoverListener
from nh.supervisor.runtime import Runtime
from nh.supervisor.shards.manager import ShardManager

logger = logging.getLogger(__name__)


class UpgradeController:
    """Begins the handover, once: on a command, on SIGUSR2, or when the next supervisor connects. Close it.

    Args:
        runtime: of this run.
        manager: knows whether its shards can be left.
        handover: what is begun.
        why_not: why the next code could not go on with the settings as they are now; "" if nothing is known.
    """

    def __init__(
        self,
        runtime: Runtime,
        manager: ShardManager,
        handover: Handover,
        *,
        why_not: Callable[[], str],
    ) -> None:
        self._runtime = runtime
        self._manager = manager
        self._handover = handover
        self._why_not = why_not
        self._closed = False
        self._checking = False
        self._takeover_listener = TakeoverListener(
            runtime.loop, runtime.settings.runtime_path / NAME, self._yield_to
        )

    def close(self) -> None:
        """Begin no handover any more. Closing twice has no effect."""
        self._closed = True
        self._takeover_listener.close()

    def renew_socket(self) -> None:
        """Listen again for the next supervisor if another program has removed the socket."""
        self._takeover_listener.renew()

    def upgrade(self, shards: int | None, reply: Callable[[Result], None]) -> None:
        """Execute the installed code in this process; see nh.commands.Upgrade.

        Args:
            shards: the new number of shards; None: as in the settings.
            reply: called once: with Upgrading when the handover begins, with a Failure if nothing changes.
        """
        why = self._reason_to_stay() or ("an upgrade has begun" if self._checking else "")
        if why:
            _refuse(f"no upgrade now: {why}", reply)
            return
        if why := self._why_not():
            _refuse(f"everything stays as it is: {why}", reply)
            return
        argv = own_argv(shards)

        def checked(result: CheckedIn | str) -> None:
            self._checking = False
            if isinstance(result, CheckedIn) and VERSION not in result.reads:
                result = f"nh {result.version} does not read the calls of this one (version {VERSION})"
            if isinstance(result, CheckedIn) and result.no_kernel and self._runtime.kernel is not None:
                result = (
                    f"nh {result.version} cannot relay inside the kernel, as this one does:"
                    f" {result.no_kernel}; correct that, or set kernel = off"
                )
            if isinstance(result, CheckedIn):
                result = self._reason_to_stay() or result
            if isinstance(result, str):
                _refuse(f"everything stays as it is: {result}", reply)
                return
            logger.info(
                "upgrade: going on as nh %s in the same process (pid %d)", result.version, os.getpid()
            )
            reply(Upgrading(result.version))
            self._runtime.loop.call_later(0, lambda: self._to_installed_code(argv, result))

        try:
            Preflight(self._runtime.loop, argv, checked)
            self._checking = True
        except OSError as exc:
            _refuse(f"everything stays as it is: {argv[0]}: {exc.strerror}", reply)

    def _yield_to(self, sock: socket.socket, message: Yield) -> None:
        """Hand over to the process at the other end of a connection, which belongs to this object."""
        why = self._reason_to_stay()
        if why:
            logger.error("takeover by another nh refused: %s; start it again later", why)
            sock.close()
            return
        logger.info("takeover: handing the calls over to another nh")
        self._takeover_listener.close()
        self._handover.to_process(sock, message.listeners)

    def _to_installed_code(self, argv: Sequence[str], checked: CheckedIn) -> None:
        if why := self._reason_to_stay():  # in this turn a signal, or another process, may have been first
            logger.error("upgrade: everything stays as it is: %s", why)
            return
        self._takeover_listener.close()
        self._handover.to_installed_code(argv, checked.listeners)

    def _reason_to_stay(self) -> str:
        """Why there can be no handover now, for people; "" if there can be one."""
        if self._handover.begun or self._closed or self._manager.stopping:
            return "nh is ending"
        if self._runtime.stats.handing_over:
            return "a standby is about to get the calls"
        return "" if self._manager.all_up else "a shard is not up"


def _refuse(why: str, reply: Callable[[Result], None]) -> None:
    """Reply with a Failure, and log it: SIGUSR2 has no reply."""
    logger.error("upgrade: %s", why)
    reply(Failure.of(Refused(why)))
