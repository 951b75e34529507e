"""Dispatch: has each command executed by the shard of its call, by all shards, or by the supervisor.

nh.command_table says which. Shards are reached through a function, so this module knows no processes. A
command for all shards fails if one cannot answer: a partial list looks like a complete one, and a script that
closes calls by it would miss the calls of the other shard.
"""

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, Protocol

from nh.calls.call_event import MAX_DETAIL, NO_CLIENT, Client
from nh.command_table import COMMANDS, INFO, CommandRoute
from nh.commands import (
    CallCommand,
    CallOrder,
    Command,
    DeleteAll,
    Demote,
    Drain,
    Extension,
    GetStats,
    ListCalls,
    ListEnded,
    Ping,
    Promote,
    RelayCommand,
    Reload,
    SetLog,
    ShowEnded,
    Undrain,
    Upgrade,
)
from nh.errors import (
    CommandTimeout,
    Refused,
    ShardUnavailable,
    StatsUnavailable,
    UnknownCall,
    UnknownCommand,
)
from nh.logs.throttle import RateLimitedLogger
from nh.results import (
    CallList,
    CallRecord,
    Closed,
    DrainState,
    EndedCalls,
    Failure,
    LogState,
    Pong,
    RelayResult,
    Reloaded,
    Result,
    Stats,
)
from nh.rpc.events import RequestOrigin
from nh.stats import StatsReader, SupervisorStats
from nh.supervisor.records.history import History
from nh.supervisor.reload import Reloader
from nh.supervisor.shards.drain import DrainPolicy
from nh.version import __version__

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
"""Least time between two log lines about commands that no shard answered."""

_UNSERVED: Final = frozenset({CommandTimeout.code, ShardUnavailable.code})
"""Failures of shards that are late, overloaded or down."""


class Shard(Protocol):
    """A shard, as the dispatcher sees it."""

    def execute(
        self,
        command: RelayCommand,
        answer: Callable[[RelayResult], None],
        client: Client,
        sender: Hashable,
    ) -> None:
        """Execute a command, and answer exactly once, with a Failure on failure.

        Args:
            command: the command.
            answer: gets its result.
            client: whom the shard is told.
            sender: whose turn it is; see RequestOrigin.
        """


Reply = Callable[[Result], None]

_Ask = Callable[[int, RelayCommand, Callable[[RelayResult], None], Client, Hashable], None]

_Own = (
    ListEnded
    | ShowEnded
    | Ping
    | GetStats
    | Drain
    | Undrain
    | Reload
    | SetLog
    | Upgrade
    | Promote
    | Demote
    | Extension
)
"""The commands that the supervisor executes itself."""


