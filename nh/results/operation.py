"""The results of what operators ask for, and failures."""

from collections.abc import Iterator

import msgspec

from nh.errors import NhError
from nh.logs.settings import LogLevel


class Stats(msgspec.Struct, frozen=True, tag="stats_result"):
    """All statistics, as plain values (nh.stats.reading.StatsReading.to_builtins)."""

    values: dict[str, object]


class DrainState(msgspec.Struct, frozen=True, tag="drain_state"):
    """The state of the drain after Drain or Undrain.

    Attributes:
        draining: whether new calls are refused.
        calls: number of calls, as last published.
        limit_s: seconds until the relay ends with calls left; None: no limit.
    """

    draining: bool
    calls: int
    limit_s: float | None = None


class Reloaded(msgspec.Struct, frozen=True, tag="reloaded"):
    """What a reload found different from the settings in force.

    Attributes:
        applied: names of settings that are in force now.
        needs_upgrade: names of settings that an upgrade applies.
        needs_restart: names of settings that only an end of nh and another start apply.
        without_effect: names of settings of the file, and what goes before it with another value: the
            command line or the environment of nh.
    """

    applied: tuple[str, ...]
    needs_upgrade: tuple[str, ...]
    needs_restart: tuple[str, ...] = ()
    without_effect: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        """What has been done, and what is to do, for people."""
        yield f"applied: {', '.join(self.applied)}" if self.applied else "nothing to apply"
        if self.needs_upgrade:
            yield f"`nh upgrade` applies: {', '.join(self.needs_upgrade)}"
        if self.needs_restart:
            yield f"a restart of nh applies: {', '.join(self.needs_restart)}"
        for name, origin in self.without_effect.items():
            yield f"{name} of the file has no effect: the {origin} of nh has another value"


class LogState(msgspec.Struct, frozen=True, tag="log_state"):
    """How much nh logs.

    Attributes:
        level: of all areas without a level of their own.
        areas: levels by area.
    """

    level: LogLevel
    areas: dict[str, LogLevel]


class Upgrading(msgspec.Struct, frozen=True, tag="upgrading"):
    """The upgrade begins, and this connection ends.

    Attributes:
        version: the installed version.
    """

    version: str


class Promoting(msgspec.Struct, frozen=True, tag="promoting"):
    """The standby is about to get the calls of a group.

    Attributes:
        group: whose calls: the prefix of the store.
        holder: the relay that was asked for them; "": none has them, or they are taken without asking.
    """

    group: str
    holder: str


class Demoting(msgspec.Struct, frozen=True, tag="demoting"):
    """The relay is about to give its calls to a standby.

    Attributes:
        to: the standby.
        calls: how many calls of the relay the standby has.
    """

    to: str
    calls: int


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """The reply to Ping.

    Attributes:
        version: of the nh that replies.
    """

    version: str


class ExtensionResult(msgspec.Struct, frozen=True, tag="extension_result"):
    """The plain values that an extension's handler returned: None, numbers, text, bytes, lists, dicts."""

    value: object


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """An error in place of a result.

    Attributes:
        code: one of nh.errors.ERRORS_BY_CODE.
        message: for people.
    """

    code: str
    message: str

    @classmethod
    def of(cls, error: NhError) -> "Failure":
        """The failure that a peer gets for an error."""
        return cls(error.code, str(error))
