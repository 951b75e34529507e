"""The supervisor's end of a link to a shard, for tests: blocking, one record at a time."""

import socket

from nh.calls.interfaces import Interface
from nh.calls.settings import RelayConfig, RelaySettings
from nh.commands import RelayCommand
from nh.ipc.backup_messages import BackupMessage
from nh.ipc.channel import MAX_MESSAGE_BYTES
from nh.ipc.link_codec import decode_from_shard, encode
from nh.ipc.link_messages import (
    Configure,
    Configured,
    Execute,
    Executed,
    FromShard,
    KernelMaps,
    Ready,
    Restore,
    Restored,
    Serve,
    Shutdown,
    ToShard,
    Waiting,
)
from nh.logs.settings import LogLevel, LogSettings
from nh.results import RelayResult
from tools.harness.closing import Closing

REPLY_S = 30.0


class Link(Closing):
    """A SOCK_SEQPACKET pair: `ours` is the supervisor's end, `theirs` the shard's."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.settimeout(REPLY_S)
        self._next_id = 0

    def send(self, message: ToShard) -> None:
        self.ours.send(encode(message))

    def configure(
        self,
        ports: range,
        segment: str,
        relay: RelaySettings | None = None,
        *,
        shard: int = 0,
        shards: int = 1,
        interfaces: tuple[Interface, ...] = (),
        start: bool = True,
        kernel: KernelMaps | None = None,
        together: bool = False,
        changes_together: bool = False,
        handover_path: str = "",
        deadline_path: str = "",
    ) -> None:
        """Give the shard its settings and, unless something is to come before that, have it start."""
        self.send(
            Configure(
                relay=RelayConfig(
                    relay or RelaySettings(),
                    ports=(ports[0], ports[-1]),
                    shard=shard,
                    shards=shards,
                    interfaces=interfaces,
                ),
                stats_segment=segment,
                log=LogSettings(LogLevel.WARNING),
                kernel=kernel,
                together=together,
                changes_together=changes_together,
                handover_path=handover_path,
                deadline_path=deadline_path,
            )
        )
        if start:
            self.send(Restore())
            self.send(Serve())

    def execute(self, command: RelayCommand) -> int:
        """Ask for something; returns the id of the request."""
        self._next_id += 1
        self.send(Execute(self._next_id, command))
        return self._next_id

    def shut_down(self) -> None:
        self.send(Shutdown())

    def receive(self) -> FromShard:
        """The next message that is neither of checkpoints nor of the start."""
        while True:
            record = self.ours.recv(MAX_MESSAGE_BYTES + 1)
            assert record, "the shard closed the link"
            message = decode_from_shard(record)
            if not isinstance(message, BackupMessage | Waiting | Configured | Restored):
                return message

    def ready(self) -> Ready:
        message = self.receive()
        assert isinstance(message, Ready)
        return message

    def answer(self, command: RelayCommand) -> RelayResult:
        """Ask for something and wait for it."""
        request_id = self.execute(command)
        message = self.receive()
        assert isinstance(message, Executed)
        assert message.id == request_id
        return message.result

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()
