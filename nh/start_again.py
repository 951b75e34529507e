"""Another try of a start behind execve(2) that fails before it has received what was handed over.

The supervisor before is gone by then, and all of the handover is in a socket of this process. A module that
cannot be read or mapped now, for want of memory or descriptors, would end nh, with the connections of all
clients. Once it is received: nh.supervisor.handover.another_try. What fails before Python runs this ends nh.
"""

import os
import sys
import time
from typing import Final

HANDOVER_FD: Final = "NH_HANDOVER_FD"
"""Environment variable: the descriptor from which a HandoverMessage is read after execve(2)."""

TRY_UNTIL: Final = "NH_HANDOVER_TRY_UNTIL"
"""Environment variable: until when a start is tried again, monotonic seconds; the first try has none."""

TRIES_S: Final = 5.0
"""So long a start that fails is tried again: the calls have no supervisor meanwhile."""

PAUSE_S: Final = 0.1
"""Between two tries, besides the time that Python takes to start."""


def start_again(failure: Exception) -> None:
    """Execute nh again, if something was handed over and time for tries is left. Otherwise nothing is done.

    Args:
        failure: why this start fails, for people.

    Raises:
        OSError: it cannot be executed.
    """
    if HANDOVER_FD not in os.environ:
        return
    try_until = float(os.environ.setdefault(TRY_UNTIL, str(time.monotonic() + TRIES_S)))
    if time.monotonic() >= try_until:
        return
    print(f"nh cannot start: {failure}; trying again", file=sys.stderr, flush=True)
    time.sleep(PAUSE_S)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
