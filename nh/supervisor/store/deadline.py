"""Passes the end of the lease on to those that forward packets: the shards and the program in the kernel.

Both end by themselves when it comes, so the supervisor may be dead, stopped, or cut off from the server. The
thread that renews the lease passes its end on, so a supervisor whose loop is slow delays nothing.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nh.errors import NotNow
from nh.ipc.shared_deadline import DEADLINE_NAME, NS, SharedDeadline, boottime
from nh.reasons import reason
from nh.supervisor.store.lease import Lease

logger = logging.getLogger(__name__)

NEVER_NS: Final = 0
_PAST_NS: Final = 1


class Deadline:
    """The deadline of the processes of a relay, from its start to close().

    Args:
        directory: the runtime directory.
        lease: of the calls.
        may_run_out: whether calls end with the lease. Otherwise they end when they are given to another relay
            or known to be its.

    Attributes:
        path: of the file from which shards read it.

    Raises:
        NotNow: it cannot be shared with the shards.
    """

    def __init__(self, directory: Path, lease: Lease, *, may_run_out: bool) -> None:
        self.path = directory / DEADLINE_NAME
        self._may_run_out = may_run_out
        self._is_final = self._is_moving = False
        self._at_ns = NEVER_NS
        self._lease = lease
        self._tell_kernel: Callable[[int], None] | None = None
        self._lock = threading.Lock()  # the thread of the store renews, while the loop ends or closes
        try:
            self._shared = [SharedDeadline(self.path, writable=True)]
        except OSError as exc:
            raise NotNow(f"runtime_dir: {self.path} cannot be made: {reason(exc)}") from exc
        self._renewed(lease.ends_at)
        lease.on_renewed = self._renewed

    def tell_kernel(self, tell: Callable[[int], None]) -> None:
        """Pass it on to the kernel, too, from now on: `tell` gets nanoseconds of CLOCK_BOOTTIME."""
        with self._lock:
            self._tell_kernel = tell
            tell(self._at_ns)

    def set_moving(self, moving: bool) -> None:
        """A standby may take the calls from now on, or not any more: they end with the lease meanwhile."""
        with self._lock:
            self._is_moving = moving
        self._renewed(self._lease.ends_at)

    def set_past(self) -> None:
        """Another relay has the calls: nothing may be sent any more."""
        with self._lock:
            self._set(_PAST_NS)
            self._is_final = True

    def renew(self) -> None:
        """Make the file anew if another program has removed or replaced it: further shards read it there.

        Those that have the old one get the deadline on. If that is impossible, the next call tries it again.
        """
        with self._lock, contextlib.suppress(OSError):
            if not self._shared or self._shared[-1].is_at(self.path):
                return
            self._shared.append(SharedDeadline.replace(self.path, self._at_ns))
            logger.warning("%s: another program removed or replaced the file; it is made anew", self.path)

    def close(self) -> None:
        """Pass on no more. The deadline stands."""
        with self._lock:
            while self._shared:
                self._shared.pop().close()

    def _renewed(self, ends_at: float) -> None:
        with self._lock:  # set_moving() may change meanwhile whether they end
            self._set(int(ends_at * NS) if self._may_run_out or self._is_moving else NEVER_NS)

    def _set(self, at_ns: int) -> None:
        if not self._shared or self._is_final:
            return
        self._at_ns = at_ns
        for shared in self._shared:
            shared.write_ns(at_ns)
        if self._tell_kernel is not None:
            self._tell_kernel(at_ns)


def deadline_stands(directory: Path) -> bool:
    """Whether shards of an earlier run in a runtime directory end by themselves at a time still to come."""
    try:
        shared = SharedDeadline(directory / DEADLINE_NAME)
    except OSError:
        return False
    with contextlib.closing(shared):
        return shared.read_ns() > boottime() * NS


def lift_deadline(directory: Path) -> None:
    """Remove the deadline of an earlier run with other settings: no other relay can get the calls now."""
    path = directory / DEADLINE_NAME
    if not path.exists():
        return
    try:
        shared = SharedDeadline(path, writable=True)
        shared.write_ns(NEVER_NS)
        shared.close()
        path.unlink()
    except OSError as exc:
        logger.warning("%s cannot be removed: %s; shards of an earlier run end by it", path, reason(exc))
