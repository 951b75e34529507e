"""Room that the system does not have: it is told, or waited for: there may be some a moment later."""

import contextlib
import errno
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from nh.errors import KernelPathUnavailable, NotNow
from nh.reasons import START_SHORTAGES, shortage

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


@contextlib.contextmanager
def telling_shortages() -> Iterator[None]:
    """Within the block, say what the host has too little of.

    Raises:
        NotNow: of that; the message has the limit to raise.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno not in START_SHORTAGES:
            raise
        raise NotNow(shortage(exc)) from exc
