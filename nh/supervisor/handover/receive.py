"""What a supervisor left to this one: locks, listening sockets, clients: so nobody is turned away.

It comes from the process that this one was before exec(2), or from another one, which was asked to leave.
"""

import contextlib
import errno
import logging
import socket
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

import msgspec

from nh.errors import ConfigError
from nh.ipc.channel import close_all, receive_record
from nh.ipc.handover_messages import Connections, HandoverMessage, Yield, decode_from_old, encode
from nh.ipc.inherited import InheritedFds

logger = logging.getLogger(__name__)

VARIABLE: Final = "NH_HANDOVER_FD"
"""Names the descriptor on which the process before exec(2) left its HandoverMessage."""

NAME: Final = "supervisor.sock"
"""Where a supervisor hears in its runtime directory that the next one is there."""

LEAVE_S: Final = 15.0
"""How long the one before may take until it has left."""


def inherit_from_before_exec(environment: MutableMapping[str, str]) -> InheritedFds:
    """What this process left to itself before exec(2); nothing if it did not. The variable is removed."""
    text = environment.pop(VARIABLE, "")
    if not text:
        return InheritedFds()
    try:
        with socket.socket(fileno=int(text)) as end:
            end.settimeout(0)
            return _receive(end)
    except (OSError, ValueError, msgspec.DecodeError) as exc:
        logger.error("%s=%s: nothing can be read there, nh starts without: %s", VARIABLE, text, exc)
        return InheritedFds()


def take_over(runtime_path: Path) -> InheritedFds:
    """Have the supervisor of a runtime directory leave, with its shards left to this one.

    Returns what it left; nothing if there is none. Raises ConfigError if it does not leave.
    """
    path = runtime_path / NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as end:
        end.settimeout(LEAVE_S)
        try:
            end.connect(str(path))
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                raise ConfigError(f"takeover: {path}: {exc.strerror}") from exc
            logger.info("takeover: no nh runs with %s, there is nothing to take over", runtime_path)
            return InheritedFds()
        try:
            end.send(encode(Yield()))
            return _receive(end)
        except TimeoutError:
            raise ConfigError(
                f"takeover: the nh that runs with {runtime_path} has not left within {LEAVE_S:g} s; its log"
                " may say why; end it, and start nh without --takeover"
            ) from None
        except (OSError, msgspec.DecodeError) as exc:
            raise ConfigError(
                f"takeover: the nh that runs with {runtime_path} does not leave: {exc}"
            ) from exc


def _receive(end: socket.socket) -> InheritedFds:
    record, fds = receive_record(end)
    try:
        message = decode_from_old(record)
        if not isinstance(message, HandoverMessage):
            raise msgspec.DecodeError(f"it says {type(message).__name__}")
    except msgspec.DecodeError:
        close_all(fds)
        raise
    inherited = InheritedFds(message, fds)
    with contextlib.suppress(OSError):  # what came is of use all the same
        _receive_connections(end, inherited)
    return inherited


def _receive_connections(end: socket.socket, inherited: InheritedFds) -> None:
    """What follows, until nothing more can."""
    record, fds = receive_record(end)
    while record:
        with contextlib.suppress(msgspec.DecodeError):  # of a newer nh
            if isinstance(message := decode_from_old(record), Connections):
                inherited.add_connections(message.protocol, fds)
        close_all(fds)
        record, fds = receive_record(end)
