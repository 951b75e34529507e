"""Children that this process had before exec(2): they are reaped, else they would stay as zombies."""

import os

import psutil

from nh.loop import Loop


class ChildrenBeforeExec:
    """Those that there are at construction, to be made before this process has started any itself.

    Arguments:
        loop: waits for them.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._pidfds: set[int] = set()
        for child in psutil.Process().children():
            self._watch(child.pid)

    def close(self) -> None:
        """Wait for none of them any more."""
        for pidfd in self._pidfds:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
        self._pidfds.clear()

    def _watch(self, pid: int) -> None:
        pidfd = os.pidfd_open(pid)
        self._pidfds.add(pidfd)

        def on_end() -> None:
            self._loop.remove_reader(pidfd)
            self._pidfds.discard(pidfd)
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
            os.close(pidfd)

        self._loop.add_reader(pidfd, on_end)
