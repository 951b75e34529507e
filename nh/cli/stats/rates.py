"""Rates: the growth of counters between two readings, per second. The module reads no clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from nh.stats.fields import Kind
from nh.stats.layout import DROPS, SHARD_TABLE, ShardState
from nh.stats.reading import ShardReading, StatsReading

Rates = Mapping[str, float]
"""Growth per second of every counter of a shard, by the counter's name."""

STALE_S: Final = 3.0
"""A shard or supervisor publishes twice a second; one that is silent for so long hangs or is gone."""

_COUNTERS: Final = tuple(field.name for field in SHARD_TABLE if field.kind is Kind.COUNTER)

COMMANDS: Final = tuple(field.name for field in SHARD_TABLE if field.unit == "commands")
"""The counters of commands, by kind and outcome."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Rates at one moment; None: there are no two readings to compare."""

    shards: tuple[Rates | None, ...]
    total: Rates | None


def hangs(shard: ShardReading) -> bool:
    """Whether a shard that is up has published nothing for too long."""
    return shard.state is ShardState.UP and (shard.heartbeat_age_s or 0) > STALE_S


class Meter:
    """Measures rates over a series of readings.

    The time between two readings is that between the shard's heartbeats, because the counters are those of
    the heartbeat. While a shard has not published again, its last rates hold.
    """

    def __init__(self) -> None:
        self._before: dict[int, ShardReading] = {}
        self._rates: dict[int, Rates] = {}

    def measure(self, reading: StatsReading) -> Measured:
        """The rates between `reading` and those given before."""
        shards = tuple(self._measure(shard) for shard in reading.shards)
        known = [rates for rates in shards if rates is not None]
        total = {name: sum(rates[name] for rates in known) for name in _COUNTERS} if known else None
        return Measured(shards, total)

    def _measure(self, shard: ShardReading) -> Rates | None:
        if shard.heartbeat_age_s is None or shard.heartbeat_age_s > STALE_S:
            return None
        before = self._before.get(shard.shard)
        if before is not None and before.heartbeat == shard.heartbeat:
            return self._rates.get(shard.shard)
        self._before[shard.shard] = shard
        if before is None or before.started != shard.started:  # another process, or another run of nh
            self._rates.pop(shard.shard, None)
            return None
        passed_s = shard.heartbeat - before.heartbeat
        rates = {name: (getattr(shard, name) - getattr(before, name)) / passed_s for name in _COUNTERS}
        self._rates[shard.shard] = rates
        return rates


def commands(rates: Rates) -> float:
    """Commands per second, of all kinds and outcomes."""
    return sum(rates[name] for name in COMMANDS)


def drops(rates: Rates) -> float:
    """Dropped packets per second, for all reasons."""
    return sum(rates[reason.name] for reason in DROPS)
