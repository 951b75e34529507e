"""The clocks of a snapshot: what time it is, and how old one is that may be of another life of this host.

All rules about time in nh go by the monotonic clock, which nobody sets, but which begins anew with each boot.
So a stored snapshot says of which boot its times are. Of this one: they are good as they are, whatever the
clock on the wall did meanwhile. Of another: only the wall's clock tells how long nobody was there, and it is
believed, but for one that went back: then no time has passed. A jump forward beyond what a call may be silent
cannot be told from a long stop, and ends it.
"""

import functools
import time
import uuid
from pathlib import Path
from typing import Final

from nh.calls.snapshots.call import Clock

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""Linux makes a new one at each boot (random(4))."""


@functools.cache
def boot_id() -> bytes:
    """Tells this boot of the host from all others, 16 bytes; b"" if the system does not say."""
    try:
        return uuid.UUID(BOOT_ID.read_text().strip()).bytes
    except (OSError, ValueError):
        return b""


def clock_at(now: float) -> Clock:
    """The clocks now.

    Arguments:
        now: monotonic seconds, read a moment ago.
    """
    return Clock(now, time.time(), boot_id())


def shift_since(then: Clock, now: Clock) -> float:
    """What to add to the monotonic times of a snapshot to have them in those of now.

    Arguments:
        then: its clocks.
        now: the clocks of this process.
    """
    # a monotonic clock that went back is another one in spite of its boot: that of a time namespace
    if then.boot and then.boot == now.boot and then.monotonic <= now.monotonic:
        return 0.0
    passed_s = max(0.0, now.wall - then.wall)
    return now.monotonic - then.monotonic - passed_s
