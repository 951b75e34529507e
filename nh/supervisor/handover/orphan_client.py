"""A shard that another supervisor started: it still has its calls, and hands them over.

It is spoken to without a loop, and waited for: that is done while nh starts, one shard after the other, and
takes milliseconds. What is not heard within ANSWER_S is not waited for any longer.
"""

import contextlib
import logging
import os
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from nh.calls.media import Endpoint
from nh.calls.snapshots.version import READABLE
from nh.ipc.channel import close_all, receive_record
from nh.ipc.handover_messages import (
    CallSockets,
    Exit,
    FromOld,
    HandedOver,
    Hello,
    ToOld,
    Transfer,
    decode_from_old,
    encode,
)
from nh.ipc.link_messages import MAX_SNAPSHOT_BYTES, SaveCall
from nh.ipc.peer import peer_of

logger = logging.getLogger(__name__)

PATTERN: Final = "shard-*.sock"
"""What the rendezvous of shards are called in the runtime directory."""

ANSWER_S: Final = 2.0
"""How long a shard may be silent until it counts as one that hangs."""

Take = Callable[[bytes, bytes, list[tuple[Endpoint, int]]], None]
"""Takes a call: its call-id, its snapshot, its sockets with descriptors, which belong to the taker."""


class HandoverFailed(Exception):
    """It died, hangs, or says what is not understood."""


class OrphanClient:
    """A shard that waits for a supervisor.

    Arguments:
        sock: connected to it.
        pid: its process, as far as it can be seen from here; 0: it cannot.

    By construction it is asked who it is: `present`; `maps` are the descriptors of its maps in the kernel,
    the predecessor's to close. Raises HandoverFailed.
    """

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.pid = pid
        self._sock = sock
        sock.settimeout(ANSWER_S)
        message, fds = self._receive()
        if not isinstance(message, Hello):
            close_all(fds)
            raise HandoverFailed(f"it says {type(message).__name__} before it says who it is")
        self.present = message
        self.maps = fds

    @property
    def readable(self) -> bool:
        """Whether its snapshots can be read by this version of nh."""
        return self.present.snapshot_version in READABLE

    def __str__(self) -> str:
        return f"shard {self.present.shard} of nh {self.present.version} (pid {self.pid or 'not known'})"

    def hand_over(self, take: Take) -> dict[str, int | float]:
        """Have it relay no more and give everything; if it is then left without depart() it goes on.

        Arguments:
            take: called for each call.

        Returns its counters. Raises HandoverFailed; what was taken before stays taken.
        """
        self._say(Transfer())
        sockets: list[tuple[Endpoint, int]] = []
        parts: list[bytes] = []
        try:
            while True:
                message, fds = self._receive()
                match message:
                    case CallSockets(_, endpoints) if len(endpoints) == len(fds):
                        sockets += zip(endpoints, fds, strict=True)
                    case SaveCall():
                        parts.append(message.snapshot)
                        if sum(map(len, parts)) > MAX_SNAPSHOT_BYTES:
                            raise HandoverFailed(f"a snapshot of more than {MAX_SNAPSHOT_BYTES} bytes")
                        if message.last:
                            take(message.call_id, b"".join(parts), sockets)
                            sockets, parts = [], []
                    case HandedOver(counters):
                        return counters
                    case _:
                        close_all(fds)
                        raise HandoverFailed(
                            f"it hands over {type(message).__name__}, {len(fds)} descriptors"
                        )
        finally:
            close_all([fd for _, fd in sockets])

    def depart(self) -> None:
        """Tell it that somebody else has its calls, and leave it."""
        with contextlib.suppress(HandoverFailed):
            self._say(Exit())
        self.close()

    def kill(self) -> None:
        """End it, if it still runs: somebody else has its calls from elsewhere."""
        if self._sock.fileno() >= 0 and not _has_ended(self._sock):
            _kill(self.pid)
        self.close()

    def close(self) -> None:
        """Leave it: without depart() it goes on. A second one does nothing."""
        self._sock.close()
        close_all(self.maps)

    def _say(self, message: ToOld) -> None:
        try:
            self._sock.send(encode(message))
        except OSError as exc:
            raise HandoverFailed(exc.strerror or str(exc)) from exc

    def _receive(self) -> tuple[FromOld, list[int]]:
        try:
            record, fds = receive_record(self._sock)
        except TimeoutError:
            raise HandoverFailed(f"it says nothing for {ANSWER_S:g} s") from None
        except OSError as exc:
            raise HandoverFailed(exc.strerror or str(exc)) from exc
        if not record:
            raise HandoverFailed("it is gone")
        try:
            return decode_from_old(record), fds
        except msgspec.DecodeError as exc:
            close_all(fds)
            raise HandoverFailed(f"it says what is not understood: {exc}") from exc


def find_predecessors(directory: Path) -> list[OrphanClient]:
    """The shards that a supervisor left in its runtime directory; who has its lock calls this.

    Files of shards that are gone are removed. One that hangs is killed: its calls are lost, or in the store.
    """
    found: list[OrphanClient] = []
    for path in sorted(directory.glob(PATTERN)):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.settimeout(ANSWER_S)
            sock.connect(str(path))
            pid = peer_of(sock).pid
        except TimeoutError:
            sock.close()
            logger.error("%s: a shard is there and lets nobody in, it is left alone", path)
            continue
        except OSError:
            sock.close()
            path.unlink(missing_ok=True)
            continue
        try:
            found.append(OrphanClient(sock, pid))
        except HandoverFailed as exc:
            sock.close()
            if pid <= 0:
                logger.error(
                    "%s: a shard of another container cannot be spoken to: %s; end it there", path, exc
                )
                continue
            logger.error("a shard that was left (pid %d) cannot be spoken to, it is killed: %s", pid, exc)
            if _kill(pid):
                path.unlink(missing_ok=True)
    return found


def _has_ended(sock: socket.socket) -> bool:
    """Whether nobody is at the other end any more."""
    sock.setblocking(False)
    while True:
        try:
            record, fds = receive_record(sock)
        except BlockingIOError:
            return False
        except OSError:
            return True
        close_all(fds)
        if not record:
            return True


def _kill(pid: int) -> bool:
    """End a shard that cannot be spoken to: it has ports that others need. Returns whether it is gone."""
    if pid <= 0:
        return False
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        select.select([pidfd], [], [], ANSWER_S)
    except OSError as exc:
        logger.error("it (pid %d) cannot be killed: %s", pid, exc.strerror)
        return False
    finally:
        os.close(pidfd)
    return True
