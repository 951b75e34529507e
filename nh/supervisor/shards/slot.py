"""One shard: the process in it, and everything of it that outlives its processes.

A process dies and the next one takes its place in the slot; number, ports, backup and counters stay. When a
process is started or killed is decided by policies over all slots: ShardManager
(nh.supervisor.shards.manager), Watchdog, DrainPolicy.
"""

import contextlib
import functools
import logging
import secrets
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import msgspec

from nh.calls.call_event import NO_CLIENT, Client
from nh.commands import RelayCommand
from nh.errors import ShardUnavailable
from nh.ipc.link_messages import AllSaved, NoCallsLeft, Reconfigure, Recorded
from nh.ipc.report_messages import MediaTimedOut, RtcpSeen
from nh.loop import Loop, Timer, call_each
from nh.results import Failure
from nh.stats.layout import ShardState, ShardStatus
from nh.supervisor.shards.backoff import Backoff
from nh.supervisor.shards.handle import Announcement, HandleState, ShardHandle, ShardSpec
from nh.supervisor.shards.heartbeat import HeartbeatPolls
from nh.supervisor.shards.in_flight import Answer
from nh.supervisor.shards.process import ShardProcess
from nh.supervisor.shards.recovery import SlotRecovery

logger = logging.getLogger(__name__)


class SlotEvents:
    """What becomes of a shard and what it reports: callables for each event, called in order.

    A bug in one keeps no other from its event: the last ones include the restart of the shard.

    Attributes:
        up: called with the slot when a process is ready.
        exit: called with the slot and the reason when the process is gone.
        no_calls_left: called with the slot when its `drain_round` has changed.
        all_saved: called when the shard has saved all calls, which it was told to, with those that it could
            not save.
        media_timed_out: called with each call of the shard whose media have timed out.
        rtcp_seen: called with the RTCP that passed the shard.
    """

    __slots__ = ("all_saved", "exit", "media_timed_out", "no_calls_left", "rtcp_seen", "up")

    def __init__(self) -> None:
        self.up: list[Callable[[ShardSlot], None]] = []
        self.exit: list[Callable[[ShardSlot, str], None]] = []
        self.no_calls_left: list[Callable[[ShardSlot], None]] = []
        self.all_saved: list[Callable[[Sequence[bytes]], None]] = []
        self.media_timed_out: list[Callable[[MediaTimedOut], None]] = []
        self.rtcp_seen: list[Callable[[RtcpSeen], None]] = []


