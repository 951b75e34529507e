"""The other side of an orphan: what a supervisor says to a shard that another one left, said by a test."""

import os
import socket
from pathlib import Path

from nh.calls.media import Endpoint
from nh.fastpath import bpf, layout
from nh.ipc.backup_messages import SaveCall
from nh.ipc.channel import receive_record
from nh.ipc.handover_messages import (
    CallSockets,
    FromOld,
    HandedOver,
    Hello,
    ToOld,
    Transfer,
    decode_from_old,
    encode,
)
from tools.harness.closing import Closing

REPLY_S = 30.0


class ScriptedSuccessor(Closing):
    """Connected to an orphan, which has said who it is: `present`.

    Args:
        path: where the orphan waits.

    `snapshots` by call-id and `sockets` by where they are bound are what was handed over; `maps` are those of
    the path in the kernel.
    """

    def __init__(self, path: Path) -> None:
        self.snapshots: dict[bytes, bytes] = {}
        self.sockets: dict[Endpoint, int] = {}
        self.maps: list[int] = []
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._sock.settimeout(REPLY_S)
            self._sock.connect(str(path))
            present = self._hear()
            assert isinstance(present, Hello)
            self.present = present
        except BaseException:
            self._sock.close()
            raise

    def say(self, message: ToOld) -> None:
        self._sock.send(encode(message))

    def say_bytes(self, record: bytes) -> None:
        self._sock.send(record)

    def take_everything(self) -> HandedOver:
        """Have it hand over; returns its last word."""
        self.say(Transfer())
        while not isinstance(message := self._hear(), HandedOver):
            assert isinstance(message, CallSockets | SaveCall)
            if isinstance(message, SaveCall):
                self.snapshots[message.call_id] = self.snapshots.get(message.call_id, b"") + message.snapshot
        return message

    def flows(self) -> int:
        """How many flows there are in the kernel, without markers."""
        entries = bpf.elements(self.maps[0], layout.KEY.size, layout.FLOW.size)
        return sum(layout.owner_of(value).mtu_bytes > 0 for _, value in entries)

    def is_left(self) -> bool:
        """Whether the orphan ended the connection."""
        return self._sock.recv(1) == b""

    def close(self) -> None:
        """Leave it, and let go of what was handed over."""
        self._sock.close()
        while self.sockets:
            os.close(self.sockets.popitem()[1])
        while self.maps:
            os.close(self.maps.pop())

    def _hear(self) -> FromOld:
        record, fds = receive_record(self._sock)
        assert record, "the orphan is gone"
        message = decode_from_old(record)
        if isinstance(message, Hello):
            self.maps = fds
        if isinstance(message, CallSockets):
            self.sockets.update(zip(message.endpoints, fds, strict=True))
        return message
