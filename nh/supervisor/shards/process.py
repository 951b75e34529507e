"""The process of a shard: how it is started or forked, the descriptor that shows its end, and its link."""

import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

import nh
from nh.ipc.channel import MAX_MESSAGE_BYTES
from nh.ipc.link_codec import decode_from_shard, encode
from nh.ipc.link_messages import Fork, Forked, FromShard
from nh.reasons import reason
from nh.supervisor.host.sd_notify import without_notify_socket

SHARD_ARGV: Final = (sys.executable, "-P", "-m", "nh.shard")
"""How a shard is started; `--link-fd N` follows."""

SECURE: Final = "--secure"
"""Argument of a shard that may get calls with SRTP and DTLS: it loads what these need before it serves."""


class NotForked(Exception):
    """The process that was asked to fork did not answer, or not with Forked."""


class ShardProcess:
    """A running process that waits for its settings: made by start(), or by fork() of another one.

    It has a session of its own, so that Ctrl-C in a terminal reaches the supervisor alone. It has no standard
    output, on which the supervisor prints `ready`, and no access to the service manager.

    Attributes:
        pid: the process id.
        pidfd: readable once the process has ended; closed by reap().
        link: the supervisor's end of its link; the caller closes it.
    """

    def __init__(self, pid: int, link: socket.socket, started: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.link = link
        self._started = started

    @classmethod
    def start(cls, argv: Sequence[str] = SHARD_ARGV, descriptors: tuple[int, ...] = ()) -> Self:
        """Start a program. Raises OSError if that is impossible.

        Args:
            argv: the program; see SHARD_ARGV.
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

    def receive(self, timeout_s: float) -> FromShard:
        """Wait for the next message over the link. Not to be used once a Channel reads it.

        Args:
            timeout_s: how long to wait, in seconds.

        Raises:
            OSError: no message came in that time, or it is invalid, or the link has ended.
        """
        self.link.settimeout(timeout_s)
        record = self.link.recv(MAX_MESSAGE_BYTES)
        if not record:
            raise OSError("its link has ended")
        try:
            return decode_from_shard(record)
        except msgspec.DecodeError as exc:
            raise OSError(f"it sent an invalid message: {reason(exc)}") from exc

    def fork(self, timeout_s: float) -> Self:
        """Ask this process, which has said Waiting, to fork; returns the new process.

        Args:
            timeout_s: how long to wait, in seconds.

        Raises:
            NotForked: it does not answer in time, or not with Forked.
            OSError: the system refuses the fork.
        """
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as undo, far:
            undo.enter_context(near)
            pid = self._fork(far, timeout_s)
            undo.callback(_end, pid)
            process = type(self)(pid, near)
            undo.pop_all()
        return process

    def _fork(self, far: socket.socket, timeout_s: float) -> int:
        try:
            socket.send_fds(self.link, [encode(Fork())], [far.fileno()])
            answer = self.receive(timeout_s)
        except OSError as exc:
            raise NotForked(reason(exc)) from exc
        if not isinstance(answer, Forked):
            raise NotForked(f"it answered Fork with {answer}")
        if not answer.pid:
            raise OSError(errno.EAGAIN, "the system does not let it fork")
        return answer.pid

    def kill(self) -> None:
        """Kill the process (SIGKILL); no effect if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def reap(self) -> str:
        """Wait for the end of the process, and close `pidfd`. Returns the reason of the end, for people."""
        try:
            ended = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        except ChildProcessError:  # an orphan that another process got: see become_subreaper()
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            poll.poll()
            return "the reason is not known"
        finally:
            os.close(self.pidfd)
        assert ended is not None  # it waits
        if self._started is not None:
            self._started.returncode = ended.si_status  # it must not wait for that pid once more
        return _words_for(ended)


def _end(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _words_for(ended: os.waitid_result) -> str:
    if ended.si_code == os.CLD_EXITED:
        return f"exit status {ended.si_status}"
    try:
        return f"signal {ended.si_status}, {signal.Signals(ended.si_status).name}"
    except ValueError:
        return f"signal {ended.si_status}"
