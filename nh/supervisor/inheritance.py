"""What a supervisor left to this one: locks, listening sockets, clients: so nobody is turned away.

It comes from the process that this one was before exec(2), or from another one, which was asked to leave.
"""

import contextlib
import errno
import logging
import os
import socket
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

import msgspec

from nh.channel import close_all, receive_record
from nh.errors import ConfigError
from nh.wire.handover import Bequest, Connections, Leave, decode_from_old, encode

logger = logging.getLogger(__name__)

VARIABLE: Final = "NH_BEQUEST_FD"
"""Names the descriptor on which the process before exec(2) left its Bequest."""

NAME: Final = "supervisor.sock"
"""Where a supervisor hears in its runtime directory that the next one is there."""

LEAVE_S: Final = 15.0
"""How long the one before may take until it has left."""


class Inheritance:
    """Descriptors that wait to be used.

    Arguments:
        bequest: what they are.
        fds: as many, in its order; the inheritance's from now on.
    """

    def __init__(self, bequest: Bequest | None = None, fds: list[int] | None = None) -> None:
        self.bequest = bequest or Bequest()
        fds = fds or []
        locks = self.bequest.locks
        self._locks = fds[: len(locks)]
        self._listeners = list(zip(self.bequest.listeners, fds[len(locks) :], strict=False))
        self._connections: dict[str, list[socket.socket]] = {}

    def __bool__(self) -> bool:
        """Whether anybody left anything."""
        return self.bequest != Bequest()

    def take_lock(self, path: Path) -> int | None:
        """The descriptor of a lock file that is locked already; None: it was not left."""
        for index, fd in enumerate(self._locks):
            # by the file itself: another container may call it by another name
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(fd), path.stat()):
                    return self._locks.pop(index)
        return None

    def take_listener(self, kind: str, address: str) -> socket.socket | None:
        """A bound socket; None: it was not left.

        Arguments:
            kind: unix, tcp, ng-tcp or ng-udp.
            address: as the settings have it.
        """
        for index, (what, fd) in enumerate(self._listeners):
            if what == (kind, address):
                del self._listeners[index]
                return socket.socket(fileno=fd)
        return None

    def add_connections(self, protocol: str, fds: list[int]) -> None:
        """Clients' connections came too; the descriptors are taken out of the list, and are its own now."""
        waiting = self._connections.setdefault(protocol, [])
        while fds:
            waiting.append(socket.socket(fileno=fds.pop()))

    def take_connections(self, protocol: str) -> list[socket.socket]:
        """Clients' connections of a protocol, rpc or ng, that wait to be served."""
        return self._connections.pop(protocol, [])

    def close(self) -> None:
        """Close what nobody took: the settings have changed."""
        close_all([fd for _, fd in self._listeners])
        close_all(self._locks)
        self._listeners = []
        for protocol in list(self._connections):
            for sock in self.take_connections(protocol):
                sock.close()


NOTHING: Final = Inheritance()
"""Of nobody."""


def inherit_from_before_exec(environment: MutableMapping[str, str]) -> Inheritance:
    """What this process left to itself before exec(2); nothing if it did not. The variable is removed."""
    text = environment.pop(VARIABLE, "")
    if not text:
        return Inheritance()
    try:
        with socket.socket(fileno=int(text)) as end:
            end.settimeout(0)
            return _receive(end)
    except (OSError, ValueError, msgspec.DecodeError) as exc:
        logger.error("%s=%s: nothing can be read there, nh starts without: %s", VARIABLE, text, exc)
        return Inheritance()


def take_over(runtime_path: Path) -> Inheritance:
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
            return Inheritance()
        try:
            end.send(encode(Leave()))
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


def _receive(end: socket.socket) -> Inheritance:
    record, fds = receive_record(end)
    try:
        message = decode_from_old(record)
        if not isinstance(message, Bequest):
            raise msgspec.DecodeError(f"it says {type(message).__name__}")
    except msgspec.DecodeError:
        close_all(fds)
        raise
    inheritance = Inheritance(message, fds)
    with contextlib.suppress(OSError):  # what came is of use all the same
        _receive_connections(end, inheritance)
    return inheritance


def _receive_connections(end: socket.socket, inheritance: Inheritance) -> None:
    """What follows, until nothing more can."""
    record, fds = receive_record(end)
    while record:
        with contextlib.suppress(msgspec.DecodeError):  # of a newer nh
            if isinstance(message := decode_from_old(record), Connections):
                inheritance.add_connections(message.protocol, fds)
        close_all(fds)
        record, fds = receive_record(end)
