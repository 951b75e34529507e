"""Readings for tests of the command line, made without shared memory."""

from typing import Any

from nh.stats.layout import ShardState
from nh.stats.reading import ShardReading, StatsReading, SupervisorReading, add_up


def make_shard(number: int = 0, *, clock: float = 100.0, **values: Any) -> ShardReading:
    """A shard that is up and published just now; `values` are attributes of ShardReading."""
    shard = ShardReading(
        shard=number, state=ShardState.UP, heartbeat=clock, heartbeat_age_s=0.1, started=1_700_000_000.0
    )
    for name, value in values.items():
        setattr(shard, name, value)
    return shard


def make_reading(
    *shards: ShardReading, clock: float = 100.0, age_s: float | None = 0.1, kernel_interfaces: int = 0
) -> StatsReading:
    """A reading of a supervisor that has been up for 90 s and these shards."""
    return StatsReading(
        time=1_700_000_090.0,
        clock=clock,
        version="0.1.0",
        supervisor=SupervisorReading(
            rpc_clients=3,
            started=1_700_000_000.0,
            heartbeat=clock,
            heartbeat_age_s=age_s,
            kernel_interfaces=kernel_interfaces,
        ),
        shards=shards,
        totals=add_up(shards),
    )
