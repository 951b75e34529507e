"""Zygote: a process that has everything imported, waits for Configure, and forks shards on request.

A fork takes 3 ms instead of the 300 ms in which Python starts and imports, and shares the memory that neither
process writes to. Each fork becomes a child of the supervisor: its parent, a process in between, exits at
once, and the supervisor is the subreaper of orphans (PR_SET_CHILD_SUBREAPER, prctl(2)).
"""

import contextlib
import gc
import os
import socket
from typing import BinaryIO, Final

from nh.ipc.channel import receive_record
from nh.ipc.fd_passing import close_all
from nh.ipc.link_codec import encode
from nh.ipc.link_messages import Fork, Forked, Waiting

_FORK: Final = encode(Fork())
_PID_BYTES: Final = 20


def wait_for_settings(link: socket.socket) -> socket.socket:
    """Send Waiting, and fork for each Fork until another message is next on the link, or its end.

    Args:
        link: the link to the supervisor, in blocking mode.

    Returns:
        The link whose next message is for this process: `link`, or in a forked process its own link, with
        `link` closed.
    """
    # a collection would take 8 ms, find a thousand objects that imports left, and later write to shared pages
    gc.freeze()
    _send(link, Waiting())
    while _fork_is_next(link):
        _, fds = receive_record(link)
        pid = _fork() if fds else 0  # no descriptor: the system had none left for this process
        if pid is None:
            link.close()
            link = socket.socket(fileno=fds.pop())
            continue
        close_all(fds)
        _send(link, Forked(pid))
    return link


def _send(link: socket.socket, message: Waiting | Forked) -> None:
    with contextlib.suppress(OSError):  # the supervisor is gone: the end of the link is next
        link.send(encode(message))


def _fork_is_next(link: socket.socket) -> bool:
    try:
        return link.recv(len(_FORK) + 1, socket.MSG_PEEK) == _FORK
    except OSError:
        return False


def _fork() -> int | None:
    """Fork a process that is no child of this one.

    Returns:
        Its pid; 0: the system refuses; None: this is the new process.
    """
    try:
        reading, writing = os.pipe()
    except OSError:
        return 0
    with os.fdopen(reading, "rb", 0) as pid_reader, os.fdopen(writing, "wb", 0) as pid_writer:
        try:
            between = os.fork()
        except OSError:
            return 0
        if not between:
            _fork_and_exit(pid_writer)
            os.setsid()
            return None
        pid_writer.close()
        os.waitpid(between, 0)
        return int(pid_reader.read(_PID_BYTES) or 0)  # it is there, or it could not fork


def _fork_and_exit(pid_writer: BinaryIO) -> None:
    """Fork once more, write the pid, and exit: only the new process returns."""
    try:
        pid = os.fork()
    except OSError:
        os._exit(1)
    if pid:
        with contextlib.suppress(OSError):  # the zygote is gone
            pid_writer.write(b"%d" % pid)
        os._exit(0)
