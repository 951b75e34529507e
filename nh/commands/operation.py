"""What operators ask for, and the commands that a program adds to its server."""

from nh.commands.base import BaseCommand
from nh.log_settings import LogLevel
from nh.results import (
    CallDetail,
    CallList,
    DrainState,
    ExtensionResult,
    LogState,
    Pong,
    Reloaded,
    Stats,
    Upgrading,
)

MAX_LIST = 1000
"""Most calls in one page of a list."""


MAX_DRAIN_S = 7 * 86_400
"""Longest time limit of a drain, in seconds."""


class ListCalls(BaseCommand[CallList], frozen=True, tag="list"):
    """List one page of calls, in the order of their call-ids.

    Attributes:
        contains: only call-ids that contain these bytes; b"" for all.
        after: only call-ids after this one: `next` of the page before; b"" for the first page.
        limit: most calls in the page, 1 to MAX_LIST.
    """

    contains: bytes = b""
    after: bytes = b""
    limit: int = 100


class ShowCall(BaseCommand[CallDetail], frozen=True, tag="show"):
    """Show everything that is known of one call."""

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
        area: one of nh.logs.AREAS; "": all areas.
    """

    level: LogLevel | None = None
    area: str = ""


class Upgrade(BaseCommand[Upgrading], frozen=True, tag="upgrade"):
    """Continue with the installed code and the current settings; no call ends.

    Attributes:
        shards: number of shards from then on, 1 to 256; None: the setting `shards`.
    """

    shards: int | None = None


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
