"""What is known of each command, one row a command.

Codecs, dispatch, counters and checkpoints look a command up here. What only one codec knows, such as how its
requests are read, stays in that codec; tests hold each codec to exactly the names of its rows.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from nh.commands import (
    Activate,
    Allocate,
    Answer,
    BaseCommand,
    BlockMedia,
    Close,
    CloseCall,
    Delete,
    DeleteAll,
    DeleteSessions,
    Demote,
    Drain,
    Extension,
    GetStats,
    ListCalls,
    ListEnded,
    Lookup,
    Offer,
    Ping,
    Promote,
    Query,
    QuerySession,
    Reload,
    SetLog,
    ShowCall,
    ShowEnded,
    Undrain,
    Update,
    Upgrade,
)
from nh.results import (
    Activated,
    Allocated,
    Blocked,
    CallDetail,
    CallList,
    CallRecord,
    Closed,
    Demoting,
    DrainState,
    EndedCalls,
    ExtensionResult,
    LogState,
    Pong,
    Promoting,
    Queried,
    RelayPort,
    Reloaded,
    Result,
    Rewritten,
    SessionCounters,
    Stats,
    Upgrading,
)


class CommandRoute(enum.Enum):
    """Where the supervisor has a command executed."""

    CALL_SHARD = enum.auto()
    """In the shard of the call that `command.call_id` names."""

    ALL_SHARDS = enum.auto()
    """In every shard; the supervisor merges the results."""

    SUPERVISOR = enum.auto()
    """In the supervisor itself."""


class CommandInfo(NamedTuple):
    """One row of the table.

    Attributes:
        command: the command's type.
        result: the type of its result, where that is not a Failure.
        route: see CommandRoute.
        netsip, native: its name in Net::SIP's and in the native protocol; "" where it is not part of it.
        ng: its names in ng.
        rtpproxy: its names in rtpproxy's protocol, separated by blanks: first letters of commands, and `VF`.
        counters: which counters of nh.stats.ShardStats count it: `<counters>_ok`, `_refused` and `_failed`;
            "" where shards do not execute it.
        changes_call: whether it may change the call, so that the call is saved before the command is
            answered.
    """

    command: type[BaseCommand[Result]]
    result: type[Result]
    route: CommandRoute
    netsip: str
    native: str
    ng: tuple[str, ...]
    rtpproxy: str
    counters: str
    changes_call: bool


_CALL, _ALL, _OWN = CommandRoute.CALL_SHARD, CommandRoute.ALL_SHARDS, CommandRoute.SUPERVISOR

# fmt: off
_ROWS: Final[tuple[tuple[Any, ...], ...]] = (
    # command        result           route  Net::SIP    native      ng           rtpproxy counters    changes
    (Allocate,       Allocated,       _CALL, "allocate", "allocate", (),          "",      "allocate", True),
    (Activate,       Activated,       _CALL, "activate", "activate", (),          "",      "activate", True),
    (Close,          Closed,          _CALL, "close",    "close",    (),          "",      "close",    True),
    (CloseCall,      Closed,          _CALL, "",         "close",    (),          "",      "close",    True),
    (ShowCall,       CallDetail,      _CALL, "",         "show",     (),          "",      "show",     False),
    (ListCalls,      CallList,        _ALL,  "",         "list",     ("list",),   "",      "list",     False),
    (Offer,          Rewritten,       _CALL, "",         "",         ("offer",),  "",      "offer",    True),
    (Answer,         Rewritten,       _CALL, "",         "",         ("answer",), "",      "answer",   True),
    (Delete,         Queried,         _CALL, "",         "",         ("delete",), "",      "delete",   True),
    (Query,          Queried,         _CALL, "",         "",         ("query",),  "",      "query",    False),
    (BlockMedia,     Blocked,         _CALL, "",         "",
     ("block media", "unblock media", "block dtmf", "unblock dtmf", "silence media", "unsilence media"),
     "", "block", True),
    (Update,         RelayPort,       _CALL, "",         "",         (),          "U",     "offer",    True),
    (Lookup,         RelayPort,       _CALL, "",         "",         (),          "L",     "answer",   True),
    (DeleteSessions, Closed,          _CALL, "",         "",         (),          "D",     "delete",   True),
    (QuerySession,   SessionCounters, _CALL, "",         "",         (),          "Q",     "query",    False),
    (DeleteAll,      Closed,          _ALL,  "",         "",         (),          "X",     "delete",   False),
    (ListEnded,      EndedCalls,      _OWN,  "",         "list_ended", (),        "",      "",         False),
    (ShowEnded,      CallRecord,      _OWN,  "",         "show_ended", (),        "",      "",         False),
    (GetStats,       Stats,           _OWN,  "",         "stats",
     ("statistics",), "G I", "", False),
    (Drain,          DrainState,      _OWN,  "",         "drain",    (),          "",      "",         False),
    (Undrain,        DrainState,      _OWN,  "",         "undrain",  (),          "",      "",         False),
    (Reload,         Reloaded,        _OWN,  "",         "reload",   (),          "",      "",         False),
    (SetLog,         LogState,        _OWN,  "",         "log",      (),          "",      "",         False),
    (Upgrade,        Upgrading,       _OWN,  "",         "upgrade",  (),          "",      "",         False),
    (Promote,        Promoting,       _OWN,  "",         "promote",  (),          "",      "",         False),
    (Demote,         Demoting,        _OWN,  "",         "demote",   (),          "",      "",         False),
    (Ping,           Pong,            _OWN,  "",         "ping",     ("ping",),   "V VF",  "",         False),
    (Extension,      ExtensionResult, _OWN,  "",         "",         (),          "",      "",         False),
)
# fmt: on

COMMANDS: Final = tuple(CommandInfo(*row) for row in _ROWS)
"""All commands."""

INFO: Final[Mapping[type, CommandInfo]] = {info.command: info for info in COMMANDS}
"""The rows by the type of command."""
