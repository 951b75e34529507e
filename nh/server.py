"""Server: a Relay behind RPC sockets in this process (Net::SIP::NATHelper::Server).

For programs that want a relay of their own instead of `nh run`: give it listening sockets and a loop. The
same Relay is in every shard, the same frontend in the supervisor; this only joins the two.
"""

import dataclasses
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final

from nh.commands import (
    Activate,
    Allocate,
    Close,
    CloseCall,
    Command,
    Drain,
    Extension,
    GetStats,
    ListCalls,
    Ping,
    ShowCall,
    Undrain,
    Upgrade,
)
from nh.errors import NhError, UnknownCommand
from nh.loop import Loop, SelectorLoop
from nh.results import ExtensionResult, Failure, Pong, Result, Stats
from nh.rpc.frontend import Frontend
from nh.shard.relay import Relay
from nh.stats import SupervisorStats
from nh.version import __version__

logger = logging.getLogger(__name__)

Handler = Callable[[Relay, Command], object]
"""Executes one command: returns a Result, or plain values for a command of its own; may raise NhError."""

_NAMES: Final[dict[type, str]] = {
    Allocate: "allocate",
    Activate: "activate",
    Close: "close",
    CloseCall: "close",
    ListCalls: "list",
    ShowCall: "show",
    GetStats: "stats",
    Drain: "drain",
    Undrain: "undrain",
    Upgrade: "upgrade",
    Ping: "ping",
}


class Server:
    """Serves a helper on listening sockets.

    Arguments:
        helper: the relay, attached to the loop and closed by the server; one with defaults if None.
        sockets: listening stream sockets, Unix or TCP; they stay the caller's to close.
        loop: where it lives, such as AsyncioLoop() in a running asyncio program; a SelectorLoop of its
            own, to be run with run(), if None.

    `commands` is the table of commands by name. Put another handler under a known name to override it, or
    a new name to add a command: proxies send it as [name, arguments...] in Net::SIP's protocol, or as
    {"id", "command": name, fields...} in the native one, and the handler gets an Extension.
    """

    def __init__(
        self, helper: Relay | None, sockets: Sequence[socket.socket], *, loop: Loop | None = None
    ) -> None:
        self.helper = helper or Relay()
        self.stats = SupervisorStats()
        self.commands: dict[str, Handler] = {
            **dict.fromkeys(("allocate", "activate", "close", "list", "show"), _execute),
            "stats": self._get_stats,
            **dict.fromkeys(("drain", "undrain", "upgrade"), _refuse_process),
            "ping": lambda _helper, _command: Pong(__version__),
        }
        self._loop = loop or SelectorLoop()
        self.helper.attach(self._loop)
        self._frontend = Frontend(
            self._loop, sockets, self._dispatch, stats=self.stats, extensions=self.commands.keys()
        )

    def run(self) -> None:
        """Serve until stop(); only for a server with a SelectorLoop.

        Raises TypeError under another loop, which runs by itself.
        """
        if not isinstance(self._loop, SelectorLoop):
            raise TypeError(f"{type(self._loop).__name__} is run by its own program, not by Server.run()")
        self._loop.run()

    def stop(self) -> None:
        """Let run() return; to be called from the loop's own thread, such as from a timer."""
        if isinstance(self._loop, SelectorLoop):
            self._loop.stop()

    def close(self) -> None:
        """Close every connection, end every call, leave the loop."""
        self._frontend.close()
        self.helper.close()

    def _dispatch(self, command: Command, answer: Callable[[Result], None]) -> None:
        name = command.name if isinstance(command, Extension) else _NAMES[type(command)]
        try:
            handler = self.commands.get(name)
            if handler is None:
                raise UnknownCommand(f"command {name!r} was taken out of this server's table")
            value = handler(self.helper, command)
        except NhError as exc:
            answer(Failure.of(exc))
        except Exception:
            # a handler's bug must cost its own command only
            logger.exception("the handler of %r failed", name)
            answer(Failure("internal", f"the handler of {name!r} failed; the server's log says why"))
        else:
            answer(value if isinstance(value, Result) else ExtensionResult(value))

    def _get_stats(self, helper: Relay, _command: Command) -> Stats:
        helper.update_stats()
        server = dataclasses.asdict(self.stats)
        del server["shards"]
        return Stats({"server": server, "helper": dataclasses.asdict(helper.stats)})


def _refuse_process(_helper: Relay, _command: Command) -> Result:
    raise UnknownCommand(
        "this relay is part of another program, which ends and starts it when it suits: ask that program"
        " (such as to set helper.draining)"
    )


def _execute(helper: Relay, command: Command) -> Result:
    if isinstance(command, GetStats | Drain | Undrain | Upgrade | Ping | Extension):
        raise UnknownCommand(f"{type(command).__name__} is nothing that a helper executes")
    return helper.execute(command)
