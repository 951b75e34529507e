"""A shard process with a backup of its calls as in the supervisor, which can be killed and respawned."""

import array
import contextlib
import os
import socket
import subprocess
import sys
from typing import Self

from nh.calls.interfaces import Interface
from nh.calls.settings import RelayConfig
from nh.commands import RelayCommand
from nh.fastpath.loader import LoadedProgram
from nh.ipc.backup_messages import BackupMessage
from nh.ipc.channel import MAX_MESSAGE_BYTES
from nh.ipc.counter_file import create_counter_file
from nh.ipc.fd_passing import MAX_FDS
from nh.ipc.link_codec import decode_from_shard, encode
from nh.ipc.link_messages import (
    Configure,
    Execute,
    Executed,
    KernelMaps,
    Ready,
    Restore,
    RestoreCall,
    Restored,
    Serve,
    TakeSockets,
    ToShard,
)
from nh.logs.settings import LogLevel, LogSettings
from nh.results import RelayResult
from nh.stats import Segment
from nh.stats.layout import ShardStatus
from nh.supervisor.shards.backup import ShardBackup
from nh.supervisor.shards.fd_budget import FdBudget
from nh.supervisor.store.packing import plain
from tests.shard.testbed import V4
from tools.harness.closing import Closing

REPLY_S = 30.0
FLOWS = 64


class RespawningShard(Closing):
    """A slot of a shard: its process, the backup of its sockets and calls, and the next process.

    Args:
        ports: its media ports.
        segment: its statistics.
        program: the path in the kernel; None: it relays in user space.
    """

    def __init__(self, ports: range, segment: Segment, program: LoadedProgram | None) -> None:
        self.backup = ShardBackup(ShardStatus(), FdBudget(1000))
        self._ports = ports
        self._segment = segment
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._counters_fd = -1

    @property
    def in_kernel(self) -> bool:
        """Whether it may relay inside the kernel."""
        return self._program is not None

    def start(self) -> Restored:
        """Start a process that restores the backup; returns how many calls it restored."""
        successor = self._process is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(REPLY_S)
        self._link = ours
        maps = (self._program.flows_fd, self._program.counters_fd) if self._program else ()
        if self._counters_fd < 0:
            self._counters_fd = create_counter_file(1)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nh.shard", "--link-fd", str(theirs.fileno())],
                pass_fds=(theirs.fileno(), self._counters_fd, *maps),
            )
        self._say(
            Configure(
                relay=RelayConfig(
                    ports=(self._ports[0], self._ports[-1]), interfaces=(Interface("default", V4, V4),)
                ),
                stats_segment=self._segment.name,
                counters_fd=self._counters_fd,
                log=LogSettings(LogLevel.WARNING),
                kernel=KernelMaps(*maps, first_index=0, indexes=FLOWS + 1) if maps else None,
                successor=successor,
            )
        )
        held = list(self.backup.sockets.items())
        for at in range(0, len(held), MAX_FDS):
            some = held[at : at + MAX_FDS]
            self._say(TakeSockets(tuple(where for where, _ in some)), [fd for _, fd in some])
        for call_id, snapshot, of_this_run in self.backup.saved:
            self._say(RestoreCall(call_id, plain(snapshot), of_this_run=of_this_run))
        self._say(Restore())
        while not isinstance(restored := self._listen(), Restored):
            pass
        self._say(Serve())
        while not isinstance(self._listen(), Ready):
            pass
        return restored

    def execute(self, command: RelayCommand) -> RelayResult:
        """What it answers, after whatever it has to say before that."""
        self._say(Execute(1, command))
        while True:
            message = self._listen()
            if isinstance(message, Executed):
                return message.result

    def listen(self) -> None:
        """Hear what it says by itself."""
        with contextlib.suppress(BlockingIOError):
            self._link.setblocking(False)
            while True:
                self._listen()
        self._link.settimeout(REPLY_S)

    def kill(self) -> None:
        """SIGKILL; what it said before is heard."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BlockingIOError, ConnectionResetError, EOFError):
            self._link.setblocking(False)
            while True:
                self._listen()
        self._link.close()
        self.backup.shard_died()

    def close(self) -> None:
        """Leave nothing."""
        self.kill()
        self.backup.close()
        if self._counters_fd >= 0:
            os.close(self._counters_fd)
            self._counters_fd = -1

    def _say(self, message: ToShard, fds: list[int] | None = None) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self._link.sendmsg([encode(message)], rights)

    def _listen(self) -> object:
        record, fds, _, _ = socket.recv_fds(self._link, MAX_MESSAGE_BYTES + 1, MAX_FDS)
        if not record:
            raise EOFError
        message = decode_from_shard(record)
        if isinstance(message, BackupMessage):
            self.backup.apply([message], fds)
        elif isinstance(message, Executed):
            self.backup.apply(message.backup, fds)
        return message

    def __enter__(self) -> Self:
        self.start()
        return self