class ShardSlot:
    """A shard.

    Args:
        loop: runs the timers and watches the process.
        spec: the settings of each process; its `handover_path` and `successor` are set for each process anew.
        new_process: returns a process that waits for its settings; raises OSError.
        recovery: the backup of sockets and calls, and how a new process gets it.
        status: where state, restarts and hangs are published.
        read_heartbeat: see HeartbeatPolls.
        directory: the runtime directory, in which each process listens for the next supervisor.

    Attributes:
        number: the shard's number, from 0.
        ports: its media ports, (lowest, highest).
        pid: of the process in the slot, or of the last one; 0: there was none.
        process_name: the stem of its handover socket.
        started_at: when the process was started, by the loop's clock.
        was_up: whether that process has been ready.
        backoff: the shard's delays between a death and the next start.
        timer: the manager's, for the next start or the end of the time to get ready.
        drain_round: the round of the drain in which the shard said that it has no call left; 0: it has not.
        events: what becomes of the shard, for others.
    """

    def __init__(
        self,
        loop: Loop,
        spec: ShardSpec,
        new_process: Callable[[], ShardProcess],
        recovery: SlotRecovery,
        *,
        status: ShardStatus,
        read_heartbeat: Callable[[], int],
        directory: Path,
    ) -> None:
        self.number = spec.configure.relay.shard
        self.ports = spec.configure.relay.ports
        self.recovery = recovery
        self.status = status
        self.pid = 0
        self.process_name = ""
        self.started_at = 0.0
        self.was_up = False
        self.backoff = Backoff()
        self.timer: Timer | None = None
        self.drain_round = 0
        self.events = SlotEvents()
        self._loop = loop
        self._spec = spec
        self._new_process = new_process
        self._heartbeat = HeartbeatPolls(read_heartbeat)
        self._directory = directory
        self._settings: Reconfigure | None = None
        self._handle: ShardHandle | None = None
        self._confirmed = 0

    @property
    def occupied(self) -> bool:
        """Whether there is a process, whatever its state."""
        return self._handle is not None

    @property
    def up(self) -> bool:
        """Whether the process serves calls."""
        return self._handle is not None and self._handle.state is HandleState.UP

    @property
    def busy(self) -> bool:
        """Whether commands are in flight."""
        return self._handle is not None and self._handle.busy

    # --- the process ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a process. Raises OSError if that is impossible."""
        self.started_at = self._loop.now()
        self.was_up = False
        self.drain_round = 0
        self._confirmed = 0
        self.status.state = ShardState.STARTING
        self.process_name = f"shard-{self.number}-{secrets.token_hex(4)}"
        configure = msgspec.structs.replace(
            self._spec.configure,
            handover_path=str(self._handover_path),
            successor=self.pid > 0 or self._spec.configure.successor,
        )
        self._handle = self._launch(self._spec._replace(configure=configure))
        self.pid = self._handle.pid

    def _launch(self, spec: ShardSpec) -> ShardHandle:
        return ShardHandle(self._loop, spec, self._new_process(), self.recovery, self)

    def terminate(self, grace_s: float) -> None:
        """Ask the process to end; after `grace_s` seconds it is killed. No effect if there is none."""
        if self._handle is not None:
            self._handle.terminate(grace_s)

    def release(self) -> None:
        """Leave the process to the next supervisor: it goes on with its calls. No effect if there is none."""
        if self._handle is not None:
            self._handle.release()

    def kill(self) -> None:
        """Kill the process. No effect if there is none."""
        if self._handle is not None:
            self._handle.kill()

    def cancel_timer(self) -> None:
        """Cancel the manager's timer, if there is one."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    # --- commands ---------------------------------------------------------------------------------

    def execute(
        self, command: RelayCommand, answer: Answer, client: Client = NO_CLIENT, sender: Hashable = ""
    ) -> None:
        """Have the shard execute a command; see InFlight.begin()."""
        if self._handle is None:
            answer(Failure.of(ShardUnavailable(f"shard {self.number} is down")))
        else:
            self._handle.execute(command, answer, client, sender)

    def tell(self, message: Announcement, fds: Sequence[int] = ()) -> bool:
        """Send a message that has no answer, if the shard is up. Returns False if it does not read now."""
        return self._handle is None or self._handle.tell(message, fds)

    def confirm_records(self) -> None:
        """Tell the process which records of calls are here; to be called from time to time."""
        recorded = self.recovery.recorded
        if recorded != self._confirmed and self.tell(Recorded(recorded)):
            self._confirmed = recorded

    def reconfigure(self, settings: Reconfigure) -> None:
        """Start each further process with these settings; send_settings() is for the present one."""
        configure = self._spec.configure
        relay = msgspec.structs.replace(configure.relay, settings=settings.relay)
        self._spec = self._spec._replace(
            configure=msgspec.structs.replace(configure, relay=relay, log=settings.log)
        )
        self._settings = settings

    def send_settings(self) -> bool:
        """Send the settings of reconfigure() to the process. Returns False if it does not read now."""
        return self._settings is None or self.tell(self._settings)

    # --- the heartbeat ----------------------------------------------------------------------------

    def poll_heartbeat(self) -> int:
        """Read the heartbeat once.

        Returns:
            How many polls in a row found it unchanged; 0 while the shard is not up.
        """
        if self.up:
            return self._heartbeat.poll()
        self._heartbeat.reset()
        return 0

    def kill_hanging(self) -> None:
        """Kill a process whose heartbeat stands still; the manager starts the next one."""
        logger.error("shard %d (pid %d) hangs; it is killed", self.number, self.pid)
        self.status.hangs += 1
        self._heartbeat.reset()
        self.kill()

    # --- what the process reports, see HandleOwner ------------------------------------------------

    def on_ready(self) -> None:
        """The process serves calls."""
        self.was_up = True
        self.status.state = ShardState.UP
        logger.info("shard %d is up (pid %d)", self.number, self.pid)
        self._tell_of(self.events.up, self)

    def on_answered(self, duration_s: float) -> None:
        """The process has answered a command in time."""
        self.status.command_s.observe(duration_s)

    def on_no_calls_left(self, message: NoCallsLeft) -> None:
        """The process has no call left."""
        self.drain_round = message.round
        self._tell_of(self.events.no_calls_left, self)

    def on_all_saved(self, message: AllSaved) -> None:
        """The process has saved all calls."""
        self._tell_of(self.events.all_saved, message.unsaved)

    def on_rtcp_seen(self, message: RtcpSeen) -> None:
        """RTCP has passed the process."""
        self._tell_of(self.events.rtcp_seen, message)

    def on_media_timed_out(self, message: MediaTimedOut) -> None:
        """The media of a call have timed out."""
        self._tell_of(self.events.media_timed_out, message)

    def on_exit(self, why: str) -> None:
        """The process is gone."""
        with contextlib.suppress(OSError):  # the next supervisor finds that nothing listens there
            self._handover_path.unlink()
        self._handle = None
        self.status.state = ShardState.DOWN
        self._tell_of(self.events.exit, self, why)

    @staticmethod
    def _tell_of(observers: Sequence[Callable[..., None]], *event: object) -> None:
        call_each(functools.partial(observer, *event) for observer in observers)

    @property
    def _handover_path(self) -> Path:
        """Where the present process listens for the next supervisor."""
        return self._directory / f"{self.process_name}.sock"
