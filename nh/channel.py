"""Records over a SOCK_SEQPACKET socket, without waiting: what supervisor and shards speak over.

A channel keeps records whole and in order, queues what the kernel does not take at once, and says when the
other side is gone. What is in a record is not its business (nh.wire.link).
"""

import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from nh.errors import ChannelFull
from nh.loop import Loop
from nh.wire.link import MAX_MESSAGE_BYTES

logger = logging.getLogger(__name__)

MAX_QUEUED_BYTES: Final = 4 * 1024 * 1024
"""Most bytes that wait for the kernel: some thousand commands, or 32 of the longest records."""

KERNEL_BUFFER_BYTES: Final = 1024 * 1024
"""Wanted send buffer; the kernel gives less where net.core.wmem_max says so."""

RECORDS_A_TURN: Final = 64
"""Most records read before other descriptors get their turn."""


class Channel:
    """One end of a SOCK_SEQPACKET pair on a loop.

    Arguments:
        loop: what watches the socket.
        sock: the end; it becomes nonblocking and belongs to the channel, which closes it.
        on_record: called with each record that arrives.
        on_close: called once when the other side is gone, after its last record; not after close().
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_record: Callable[[bytes], None],
        on_close: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
        self._loop = loop
        self._sock = sock
        self._on_record = on_record
        self._on_close = on_close
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        # one byte longer than a record may be, so that a longer one shows
        self._buffer = bytearray(MAX_MESSAGE_BYTES + 1)
        self._open = True
        loop.add_reader(sock.fileno(), self._read)

    @property
    def queued(self) -> int:
        """How many records wait for the kernel to take them."""
        return len(self._queue)

    @property
    def closed(self) -> bool:
        """Whether close() was called or the other side is gone."""
        return not self._open

    def send(self, record: bytes) -> None:
        """Send one record, now or as soon as the kernel takes it.

        Where the other side is gone, the record is dropped; on_close tells.

        Arguments:
            record: 1 to MAX_MESSAGE_BYTES bytes (an empty one would look like the end).

        Raises ValueError for another length, ChannelFull if more than MAX_QUEUED_BYTES would wait.
        """
        if not 0 < len(record) <= MAX_MESSAGE_BYTES:
            raise ValueError(f"a record of {len(record)} bytes is not in 1..{MAX_MESSAGE_BYTES}")
        if not self._open:
            return
        if not self._queue and self._send_now(record):
            return
        if self._queued_bytes + len(record) > MAX_QUEUED_BYTES:
            raise ChannelFull(
                f"{len(self._queue)} records wait already: the other side does not read them fast enough"
            )
        if not self._queue:
            self._loop.add_writer(self._sock.fileno(), self._flush)
        self._queue.append(record)
        self._queued_bytes += len(record)

    def drain(self) -> None:
        """Hand over every record that is there now, without waiting for the loop's next turn."""
        while self._open and self._read_one():
            pass

    def close(self) -> None:
        """Close this end; what is queued is lost. No effect if it is closed."""
        if not self._open:
            return
        self._open = False
        self._queue.clear()
        self._queued_bytes = 0
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()

    def _read(self) -> None:
        for _ in range(RECORDS_A_TURN):
            if not self._open or not self._read_one():
                return

    def _read_one(self) -> bool:
        """Hand over one record; False if there are no more to be had now."""
        try:
            size = self._sock.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionResetError:
            # said once, before its last records, if it died with records of ours unread (af_unix.c)
            return True
        except OSError as exc:
            logger.error("a channel is closed, because it cannot be read: %s", exc)
            size = 0
        if size == 0:
            self._lost()
            return False
        if size > MAX_MESSAGE_BYTES:
            logger.error("a record of more than %d bytes came over a channel; closing it", MAX_MESSAGE_BYTES)
            self._lost()
            return False
        self._on_record(bytes(memoryview(self._buffer)[:size]))
        return True

    def _lost(self) -> None:
        self.close()
        self._on_close()

    def _send_now(self, record: bytes) -> bool:
        """Whether the record is dealt with: taken by the kernel, or dropped because nobody will read it."""
        try:
            self._sock.send(record)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as exc:  # EPIPE, ECONNRESET; the reader sees the end and says so once
            logger.debug("a record was dropped, the other side of the channel is gone: %s", exc)
        return True

    def _flush(self) -> None:
        while self._queue:
            if not self._send_now(self._queue[0]):
                return
            self._queued_bytes -= len(self._queue.popleft())
        self._loop.remove_writer(self._sock.fileno())
