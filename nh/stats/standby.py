"""What a standby tells of itself, from its statistics. Pure."""

import time
from collections.abc import Iterable
from typing import Final

from nh.printable import counted
from nh.stats.layout import StandbyGroup, SupervisorStats

LATE_S: Final = 5.0
"""A standby that has not had all calls for so long could not take them over."""


def standby_line(stats: SupervisorStats) -> str:
    """What a standby says of itself, for people: whose calls it has, and what keeps it from taking them."""
    groups = stats.followed
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(stats.standby_since))
    calls = counted(stats.standby_calls, "call")
    line = f"standby for {_names(groups)} since {since}: {calls} warm, lag {stats.standby_lag_s:.1f} s"
    faults = dict.fromkeys(each.fault for each in groups if each.fault)
    for fault in faults:
        having = [each for each in groups if each.fault == fault]
        line += f"; {fault}" if len(having) == len(groups) else f"; {_names(having)}: {fault}"
    return line + ("; its log says why" if not faults and stats.standby_lag_s > LATE_S else "")


def _names(groups: Iterable[StandbyGroup]) -> str:
    return ", ".join(each.group for each in groups)
