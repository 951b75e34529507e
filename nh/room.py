"""Room that the system does not have, and may have a moment later: it is waited for."""

import errno
import time
from collections.abc import Callable
from typing import Final, TypeVar

from nh.errors import KernelPathUnavailable
from nh.reasons import START_SHORTAGES

T = TypeVar("T")

RETRY_S: Final = 0.01

_MAY_PASS: Final = START_SHORTAGES | {errno.ETOOMANYREFS, errno.EINTR}
"""EAGAIN also if the kernel could not verify a program now; the others: too many descriptors are on their way
to other processes; a signal came.
"""


def when_there_is_room(step: Callable[[], T], longest_s: float) -> T:
    """Do a step, again and again while this process, or the host, has no room for it.

    It blocks: that is for moments in which nothing else is to be done.

    Args:
        step: what is done; it returns a result, or raises one of the errors and has done nothing.
        longest_s: how long it is tried, seconds.

    Raises:
        OSError, KernelPathUnavailable: the last one of the step.
    """
    give_up_at = time.monotonic() + longest_s
    while True:
        try:
            return step()
        except (OSError, KernelPathUnavailable) as exc:
            if exc.errno not in _MAY_PASS or time.monotonic() >= give_up_at:
                raise
        time.sleep(RETRY_S)
