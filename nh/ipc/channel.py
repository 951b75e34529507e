"""Nonblocking records over a SOCK_SEQPACKET socket, between the supervisor and its shards.

A channel sends records in order, with the descriptors that go with them (SCM_RIGHTS). It queues what the
kernel does not take at once, and reports the end of the other side. It does not decode records
(nh.ipc.link_codec).
"""

import contextlib
import errno
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from nh.errors import ChannelFull
from nh.ipc.fd_passing import ANCILLARY_BYTES, MAX_FDS, close_all, duplicate, received_fds
from nh.loop import Loop, TurnReads
from nh.reasons import SHORTAGES, reason

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES: Final = 128 * 1024
"""Longest record; a reply beyond it is replaced by a Failure, a snapshot beyond it goes in parts."""

MAX_QUEUED_BYTES: Final = 4 * 1024 * 1024
"""Most bytes that wait for the kernel: some thousand commands, or 32 of the longest records."""

KERNEL_BUFFER_BYTES: Final = 1024 * 1024
"""Wanted send buffer; the kernel gives less where net.core.wmem_max says so."""

RECORDS_A_TURN: Final = 64
"""Most records read before other descriptors get their turn, unless a channel has its own."""

NO_ROOM_RETRY_S: Final = 0.01
"""Delay of a retry after one of NO_ROOM, whose end no event shows."""

NO_ROOM: Final = SHORTAGES | {errno.ETOOMANYREFS}
"""Errors of a record that can be sent or read a moment later: no memory, or too many descriptors in flight.

Nothing was sent or read.
"""

OnRecord = Callable[[bytes, list[int]], None]
"""Called with a record and the descriptors that came with it.

They are close-on-exec. The called function removes those that it takes from the list; the others are closed
after it returns. If this process has no room for all, the kernel leaves out the last ones.
"""

ChannelRecord = tuple[bytes, Sequence[int]]
"""A record to send, and the descriptors that go with it."""


