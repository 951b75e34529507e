"""Shard slots without processes: the test says when a process is ready, sends a message, or dies."""

from collections.abc import Hashable, Sequence
from pathlib import Path

from nh.calls.call_event import NO_CLIENT, Client
from nh.calls.settings import RelayConfig
from nh.commands import RelayCommand
from nh.ipc.link_messages import Configure, NoCallsLeft
from nh.results import Closed
from nh.stats.layout import ShardStatus
from nh.supervisor.shards.backup import ShardBackup
from nh.supervisor.shards.fd_budget import FdBudget
from nh.supervisor.shards.handle import Announcement, HandleState, ShardHandle, ShardSpec
from nh.supervisor.shards.in_flight import Answer
from nh.supervisor.shards.process import ShardProcess
from nh.supervisor.shards.recovery import SlotRecovery
from nh.supervisor.shards.slot import ShardSlot
from tests.supervisor.manual_loop import ManualLoop


class FakeHandle(ShardHandle):
    """The handle of a process that does not exist.

    Attributes:
        in_flight: how many commands the process has yet to answer.
    """

    def __init__(self, slot: "FakeSlot") -> None:
        self.state = HandleState.STARTING
        self.slot = slot
        self.asked_to_end = False
        self.in_flight = 0

    @property
    def pid(self) -> int:
        return 100 + self.slot.number

    @property
    def busy(self) -> bool:
        return self.in_flight > 0

    def execute(
        self, command: RelayCommand, answer: Answer, client: Client = NO_CLIENT, sender: Hashable = ""
    ) -> None:
        answer(Closed(self.slot.number))

    def tell(self, message: Announcement, fds: Sequence[int] = ()) -> bool:
        if self.slot.deaf:
            return False
        self.slot.told.append((self.slot.number, message))
        return True

    def terminate(self, grace_s: float) -> None:
        self.asked_to_end = True

    def kill(self) -> None:
        self.die("signal 9, SIGKILL")

    def become_ready(self) -> None:
        self.state = HandleState.UP
        self.slot.report_ready()

    def die(self, why: str = "exit status 1") -> None:
        self.state = HandleState.GONE
        self.slot.report_exit(why)


class FakeSlot(ShardSlot):
    """A slot whose processes are FakeHandles.

    Attributes:
        handles: of all processes, the last one is that of now.
        startable: False: a start raises OSError.
        deaf: True: the process does not read its link.
        told: (number of the shard, message) for each tell().
        heartbeat: what is read next.
    """

    def __init__(self, loop: ManualLoop, number: int, shards: int, status: ShardStatus) -> None:
        self.handles: list[FakeHandle] = []
        self.startable = True
        self.deaf = False
        self.told: list[tuple[int, Announcement]] = []
        self.heartbeat = 1
        super().__init__(
            loop,
            ShardSpec(
                configure=Configure(RelayConfig(ports=(40000, 40099), shard=number, shards=shards), "none"),
                cpu=0,
                command_timeout_s=1.0,
            ),
            _no_process,
            SlotRecovery(number, ShardBackup(status, FdBudget(0)), status, None),
            status=status,
            read_heartbeat=lambda: self.heartbeat,
            directory=Path("/nonexistent"),
        )

    def _launch(self, spec: ShardSpec) -> FakeHandle:
        if not self.startable:
            raise OSError(11, "Resource temporarily unavailable")
        self.handles.append(FakeHandle(self))
        return self.handles[-1]

    def report_ready(self) -> None:
        self.on_ready()

    def report_no_calls_left(self, drain_round: int) -> None:
        self.on_no_calls_left(NoCallsLeft(drain_round))

    def report_exit(self, why: str) -> None:
        self.on_exit(why)


def _no_process() -> ShardProcess:
    raise NotImplementedError


def slots_that_are_up(loop: ManualLoop, statuses: Sequence[ShardStatus]) -> list[FakeSlot]:
    """A slot for each status, with a process that is up."""
    slots = [FakeSlot(loop, number, len(statuses), status) for number, status in enumerate(statuses)]
    for slot in slots:
        slot.start()
        slot.handles[-1].become_ready()
    return slots
