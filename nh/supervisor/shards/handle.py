"""The handle of one shard process: speaks to it, notices its end. When to start one again is the arbiter's
business.

Every command is answered exactly once: by the shard, or with a Failure because the shard is not up, has too
much to do, is late, or died. The process is watched through a pidfd, so its death is one more event of
the loop and no other child's.
"""

import dataclasses
import enum
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import msgspec

from nh.commands import RelayCommand
from nh.errors import ChannelFull, CommandTimeout, ShardUnavailable
from nh.ipc import link_messages as link
from nh.ipc.channel import Channel
from nh.loop import Loop, Timer
from nh.results import Failure, RelayResult
from nh.supervisor.host.cpus import pin
from nh.supervisor.shards.backup import ProtocolViolation
from nh.supervisor.shards.process import ShardProcess
from nh.version import __version__

logger = logging.getLogger(__name__)

Answer = Callable[[RelayResult], None]

Announcement = link.RefuseNewCalls | link.TakeNewCalls | link.HoldLinks
"""What a shard is told without being asked for an answer."""

MAX_IN_FLIGHT: Final = 4096
"""Most commands of one shard under way."""

LOST_LINK_S: Final = 2.0
"""How long a shard may live on without its link; nobody could tell it anything, not even to end."""


class HandleState(enum.Enum):
    """STARTING until Ready; ENDING from terminate() or a lost link on; GONE once it is reaped."""

    STARTING = "starting"
    UP = "up"
    ENDING = "ending"
    GONE = "gone"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ShardSpec:
    """What a shard is told and given.

    Arguments:
        configure: its settings, the first record that it gets.
        cpu: which CPU to pin it to.
        command_timeout_s: how long it may take for one command.
    """

    configure: link.Configure
    cpu: int
    command_timeout_s: float


class RecoverySource(Protocol):
    """What a shard is given of its predecessor's, and where it leaves what its successor will need."""

    def begin(self) -> Iterator[tuple[link.ToShard, list[int]]]:
        """What the shard is told once it is Configured, the last one is Start, with descriptors."""

    def hear(self, message: link.Keeping | link.Restoring, fds: list[int]) -> None:
        """What the shard says; descriptors that are kept are removed. Raises ProtocolViolation."""

    def restored(self, message: link.Restored) -> None:
        """The shard has what it could restore, and was told Go: nobody else may have that any more."""

    def ready(self) -> None:
        """The shard is up."""

    def died(self) -> None:
        """The shard's process has ended, and all that it said was heard."""


