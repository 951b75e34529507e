"""A spare: a shard's process that has everything imported, waits for its settings, and forks on request.

Each fork is a shard's process as this one is, in 3 ms instead of the 300 ms in which Python starts and
imports, and shares with it the memory that neither writes to. It is a child of the supervisor's: who forked
it has ended by then, and orphans are the supervisor's (PR_SET_CHILD_SUBREAPER of prctl(2)).
"""

import contextlib
import gc
import os
import socket
from typing import BinaryIO, Final

from nh.ipc.channel import close_all, receive_record
from nh.ipc.link_messages import Fork, Forked, Waiting, encode

_FORK: Final = encode(Fork())


def wait_for_settings(link: socket.socket) -> socket.socket:
    """Say Waiting, and fork for each Fork that the link says, until it says something else, or has ended.

    Arguments:
        link: in blocking mode.

    Returns the link that has more to say: `link` itself, or in a process that was forked the one that it was
    given, and then it has no other.
    """
    # collections would write to pages that forks share, and find nothing in what was imported
    gc.collect()
    gc.freeze()
    _say(link, Waiting())
    while _fork_is_next(link):
        _, fds = receive_record(link)
        pid = _fork() if fds else 0  # without a descriptor the system had none left
        if pid is None:
            link.close()
            link = socket.socket(fileno=fds.pop())
            continue
        close_all(fds)
        _say(link, Forked(pid))
    return link


def _say(link: socket.socket, message: Waiting | Forked) -> None:
    with contextlib.suppress(OSError):  # the supervisor is gone: the link's end is what comes next
        link.send(encode(message))


def _fork_is_next(link: socket.socket) -> bool:
    try:
        return link.recv(len(_FORK) + 1, socket.MSG_PEEK) == _FORK
    except OSError:
        return False


def _fork() -> int | None:
    """Fork a process that is not this one's child.

    Returns its pid, 0 if the system refuses, None within it.
    """
    try:
        reading, writing = os.pipe()
    except OSError:
        return 0
    with os.fdopen(reading, "rb") as told, os.fdopen(writing, "wb", 0) as tell:
        try:
            between = os.fork()
        except OSError:
            return 0
        if not between:
            _fork_and_end(tell)
            os.setsid()
            return None
        tell.close()
        os.waitpid(between, 0)
        return int(told.read() or 0)  # it ends when the new process has closed its side


def _fork_and_end(tell: BinaryIO) -> None:
    """Fork once more, tell the pid, and end: it is the new process that returns."""
    try:
        pid = os.fork()
    except OSError:
        os._exit(1)
    if pid:
        with contextlib.suppress(OSError):  # who asked is gone
            tell.write(b"%d" % pid)
        os._exit(0)
