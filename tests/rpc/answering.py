"""What answers the commands of clients, in place of shards."""

from collections.abc import Callable

from nh.commands import Command
from nh.results import Result
from nh.rpc.events import RequestOrigin


class Answering:
    """Answers each command with `result` at once, or keeps the replies if `holding`.

    Attributes:
        commands, origins: of all commands, in their order.
        held: the replies that were kept.
    """

    def __init__(self, result: Result) -> None:
        self.result = result
        self.holding = False
        self.commands: list[Command] = []
        self.origins: list[RequestOrigin] = []
        self.held: list[Callable[[Result], None]] = []

    def dispatch(self, command: Command, reply: Callable[[Result], None], origin: RequestOrigin) -> None:
        """A command of a client."""
        self.commands.append(command)
        self.origins.append(origin)
        if self.holding:
            self.held.append(reply)
        else:
            reply(self.result)
