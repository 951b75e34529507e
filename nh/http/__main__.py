"""`python -m nh.http --link-fd N`: the HTTP process, started by the supervisor."""

import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Final

from nh.ipc.http_config import MAX_RECORD_BYTES, decode_config
from nh.logs.lines import configure_logging
from nh.logs.settings import LogLevel, LogSettings

logger = logging.getLogger("nh.http")  # the name of this module is __main__

_CAPABILITY_VERSION: Final = 0x20080522
_PR_SET_NO_NEW_PRIVS: Final = 38

NICENESS: Final = 10
"""Shards come first where CPUs are short."""

EXIT_S: Final = 5.0
"""At the end of the link the process may take so long to end by itself."""


def main() -> int:
    """Serve until the link to the supervisor ends; returns the exit status."""
    link = socket.socket(fileno=int(sys.argv[sys.argv.index("--link-fd") + 1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor ends this process
    configure_logging(LogSettings(LogLevel.WARNING))  # until the settings come
    _be_nice()
    _drop_privileges()
    record = link.recv(MAX_RECORD_BYTES)
    if not record:  # the supervisor has ended
        return 0
    config = decode_config(record)
    configure_logging(config.log)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # its warnings are what any client can provoke
    from nh.http.server import serve  # noqa: PLC0415  behind the first log line that can be

    serve(config, link, _exit_later)
    return 0


def _exit_later() -> None:
    """End this process after EXIT_S seconds, if it has not ended by then."""
    killer = threading.Timer(EXIT_S, os._exit, (0,))
    killer.daemon = True
    killer.start()


def _drop_privileges() -> None:
    """Give up what only the path in the kernel needs: HTTP is the process that strangers may talk to.

    See capset(2) and prctl(2), PR_SET_NO_NEW_PRIVS.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    if libc.capset(header, none):
        logger.warning(
            "the HTTP process keeps the capabilities of nh: capset: %s;"
            " allow that system call, as SystemCallFilter of nh.service does",
            os.strerror(ctypes.get_errno()),
        )


def _be_nice() -> None:
    """Let shards go first, and show in ps and top what this process is."""
    with contextlib.suppress(OSError):  # a filter of system calls may refuse it
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    for file, text in (
        ("/proc/self/comm", "nh-http"),
        # each session is a group of its own for the scheduler, and the groups share evenly: sched(7)
        ("/proc/self/autogroup", str(NICENESS)),
    ):
        with contextlib.suppress(OSError):
            Path(file).write_text(text)


if __name__ == "__main__":
    sys.exit(main())
