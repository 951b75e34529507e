"""Room that the system does not have: it is told."""

import contextlib
from collections.abc import Iterator

from nh.errors import NotNow
from nh.reasons import START_SHORTAGES, shortage


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
