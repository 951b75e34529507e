"""The process of a shard: how it is started, what tells its end, and this side of its link.

What is said over the link, and when to start or end a process, is others' business (child, spares).
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import nh
from nh.supervisor.notify import without_notify_socket

SHARD_ARGV: Final = (sys.executable, "-P", "-m", "nh.shard")
"""How a shard is started; `--link-fd N` follows."""


class ShardProcess:
    """A running process, started by construction (OSError if that is impossible).

    Arguments:
        argv: the program; see SHARD_ARGV.
        descriptors: what it inherits, under the same numbers, besides the other side of its link.

    It gets a session of its own, so that Ctrl-C in a terminal reaches the supervisor alone, and no standard
    output, because that is the supervisor's to say `ready` on; nor can it speak to the service manager.
    """

    def __init__(self, argv: Sequence[str] = SHARD_ARGV, descriptors: tuple[int, ...] = ()) -> None:
        home = str(Path(nh.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as undo, far:
            undo.enter_context(near)
            process = subprocess.Popen(
                [*argv, "--link-fd", str(far.fileno())],
                pass_fds=(far.fileno(), *descriptors),
                env={**without_notify_socket(os.environ), "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            undo.callback(process.wait)
            undo.callback(process.kill)
            self.pidfd = os.pidfd_open(process.pid)
            undo.pop_all()
        self._process = process
        self.link = near

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def kill(self) -> None:
        """End it at once (SIGKILL); no effect if it has ended."""
        self._process.kill()

    def reap(self) -> str:
        """Wait for its end, which `pidfd` tells by being readable, and close that. Returns words for why."""
        os.close(self.pidfd)
        return _words_for(self._process.wait())


def _words_for(returncode: int) -> str:
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return f"signal {-returncode}, {signal.Signals(-returncode).name}"
    except ValueError:
        return f"signal {-returncode}"
