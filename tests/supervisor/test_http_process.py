"""nh.supervisor.http_process: an HTTP process that hangs is killed and started again."""

import socket
from collections.abc import Callable, Iterator

import pytest

from nh.config.sources import load_settings
from nh.ipc.http_config import HEARTBEAT, HEARTBEAT_S
from nh.ipc.inherited import NOTHING_INHERITED
from nh.stats import SupervisorStats
from nh.supervisor.host.child_process import ChildProcess
from nh.supervisor.http import HttpService
from nh.supervisor.http_process import HANG_S, RESTART_S, START_S
from tests.supervisor.manual_loop import ManualLoop


class WatchingLoop(ManualLoop):
    """It remembers whom to call when a process ends."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: dict[int, Callable[[], object]] = {}

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        del self.readers[fd]


class FakeProcess:
    """An HTTP process that the test plays."""

    pid = 4711

    def __init__(self, number: int) -> None:
        self.link, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pidfd = number
        self.killed = False

    def show_life(self) -> None:
        self.far.send(HEARTBEAT)

    def kill(self) -> None:
        self.killed = True

    def reap(self) -> str:
        return "signal 9, SIGKILL"


class ServiceTestbed:
    """An HttpService with processes of the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.processes: list[FakeProcess] = []
        monkeypatch.setattr(ChildProcess, "start", self._start)
        self.loop = WatchingLoop()
        self.stats = SupervisorStats()
        settings = load_settings(flags={"http": ["127.0.0.1:0"]}, environment={})
        self.service = HttpService(self.loop, settings, self.stats, NOTHING_INHERITED)
        self.service.start("nh.sock", "", -1)

    def _start(self, _argv: object, _descriptors: object) -> FakeProcess:
        self.processes.append(FakeProcess(len(self.processes)))
        return self.processes[-1]

    def pass_time(self, seconds: float, *, alive: bool) -> None:
        for _ in range(round(seconds / HEARTBEAT_S)):
            if alive:
                self.processes[-1].show_life()
            self.loop.advance(HEARTBEAT_S)

    def close(self) -> None:
        self.service.close()
        for process in self.processes:
            process.far.close()


@pytest.fixture
def testbed(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceTestbed]:
    testbed = ServiceTestbed(monkeypatch)
    yield testbed
    testbed.close()


def test_a_process_that_shows_life_is_left_alone(testbed: ServiceTestbed) -> None:
    testbed.pass_time(5 * HANG_S, alive=True)
    testbed.pass_time(HANG_S - 2 * HEARTBEAT_S, alive=False)
    testbed.pass_time(HANG_S, alive=True)
    assert not testbed.processes[0].killed
    assert testbed.stats.http_hangs == 0


def test_a_process_that_hangs_is_killed_and_another_one_starts(testbed: ServiceTestbed) -> None:
    testbed.pass_time(5.0, alive=True)
    testbed.pass_time(HANG_S, alive=False)
    [process] = testbed.processes
    assert process.killed
    testbed.loop.readers[process.pidfd]()  # it has ended
    assert (testbed.stats.http_hangs, testbed.stats.http_restarts) == (1, 1)
    testbed.loop.advance(RESTART_S)
    assert len(testbed.processes) == 2
    testbed.pass_time(START_S - HEARTBEAT_S, alive=False)
    assert not testbed.processes[1].killed, "it may load its libraries"
    testbed.pass_time(HEARTBEAT_S, alive=False)
    assert testbed.processes[1].killed


def test_a_process_that_died_leaves_no_watch_on_the_next_one(testbed: ServiceTestbed) -> None:
    testbed.loop.readers[testbed.processes[0].pidfd]()  # it has ended
    testbed.loop.advance(RESTART_S)
    testbed.pass_time(START_S - HEARTBEAT_S, alive=False)
    assert not testbed.processes[1].killed, "it may load its libraries"


def test_a_supervisor_that_was_stopped_itself_kills_nothing(testbed: ServiceTestbed) -> None:
    testbed.pass_time(5.0, alive=True)
    testbed.loop.sleep(10 * HANG_S)
    testbed.pass_time(HANG_S - 2 * HEARTBEAT_S, alive=False)
    assert not testbed.processes[0].killed


def test_after_a_handover_no_process_is_watched(testbed: ServiceTestbed) -> None:
    testbed.service.hand_over()
    testbed.pass_time(5 * START_S, alive=False)
    assert not testbed.processes[0].killed
