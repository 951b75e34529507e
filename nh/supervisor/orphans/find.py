"""Finds the orphans in a runtime directory: the sockets of their handover say where they are."""

import contextlib
import functools
import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from nh.errors import NotNow
from nh.ipc.handover_socket import shard_sockets
from nh.ipc.peer import peer_of
from nh.reasons import SHORTAGES, reason, shortage
from nh.room import when_there_is_room
from nh.supervisor.orphans.client import REPLY_S, HandoverFailed, OrphanClient, kill_shard

logger = logging.getLogger(__name__)

T = TypeVar("T")


def find_orphans(directory: Path) -> list[OrphanClient]:
    """Connect to the orphans in a runtime directory, whose lock the caller has.

    The sockets of shards that are gone are removed. An orphan that hangs is killed: its calls come from the
    store, or are lost.

    Raises:
        NotNow: this process has no descriptors or memory for that. The orphans go on.
    """
    found: list[OrphanClient] = []
    try:
        _find(_in_room(lambda: shard_sockets(directory)), found)
    except BaseException:
        for orphan in found:
            orphan.close()
        raise
    return found


def _find(paths: Sequence[Path], found: list[OrphanClient]) -> None:
    for path in paths:
        try:
            sock = _in_room(functools.partial(_connect, path))
        except (ConnectionRefusedError, FileNotFoundError):
            _remove(path)
            continue
        except OSError as exc:
            logger.error(
                "%s: an orphaned shard does not accept connections: %s; it keeps its calls and ports",
                path,
                reason(exc),
            )
            continue
        pid = peer_of(sock).pid
        try:
            found.append(OrphanClient(sock, pid, path.stem))
        except HandoverFailed as exc:
            sock.close()
            if pid <= 0:
                logger.error(
                    "%s: an orphaned shard of another container does not answer: %s; end it there", path, exc
                )
                continue
            logger.error("orphaned shard (pid %d) does not answer: %s; it is killed", pid, exc)
            if kill_shard(pid):
                _remove(path)


def _remove(path: Path) -> None:
    """Remove the socket of a shard that is gone, if that is possible: nothing listens there in any case."""
    with contextlib.suppress(OSError):
        path.unlink()


def _in_room(step: Callable[[], T]) -> T:
    """Do a step when there is room for it.

    An orphan that was left out would keep the ports of its calls, and those could not be restored from the
    store.

    Raises:
        NotNow: there is none for REPLY_S.
        OSError: the step fails for another reason.
    """
    try:
        return when_there_is_room(step, REPLY_S)
    except OSError as exc:
        if exc.errno in SHORTAGES:
            raise NotNow(f"the calls of the shards before cannot be taken over: {shortage(exc)}") from exc
        raise


def _connect(path: Path) -> socket.socket:
    """Connect to an orphan.

    Raises:
        ConnectionRefusedError, FileNotFoundError: it is gone.
        OSError: it cannot be asked now. EAGAIN: so many wait already; it may hang, and accept no connection.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.settimeout(REPLY_S)
        sock.connect(str(path))
    except BaseException:
        sock.close()
        raise
    return sock