class Dispatcher:
    """The Dispatch (nh.rpc.events) of the supervisor.

    Args:
        shards: all of them, by number.
        find_shard: returns the shard of a call-id.
        reader: the statistics that GetStats returns.
        stats: counts commands that a shard did not answer.
        drain: carries out Drain and Undrain.
        reloader: carries out Reload and SetLog.
        upgrade: carries out Upgrade, and replies.
        demote: carries out Demote, and replies.
        history: the calls that have ended; None: the settings want none.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        *,
        find_shard: Callable[[bytes], int],
        reader: StatsReader,
        stats: SupervisorStats,
        drain: DrainPolicy,
        reloader: Reloader,
        upgrade: Callable[[int | None, Reply], None],
        demote: Callable[[Demote, Reply], None],
        history: History | None = None,
    ) -> None:
        self._shards = shards
        self._find_shard = find_shard
        self._reader = reader
        self._stats = stats
        self._drain = drain
        self._reloader = reloader
        self._upgrade = upgrade
        self._demote = demote
        self._history = history
        self._unserved_log = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)
        routes: dict[CommandRoute, Callable[[Any, Reply, RequestOrigin], None]] = {
            CommandRoute.CALL_SHARD: self._ask_call_shard,
            CommandRoute.ALL_SHARDS: self._ask_all_shards,
            CommandRoute.SUPERVISOR: self._do,
        }
        self._routes: Final = {info.command: routes[info.route] for info in COMMANDS}

    def __call__(self, command: Command, reply: Reply, origin: RequestOrigin) -> None:
        """Execute a command and reply exactly once; see Dispatch."""
        self._routes[type(command)](command, reply, origin)

    # --- in shards --------------------------------------------------------------------------------

    def _ask_call_shard(self, command: CallCommand, reply: Reply, origin: RequestOrigin) -> None:
        client = _client(command, origin)
        self._ask(self._find_shard(command.call_id), command, reply, client, origin.sender)

    def _ask_all_shards(self, command: ListCalls | DeleteAll, reply: Reply, origin: RequestOrigin) -> None:
        _ForAll(command, len(self._shards), reply).ask(self._ask, _client(command, origin), origin.sender)

    def _ask(
        self,
        shard: int,
        command: RelayCommand,
        reply: Callable[[RelayResult], None],
        client: Client,
        sender: Hashable,
    ) -> None:
        def count_and_reply(result: RelayResult) -> None:
            if type(result) is Failure and result.code in _UNSERVED:
                self._count_unserved(result)
            reply(result)

        self._shards[shard].execute(command, count_and_reply, client, sender)

    def _count_unserved(self, failure: Failure) -> None:
        if failure.code == CommandTimeout.code:
            self._stats.rpc_timeouts += 1
        else:
            self._stats.rpc_unroutable += 1
        message = "a request is not served, its client gets an error: %s; see `nh stats` (state, cpu%%, lag)"
        self._unserved_log.log(logging.WARNING, message, failure.message)

    # --- in the supervisor ------------------------------------------------------------------------

    def _do(self, command: _Own, reply: Reply, _origin: RequestOrigin) -> None:
        match command:
            case Ping():
                reply(Pong(__version__))
            case ListEnded() | ShowEnded():
                reply(self._look_back(command))
            case GetStats():
                reply(self._read_stats())
            case Drain() | Undrain():
                reply(self._change_drain(command))
            case Reload() | SetLog():
                reply(self._reconfigure(command))
            case Upgrade():
                self._upgrade(command.shards, reply)
            case Demote():
                self._demote(command, reply)
            case Promote():
                reply(Failure.of(Refused("this relay has the calls already; it is no standby")))
            case Extension():
                reply(Failure.of(UnknownCommand(f"command {command.name[:64]!r} is unknown")))

    def _look_back(self, command: ListEnded | ShowEnded) -> EndedCalls | CallRecord | Failure:
        if isinstance(command, ListEnded):
            if self._history is None:
                return EndedCalls(())
            return self._history.page(contains=command.contains, before=command.before, limit=command.limit)
        record = self._history.find(command.call_id) if self._history is not None else None
        return record or Failure.of(UnknownCall("no call with this call-id has ended lately"))

    def _change_drain(self, command: Drain | Undrain) -> DrainState | Failure:
        try:
            if isinstance(command, Drain):
                self._drain.begin(command.limit_s)
            else:
                self._drain.take_back()
        except Refused as exc:
            return Failure.of(exc)
        return DrainState(self._drain.draining, self._drain.calls, self._drain.left_s)

    def _reconfigure(self, command: Reload | SetLog) -> Reloaded | LogState | Failure:
        try:
            if isinstance(command, Reload):
                return self._reloader.reload()
            return self._reloader.set_log(command.level, command.area)
        except Refused as exc:
            return Failure.of(exc)

    def _read_stats(self) -> Stats | Failure:
        try:
            return Stats(self._reader.read().to_builtins())
        except StatsUnavailable as exc:
            return Failure.of(exc)


def _client(command: RelayCommand, origin: RequestOrigin) -> Client:
    """The client of a command that may change calls; their timelines name it."""
    info = INFO[type(command)]
    if not info.changes_call and info.command is not DeleteAll:
        return NO_CLIENT
    return Client(origin.protocol, str(origin.sender)[:MAX_DETAIL], info.counters)


class _ForAll:
    """One command that all shards execute."""

    def __init__(self, command: ListCalls | DeleteAll, shards: int, reply: Callable[[Result], None]) -> None:
        self._command = command
        self._results: list[RelayResult] = []
        self._shards = shards
        self._reply: Callable[[Result], None] | None = reply

    def ask(self, ask: _Ask, client: Client, sender: Hashable) -> None:
        for shard in range(self._shards):
            ask(shard, self._command, self._on_result, client, sender)

    def _on_result(self, result: RelayResult) -> None:
        if self._reply is None:  # already answered, with another shard's failure
            return
        what = "the list" if isinstance(self._command, ListCalls) else "the deletion"
        if isinstance(result, Failure):
            self._answer(Failure(result.code, f"{what} is incomplete: {result.message}"))
        elif isinstance(result, INFO[type(self._command)].result):
            self._results.append(result)
            if len(self._results) == self._shards:
                self._answer(_merge(self._command, self._results))
        else:
            self._answer(Failure("internal", f"a shard answered {what} with {type(result).__name__}"))

    def _answer(self, result: Result) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            reply(result)


def _merge(command: ListCalls | DeleteAll, results: Sequence[RelayResult]) -> RelayResult:
    if isinstance(command, ListCalls):
        return merge_pages([each for each in results if isinstance(each, CallList)], command)
    return Closed(sum(each.sessions for each in results if isinstance(each, Closed)))


def merge_pages(pages: Sequence[CallList], command: ListCalls) -> CallList:
    """Merge the shards' pages into one page.

    A shard with more calls than its page may have some right behind the page's end, so calls of other shards
    behind that end are left out; by call-id they go to the next page.

    Args:
        pages: one page of each shard, calls in the order that the command asks for.
        command: the command, for its order and limit.
    """
    rank, by_id = command.sort.rank, command.sort is CallOrder.CALL_ID
    calls = sorted((call for page in pages for call in page.calls), key=rank)
    if by_id:
        ends = [(0.0, page.next) for page in pages if page.next]
    else:
        ends = [rank(page.calls[-1]) for page in pages if page.more and page.calls]
    if ends:
        calls = [call for call in calls if rank(call) <= min(ends)]
    more = len(calls) > command.limit or any(page.more for page in pages)
    if len(calls) > command.limit:
        calls = calls[: command.limit]
        ends = [rank(calls[-1])]
    return CallList(tuple(calls), min(ends)[1] if by_id and ends else b"", more)
