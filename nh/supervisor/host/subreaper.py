"""Orphans below this process become its children: prctl(2), PR_SET_CHILD_SUBREAPER.

A spare forks shards (nh.shard.zygote); so they are the supervisor's, who learns how each of them ended.
"""

import ctypes
import logging
import os
from typing import Final

logger = logging.getLogger(__name__)

_PR_SET_CHILD_SUBREAPER: Final = 36

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper(wanted: bool = True) -> None:
    """Have all orphans below this process, or have them no longer. Stays so across exec(2)."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0):
        why = os.strerror(ctypes.get_errno())
        logger.warning("how a shard ends will not be known: prctl(PR_SET_CHILD_SUBREAPER): %s", why)
