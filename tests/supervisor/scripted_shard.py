"""A scripted shard that a supervisor left: it sends everything at once, and records what it receives."""

import contextlib
import os
import socket
from collections.abc import Mapping

from nh.calls.media import Endpoint
from nh.calls.snapshots.version import VERSION
from nh.ipc.backup_messages import SaveCall
from nh.ipc.handover_messages import (
    CallSockets,
    Exit,
    FromOld,
    HandedOver,
    Hello,
    ToOld,
    Transfer,
    decode_to_old,
    encode,
)
from nh.supervisor.orphans.client import OrphanClient


class ScriptedShard:
    """One with calls.

    Args:
        shard, shards: its number, and how many there were.
        calls: snapshots by call-id; each call has a socket.
        counters: its counters.
        snapshot_version: see Hello.
        pid: its process, as its successor sees it.
        last_words: what it says instead of HandedOver, a record; b"": it says nothing more, and ends.
    """

    def __init__(
        self,
        shard: int,
        shards: int,
        calls: Mapping[bytes, bytes],
        *,
        counters: Mapping[str, int | float] | None = None,
        snapshot_version: int = VERSION,
        pid: int = 0,
        last_words: bytes | None = None,
        known_session: int = 0,
    ) -> None:
        self.endpoints: dict[bytes, Endpoint] = {}
        near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._say(Hello(shard, shards, "1", snapshot_version, len(calls), known_session=known_session))
        for number, (call_id, snapshot) in enumerate(calls.items()):
            self.endpoints[call_id] = Endpoint("127.0.0.1", 1000 * (shard + 1) + number)
            self._say_sockets(call_id)
            self._say(SaveCall(call_id, snapshot[:1], 0, last=False))
            self._say(SaveCall(call_id, snapshot[1:], 1))
        if last_words is None:
            self._say(HandedOver(dict(counters or {})))
        elif last_words:
            self._far.send(last_words)
        else:
            self._far.shutdown(socket.SHUT_WR)
        self.orphan = OrphanClient(near, pid)

    def told(self) -> list[type[ToOld]]:
        """What it was told so far, by type."""
        found: list[type[ToOld]] = []
        self._far.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while record := self._far.recv(1000):
                found.append(type(decode_to_old(record)))
        return found

    @property
    def transferred(self) -> bool:
        """Whether it was told to."""
        return Transfer in self.told()

    @property
    def dismissed(self) -> bool:
        """Whether it was told to."""
        return Exit in self.told()

    @property
    def is_left(self) -> bool:
        """Whether its successor ended the connection, after whatever it said."""
        self._far.setblocking(False)
        with contextlib.suppress(ConnectionResetError):
            try:
                while self._far.recv(1000):
                    pass
            except BlockingIOError:
                return False
        return True

    def close(self) -> None:
        self._far.close()
        self.orphan.close()

    def _say(self, message: FromOld) -> None:
        self._far.send(encode(message))

    def _say_sockets(self, call_id: bytes) -> None:
        fd = os.open(os.devnull, os.O_RDONLY)
        message = CallSockets(call_id, (self.endpoints[call_id],))
        socket.send_fds(self._far, [encode(message)], [fd])
        os.close(fd)
