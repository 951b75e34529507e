"""Clocks of snapshots: the time since a snapshot was taken, on this boot of the host or an earlier one.

All rules about time use the monotonic clock, which cannot be set but begins anew with each boot. So a
snapshot has the id of its boot. If it is of this boot, its times hold as they are, whatever the wall clock
did. If it is of another boot, only the wall clock tells how long the host was down; a wall clock that went
back counts as no time. A wall clock set forward looks like a long stop: the calls are silent for too long and
end.
"""

import functools
import time
import uuid
from pathlib import Path
from typing import Final

from nh.calls.snapshots.call import Clock

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""The id of this boot of Linux (random(4))."""


@functools.cache
def boot_id() -> bytes:
    """The 16 bytes that identify this boot of the host; b"" if the system does not have them."""
    try:
        return uuid.UUID(BOOT_ID.read_text().strip()).bytes
    except (OSError, ValueError):
        return b""


def clock_at(now: float) -> Clock:
    """The clocks at this moment.

    Args:
        now: monotonic seconds, read a moment ago.
    """
    return Clock(now, time.time(), boot_id())


def shift_since(then: Clock, now: Clock) -> float:
    """Seconds to add to the monotonic times of a snapshot, so that they are times of this process.

    Args:
        then: the clocks of the snapshot.
        now: the clocks of this process.
    """
    # a monotonic clock that went back within a boot is that of another time namespace
    if then.boot and then.boot == now.boot and then.monotonic <= now.monotonic:
        return 0.0
    passed_s = max(0.0, now.wall - then.wall)
    return now.monotonic - then.monotonic - passed_s
