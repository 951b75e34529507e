"""Which processes this one waits for: orphans below it, and children that it had before exec(2)."""

import contextlib
import ctypes
import functools
import logging
import os
from collections.abc import Iterator
from typing import Final

from nh.loop import Loop
from nh.reasons import reason

logger = logging.getLogger(__name__)

_PR_SET_CHILD_SUBREAPER: Final = 36

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper(wanted: bool = True) -> None:
    """Make orphans below this process its children: prctl(2), PR_SET_CHILD_SUBREAPER. exec(2) keeps that.

    The zygote forks shards (nh.shard.zygote) as orphans. So they become children of the supervisor, which
    learns how each of them ended.

    Args:
        wanted: False: stop being a subreaper.
    """
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0):
        why = os.strerror(ctypes.get_errno())
        logger.warning("prctl(PR_SET_CHILD_SUBREAPER) failed: %s; the log cannot say why a shard ended", why)


@contextlib.contextmanager
def reap_children_after_exec(loop: Loop) -> Iterator[None]:
    """Within the block, reap the children that this process had before exec(2); else they stay as zombies.

    Args:
        loop: watches them. Enter the block before this process starts a child of its own.
    """
    pidfds: set[int] = set()

    def reap(pidfd: int) -> None:
        loop.remove_reader(pidfd)
        pidfds.discard(pidfd)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        os.close(pidfd)

    for child in _children():
        try:
            pidfd = os.pidfd_open(child)
        except OSError as exc:
            logger.warning("process %d, which has ended or will, stays as a zombie: %s", child, reason(exc))
            continue
        pidfds.add(pidfd)
        loop.add_reader(pidfd, functools.partial(reap, pidfd))
    try:
        yield
    finally:
        for pidfd in pidfds:
            loop.remove_reader(pidfd)
            os.close(pidfd)


def _children() -> list[int]:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # as in most starts
        return []
    import psutil  # noqa: PLC0415  most starts have no such child

    return [child.pid for child in psutil.Process().children()]