class Channel:
    """One end of a SOCK_SEQPACKET connection on a loop.

    Args:
        loop: watches the socket.
        sock: the socket; it becomes nonblocking and belongs to the channel.
        on_record: called with each record that arrives; see OnRecord.
        on_close: called once when the other side has closed, after its last record; not after close().
        after_records: called behind the records of a turn.
        most: most records of a turn, before other descriptors have theirs.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_record: OnRecord,
        on_close: Callable[[], None],
        *,
        after_records: Callable[[], None] = lambda: None,
        most: int = RECORDS_A_TURN,
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
        self._loop = loop
        self._sock = sock
        self._on_record = on_record
        self._on_close = on_close
        self._after_records = after_records
        self._stream: Iterator[ChannelRecord] = iter(())
        self._unsent: ChannelRecord | None = None  # of the stream
        self._own_fds: list[int] = []  # duplicates of those of `_unsent`
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        self._queued_bytes = 0
        # one byte longer than a record may be, so that a longer one shows
        self._buffer = bytearray(MAX_MESSAGE_BYTES + 1)
        self._open = True
        self._no_room = False
        self._reads = TurnReads(loop, most)
        loop.add_reader(sock.fileno(), self._read)

    @property
    def queued(self) -> int:
        """How many records wait until the kernel takes them."""
        return len(self._queue) + (self._unsent is not None)

    @property
    def borrows(self) -> bool:
        """Whether a record of send_all() waits with the caller's descriptors, for want of room for others."""
        return self._unsent is not None and not self._own_fds and bool(self._unsent[1])

    @property
    def closed(self) -> bool:
        """Whether close() was called, or the other side has closed."""
        return not self._open

    def send(self, record: bytes, fds: Sequence[int] = ()) -> None:
        """Send one record, now or as soon as the kernel takes it. If the other side has closed, drop it.

        Args:
            record: 1 to MAX_MESSAGE_BYTES bytes (an empty one would look like the end).
            fds: up to MAX_FDS descriptors that go with it. They belong to the caller, who may close them.

        Raises:
            ValueError: the record or `fds` are too long.
            ChannelFull: more than MAX_QUEUED_BYTES would wait, or `fds` cannot be duplicated while they wait.
        """
        if not 0 < len(record) <= MAX_MESSAGE_BYTES:
            raise ValueError(f"a record of {len(record)} bytes is not in 1..{MAX_MESSAGE_BYTES}")
        if len(fds) > MAX_FDS:
            raise ValueError(f"{len(fds)} descriptors are more than {MAX_FDS}")
        if not self._open:
            return
        if not self._queue and self._send_now(record, fds):
            return
        if self._queued_bytes + len(record) > MAX_QUEUED_BYTES:
            raise ChannelFull(
                f"{len(self._queue)} records wait already: the other side does not read them fast enough"
            )
        waiting = duplicate(fds)
        if not self._queue:
            self._wait_for_room()
        self._queue.append((record, waiting))
        self._queued_bytes += len(record)

    def send_all(self, records: Iterator[ChannelRecord]) -> None:
        """Send more records than may wait: one is made when the kernel has taken those before it.

        Records of send() may go between them.

        Args:
            records: what to send, in order, each as send() takes it; nothing more is asked of it once the
                channel is closed. While `borrows`, the descriptors of the last record stay open.
        """
        self._stream = records
        self._send_stream()

    def drain(self) -> None:
        """Read every record that is there now, without waiting for the loop's next turn.

        A bug that one record meets costs no other its turn, as in the loop.
        """
        while self._read_last():
            pass
        self._after_records()

    def close(self) -> None:
        """Close this end and drop what is queued. No effect if it is closed."""
        if not self._open:
            return
        self._open = False
        while self._queue:
            close_all(self._queue.popleft()[1])
        self._queued_bytes = 0
        self._sent_or_dropped()
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()

    def _read(self) -> None:
        try:
            self._reads.read(self._read_one)
        finally:  # one that cannot be decoded must not keep those before it waiting
            self._after_records()

    def _read_last(self) -> bool:
        try:
            return self._read_one()
        except Exception:
            logger.exception("one of the last records could not be read; the others are: this is a bug in nh")
            return True

    def _read_one(self) -> bool:
        """Read one record; False if there is none now, or the channel is closed."""
        if not self._open:
            return False
        try:
            size, ancillary, _flags, _ = self._sock.recvmsg_into(
                (self._buffer,), ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionResetError:
            # reported once, before its last records, if it died with unread records of ours (af_unix.c)
            return True
        except OSError as exc:
            if exc.errno in NO_ROOM:  # the record is still there, and the socket stays readable
                return False
            logger.error("channel closed: it cannot be read: %s", reason(exc))
            size, ancillary = 0, []
        fds = received_fds(ancillary) if ancillary else []
        if 0 < size <= MAX_MESSAGE_BYTES:
            try:
                self._on_record(bytes(memoryview(self._buffer)[:size]), fds)
            finally:
                close_all(fds)
            return True
        close_all(fds)
        if size > MAX_MESSAGE_BYTES:
            logger.error("channel closed: a record of more than %d bytes came", MAX_MESSAGE_BYTES)
        self._lost()
        return False

    def _lost(self) -> None:
        self.close()
        self._on_close()

    def _send_now(self, record: bytes, fds: Sequence[int]) -> bool:
        """Returns False if the record must wait. Else the kernel took it, or the other side has closed."""
        self._no_room = False
        try:
            if fds:
                socket.send_fds(self._sock, (record,), fds)
            else:
                self._sock.send(record)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as exc:
            if exc.errno in NO_ROOM:
                self._no_room = True
                return False
            # the reader reports a closed end; any other error is a bug
            gone = exc.errno in (errno.EPIPE, errno.ECONNRESET)
            logger.log(logging.DEBUG if gone else logging.ERROR, "a record was dropped: %s", reason(exc))
        return True

    def _wait_for_room(self) -> None:
        """Schedule a flush: when writable, or in NO_ROOM_RETRY_S after one of NO_ROOM."""
        fd = self._sock.fileno()
        if self._no_room:
            # the socket stays writable, so writability shows nothing
            self._loop.remove_writer(fd)
            self._loop.call_later(NO_ROOM_RETRY_S, self._flush)
        else:
            self._loop.add_writer(fd, self._flush)

    def _flush(self) -> None:
        if not self._open:
            return
        while self._queue:
            record, fds = self._queue[0]
            if not self._send_now(record, fds):
                self._wait_for_room()
                return
            self._queue.popleft()
            close_all(fds)
            self._queued_bytes -= len(record)
        self._loop.remove_writer(self._sock.fileno())
        self._send_stream()

    def _send_stream(self) -> None:
        """Send what the kernel takes now of the records of send_all()."""
        while self._open and not self._queue:
            record = self._unsent or next(self._stream, None)
            if record is None:
                return
            if not self._send_now(*record):
                self._unsent = self._unsent or self._to_wait(*record)
                self._wait_for_room()
                return
            self._sent_or_dropped()

    def _to_wait(self, record: bytes, fds: Sequence[int]) -> ChannelRecord:
        with contextlib.suppress(ChannelFull):  # where no descriptor is left, the caller's are sent
            self._own_fds = duplicate(fds)
        return record, self._own_fds or fds

    def _sent_or_dropped(self) -> None:
        self._unsent = None
        close_all(self._own_fds)


def receive_record(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Read one record and its descriptors from a socket that is on no loop.

    Python 3.11's socket.recv_fds() ignores its flags: its descriptors would survive execve(2).

    Returns:
        The record, empty at the end of the connection; and descriptors, close-on-exec, owned by the caller.

    Raises:
        TimeoutError: after the socket's timeout.
        OSError: the socket cannot be read, or the record is too long.
    """
    record, ancillary, flags, _ = sock.recvmsg(MAX_MESSAGE_BYTES, ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
    fds = received_fds(ancillary)
    if flags & socket.MSG_TRUNC:
        close_all(fds)
        raise OSError(errno.EMSGSIZE, f"a record of more than {MAX_MESSAGE_BYTES} bytes")
    return record, fds
