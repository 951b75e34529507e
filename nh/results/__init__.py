"""The results of commands (nh.commands): the other half of the vocabulary of wires, supervisor and shards."""

from nh.results.calls import (
    CallDetail,
    CallEvents,
    CallList,
    CallSummary,
    EndSummary,
    GroupDetail,
    IceDetail,
    LegDetail,
    PairDetail,
    SessionDetail,
    StreamDetail,
    StreamQuality,
)
from nh.results.ng import (
    Blocked,
    LeftOut,
    MediumReading,
    Queried,
    Rewritten,
    StreamReading,
    StreamTotals,
    TagReading,
)
from nh.results.operation import (
    Demoting,
    DrainState,
    ExtensionResult,
    Failure,
    LogState,
    Pong,
    Promoting,
    Reloaded,
    Stats,
    Upgrading,
)
from nh.results.records import CallRecord, EndedCall, EndedCalls, LegRecord, SessionRecord
from nh.results.sessions import RelayPort, SessionCounters
from nh.results.transactions import Activated, Allocated, Closed

RelayResult = (
    Allocated
    | Activated
    | Closed
    | CallList
    | CallDetail
    | Rewritten
    | Queried
    | Blocked
    | RelayPort
    | SessionCounters
    | Failure
)
"""The results that a shard returns."""


Result = (
    RelayResult
    | LeftOut
    | EndedCalls
    | CallRecord
    | Stats
    | DrainState
    | Reloaded
    | LogState
    | Upgrading
    | Promoting
    | Demoting
    | Pong
    | ExtensionResult
)
"""All results."""


__all__ = [
    "Activated",
    "Allocated",
    "Blocked",
    "CallDetail",
    "CallEvents",
    "CallList",
    "CallRecord",
    "CallSummary",
    "Closed",
    "Demoting",
    "DrainState",
    "EndSummary",
    "EndedCall",
    "EndedCalls",
    "ExtensionResult",
    "Failure",
    "GroupDetail",
    "IceDetail",
    "LeftOut",
    "LegDetail",
    "LegRecord",
    "LogState",
    "MediumReading",
    "PairDetail",
    "Pong",
    "Promoting",
    "Queried",
    "RelayPort",
    "RelayResult",
    "Reloaded",
    "Result",
    "Rewritten",
    "SessionCounters",
    "SessionDetail",
    "SessionRecord",
    "Stats",
    "StreamDetail",
    "StreamQuality",
    "StreamReading",
    "StreamTotals",
    "TagReading",
    "Upgrading",
]