class ShardHandle:
    """A shard, made of a process by construction.

    Arguments:
        loop: what watches the process and the link.
        spec: see ShardSpec.
        process: one that waits for its settings; the child's from now on.
        on_ready: called once when the shard serves calls.
        on_exit: called once when the process is reaped, with words for why; every command is answered then.
        on_empty: called with the round of a drain when the shard says that no call is left.
        heritage: see RecoverySource.

    Raises OSError if it cannot be watched; then it is ended.
    """

    def __init__(
        self,
        loop: Loop,
        spec: ShardSpec,
        process: ShardProcess,
        *,
        on_ready: Callable[[], None],
        on_exit: Callable[[str], None],
        recovery_source: RecoverySource,
        on_empty: Callable[[int], None] | None = None,
    ) -> None:
        self.state = HandleState.STARTING
        self._loop = loop
        self._name = f"shard {spec.configure.relay.shard}"
        self._timeout_s = spec.command_timeout_s
        self._on_ready = on_ready
        self._on_exit = on_exit
        self._on_empty = on_empty
        self._pending: dict[int, tuple[Answer, float]] = {}  # in the order of their deadlines
        self._last_id = 0
        self._deadline: Timer | None = None
        self._grace: Timer | None = None
        self._recovery_source = recovery_source
        self._process = process
        try:
            loop.add_reader(process.pidfd, self._reap)
            self._channel = Channel(loop, process.link, self._on_record, self._on_link_lost)
        except OSError:  # nothing more can be watched: a process of which nobody hears must not live on
            loop.remove_reader(process.pidfd)
            process.kill()
            process.reap()
            process.link.close()
            raise
        self._channel.send(link.encode(spec.configure))
        pin(self._process.pid, spec.cpu, self._name)

    @property
    def busy(self) -> bool:
        """Whether commands are under way."""
        return bool(self._pending)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def execute(self, command: RelayCommand, answer: Answer) -> None:
        """Have the shard execute a command; `answer` is called once with its result or a Failure."""
        if self.state is not HandleState.UP:
            answer(Failure.of(ShardUnavailable(f"{self._name} is {self.state.value}")))
            return
        if len(self._pending) >= MAX_IN_FLIGHT:
            answer(Failure.of(ShardUnavailable(f"{self._name} is overloaded: {MAX_IN_FLIGHT} commands wait")))
            return
        self._last_id += 1
        try:
            self._channel.send(link.encode(link.Execute(self._last_id, command)))
        except ChannelFull as exc:
            answer(Failure.of(ShardUnavailable(f"{self._name} is overloaded: {exc}")))
            return
        self._pending[self._last_id] = (answer, self._loop.now() + self._timeout_s)
        if self._deadline is None:
            self._deadline = self._loop.call_later(self._timeout_s, self._expire)

    def tell(self, message: Announcement, fds: Sequence[int] = ()) -> bool:
        """Tell the shard something that has no answer, if it is up; returns False if it does not read now."""
        if self.state is HandleState.UP:
            try:
                self._channel.send(link.encode(message), fds)
            except ChannelFull:
                return False
        return True

    def terminate(self, grace_s: float) -> None:
        """Ask the shard to end, and make it after `grace_s` seconds."""
        if self.state in (HandleState.ENDING, HandleState.GONE):
            return
        self.state = HandleState.ENDING
        self._grace = self._loop.call_later(grace_s, self._lose_patience)
        try:
            self._channel.send(link.encode(link.Shutdown()))
        except ChannelFull:
            self.kill()

    def let_go(self) -> None:
        """Leave the shard to the next supervisor: it goes on with its calls. on_exit follows when it ends."""
        self.state = HandleState.ENDING
        self._channel.close()
        self._fail_pending(f"{self._name} is left to the next supervisor")

    def kill(self) -> None:
        """End the process at once (SIGKILL); on_exit follows. No effect if it is gone."""
        if self.state is not HandleState.GONE:
            self.state = HandleState.ENDING
            self._process.kill()

    # --- the link ---------------------------------------------------------------------------------

    def _on_configured(self) -> None:
        messages = self._recovery_source.begin()
        self._channel.send_all(
            ((link.encode(message), fds) for message, fds in messages), self._on_restore_error
        )

    def _on_restore_error(self, exc: ChannelFull) -> None:
        logger.error("%s (pid %d) cannot be given what it needs: %s", self._name, self.pid, exc)
        self.kill()

    def _on_restored(self, message: link.Restored) -> None:
        # in this order: who dies between the two leaves two shards with the same calls, and not none
        self._channel.send(link.encode(link.Serve()))
        self._recovery_source.restored(message)

    def _on_record(self, record: bytes, fds: list[int]) -> None:
        try:
            message = link.decode_from_shard(record)
            if isinstance(message, link.Keeping | link.Restoring):
                self._recovery_source.hear(message, fds)
                return
        except (msgspec.DecodeError, ProtocolViolation) as exc:
            logger.error("%s (pid %d) sent what is no message, it is killed: %s", self._name, self.pid, exc)
            self.kill()
            return
        match message:
            case link.Executed():
                waiting = self._pending.pop(message.id, None)
                if waiting is not None:  # else it was late, and its client has been told so
                    waiting[0](message.result)
            case link.NoCallsLeft():
                if self._on_empty is not None:
                    self._on_empty(message.round)
            case link.Configured():
                self._on_configured()
            case link.Restored():
                self._on_restored(message)
            case link.Ready():
                self._on_up(message)

    def _on_up(self, message: link.Ready) -> None:
        if self.state is not HandleState.STARTING:
            return
        self.state = HandleState.UP
        if message.version != __version__:
            logger.warning(
                "%s runs nh %s, the supervisor nh %s: nh was upgraded; start it anew when it suits",
                self._name,
                message.version,
                __version__,
            )
        self._recovery_source.ready()
        self._on_ready()

    def _on_link_lost(self) -> None:
        # it is about to end, in its own way and with its own exit status; if not, it is of no use any more
        self.state = HandleState.ENDING
        if self._grace is None:
            self._grace = self._loop.call_later(LOST_LINK_S, self._lose_patience)

    # --- deadlines --------------------------------------------------------------------------------

    def _expire(self) -> None:
        self._deadline = None
        now = self._loop.now()
        late: list[Answer] = []
        while self._pending:
            identifier, (answer, deadline) = next(iter(self._pending.items()))
            if deadline > now:
                self._deadline = self._loop.call_later(deadline - now, self._expire)
                break
            del self._pending[identifier]
            late.append(answer)
        failure = Failure.of(
            CommandTimeout(
                f"{self._name} did not answer within {self._timeout_s:g} s; it may still carry it out"
            )
        )
        for answer in late:
            answer(failure)

    def _fail_pending(self, why: str) -> None:
        pending, self._pending = self._pending, {}
        for answer, _deadline in pending.values():
            answer(Failure.of(ShardUnavailable(why)))

    # --- the process ------------------------------------------------------------------------------

    def _lose_patience(self) -> None:
        logger.error("%s (pid %d) did not end when asked to, it is killed", self._name, self.pid)
        self.kill()

    def _reap(self) -> None:
        self._loop.remove_reader(self._process.pidfd)
        why = self._process.reap()
        self._channel.drain()  # its last words: what they answer was carried out, what they keep is kept
        self._channel.close()
        self.state = HandleState.GONE
        for timer in (self._deadline, self._grace):
            if timer is not None:
                timer.cancel()
        self._recovery_source.died()
        self._fail_pending(f"{self._name} ended ({why}); it is not known whether it carried the command out")
        self._on_exit(why)
