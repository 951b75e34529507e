"""Health and readiness, from one reading of the statistics. Pure."""

from typing import Final

from nh.printable import counted
from nh.stats.layout import ShardState
from nh.stats.reading import StatsReading
from nh.stats.standby import standby_line

HANG_S: Final = 10.0
"""The supervisor hangs or was killed if its heartbeat is older; it publishes one every half second."""


def why_not_alive(reading: StatsReading) -> str:
    """Why a service manager should end nh and start it again, for people; "" if it should not."""
    age_s = reading.supervisor.heartbeat_age_s
    if age_s is not None and age_s > HANG_S:
        return f"the supervisor hangs or was killed: its last heartbeat was {age_s:.0f} s ago"
    return ""


def why_not_ready(reading: StatsReading, group: str = "") -> str:
    """Why nh takes no new calls now, for people; "" if it takes them.

    Args:
        reading: the statistics.
        group: the prefix of the store whose calls nh is to have; "": any.
    """
    if why := why_not_alive(reading):
        return why
    if not reading.supervisor.serving:
        return _why_not_serving(reading)
    having = reading.supervisor.group
    if group and group != having:
        if not having:
            return f"nh has its calls on no server (state), so it does not have those of {group}"
        return f"nh has the calls of {having}, not those of {group}"
    return _why_refusing(reading)


def _why_refusing(reading: StatsReading) -> str:
    if reading.supervisor.draining:
        return f"nh is draining: new calls are refused, {counted(reading.totals.calls, 'call')} left"
    if reading.supervisor.store_refuses:
        return "the server of the store is away: new calls are refused (state_away)"
    if not any(shard.state is ShardState.UP for shard in reading.shards):
        return "no shard is up"
    return ""


def _why_not_serving(reading: StatsReading) -> str:
    if reading.supervisor.standby:
        return f"nh is a {standby_line(reading.supervisor)}"
    starting = sum(shard.state is not ShardState.UP for shard in reading.shards)
    if not starting:
        return "nh is starting or ending"
    return f"nh is starting: {counted(starting, 'shard')} {'is' if starting == 1 else 'are'} not up"
