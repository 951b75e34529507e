"""One reading of all statistics: plain values, the totals over all shards, and how old each part is.

The names in `to_builtins()` are those of the tables in nh.stats.layout and are stable
(docs/reference/statistics.md).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from nh.stats import layout
from nh.stats.fields import FieldInfo, Total, to_builtins
from nh.stats.layout import (
    SHARD_HISTOGRAMS,
    SHARD_TABLE,
    STATUS_HISTOGRAMS,
    STATUS_TABLE,
    SUPERVISOR_TABLE,
    ShardState,
    ShardStats,
    ShardStatus,
    SupervisorStats,
)

HISTOGRAMS: Final = (*SHARD_HISTOGRAMS, *STATUS_HISTOGRAMS)
"""All histograms of a shard."""

_SUMMED_STATUS: Final = tuple(field for field in STATUS_TABLE if field.total is not Total.NONE)
"""What the supervisor counts for each shard; the state is shown as a word."""


@dataclasses.dataclass(slots=True, kw_only=True, eq=False, repr=False, match_args=False)
class ShardReading(ShardStats, ShardStatus):
    """One shard: its own statistics, and the supervisor's about it.

    Attributes:
        shard: number of the shard.
        state: see ShardState.
        heartbeat_age_s: seconds since its last publication; None if it is down or has not published yet.
    """

    shard: int = 0
    state: ShardState = ShardState.STARTING
    heartbeat_age_s: float | None = None


@dataclasses.dataclass(slots=True, kw_only=True, eq=False, repr=False, match_args=False)
class SupervisorReading(SupervisorStats):
    """The supervisor; `heartbeat_age_s` is in seconds, None if it has not published yet."""

    heartbeat_age_s: float | None = None


@dataclasses.dataclass(slots=True, kw_only=True, eq=False, repr=False, match_args=False)
class Totals(ShardStats, ShardStatus):
    """All shards, each field by its Total; `heartbeat_age_s` is the oldest. pid, cpu, state have no total."""

    heartbeat_age_s: float | None = None


class StatsReading(msgspec.Struct, frozen=True, kw_only=True):
    """One reading.

    Attributes:
        time: wall clock of the reading, seconds since 1970.
        clock: monotonic clock of the reading, the one of the heartbeats.
        version: of the running nh.
        supervisor, shards, totals: copies that do not change any more.
    """

    time: float
    clock: float
    version: str
    supervisor: SupervisorReading
    shards: tuple[ShardReading, ...]
    totals: Totals

    @property
    def limits(self) -> dict[str, int]:
        """The limits that refuse new calls now, and in how many shards."""
        # not imported by name: a supervisor of a release before may load this module beside its own layout
        return {name: number for name in layout.LIMITS if (number := getattr(self.totals, f"at_{name}"))}

    def to_builtins(self) -> dict[str, object]:
        """The reading as dicts, lists, numbers and text, for JSON."""
        return {
            "time": self.time,
            "version": self.version,
            "supervisor": _values(self.supervisor, SUPERVISOR_TABLE)
            | {
                "heartbeat_age_s": self.supervisor.heartbeat_age_s,
                "standby_groups": [to_builtins(each) for each in self.supervisor.followed],
            },
            "shards": [
                {
                    "shard": shard.shard,
                    "state": shard.state.name.lower(),
                    "heartbeat_age_s": shard.heartbeat_age_s,
                }
                | _values(shard, _SUMMED_STATUS)
                | _values(shard, SHARD_TABLE)
                | {"histograms": _histograms(shard)}
                for shard in self.shards
            ],
            "totals": {"heartbeat_age_s": self.totals.heartbeat_age_s}
            | _values(self.totals, _SUMMED_STATUS)
            | _values(self.totals, [field for field in SHARD_TABLE if field.total is not Total.NONE])
            | {"histograms": _histograms(self.totals)},
        }


def add_up(shards: Sequence[ShardReading]) -> Totals:
    """The totals of `shards`; MIN and MAX skip values that are not known."""
    totals = Totals()
    for table in (SHARD_TABLE, _SUMMED_STATUS):
        for field in table:
            setattr(totals, field.name, _total(field, shards))
    for info in HISTOGRAMS:
        for shard in shards:
            getattr(totals, info.name).add(getattr(shard, info.name))
    totals.heartbeat_age_s = max(
        (shard.heartbeat_age_s for shard in shards if shard.heartbeat_age_s is not None), default=None
    )
    return totals


def _total(field: FieldInfo, shards: Sequence[ShardReading]) -> Any:
    values = [getattr(shard, field.name) for shard in shards]
    if field.total is Total.SUM:
        return sum(values, start=field.zero)
    known = [value for value in values if value != field.zero]
    if field.total is Total.NONE or not known:
        return field.zero
    return max(known) if field.total is Total.MAX else min(known)


def _histograms(stats: object) -> dict[str, object]:
    return {info.name: getattr(stats, info.name).to_builtins() for info in HISTOGRAMS}


def _values(stats: object, fields: Sequence[FieldInfo]) -> dict[str, object]:
    return {field.name: getattr(stats, field.name) for field in fields}
