"""One shard process, as the supervisor sees it: sends it commands over the link, and notices its end.

Each command is answered exactly once: by the shard, or with a Failure because the shard is not up, is
overloaded, is late, or died. The process is watched through a pidfd: its end is one more event of the loop.
"""

import enum
import logging
from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple

import msgspec

from nh.calls.call_event import NO_CLIENT, Client
from nh.commands import RelayCommand
from nh.errors import ChannelFull, ShardUnavailable
from nh.ipc import link_messages as link
from nh.ipc.backup_messages import DropCall, ReleaseSockets, SaveCall, StoreSockets
from nh.ipc.channel import Channel
from nh.ipc.link_codec import (
    UnknownMessage,
    are_together,
    changes_of,
    decode_from_shard,
    decode_together,
    encode,
)
from nh.ipc.report_messages import MediaTimedOut, RtcpSeen
from nh.logs.throttle import RateLimitedLogger
from nh.loop import Loop, Timer, call_each
from nh.printable import escaped
from nh.reasons import reason
from nh.results import Failure
from nh.supervisor.host.cpus import pin
from nh.supervisor.shards.backup import ProtocolViolation
from nh.supervisor.shards.in_flight import Answer, InFlight
from nh.supervisor.shards.process import ShardProcess
from nh.supervisor.shards.protocols import HandleOwner, RecoverySource
from nh.version import __version__

logger = logging.getLogger(__name__)

Announcement = (
    link.RefuseNewCalls
    | link.TakeNewCalls
    | link.Reconfigure
    | link.HoldLinks
    | link.Recorded
    | link.Detach
    | link.SaveAll
)
"""Messages to a shard that have no answer."""

LOG_INTERVAL_S: Final = 600.0
"""Least time between two lines about messages of a shard that only another version knows."""

LOST_LINK_S: Final = 2.0
"""A shard that lives on so long after its link has ended is killed: it could not even be told to end."""


class HandleState(enum.Enum):
    """STARTING until Ready; ENDING from terminate() or a lost link on; GONE once the process is reaped."""

    STARTING = "starting"
    UP = "up"
    ENDING = "ending"
    GONE = "gone"


class ShardSpec(NamedTuple):
    """What a shard process is started with.

    Attributes:
        configure: its settings, the first record over the link.
        cpu: the CPU to pin it to.
        command_timeout_s: the shard may take so many seconds for one command.
        calls_stay: see link.Shutdown.
    """

    configure: link.Configure
    cpu: int
    command_timeout_s: float
    calls_stay: bool = False


