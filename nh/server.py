"""Server: a Relay behind RPC sockets in this process (Net::SIP::NATHelper::Server).

For programs that run a relay of their own instead of `nh run`: the program supplies listening sockets and a
loop. Every shard runs the same Relay, the supervisor the same frontend; this module joins the two.
"""

import logging
import socket
from collections.abc import Callable, Sequence

from nh.command_table import COMMANDS, INFO, CommandRoute
from nh.commands import (
    Command,
    Extension,
    GetStats,
    ListCalls,
    ListEnded,
    Ping,
    RelayCommand,
    ShowEnded,
)
from nh.errors import NhError, UnknownCall, UnknownCommand
from nh.loop import Loop, SelectorLoop
from nh.results import CallRecord, EndedCalls, ExtensionResult, Failure, Pong, Result, Stats
from nh.rpc.events import RequestOrigin
from nh.rpc.frontend import Frontend
from nh.shard.relay import Relay
from nh.stats import SupervisorStats
from nh.stats.fields import to_builtins
from nh.version import __version__

logger = logging.getLogger(__name__)

Handler = Callable[[Relay, Command], object]
"""Executes one command. Returns a Result, or plain values for an Extension; may raise NhError."""


class Server:
    """Serves a helper on listening sockets.

    Args:
        helper: the relay, which the server attaches to the loop and closes; None: one with defaults.
        sockets: listening stream sockets, Unix or TCP; the caller closes them.
        loop: runs the server, such as AsyncioLoop() in a running asyncio program; None: a SelectorLoop of
            the server's own, which run() runs.

    Attributes:
        helper: the relay.
        stats: counters of the RPC.
        commands: the handlers by the name of their command on the wire. A handler under a known name
            overrides that command. A handler under a new name adds a command: proxies send [name,
            arguments...] in Net::SIP's protocol, or {"id", "command": name, fields...} in the native one,
            and the handler gets an Extension.
    """

    def __init__(
        self, helper: Relay | None, sockets: Sequence[socket.socket], *, loop: Loop | None = None
    ) -> None:
        self.helper = helper or Relay()
        self.stats = SupervisorStats()
        own: dict[type, Handler] = {
            GetStats: self._get_stats,
            Ping: _answer_ping,
            ListEnded: _list_ended,
            ShowEnded: _show_ended,
        }
        self.commands: dict[str, Handler] = {
            info.native: own.get(info.command, _refuse) if info.route is CommandRoute.SUPERVISOR else _execute
            for info in COMMANDS
            if info.native
        }
        self._loop = loop or SelectorLoop()
        self.helper.attach(self._loop)
        self._frontend = Frontend(
            self._loop, sockets, self._dispatch, stats=self.stats, extensions=self.commands.keys()
        )

    def run(self) -> None:
        """Serve until stop().

        Raises:
            TypeError: the loop is not a SelectorLoop; the program that owns such a loop runs it.
        """
        if not isinstance(self._loop, SelectorLoop):
            raise TypeError(f"{type(self._loop).__name__} is run by its own program, not by Server.run()")
        self._loop.run()

    def stop(self) -> None:
        """Make run() return. Call it in the loop's own thread, such as from a timer."""
        if isinstance(self._loop, SelectorLoop):
            self._loop.stop()

    def close(self) -> None:
        """Close every connection, end every call, leave the loop."""
        self._frontend.close()
        self.helper.close()

    def _dispatch(self, command: Command, reply: Callable[[Result], None], _origin: RequestOrigin) -> None:
        name = command.name if isinstance(command, Extension) else INFO[type(command)].native
        try:
            handler = self.commands.get(name)
            if handler is None:
                raise UnknownCommand(f"command {name!r} was removed from this server's table")
            if isinstance(command, ListCalls) and handler is _execute:
                self.helper.answer(command, reply)
                return
            value = handler(self.helper, command)
        except NhError as exc:
            reply(Failure.of(exc))
        except Exception:
            # a handler's bug fails its own command only
            logger.exception("command %r failed, because its handler raised an error of Python's", name)
            reply(Failure("internal", f"the handler of {name!r} failed; the server's log has the reason"))
        else:
            reply(value if isinstance(value, Result) else ExtensionResult(value))

    def _get_stats(self, helper: Relay, _command: Command) -> Stats:
        helper.update_stats()
        return Stats({"server": to_builtins(self.stats), "helper": to_builtins(helper.stats)})


def _answer_ping(_helper: Relay, _command: Command) -> Pong:
    return Pong(__version__)


def _list_ended(_helper: Relay, _command: Command) -> EndedCalls:
    return EndedCalls(())


def _show_ended(_helper: Relay, _command: Command) -> CallRecord:
    raise UnknownCall("this relay is part of another program, and keeps no records of calls that have ended")


def _refuse(_helper: Relay, _command: Command) -> Result:
    raise UnknownCommand(
        "this relay is part of another program, which starts and ends it: use that program to drain or"
        " upgrade (it can set helper.draining)"
    )


def _execute(helper: Relay, command: Command) -> Result:
    if not isinstance(command, RelayCommand):
        raise UnknownCommand(f"a Relay does not execute {type(command).__name__}")
    return helper.execute(command)
