"""Health and readiness, from one reading of the statistics. Pure."""

from typing import Final

from nh.stats import ShardState
from nh.stats.reading import StatsReading

HANG_S: Final = 10.0
"""The supervisor hangs or was killed if its heartbeat is older; it publishes one every half second."""

LATE_S: Final = 5.0
"""A standby that has not had all calls for so long does not reach the server of its store."""


def why_not_alive(reading: StatsReading) -> str:
    """Why a service manager should end nh and start it again, for people; "" if it should not."""
    age_s = reading.supervisor.heartbeat_age_s
    if age_s is not None and age_s > HANG_S:
        return f"the supervisor hangs or was killed: its last heartbeat was {age_s:.0f} s ago"
    return ""


def why_not_ready(reading: StatsReading) -> str:
    """Why nh takes no new calls now, for people; "" if it takes them."""
    if why := why_not_alive(reading):
        return why
    supervisor = reading.supervisor
    if not supervisor.serving:
        return _why_not_serving(reading)
    if supervisor.draining:
        calls = reading.totals.calls
        left = "1 call is left" if calls == 1 else f"{calls} calls are left"
        return f"nh is draining: new calls are refused, {left}"
    if supervisor.store_refuses:
        return "the server of the store is away: new calls are refused (state_away)"
    if not any(shard.state is ShardState.UP for shard in reading.shards):
        return "no shard is up"
    return ""


def _why_not_serving(reading: StatsReading) -> str:
    supervisor = reading.supervisor
    if supervisor.standby:
        warm = "1 call is" if supervisor.standby_calls == 1 else f"{supervisor.standby_calls} calls are"
        late = "; its log says why" if supervisor.standby_lag_s > LATE_S else ""
        return f"nh is a standby: {warm} warm, lag {supervisor.standby_lag_s:.1f} s{late}"
    starting = [shard for shard in reading.shards if shard.state is not ShardState.UP]
    return f"nh is starting: {len(starting)} shards are not up" if starting else "nh is starting or ending"
