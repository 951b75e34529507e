"""The process of a shard: how it is forked of one that was started before."""

import contextlib
import errno
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final, Self

import msgspec

from nh.ipc.channel import MAX_MESSAGE_BYTES
from nh.ipc.link_codec import decode_from_shard, encode
from nh.ipc.link_messages import Fork, Forked, FromShard
from nh.reasons import reason
from nh.supervisor.host.child_process import ChildProcess
from nh.supervisor.host.cpu_use import cpu_use

SHARD_ARGV: Final = (sys.executable, "-P", "-m", "nh.shard")
"""How a shard is started; `--link-fd N` follows."""

SECURE: Final = "--secure"
"""Argument of a shard that may get calls with SRTP and DTLS: it loads what these need before it serves."""


MAX_FORK_S: Final = 5.0
"""A process that waits for a CPU may take so long to fork: another one would wait as well, to do far more.

The supervisor does nothing else meanwhile. So it is less than half of the WatchdogSec of tools/systemd: a
ping may be due when the wait begins."""


class NotForked(Exception):
    """The process that was asked to fork did not answer, or not with Forked."""


class ShardProcess(ChildProcess):
    """The process of a shard, which waits for its settings: made by start(), or by fork() of another one."""

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
            timeout_s: how long to wait, in seconds; up to MAX_FORK_S while it waits for a CPU.

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
            answer = self._answer_to_fork(timeout_s)
        except OSError as exc:
            raise NotForked(reason(exc)) from exc
        if not isinstance(answer, Forked):
            raise NotForked(f"it answered Fork with {answer}")
        if not answer.pid:
            raise OSError(errno.EAGAIN, "the system does not let it fork")
        return answer.pid

    def _answer_to_fork(self, timeout_s: float) -> FromShard:
        waited_s = 0.0
        while True:
            try:
                return self.receive(timeout_s)
            except TimeoutError:
                waited_s += timeout_s
                if waited_s >= MAX_FORK_S or not _waits_for_cpu(self.pid):
                    raise


def _waits_for_cpu(pid: int) -> bool:
    """Whether a process that forks, or the child that does so for it, runs or waits for a CPU."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return any(cpu_use(each).runnable for each in (pid, *map(int, children)))


def _end(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
