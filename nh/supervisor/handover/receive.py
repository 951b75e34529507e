"""How a supervisor receives what the one before hands over: locks, listening sockets, client connections.

It comes from this same process before execve(2), or from another process, which is asked to yield.
"""

import contextlib
import errno
import logging
import os
import socket
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from nh.errors import NotNow
from nh.ipc.channel import receive_record
from nh.ipc.fd_passing import close_all
from nh.ipc.handover_messages import Connections, HandoverMessage, Yield, decode_from_old, encode
from nh.ipc.inherited import TAKEN_OVER, UPGRADED, Inherited
from nh.reasons import START_SHORTAGES, reason
from nh.room import when_there_is_room
from nh.start_again import HANDOVER_FD, TRY_UNTIL

logger = logging.getLogger(__name__)

NAME: Final = "supervisor.sock"
"""The socket in the runtime directory at which a supervisor accepts the next one."""

READ_S: Final = 5.0
"""So long receive_after_exec() waits for room: the calls have no supervisor meanwhile."""

YIELD_S: Final = 15.0
"""The other supervisor may take so long to hand over."""


def receive_after_exec(environment: MutableMapping[str, str]) -> Inherited:
    """What this process handed over to itself before execve(2); nothing if it did not.

    Args:
        environment: what is of the handover is removed from it.
    """
    environment.pop(TRY_UNTIL, None)
    text = environment.pop(HANDOVER_FD, "")
    if not text:
        return Inherited()
    try:
        with _open_handed_over(int(text)) as end:
            end.settimeout(0)
            return _receive(end, UPGRADED)
    except (OSError, ValueError, msgspec.DecodeError) as exc:
        logger.error(
            "%s=%s: the handover cannot be read: %s; nh starts without it", HANDOVER_FD, text, reason(exc)
        )
        return Inherited()


def _open_handed_over(fd: int) -> socket.socket:
    """The socket with this descriptor. Unread and open, it would hold the locks that are on their way in it,
    and no start could have them.

    Raises:
        OSError: there is no room for it, and it is closed; or the descriptor is another program's.
    """
    try:
        return when_there_is_room(lambda: socket.socket(fileno=fd), READ_S)
    except OSError as exc:
        if exc.errno in START_SHORTAGES:
            os.close(fd)
        raise


def take_over(runtime_path: Path, listeners: Sequence[tuple[str, str]] = ()) -> Inherited:
    """Ask the supervisor of a runtime directory to yield, and receive what it hands over.

    Args:
        runtime_path: the directory.
        listeners: (kind, address) of the listening sockets that this process will use.

    Returns:
        What it hands over; nothing if no supervisor runs there.

    Raises:
        NotNow: the supervisor does not yield.
    """
    path = runtime_path / NAME
    with contextlib.ExitStack() as stack:
        end = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        end.settimeout(YIELD_S)
        try:
            end.connect(str(path))
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                raise NotNow(f"takeover: {path}: {exc.strerror}") from exc
            logger.info(
                "takeover: no nh runs with %s: nothing to take over, a normal start follows", runtime_path
            )
            return Inherited()
        try:
            end.send(encode(Yield(tuple(listeners))))
            inherited = _receive(end, TAKEN_OVER)
        except TimeoutError:
            raise NotNow(
                f"takeover: the nh that runs with {runtime_path} did not yield within {YIELD_S:g} s; see its"
                " log, or end it and start nh without --takeover"
            ) from None
        except (OSError, msgspec.DecodeError) as exc:
            raise NotNow(
                f"takeover: the nh that runs with {runtime_path} does not yield: {reason(exc)}; see its log"
            ) from exc
        if inherited.message.awaits:
            stack.pop_all()
            inherited.awaited_by = end
        return inherited


def _receive(end: socket.socket, how: int) -> Inherited:
    record, fds = receive_record(end)
    try:
        message = decode_from_old(record)
        if not isinstance(message, HandoverMessage):
            raise msgspec.DecodeError(f"it sent {type(message).__name__}")
    except msgspec.DecodeError:
        close_all(fds)
        raise
    inherited = Inherited(message, fds)
    inherited.how = how
    with contextlib.suppress(OSError):  # what came so far is used
        _receive_connections(end, inherited)
    return inherited


def _receive_connections(end: socket.socket, inherited: Inherited) -> None:
    """Receive Connections until the other end closes, or sends nothing more."""
    record, fds = receive_record(end)
    while record:
        with contextlib.suppress(msgspec.DecodeError):  # of a newer nh
            if isinstance(message := decode_from_old(record), Connections):
                inherited.add_connections(message.protocol, fds)
        close_all(fds)
        record, fds = receive_record(end)
