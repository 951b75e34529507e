"""The process of a shard: how it is started or forked, what tells its end, and this side of its link.

What is said over the link, but for Fork, and when to start or end a process, is others' business (child,
spares).
"""

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
from nh.ipc.link_messages import MAX_MESSAGE_BYTES, Fork, Forked, FromShard, decode_from_shard, encode
from nh.supervisor.host.sd_notify import without_notify_socket

SHARD_ARGV: Final = (sys.executable, "-P", "-m", "nh.shard")
"""How a shard is started; `--link-fd N` follows."""


class NotForked(Exception):
    """A process that should have forked is of no use any more; the message says why."""


class ShardProcess:
    """A running process that waits for its settings: made by start(), or by fork() of another one.

    Attributes:
        pid: the process id.
        pidfd: readable once it has ended; closed by reap().
        link: this side of its link, the caller's to close.

    It has a session of its own, so that Ctrl-C in a terminal reaches the supervisor alone, and no standard
    output, because that is the supervisor's to say `ready` on; nor can it speak to the service manager.
    """

    def __init__(self, pid: int, link: socket.socket, started: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.link = link
        self._started = started

    @classmethod
    def start(cls, argv: Sequence[str] = SHARD_ARGV, descriptors: tuple[int, ...] = ()) -> Self:
        """Start a program. Raises OSError if that is impossible.

        Arguments:
            argv: the program; see SHARD_ARGV.
            descriptors: what it inherits, under the same numbers, besides the other side of its link.
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

    def hear(self, patience_s: float) -> FromShard:
        """The next that it says over the link, until the link is others' business.

        Arguments:
            patience_s: how long it may take.

        Raises OSError if it says nothing in that time, what is no message, or its link has ended.
        """
        self.link.settimeout(patience_s)
        record = self.link.recv(MAX_MESSAGE_BYTES)
        if not record:
            raise OSError("its link has ended")
        try:
            return decode_from_shard(record)
        except msgspec.DecodeError as exc:
            raise OSError(f"it sent what is no message: {exc}") from exc

    def fork(self, patience_s: float) -> Self:
        """Another process as this one, which has said Waiting.

        Arguments:
            patience_s: how long it may take.

        Raises NotForked if this one does not do it, or not in time; OSError if the system refuses.
        """
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as undo, far:
            undo.enter_context(near)
            pid = self._fork(far, patience_s)
            undo.callback(_end, pid)
            process = type(self)(pid, near)
            undo.pop_all()
        return process

    def _fork(self, far: socket.socket, patience_s: float) -> int:
        try:
            socket.send_fds(self.link, [encode(Fork())], [far.fileno()])
            said = self.hear(patience_s)
        except OSError as exc:
            raise NotForked(str(exc)) from exc
        if not isinstance(said, Forked):
            raise NotForked(f"asked to fork, it says {said}")
        if not said.pid:
            raise OSError(errno.EAGAIN, "the system does not let it fork")
        return said.pid

    def kill(self) -> None:
        """End it at once (SIGKILL); no effect if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def reap(self) -> str:
        """Wait for its end, which `pidfd` tells by being readable, and close that. Returns words for why."""
        try:
            ended = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        except ChildProcessError:  # an orphan that somebody else got: see become_subreaper()
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            poll.poll()
            return "how is not known"
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
