"""What operators ask for, and the commands that a program adds to its server."""

import enum
import math
from collections.abc import Callable, Mapping
from typing import Final

from nh.commands.base import BaseCommand
from nh.logs.settings import LogLevel
from nh.results import (
    CallDetail,
    CallList,
    CallRecord,
    CallSummary,
    Demoting,
    DrainState,
    EndedCalls,
    ExtensionResult,
    LogState,
    Pong,
    Promoting,
    Reloaded,
    Stats,
    Upgrading,
)

MAX_LIST = 1000
"""Most calls in one page of a list."""


MAX_DRAIN_S = 7 * 86_400
"""Longest time limit of a drain, in seconds."""


class CallOrder(enum.StrEnum):
    """The order of a list of calls: by call-id, or what an operator looks for first."""

    CALL_ID = "call_id"
    AGE = "age"
    IDLE = "idle"
    PACKETS = "packets"
    LOSS = "loss"
    MOS = "mos"

    def rank(self, call: CallSummary) -> tuple[float, bytes]:
        """Where a call stands in this order; the call-id decides between equals."""
        return _RANKS[self](call), call.call_id


def _highest_loss(call: CallSummary) -> float:
    return max((end.loss_ratio or 0.0 for end in (call.from_, call.to) if end is not None), default=0.0)


def _lowest_mos(call: CallSummary) -> float:
    known = [end.mos for end in (call.from_, call.to) if end is not None and end.mos is not None]
    return min(known, default=math.inf)


_RANKS: Final[Mapping[CallOrder, Callable[[CallSummary], float]]] = {
    CallOrder.CALL_ID: lambda _call: 0.0,
    CallOrder.AGE: lambda call: -call.age_s,
    CallOrder.IDLE: lambda call: -call.idle_s,
    CallOrder.PACKETS: lambda call: -call.packets,
    CallOrder.LOSS: lambda call: -_highest_loss(call),
    CallOrder.MOS: _lowest_mos,
}
"""The lowest comes first: the oldest, longest idle, busiest, lossiest call, and that with the worst MOS."""


class ListCalls(BaseCommand[CallList], frozen=True, tag="list"):
    """List one page of calls. Conditions apply together; one_way and silent are alternatives.

    Attributes:
        contains: only call-ids that contain these bytes; b"" for all.
        after: only call-ids after this one: `next` of the page before; b"" for the first page.
        limit: most calls in the page, 1 to MAX_LIST.
        one_way: only calls in the state ONE_WAY (nh.calls.media_state).
        silent: only calls in the state SILENT.
        address: only calls of which an end announces, sends from, or signals from an address in this network,
            such as "198.51.100.0/24"; "" for all.
        sort: the order. A list in another order than that of the call-ids is one page: its first calls.
    """

    contains: bytes = b""
    after: bytes = b""
    limit: int = 100
    one_way: bool = False
    silent: bool = False
    address: str = ""
    sort: CallOrder = CallOrder.CALL_ID


class ShowCall(BaseCommand[CallDetail], frozen=True, tag="show"):
    """Show everything that is known of one call."""

    call_id: bytes


class ListEnded(BaseCommand[EndedCalls], frozen=True, tag="list_ended"):
    """List one page of calls that have ended, the latest first.

    Attributes:
        contains: only call-ids that contain these bytes; b"" for all.
        before: only calls that ended before this place: `next` of the page before; 0 for the first page.
        limit: most calls in the page, 1 to MAX_LIST.
    """

    contains: bytes = b""
    before: int = 0
    limit: int = 100


class ShowEnded(BaseCommand[CallRecord], frozen=True, tag="show_ended"):
    """Show the record of a call that has ended; of several with one call-id, the latest."""

    call_id: bytes


class GetStats(BaseCommand[Stats], frozen=True, tag="stats"):
    """Read the counters of the whole relay (what `nh stats --json` prints)."""


class Drain(BaseCommand[DrainState], frozen=True, tag="drain"):
    """Refuse new calls, and end when the last call has ended. A second Drain replaces the limit.

    Attributes:
        limit_s: seconds after which the relay ends with calls left, 0 to MAX_DRAIN_S; None: no limit.
    """

    limit_s: float | None = None


class Undrain(BaseCommand[DrainState], frozen=True, tag="undrain"):
    """Accept new calls again."""


class Reload(BaseCommand[Reloaded], frozen=True, tag="reload"):
    """Read the settings again, and apply those that can change at run time."""


class SetLog(BaseCommand[LogState], frozen=True, tag="set_log"):
    """Change a level of the log until the next reload or start, or ask for the levels.

    Attributes:
        level: the new level; None: change nothing.
        area: one of nh.logs.settings.AREAS; "": all areas.
    """

    level: LogLevel | None = None
    area: str = ""


class Upgrade(BaseCommand[Upgrading], frozen=True, tag="upgrade"):
    """Continue with the installed code and the current settings; no call ends.

    Attributes:
        shards: number of shards from then on, 1 to 256; None: the setting `shards`.
    """

    shards: int | None = None


class Promote(BaseCommand[Promoting], frozen=True, tag="promote"):
    """Have a standby take the calls of a group: its relay is asked to give them.

    Attributes:
        group: the prefix of the store; "": that of the only group that the standby follows.
        force: take them from a relay that lives, without asking it.
    """

    group: str = ""
    force: bool = False


class Demote(BaseCommand[Demoting], frozen=True, tag="demote"):
    """Have a relay give its calls to a standby, and relay on until the standby has them.

    Attributes:
        to: the standby: HOST:RUNTIME_DIR or HOST; "": the only one that follows the calls.
    """

    to: str = ""


class Ping(BaseCommand[Pong], frozen=True, tag="ping"):
    """Ask whether the relay answers, and with which version."""


class Extension(BaseCommand[ExtensionResult], frozen=True, tag="extension"):
    """A command that a program added to its nh.server.Server.

    Attributes:
        name: its name on the wire.
        arguments: in Net::SIP's protocol the plain values behind the name, in the native protocol one dict
            of the request's fields.
    """

    name: str
    arguments: tuple[object, ...] = ()
