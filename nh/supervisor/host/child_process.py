"""A process of nh's own: how it is started, the descriptor that shows its end, and the link to it."""

import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import nh
from nh.errors import NotNow
from nh.supervisor.host.sd_notify import without_notify_socket


def check_pidfds() -> None:
    """Check that processes can be watched and killed.

    Raises:
        NotNow: this kernel, or a filter of system calls, does not permit it.
    """
    try:
        pidfd = os.pidfd_open(os.getpid())
        try:
            signal.pidfd_send_signal(pidfd, 0)
        finally:
            os.close(pidfd)
    except OSError as exc:
        if exc.errno in (errno.EPERM, errno.ENOSYS):  # all else may pass, as a shortage of descriptors does
            raise NotNow(
                "pidfd_open(2) or pidfd_send_signal(2), by which nh watches and ends processes, is refused:"
                f" {exc.strerror}; nh needs Linux 5.3, and in a container a seccomp profile that permits both"
            ) from exc


class ChildProcess:
    """A running process, with a link to the supervisor.

    It has a session of its own, so that Ctrl-C in a terminal reaches the supervisor alone. It has no standard
    output, on which the supervisor prints `ready`, and no access to the service manager.

    Args:
        pid: the process id.
        link: the supervisor's end of its link; the caller closes it.
        started: how it was started; None: it was forked.

    Attributes:
        pid: the process id.
        pidfd: readable once the process has ended; closed by reap().
        link: see above.
    """

    def __init__(self, pid: int, link: socket.socket, started: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.link = link
        self._started = started

    @classmethod
    def start(cls, argv: Sequence[str], descriptors: tuple[int, ...] = ()) -> Self:
        """Start a program. Raises OSError if that is impossible.

        Args:
            argv: the program; `--link-fd N` follows, with its end of the link.
            descriptors: it inherits these, under the same numbers, besides its end of the link.
        """
        home = str(Path(nh.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as undo, far:
            undo.enter_context(near)
            started = subprocess.Popen(
                [*argv, "--link-fd", str(far.fileno())],
                pass_fds=(far.fileno(), *descriptors),
                env={**without_notify_socket(os.environ), "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            undo.callback(started.wait)
            undo.callback(started.kill)
            process = cls(started.pid, near, started)
            undo.pop_all()
        return process

    def kill(self) -> None:
        """Kill the process (SIGKILL); no effect if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def reap(self) -> str:
        """Wait for the end of the process, and close `pidfd`. Returns the reason of the end, for people."""
        try:
            ended = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        except ChildProcessError:  # an orphan that another process got: see become_subreaper()
            _ = wait_for_end(self.pidfd)
            return "the reason is not known"
        finally:
            os.close(self.pidfd)
        assert ended is not None  # it waits
        if self._started is not None:
            self._started.returncode = ended.si_status  # it must not wait for that pid once more
        return _words_for(ended)


def wait_for_end(pidfd: int, timeout_s: float | None = None) -> bool:
    """Wait for the end of a process; select(2) takes no descriptor above 1023, of which there are many.

    Args:
        pidfd: of the process.
        timeout_s: the longest wait, seconds; None: any.

    Returns:
        Whether it has ended.
    """
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000 if timeout_s is not None else None))


def _words_for(ended: os.waitid_result) -> str:
    if ended.si_code == os.CLD_EXITED:
        return f"exit status {ended.si_status}"
    try:
        return f"signal {ended.si_status}, {signal.Signals(ended.si_status).name}"
    except ValueError:
        return f"signal {ended.si_status}"
