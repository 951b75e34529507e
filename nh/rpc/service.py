"""What all RPC connections of a frontend share."""

import dataclasses
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from nh.commands import Command
from nh.loop import Loop
from nh.results import Result
from nh.rpc.idle_clients import IdleTracker
from nh.stats.layout import SupervisorStats
from nh.throttle import RateLimitedLogger

if TYPE_CHECKING:
    from nh.rpc.connection import Connection

Dispatch = Callable[[Command, Callable[[Result], None]], None]
"""Executes a command and calls back exactly once with its result, at once or later. Never raises."""


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """What all connections of a frontend share.

    Arguments:
        loop: what watches the sockets.
        dispatch: what executes commands.
        clients: where connections are kept while they are open.
        stats: where requests are counted.
        limited_log: the log for what peers do wrong.
        extensions: names of further commands that the codecs let pass, looked at with every request.
    """

    loop: Loop
    dispatch: Dispatch
    clients: "IdleTracker[Connection]"
    stats: SupervisorStats
    limited_log: RateLimitedLogger
    extensions: Collection[str] = ()
