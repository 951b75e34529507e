"""The connection to one orphan: a shard whose supervisor is gone, and which transfers its calls to this one.

It blocks, without a loop: that happens while nh starts, one orphan after the other, and takes milliseconds.
An orphan that is silent for REPLY_S counts as one that hangs, unless it waits for a CPU.
"""

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import Final

import msgspec

from nh.calls.media import Endpoint
from nh.calls.snapshots.version import READABLE
from nh.ipc.backup_messages import MAX_SNAPSHOT_BYTES, SaveCall
from nh.ipc.channel import receive_record
from nh.ipc.fd_passing import close_all
from nh.ipc.handover_messages import (
    CallSockets,
    Exit,
    FromOld,
    HandedOver,
    Hello,
    ToOld,
    Transfer,
    UnconfirmedRecord,
    decode_from_old,
    encode,
)
from nh.reasons import reason
from nh.room import when_there_is_room
from nh.supervisor.host.child_process import wait_for_end
from nh.supervisor.host.cpu_use import CpuUse, cpu_use

logger = logging.getLogger(__name__)

REPLY_S: Final = 2.0
"""An orphan that is silent for so long hangs, unless it waits for a CPU."""

Take = Callable[[bytes, bytes, list[tuple[Endpoint, int]]], None]
"""Called with a call: its call-id, its snapshot, its sockets with descriptors, which belong to the called."""

TakeRecord = Callable[[bytes, int], None]
"""Called with the record of a call that has ended, and its number; see UnconfirmedRecord."""


class HandoverFailed(Exception):
    """An orphan died, hangs, or sends messages that cannot be decoded."""


class OrphanClient:
    """A connected orphan, which has said Hello.

    Args:
        sock: connected to it.
        pid: its process id; 0: it cannot be seen from here, being in another PID namespace.
        name: of its process, the stem of its handover socket.

    Attributes:
        hello: which shard it is.
        maps: descriptors of its maps in the kernel, closed by close().

    Raises:
        HandoverFailed: it does not say Hello.
    """

    def __init__(self, sock: socket.socket, pid: int, name: str = "") -> None:
        self.pid = pid
        self.name = name
        self._sock = sock
        sock.settimeout(REPLY_S)
        message, fds = self._receive()
        if not isinstance(message, Hello):
            close_all(fds)
            raise HandoverFailed(f"it sent {type(message).__name__} before Hello")
        self.hello = message
        self.maps = fds

    @property
    def readable(self) -> bool:
        """Whether this version of nh reads its snapshots."""
        return self.hello.snapshot_version in READABLE

    def __str__(self) -> str:
        return f"shard {self.hello.shard} of nh {self.hello.version} (pid {self.pid or 'unknown'})"

    def transfer(self, take: Take, take_record: TakeRecord | None = None) -> dict[str, int | float]:
        """Have the orphan stop relaying and send its calls. Without dismiss() it relays them again.

        Args:
            take: called for each call.
            take_record: called for each record that no supervisor has confirmed; None: they are not wanted.

        Returns:
            Its counters, by name.

        Raises:
            HandoverFailed: calls that were taken before stay taken.
        """
        self._send(Transfer(records=take_record is not None))
        sockets: list[tuple[Endpoint, int]] = []
        parts: list[bytes] = []
        try:
            while True:
                message, fds = self._receive()
                arrived = len(fds)
                if not isinstance(message, CallSockets):  # another version may send some with others
                    close_all(fds)
                    fds = []
                match message:
                    case CallSockets(_, endpoints) if len(fds) <= len(endpoints):
                        # the kernel leaves out the last ones for which there is no room
                        sockets += zip(endpoints, fds, strict=False)
                    case SaveCall():
                        parts.append(message.snapshot)
                        if sum(map(len, parts)) > MAX_SNAPSHOT_BYTES:
                            raise HandoverFailed(f"a snapshot of more than {MAX_SNAPSHOT_BYTES} bytes")
                        if message.last:
                            take(message.call_id, b"".join(parts), sockets)
                            sockets, parts = [], []
                    case UnconfirmedRecord(record, number) if take_record is not None:
                        take_record(record, number)
                    case HandedOver(counters):
                        return counters
                    case _:
                        close_all(fds)
                        raise HandoverFailed(f"it sent {type(message).__name__} with {arrived} descriptors")
        finally:
            close_all([fd for _, fd in sockets])

    def dismiss(self) -> None:
        """Have the orphan end, because its calls are restored here, and disconnect."""
        with contextlib.suppress(HandoverFailed):
            self._send(Exit())
        self.close()

    @property
    def lives(self) -> bool:
        """Whether the orphan still runs. What it sends meanwhile is dropped."""
        return self._sock.fileno() >= 0 and not _has_ended(self._sock)

    def kill(self) -> None:
        """Kill the orphan if it still runs: its calls come from the store."""
        if self.lives:
            kill_shard(self.pid)
        self.close()

    def close(self) -> None:
        """Disconnect: without dismiss() the orphan goes on. Closing twice has no effect."""
        self._sock.close()
        close_all(self.maps)

    def _send(self, message: ToOld) -> None:
        try:
            when_there_is_room(lambda: self._sock.send(encode(message)), REPLY_S)
        except OSError as exc:
            raise HandoverFailed(reason(exc)) from exc

    def _receive(self) -> tuple[FromOld, list[int]]:
        try:
            record, fds = self._receive_record()
        except TimeoutError:
            raise HandoverFailed(f"it sent nothing for {REPLY_S:g} s") from None
        except OSError as exc:
            raise HandoverFailed(reason(exc)) from exc
        if not record:
            raise HandoverFailed("it has ended")
        try:
            return decode_from_old(record), fds
        except msgspec.DecodeError as exc:
            close_all(fds)
            raise HandoverFailed(f"it sent an invalid message: {reason(exc)}") from exc

    def _receive_record(self) -> tuple[bytes, list[int]]:
        """The next record. Raises TimeoutError if the orphan hangs, also one that gets little of a CPU."""
        first: CpuUse | None = None
        before: CpuUse | None = None
        while True:
            try:
                return receive_record(self._sock)
            except TimeoutError:
                use = cpu_use(self.pid)
                first, before = first or use, before or use
                if not use.is_starved(before, REPLY_S) or use.used_s - first.used_s >= REPLY_S:
                    raise
                before = use


def _has_ended(sock: socket.socket) -> bool:
    """Whether the other end is closed."""
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


def kill_shard(pid: int) -> bool:
    """Kill a shard, which has ports that others need.

    Args:
        pid: its process id; 0: it cannot be seen from here, and goes on.

    Returns:
        Whether it is gone.
    """
    if pid <= 0:
        return False
    try:
        pidfd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            _ = wait_for_end(pidfd, REPLY_S)
        finally:
            os.close(pidfd)
    except ProcessLookupError:
        return True
    except OSError as exc:
        logger.error("orphaned shard (pid %d) cannot be killed: %s; its ports stay taken", pid, exc.strerror)
        return False
    return True