class ShardHandle:
    """A running shard process.

    Args:
        loop: watches the process and the link.
        spec: its settings.
        process: waits for its settings; belongs to the handle.
        recovery: gets the shard's backup messages, and says what to restore.
        owner: see HandleOwner.

    Attributes:
        state: see HandleState.

    Raises:
        OSError: the process cannot be watched; it has been ended.
    """

    def __init__(
        self,
        loop: Loop,
        spec: ShardSpec,
        process: ShardProcess,
        recovery: RecoverySource,
        owner: HandleOwner,
    ) -> None:
        self.state = HandleState.STARTING
        self._loop = loop
        self._name = f"shard {spec.configure.relay.shard}"
        self._unknown_log = RateLimitedLogger(logger, loop.now, LOG_INTERVAL_S)
        self._calls_stay = spec.calls_stay
        self._recovery = recovery
        self._owner = owner
        self._grace: Timer | None = None
        self._process = process
        try:
            loop.add_reader(process.pidfd, self._reap)
            self._channel = Channel(loop, process.link, self._on_record, self._on_link_lost)
        except OSError:  # nothing more can be watched: a process whose end stays unnoticed must not live on
            loop.remove_reader(process.pidfd)
            process.kill()
            process.reap()
            process.link.close()
            raise
        self._in_flight = InFlight(
            loop, self._name, spec.command_timeout_s, self._channel.send, owner.on_answered
        )
        self._channel.send(encode(spec.configure))
        pin(self._process.pid, spec.cpu, self._name)

    @property
    def busy(self) -> bool:
        """Whether commands are in flight."""
        return bool(self._in_flight)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def execute(
        self, command: RelayCommand, answer: Answer, client: Client = NO_CLIENT, sender: Hashable = ""
    ) -> None:
        """Have the shard execute a command; see InFlight.begin()."""
        if self.state is HandleState.UP:
            self._in_flight.begin(command, answer, client, sender)
        else:
            answer(Failure.of(ShardUnavailable(f"{self._name} is {self.state.value}")))

    def tell(self, message: Announcement, fds: Sequence[int] = ()) -> bool:
        """Send a message that has no answer, if the shard is up. Returns False if it does not read now."""
        if self.state is HandleState.UP:
            try:
                self._channel.send(encode(message), fds)
            except ChannelFull:
                return False
        return True

    def terminate(self, grace_s: float) -> None:
        """Ask the shard to end; after `grace_s` seconds it is killed."""
        if self.state in (HandleState.ENDING, HandleState.GONE):
            return
        self.state = HandleState.ENDING
        self._grace = self._loop.call_later(grace_s, self._on_grace_over)
        try:
            self._channel.send(encode(link.Shutdown(self._calls_stay)))
        except ChannelFull:
            self.kill()

    def release(self) -> None:
        """Leave the shard to the next supervisor: it goes on with its calls. on_exit follows when it ends."""
        self.state = HandleState.ENDING
        self._channel.close()
        self._in_flight.fail_all(f"{self._name} is left to the next supervisor")

    def kill(self) -> None:
        """Kill the process (SIGKILL); on_exit follows. No effect if it is gone."""
        if self.state is not HandleState.GONE:
            self.state = HandleState.ENDING
            self._process.kill()

    # --- the link ---------------------------------------------------------------------------------

    def _on_record(self, record: bytes, fds: list[int]) -> None:
        try:
            messages = self._read(record, fds)
        except UnknownMessage as exc:
            self._unknown_log.log(
                logging.WARNING,
                "%s (pid %d) sent a message that this version of nh does not know: %s; run `nh upgrade`",
                self._name,
                self.pid,
                escaped(str(exc)),
            )
        except (msgspec.DecodeError, ProtocolViolation) as exc:
            logger.error(
                "%s (pid %d) sent an invalid message: %s; it is killed", self._name, self.pid, reason(exc)
            )
            self.kill()
        else:
            for message in messages:
                self._on_message(message)

    def _read(self, record: bytes, fds: list[int]) -> Sequence[link.FromShard]:
        """The messages of a record, after what they change is in the backup: a client may read its reply."""
        if are_together(record):
            messages = decode_together(record)
            self._recovery.back_up(changes_of(messages), fds)
            return messages
        message = decode_from_shard(record)
        match message:
            case link.Executed():
                self._recovery.back_up(message.backup, fds)
            case link.Restoring():
                self._recovery.restoring(message)
            case StoreSockets() | ReleaseSockets() | SaveCall() | DropCall():
                self._recovery.back_up((message,), fds)
        return (message,)

    def _on_message(self, message: link.FromShard) -> None:
        match message:
            case link.Executed():
                self._in_flight.answer(message.id, message.result)
            case link.Configured():
                records = ((encode(each), fds) for each, fds in self._recovery.begin())
                self._channel.send_all(records)
            case link.Restored():
                # in this order: if the supervisor dies in between, two shards have the calls, and not none
                self._channel.send(encode(link.Serve()))
                self._recovery.restored(message)
            case link.Ready():
                self._on_shard_ready(message)
            case link.NoCallsLeft():
                self._owner.on_no_calls_left(message)
            case link.AllSaved():
                self._owner.on_all_saved(message)
            case MediaTimedOut():
                self._owner.on_media_timed_out(message)
            case RtcpSeen():
                self._owner.on_rtcp_seen(message)

    def _on_shard_ready(self, message: link.Ready) -> None:
        if self.state is not HandleState.STARTING:
            return
        self.state = HandleState.UP
        if message.version != __version__:
            logger.warning(
                "%s runs nh %s, the supervisor nh %s: nh was upgraded on disk; run `nh upgrade`",
                self._name,
                message.version,
                __version__,
            )
        self._recovery.ready()
        self._owner.on_ready()

    def _on_link_lost(self) -> None:
        # the process is about to end, with an exit status of its own; if it does not end, it is killed
        self.state = HandleState.ENDING
        if self._grace is None:
            self._grace = self._loop.call_later(LOST_LINK_S, self._on_grace_over)

    # --- the process ------------------------------------------------------------------------------

    def _on_grace_over(self) -> None:
        logger.error("%s (pid %d) did not end in time; it is killed", self._name, self.pid)
        self.kill()

    def _reap(self) -> None:
        self._loop.remove_reader(self._process.pidfd)
        why = self._process.reap()
        self._channel.drain()  # its last messages: results of executed commands, and backups
        self._channel.close()
        self.state = HandleState.GONE
        self._in_flight.close()
        if self._grace is not None:
            self._grace.cancel()
        call_each((self._recovery.died,))  # a bug there must not keep the shard from its next process
        self._in_flight.fail_all(
            f"{self._name} ended ({why}); a command that changes a call may have been executed"
        )
        self._owner.on_exit(why)
