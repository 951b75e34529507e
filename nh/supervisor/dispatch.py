"""Who executes a command: the call's shard, all shards, or the supervisor itself.

Shards are reached through a function, so that nothing here knows processes. A list is made of all shards'
lists and fails if one of them does: half a list looks like a whole one, and whoever closes calls by it
would miss those of the shard that is down.
"""

from collections.abc import Callable, Sequence

from nh import commands
from nh.commands import Activate, Allocate, Close, Command, Extension, GetStats, ListCalls, Ping, RelayCommand
from nh.errors import CommandTimeout, Refused, ShardUnavailable, StatsUnavailable, UnknownCommand
from nh.results import CallList, DrainState, Failure, Pong, RelayResult, Result, Stats
from nh.stats import StatsReader, SupervisorStats
from nh.supervisor.shards.drain import DrainPolicy
from nh.version import __version__

Execute = Callable[[int, RelayCommand, Callable[[RelayResult], None]], None]
"""Has a shard (by number) execute a command; answers exactly once, with a Failure where it cannot."""


class Dispatcher:
    """The Dispatch (nh.rpc.frontend) of the supervisor.

    Arguments:
        execute: see Execute.
        shards: how many there are, 1 or more.
        find_shard: the number of the shard that has a call, by call-id.
        reader: where GetStats is answered from.
        stats: where commands are counted that shards did not answer.
        drain: what Drain and Undrain are for.
        upgrade: carries Upgrade out, and replies.
    """

    def __init__(
        self,
        execute: Execute,
        shards: int,
        *,
        find_shard: Callable[[bytes], int],
        reader: StatsReader,
        stats: SupervisorStats,
        drain: DrainPolicy,
        upgrade: Callable[[int | None, Callable[[Result], None]], None],
    ) -> None:
        self._execute = execute
        self._shards = shards
        self._find_shard = find_shard
        self._reader = reader
        self._stats = stats
        self._drain = drain
        self._upgrade = upgrade

    def __call__(self, command: Command, reply: Callable[[Result], None]) -> None:
        """Execute a command and reply exactly once; see Dispatch."""
        if isinstance(command, Ping):
            reply(Pong(__version__))
        elif isinstance(command, GetStats):
            reply(self._read_stats())
        elif isinstance(command, commands.Drain | commands.Undrain):
            reply(self._do_drain(command))
        elif isinstance(command, commands.Upgrade):
            self._upgrade(command.shards, reply)
        elif isinstance(command, ListCalls):
            _ListOfAll(command, self._shards, reply).ask(self._ask)
        elif isinstance(command, Extension):
            reply(Failure.of(UnknownCommand(f"command {command.name[:64]!r} is not known here")))
        else:
            named = command.key if isinstance(command, Allocate | Activate | Close) else command
            self._ask(self._find_shard(named.call_id), command, reply)

    def _ask(self, shard: int, command: RelayCommand, reply: Callable[[RelayResult], None]) -> None:
        def count_and_reply(result: RelayResult) -> None:
            if isinstance(result, Failure):
                if result.code == CommandTimeout.code:
                    self._stats.rpc_timeouts += 1
                elif result.code == ShardUnavailable.code:
                    self._stats.rpc_unroutable += 1
            reply(result)

        self._execute(shard, command, count_and_reply)

    def _do_drain(self, command: commands.Drain | commands.Undrain) -> DrainState | Failure:
        try:
            calls = self._reader.read().totals.calls
            if isinstance(command, commands.Drain):
                self._drain.begin(command.limit_s)
            else:
                self._drain.take_back()
        except (Refused, StatsUnavailable) as exc:
            return Failure.of(exc)
        return DrainState(self._drain.draining, calls, self._drain.left_s)

    def _read_stats(self) -> Stats | Failure:
        try:
            return Stats(self._reader.read().to_builtins())
        except StatsUnavailable as exc:
            return Failure.of(exc)


class _ListOfAll:
    """One list command on its way through all shards."""

    def __init__(self, command: ListCalls, shards: int, reply: Callable[[Result], None]) -> None:
        self._command = command
        self._pages: list[CallList] = []
        self._shards = shards
        self._reply: Callable[[Result], None] | None = reply

    def ask(self, ask: Execute) -> None:
        for shard in range(self._shards):
            ask(shard, self._command, self._on_page)

    def _on_page(self, page: RelayResult) -> None:
        if self._reply is None:  # answered with another shard's failure
            return
        if isinstance(page, CallList):
            self._pages.append(page)
            if len(self._pages) == self._shards:
                self._answer(merge_pages(self._pages, self._command.limit))
        elif isinstance(page, Failure):
            self._answer(Failure(page.code, f"the list is not complete: {page.message}"))
        else:
            self._answer(Failure("internal", f"a shard answered a list with {type(page).__name__}"))

    def _answer(self, result: Result) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            reply(result)


def merge_pages(pages: Sequence[CallList], limit: int) -> CallList:
    """One page of the calls of all shards.

    Arguments:
        pages: each shard's page, calls in the order of their call-id.
        limit: most calls in the result, 1 or more.

    Where a shard has more calls than its page, nothing behind that page's end may be shown yet.
    """
    calls = sorted((call for page in pages for call in page.calls), key=lambda call: call.call_id)
    ends = [page.next for page in pages if page.next]
    if ends:
        calls = [call for call in calls if call.call_id <= min(ends)]
    if len(calls) > limit:
        return CallList(tuple(calls[:limit]), calls[limit - 1].call_id)
    return CallList(tuple(calls), min(ends, default=b""))
